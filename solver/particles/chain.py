"""Adaptive tokens on a curve: a chain of tokens whose intervals keep their mass exactly (docs/theory.md §9.2).

The flow carries an interval between two neighbours with its mass. Within an interval log rho is taken as a parabola, fixed by
its values at both ends and by the mass: an error of fourth order in the gap. Where the gap grows beyond what the kernel
resolves, or the parabola bends too much, a token is put at the middle; where gaps are small and the parabola through two of them
says of the token between them what it knows itself, that token is taken out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meshes.manifold import Manifold
from solver.particles.density import negligible_mass
from solver.particles.drift import CAUGHT

Array = NDArray[np.float64]

# Gaps are split beyond this part of the largest one allowed, once any exceeds it, and merged up to that part.
SPLIT, MERGE = 0.7, 0.5
# Bend of log rho within an interval (its height over the chord) and its change along it beyond which the interval is split;
# what a merged interval may say wrongly of log rho at the token taken out.
BEND, CHANGE, MISS = 0.1, 2.0, 5e-3
# Tokens as close to the chord of log rho between their neighbours as this may be taken out whatever the masses say.
STRAIGHT = 0.02
# Gaps below this part of the largest are merged and never split, whatever their profile.
NEGLIGIBLE = 1e-3
# Intervals of negligible mass may grow to so many times the largest gap.
WIDER = 20.0
# Bends beyond this are no parabola: the interval is not resolved.
STEEPEST = 3.0
# Tokens that may be taken out before a change for their sake alone.
SPARE = 0.15
# A token keeps at least this part of the mass that its two intervals alone would give it.
FEWEST = 0.3

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)
# Nodes and weights of both halves of [0, 1].
HALVES = np.concatenate([0.25 + 0.25 * _NODES, 0.75 + 0.25 * _NODES])
HALF_WEIGHTS = np.concatenate([0.25 * _WEIGHTS, 0.25 * _WEIGHTS])


@dataclass
class Profile:
    """log rho along intervals u in [0, 1]: start + change u + 4 bend u (1 - u), with int_0^1 rho = mean; all (c,)."""

    start: Array
    change: Array
    bend: Array

    @classmethod
    def fit(cls, start: Array, end: Array, log_mean: Array) -> Profile:
        """From log rho at both ends and the log of the mean density: Newton's method for the bend, within `STEEPEST`."""
        change, bend = end - start, np.zeros_like(start)
        for _ in range(12):
            values, top = cls(start, change, bend).scaled()
            total = values.sum(axis=1)
            slope = values @ (4 * HALVES * (1 - HALVES)) / total
            step = (np.log(total) + top - log_mean) / slope
            bend = np.clip(bend - np.clip(step, -1.0, 1.0), -STEEPEST, STEEPEST)
            if np.all(np.abs(step) < 1e-12):
                break
        return cls(start, change, bend)

    def scaled(self) -> tuple[Array, Array]:
        """(c, 16): the masses around `HALVES`, up to a factor whose logarithm is the second result, (c,): rho itself may be no
        double where a law is narrow."""
        logs = np.outer(self.change, HALVES) + np.outer(self.bend, 4 * HALVES * (1 - HALVES))
        top = logs.max(axis=1)
        return np.exp(logs - top[:, None]) * HALF_WEIGHTS, top + self.start

    def at(self, u: Array) -> Array:
        """log rho at one place u (c,) of each interval."""
        return self.start + self.change * u + 4 * self.bend * u * (1 - u)

    def left(self) -> Array:
        """(c,): part of the mass in the first half."""
        values, _ = self.scaled()
        return values[:, :8].sum(axis=1) / values.sum(axis=1)


