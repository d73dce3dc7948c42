"""Events of a token run: clusters that merge, and gatherings at the places of theory that arrive and depart, each dated.

After every step the clusters and the masses at those places are compared with those before it. What has changed in between is
dated by steps of other lengths from the same start: a root of a distance, or of a mass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from problems import Problem
from solver.particles.clusters import Clusters, find_clusters, linking_distance, merged

Array = NDArray[np.float64]
# From the length of a step to the tokens (N, d) at its end, begun where the last step began.
Shorter = Callable[[float], Array]

# Clusters of less mass than this are strays.
LEAST_MASS = 0.01
# With more tokens than this clusters are looked for at outputs only.
MOST_TOKENS = 5000
# A gathering has arrived when this mass is near a place, and departs when it has fallen to half of the most there was.
ARRIVED = 0.1
LEAVING = -1.0
DATED = 1e-7  # accuracy of the depth of an event, of the step


@dataclass(frozen=True)
class Event:
    """What happened. where: (d,) centre of the cluster, or the place. masses: those that merged, falling; else what is there."""

    time: float
    kind: str
    where: tuple[float, ...]
    masses: tuple[float, ...]
    place: str = ""


@dataclass(frozen=True)
class Place:
    """Where theory lets tokens gather: an atom of the push-forward target, or an end of the dominant eigenvector of V."""

    name: str
    point: Array
    reach: float

    def mass(self, points: Array, masses: Array) -> float:
        """Mass of the tokens (N, d) nearer to the place than its reach, an angle."""
        return float(masses[np.linalg.norm(points - self.point, axis=1) <= 2 * np.sin(self.reach / 2)].sum())


@dataclass
class EventWatch:
    """Watches the tokens of one run, the first member of an ensemble; the same on every rank.

    Attributes:
        events: found so far, in the order of depth.
        peaks: the largest mass at each place since it arrived there; 0 before, and `LEAVING` after a departure until what is
            left there is less than arrives.
    """

    problem: Problem
    masses: Array
    places: list[Place]
    events: list[Event] = field(default_factory=list)
    peaks: list[float] = field(default_factory=list)
    _last: Clusters | None = None

    def start(self, points: Array, time: float) -> None:
        """What is near a place at the begin (tokens (N, d) at depth `time`) is there without having arrived."""
        found = [place.mass(points, self.masses) for place in self.places]
        self.peaks = [mass if mass >= ARRIVED else 0.0 for mass in found]
        self.look(points, time)

    def look(self, points: Array, time: float) -> None:
        """Take these tokens as what later ones are compared with."""
        self._last = self._clusters(points, time) if self._links else None

    @property
    def _links(self) -> bool:
        # Adaptive tokens come and go: their clusters have no identity.
        return len(self.masses) <= MOST_TOKENS and self.problem.particles.sampling != "adaptive"

    def _clusters(self, points: Array, time: float) -> Clusters:
        return find_clusters(points, self.masses, linking_distance(self.problem, time),
                             sphere=self.problem.manifold.normalised)

    def after(self, points: Array, masses: Array, begin: float, dt: float, shorter: Shorter) -> bool:
        """Look at tokens (N, d) of these masses after a step of length dt from depth `begin`; whether something happened.

        `shorter` gives tokens of the masses before, which adaptive tokens have changed since. Collective where it is.
        """
        found: list[Event] = []
        if self._links and self._last is not None:
            now = self._clusters(points, begin + dt)
            for parents in merged(self._last, now):
                heavy = [p for p in parents if self._last.masses[p] >= LEAST_MASS]
                if len(heavy) > 1:
                    found += self._date_merges(heavy, points, begin, dt, shorter)
            self._last = now
        for i, place in enumerate(self.places):
            found += self._visit(i, place, place.mass(points, masses), begin, dt, shorter)
        self.masses = masses
        self.events += sorted(found, key=lambda event: event.time)
        return bool(found)

    def _date_merges(self, parents: list[int], points: Array, begin: float, dt: float, shorter: Shorter) -> list[Event]:
        """The merges of these clusters of before the step, pair after pair by depth; at the end of the step where strays link
        them, while they are not near each other themselves. points: (N, d), after the step."""
        last = self._last
        if last is None:
            return []
        reach = 2 * np.sin(min(last.threshold, np.pi) / 2) if self.problem.manifold.normalised else last.threshold
        parts = {p: np.flatnonzero(last.labels == p) for p in parents}
        dates = []
        for a, first in enumerate(parents):
            for second in parents[a + 1:]:

                def gap(tau: float, i: int = first, j: int = second) -> float:
                    tokens = points if tau == dt else shorter(tau)
                    return float(cKDTree(tokens[parts[i]]).query(tokens[parts[j]])[0].min()) - reach

                dates.append((root(gap, dt) if gap(dt) <= 0.0 else np.nextafter(dt, np.inf), first, second))
        joined = {p: frozenset((p,)) for p in parents}
        events = []
        for tau, first, second in sorted(dates):
            if joined[first] == joined[second]:
                continue
            pair = [float(sum(last.masses[p] for p in joined[side])) for side in (first, second)]
            both = joined[first] | joined[second]
            members, tau = np.concatenate([parts[p] for p in both]), min(tau, dt)
            centre = self._centre((points if tau == dt else shorter(tau))[members], self.masses[members])
            events.append(Event(begin + tau, "merge", centre, tuple(sorted(pair, reverse=True))))
            for p in both:
                joined[p] = both
        return events

    def _centre(self, points: Array, masses: Array) -> tuple[float, ...]:
        centre = masses @ points / masses.sum()
        norm = np.linalg.norm(centre)
        if self.problem.manifold.normalised and norm > 0:
            centre = centre / norm
        return tuple(float(x) for x in centre)

    def _visit(self, i: int, place: Place, mass: float, begin: float, dt: float, shorter: Shorter) -> list[Event]:
        """Arrival at a place, or departure from it, within the step after which `mass` is there."""
        peak = self.peaks[i]
        arrives, departs = peak == 0.0 and mass >= ARRIVED, peak > 0.0 and mass <= peak / 2
        if arrives or (peak > 0.0 and not departs):
            self.peaks[i] = max(peak, mass)
        else:
            self.peaks[i] = LEAVING if mass >= ARRIVED else 0.0
        if not (arrives or departs):
            return []
        level = ARRIVED if arrives else peak / 2
        sign = 1.0 if arrives else -1.0

        def missing(tau: float) -> float:
            return sign * (level - place.mass(shorter(tau), self.masses)) - 1e-15

        tau = root(missing, dt)
        return [Event(begin + tau, "arrival" if arrives else "departure", tuple(map(float, place.point)),
                      (mass if arrives else peak,), place.name)]


def root(function: Callable[[float], float], dt: float) -> float:
    """Where a function that is positive at 0 has become negative within (0, dt]; a jump counts."""
    if function(0.0) <= 0.0:
        return 0.0
    if function(dt) > 0.0:  # adaptive tokens were changed after the step, and their mass with them by a little
        return dt
    from scipy.optimize import brentq  # here, because the import takes a fifth of a second, and most runs see no event

    return float(brentq(function, 0.0, dt, xtol=max(DATED * dt, 1e-15), rtol=1e-14))