class Chain:
    """The intervals between tokens in their order along a curve.

    Args:
        manifold: the curve. closed: whether the last token is a neighbour of the first.
        masses: (c,) of the intervals, c = N if closed, else N - 1.
        contrast: beta |B|, see `solver.particles.density.negligible_mass`.
    """

    def __init__(self, manifold: Manifold, closed: bool, masses: Array, contrast: float = np.inf):
        self.manifold, self.closed, self.masses, self.contrast = manifold, closed, masses, contrast

    @property
    def cells(self) -> NDArray[np.int64]:
        """(c, 2): numbers of the tokens at both ends."""
        first = np.arange(len(self.masses))
        return np.column_stack([first, (first + 1) % (len(self.masses) + (not self.closed))])

    def restored(self, cells: NDArray[np.int64], masses: Array) -> Chain:
        """The chain of a checkpoint."""
        return Chain(self.manifold, self.closed, masses, self.contrast)

    def gaps(self, points: Array) -> Array:
        """(c,): distance of neighbours."""
        a, b = self.cells.T
        return self.manifold.distance(points[a], points[b])

    def largest(self, points: Array) -> float:
        """Length of the longest interval that matters."""
        return float(np.max(self.gaps(points), where=self._matters(points), initial=0.0))

    def _matters(self, points: Array) -> NDArray[np.bool_]:
        """(c,): intervals whose mass can be felt anywhere."""
        return self.masses > negligible_mass(self.contrast, points)

    def token_masses(self, points: Array, logs: Array | None) -> Array:
        """(N,): the mass of each token, with which sums over tokens integrate as intervals with these profiles would.

        Each interval deals its mass to the four tokens around it, such that polynomials of degree three are integrated exactly;
        where that would leave a token with too little, to its two ends, such that mass and mean position are kept.
        """
        (a, b), count = self.cells.T, len(points)
        profile, gaps, _ = self._profile(points, logs)
        density, _ = profile.scaled()
        density /= density.sum(axis=1)[:, None]
        share = density @ HALVES
        linear = np.stack([0.0 * share, 1 - share, share, 0.0 * share]) * self.masses
        before, after = (np.clip(np.roll(gaps, shift) / gaps, 1e-3, 1e3) for shift in (1, -1))
        corners = np.stack([(a - 1) % count, a, b, (b + 1) % count])
        cubic = _cubic_shares(density, before, after) * self.masses
        inner = np.ones(len(gaps), bool)
        if not self.closed:
            inner[[0, -1]] = False
        floor = FEWEST * _dealt(linear, corners, count)
        while True:
            masses = _dealt(np.where(inner, cubic, linear), corners, count)
            poor = masses < floor
            affected = inner & poor[corners].any(axis=0)
            if not affected.any():
                return masses
            inner &= ~affected

    def sources(self, points: Array, logs: Array | None, masses: Array) -> tuple[Array, Array]:
        """The law as points and masses for sums over it: tokens with the masses of `token_masses`, of fourth order already."""
        return points, masses

    def adapt(self, points: Array, logs: Array | None, largest: float, most: int) -> tuple[Array, Array | None, bool]:
        """Tokens added and taken out where needed; changes the masses of the intervals.

        Args:
            points: (N, d). logs: (N,) log rho or None, where it is estimated from masses and gaps.
            largest: allowed gap. most: allowed number of tokens.

        Returns:
            points, logs and whether anything changed.
        """
        profile, gaps, known = self._profile(points, logs)
        matters = self._matters(points)
        removable = self._removable(points, known, gaps, profile, largest, matters)
        wanted = self._too_long(gaps, profile, largest) & matters
        if not wanted.any() and np.count_nonzero(removable) < SPARE * len(points):
            return points, logs, False
        points, logs = self._remove(removable, points, logs)
        profile, gaps, known = self._profile(points, logs)
        while True:
            matters = self._matters(points)
            split = (self._too_long(gaps, profile, largest) | (gaps > SPLIT * largest)) & matters
            room = most - len(points)
            if np.count_nonzero(split) > room:
                longest = np.argsort(-np.where(split, gaps, 0.0), kind="stable")[:max(room, 0)]
                split = np.zeros_like(split)
                split[longest] = True
            if not split.any():
                return points, logs, True
            points, logs = self._split(split, points, logs, profile)
            profile, gaps, known = self._profile(points, logs)
            if not np.any(self._too_long(gaps, profile, largest) & self._matters(points)):
                return points, logs, True

    def _too_long(self, gaps: Array, profile: Profile, largest: float, finest: float = 4 * NEGLIGIBLE) -> NDArray[np.bool_]:
        """(c,): intervals to split: too long, or with a log rho that bends or changes too much, unless shorter than the part
        `finest` of the largest.

        A bend counts only if the neighbours' slopes show it too: one from the mass alone tells of the integration's error in
        log rho, which no splitting mends.
        """
        slope = profile.change / np.maximum(gaps, 1e-300)
        across = 0.5 * (np.roll(gaps, 1) + np.roll(gaps, -1)) + gaps
        with np.errstate(over="ignore", invalid="ignore"):  # gaps of nothing, at walls
            turn = np.nan_to_num(np.abs(np.roll(slope, -1) - np.roll(slope, 1)) / across * gaps**2 / 8)
        if not self.closed:
            turn[[0, -1]] = np.inf
        rough = (np.minimum(np.abs(profile.bend), turn) > BEND) | (np.abs(profile.change) > CHANGE)
        return (gaps > largest) | (rough & (gaps > finest * largest))

    def _profile(self, points: Array, logs: Array | None) -> tuple[Profile, Array, Array]:
        """Profiles and gaps (c,) of the intervals, and log rho (N,) of the tokens, estimated where it is not known."""
        a, b = self.cells.T
        gaps = np.maximum(self.gaps(points), 1e-300)
        log_mean = np.log(np.maximum(self.masses, 1e-300)) - np.log(gaps)
        known = np.full(len(points), CAUGHT) if logs is None else logs
        missing = known > CAUGHT / 2
        if missing.any():
            count = len(points)
            mass = np.bincount(a, self.masses, count) + np.bincount(b, self.masses, count)
            room = np.bincount(a, gaps, count) + np.bincount(b, gaps, count)
            known = np.where(missing, np.log(np.maximum(mass, 1e-300)) - np.log(room), known)
        return Profile.fit(known[a], known[b], log_mean), gaps, known

    def _removable(self, points: Array, known: Array, gaps: Array, profile: Profile, largest: float,
                   matters: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(N,): tokens that may be taken out, no two of them neighbours."""
        count = len(points)
        right = np.arange(count)
        left = (right - 1) % len(self.masses) if self.closed else right - 1
        inner = np.arange(0 if self.closed else 1, count if self.closed else count - 1)
        before, after = left[inner], right[inner]
        width = gaps[before] + gaps[after]
        idle = ~(matters[before] | matters[after])
        near = np.where(idle, width < WIDER * largest, width < MERGE * largest)
        inner, before, after, width, idle = inner[near], before[near], after[near], width[near], idle[near]
        mass = self.masses[before] + self.masses[after]
        merged = Profile.fit(known[self.cells[before, 0]], known[self.cells[after, 1]],
                             np.log(np.maximum(mass, 1e-300)) - np.log(width))
        miss = np.abs(merged.at(gaps[before] / width) - known[inner])
        chord = np.abs(merged.start + merged.change * gaps[before] / width - known[inner])
        gentle = (miss < MISS) & (np.abs(merged.bend) < BEND / 2) | (chord < STRAIGHT)
        gentle &= np.abs(merged.change) < CHANGE / 2
        chosen = inner[gentle | idle | (width < NEGLIGIBLE * largest)]
        # Every other one of each run of neighbours.
        fresh = np.concatenate([[True], np.diff(chosen) > 1]) if len(chosen) else np.zeros(0, bool)
        place = np.arange(len(chosen))
        begun = np.maximum.accumulate(np.where(fresh, place, 0)) if len(chosen) else place
        chosen = chosen[(place - begun) % 2 == 0]
        if self.closed and len(chosen) > 1 and chosen[0] == 0 and chosen[-1] == count - 1:
            chosen = chosen[:-1]
        result = np.zeros(count, bool)
        result[chosen[:max(0, count - 8)]] = True
        return result

    def _remove(self, removed: NDArray[np.bool_], points: Array, logs: Array | None) -> tuple[Array, Array | None]:
        if not removed.any():
            return points, logs
        gone = np.flatnonzero(removed)
        masses = self.masses.copy()
        masses[(gone - 1) % len(masses)] += masses[gone]
        kept = ~removed
        self.masses = masses[kept] if self.closed else masses[kept[:-1]]
        return points[kept], None if logs is None else logs[kept]

    def _split(self, split: NDArray[np.bool_], points: Array, logs: Array | None,
               profile: Profile) -> tuple[Array, Array | None]:
        at = np.flatnonzero(split)
        a, b = self.cells[at].T
        middle = self.manifold.retract(0.5 * (points[a] + points[b]))
        mass = self.masses[at]
        first = profile.left()[at] * mass
        masses = self.masses.copy()
        masses[at] = first
        self.masses = np.insert(masses, at + 1, mass - first)
        if logs is not None:
            # A token between two that a wall has caught is on the wall as well.
            value = profile.at(np.full(len(self.masses) - len(at), 0.5))[at]
            value = np.where((logs[a] > CAUGHT / 2) & (logs[b] > CAUGHT / 2), CAUGHT, value)
            logs = np.insert(logs, at + 1, value)
        return np.insert(points, at + 1, middle, axis=0), logs


def _cubic_shares(density: Array, before: Array, after: Array) -> Array:
    """(4, c): means of the cubic Lagrange polynomials of the places -before, 0, 1, 1 + after, for mass (c, 16) at `HALVES`."""
    places = np.stack([-before, np.zeros_like(before), np.ones_like(before), 1 + after])
    shares = np.empty_like(places)
    for k in range(4):
        value = density
        for j in range(4):
            if j != k:
                value = value * (HALVES - places[j][:, None]) / (places[k] - places[j])[:, None]
        shares[k] = value.sum(axis=1)
    return shares


def _dealt(shares: Array, corners: NDArray[np.int64], count: int) -> Array:
    """(N,): what tokens `corners` (4, c) get of the shares (4, c)."""
    return np.asarray(np.bincount(corners.ravel(), shares.ravel(), count), float)
