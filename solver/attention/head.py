"""One head: which method evaluates it, and the caches that stay while its points do.

The choice is by a model of the time each method takes on one core, in nanoseconds; being wrong by a factor of two costs
that factor, never accuracy. Laws are not assumed smooth: before an expansion is made, its denominators are probed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from solver.attention.dense import dense_hardmax, dense_moments
from solver.attention.expanded import SPHERE_TOLERANCE, Expanded
from solver.attention.expansion import Expansion
from solver.attention.gathered import Cells, Plan
from solver.attention.kernels import LOG2E, turn
from solver.attention.moments import Moments
from solver.attention.pruned import GROUP, Tree, neighbours, pruned_moments, tree_of
from solver.attention.reference import reference_hardmax, reference_moments
from solver.attention.relay import grid_size, relayed_moments
from solver.attention.settings import Settings
from solver.attention.sources import Law, Sources
from solver.attention.transform import Transform

Array = np.ndarray
# Nanoseconds per pair of the dense kernel by dimension; beyond the table 0.25 per dimension.
DENSE_PAIR = {1: 0.45, 2: 0.57, 3: 0.7, 4: 0.85}
# Nanoseconds below which no choice is worth its time.
NEGLIGIBLE = 4e4
# Targets that are pruned first, to see what pruning saves.
TRIALS = 16
# What may be left out of the denominators of targets that an expansion is not certain of: what rounding changes.
ROUNDING = 1e-13
# Nanoseconds per source for a tree of them, and what pruning leaves of the time of all pairs for such targets, which see far.
TREE_TIME, LEFT = 200.0, 0.5
# Sources that are looked at to tell whether a law is spread.
SEEN = 512
# Sources this close to the unit sphere have cells with an axis: flat ones.
NEARLY_SPHERE = 0.1
# Largest |z| for which a sphere between sources and targets is worth its while, and for which it is not too large.
LEAST_RELAYED, MOST_RELAYED = 20.0, 3e4


@dataclass
class Report:
    """How the latest evaluation was done, summed over heads; local to the rank.

    Attributes:
        method: what was used: "dense", "numpy", "pruned", "relayed", "gathered", "fourier", "harmonics", "nufft", or "mean"
            (beta B = 0).
        pairs: exponentials, or terms of the expansions about cells, evaluated.
        refined: targets whose expansion was not certain enough, and which another method evaluated.
        order: of the expansion.
    """

    method: str = ""
    pairs: int = 0
    refined: int = 0
    order: int = 0


# How often each method was used in this process.
USED: Counter[str] = Counter()


class HeadField:
    """The moments of attention for fixed z (n, d) = beta B^T x, fixed sources and changing masses; local."""

    def __init__(self, z: Array, score: Array, sources: Sources, settings: Settings, crowd: Array | None = None):
        self.z, self.score, self.sources, self.settings = z, score, sources, settings
        self.crowd = z if crowd is None else crowd  # z of the targets of all ranks, for which the method is chosen
        self.calls = 0

    @cached_property
    def kappa(self) -> tuple[float, float]:
        """Mean and maximum of |z| over the crowd."""
        norms = np.sqrt(np.einsum("ij,ij->i", self.crowd, self.crowd))
        return (float(norms.mean()), float(norms.max())) if len(norms) else (0.0, 0.0)

    @cached_property
    def place(self) -> Array:
        """(n,): targets in groups of neighbours."""
        points = self.sources.points
        if "tree" in self.__dict__ and len(self.z) == len(points) and np.array_equal(self.z, turn(points, self.score)):
            return self.tree.order   # the targets are the sources, which have been sorted already
        return neighbours(self.z, GROUP, self.settings.workers)

    @cached_property
    def tree(self) -> Tree:
        """Of all sources; masses are put on it per law."""
        return Tree(self.sources.points, self.sources.sphere_error, self.settings.workers)

    @cached_property
    def expanded(self) -> Expanded:
        """Expansions, and what they keep of the points."""
        return Expanded(self.z, self.crowd, self.score, self.sources, self.kappa[1], self.settings)

    @cached_property
    def source_cells(self) -> Cells:
        """Of all sources; masses are put on it per law."""
        return Cells(self.sources.points, self.sources.sphere_error < NEARLY_SPHERE)

    @cached_property
    def target_cells(self) -> Cells:
        return Cells(self.z)

    @cached_property
    def crowd_cells(self) -> Cells:
        return self.target_cells if self.crowd is self.z else Cells(self.crowd)

    def moments(self, law: Law, report: Report) -> Moments:
        """Moments at all targets for one law, relative to its total mass."""
        found = self._moments(law, report)
        USED[report.method] += 1
        return found

    def _moments(self, law: Law, report: Report) -> Moments:
        settings = self.settings
        self.calls += 1
        if not len(self.z) or not (settings.hard or self.kappa[1] > 0.0):
            return self._mean(law, report)
        if settings.method == "numpy":
            report.method, report.pairs = "numpy", report.pairs + len(self.z) * len(law)
            if settings.hard:
                return reference_hardmax(self.z, law.points, law.masses)
            moments = reference_moments(self.z, law.points, law.kept)   # their ratios to the total may underflow
            moments.shift -= np.log(law.total)
            return moments
        if settings.method == "dense":
            return self._dense(self.z, law, report)
        if settings.method == "pruned":
            return self._pruned(law, report)
        if settings.method == "relayed":
            return self._relayed(law, report)
        if settings.method == "gathered":
            return self._pruned(law, report) if settings.hard else self._gathered(law, report)
        forced = settings.method != "auto"
        if not forced and self._dense_time(law) < NEGLIGIBLE:
            return self._dense(self.z, law, report)
        if not settings.hard:
            if not forced and not self._is_spread(law) and (plan := self._plan(law, self._usual_time(law))) is not None:
                return self._gathered(law, report, plan)
            if (expansion := self.expanded.make(law, self._summed_time(law))) is not None:
                return self._expanded(expansion, law, report)
        return self._summed(law, report)

    def _mean(self, law: Law, report: Report) -> Moments:
        """beta B = 0: every target attends to the mean."""
        report.method = "mean"
        n = len(self.z)
        return Moments(np.tile(law.masses @ law.points, (n, 1)), np.full(n, law.masses.sum()), np.zeros(n))

    def _dense(self, z: Array, law: Law, report: Report) -> Moments:
        report.method = report.method or "dense"
        report.pairs += len(z) * len(law)
        workers = self.settings.workers_for(len(z) * len(law))
        if self.settings.hard:
            return dense_hardmax(z, law.packed, self.sources.radius, workers)
        return dense_moments(z, law.packed, self.sources.radius, law.log_range, workers)

    def weighed_tree(self, law: Law) -> Tree:
        """Of the sources that carry mass; kept where those are most of them."""
        whole = law.rows is None or 2 * len(law) > len(self.sources.points)
        return tree_of(law, self.tree if whole else None, self.settings.workers)

    def _pruned(self, law: Law, report: Report) -> Moments:
        moments, pairs = pruned_moments(self.z, self.place, self.weighed_tree(law), self.sources.radius, self.settings.accuracy,
                                        hard=self.settings.hard, threads=self.settings.workers)
        report.method, report.pairs = report.method or "pruned", report.pairs + pairs
        return moments

    def _relayed(self, law: Law, report: Report) -> Moments:
        """By way of a larger sphere, where that is possible; else pruned."""
        if not self._can_relay:
            return self._pruned(law, report)
        moments, _, pairs = relayed_moments(self.z, self.place, self.weighed_tree(law), self.kappa[1], self.settings.accuracy,
                                            self.settings.workers)
        report.method, report.pairs = report.method or "relayed", report.pairs + pairs
        return moments

    @property
    def _can_relay(self) -> bool:
        kappa = self.kappa[1]
        return (self.z.shape[1] == 3 and not self.settings.hard and LEAST_RELAYED <= kappa < MOST_RELAYED
                and kappa * self.sources.sphere_error <= SPHERE_TOLERANCE * (1 + kappa))

    def _relayed_time(self, law: Law) -> float:
        """As `_pruned_time`."""
        if not self._can_relay:
            return np.inf
        n, m = len(self.crowd), len(law)
        directions = grid_size(self.kappa[1], self.settings.accuracy)
        first, second = (min(1.0, 0.5 * (7.5 - np.log(self.settings.accuracy)) / kappa)
                         for kappa in (2.0 * self.kappa[1], 2.0 * self.kappa[0]))
        return (2e4 + 500.0 * (directions + n) + directions * (1.6 * 0.9 * m * first + 1.6 * 1.5 * n * second)
                + (n + m) * (300.0 if self.calls < 2 else 0.0))

    def _tried_time(self, law: Law) -> float:
        """What pruning takes, from the pairs that some targets of the crowd need."""
        z, tree = np.ascontiguousarray(self.crowd[::max(1, len(self.crowd) // TRIALS)][:TRIALS]), self.weighed_tree(law)
        pairs = sum(pruned_moments(z, np.array([i]), tree, self.sources.radius, self.settings.accuracy,
                                   hard=self.settings.hard)[1] for i in range(len(z)))
        return len(self.crowd) * (500.0 + 1.4 * self._pair_time * pairs / len(z))

    def _is_spread(self, law: Law) -> bool:
        """Whether the points cover the unit sphere evenly, and a few targets see about as much of them as if masses were even:
        expansions about cells are not for such laws, and planning them takes time."""
        if not self._points_spread:
            return False
        z = self.crowd[::max(1, len(self.crowd) // TRIALS)][:TRIALS]
        few = slice(None, None, max(1, len(law) // SEEN))
        score = LOG2E * (z @ law.points[few].T) + law.log_masses[few]
        seen = np.mean(score > score.max(axis=1, keepdims=True) + np.log2(self.settings.accuracy) - 4.0)
        return bool(seen < 2.0 * self._part_in_reach + 4.0 / SEEN)

    @cached_property
    def _points_spread(self) -> bool:
        """Whether points of the sphere are as far from their neighbours as evenly spread ones, half of which have none within r:
        of N points, N r^2/4 = log 2."""
        if self.z.shape[1] != 3 or self.sources.sphere_error > SPHERE_TOLERANCE:
            return False
        few = self.sources.points[::max(1, len(self.sources.points) // SEEN)][:SEEN]
        products = few @ few.T
        np.fill_diagonal(products, -1.0)
        nearest = 2.0 - 2.0 * products.max(axis=1)
        return bool(np.median(nearest) > 0.25 * 4.0 * np.log(2.0) / len(few))

    def _plan(self, law: Law, limit: float, order: int = 1, targets: Cells | None = None,
              accuracy: float | None = None) -> Plan | None:
        """The plan for all targets of the crowd or for others, if expansions about cells take less than `limit` nanoseconds and
        give moments up to this order; `accuracy`: None for that of the settings."""
        if order > 1 and self.source_cells.across > 2:
            return None
        self.source_cells.weigh(law.full_log_masses)
        plan = Plan(targets or self.crowd_cells, self.source_cells, accuracy or self.settings.accuracy, self._pair_time, limit,
                    order)
        return plan if np.isfinite(plan.cost) else None

    def _own_plan(self, law: Law, plan: Plan | None, order: int = 1) -> Plan:
        """The plan of this rank's targets; `plan`: of the crowd, or none has been made."""
        if plan is not None and self.crowd is self.z:
            return plan
        self.source_cells.weigh(law.full_log_masses)
        return Plan(self.target_cells, self.source_cells, self.settings.accuracy, self._pair_time, order=order)

    def _gathered(self, law: Law, report: Report, plan: Plan | None = None) -> Moments:
        """By expansions about cells; `plan`: of the crowd."""
        moments, terms = self._own_plan(law, plan).moments(self.settings.workers)
        report.method, report.pairs = report.method or "gathered", report.pairs + int(terms)
        return moments

    def _summed(self, law: Law, report: Report) -> Moments:
        """By the fastest of the methods for every law. The choice depends on the crowd and the law alone."""
        dense, pruned, relayed = self._dense_time(law), self._pruned_time(law), self._relayed_time(law)
        if pruned < dense:
            usual, pruned = pruned, self._tried_time(law)
            relayed *= max(1.0, pruned / usual)   # uneven laws are as much dearer
        plan = None
        if not self.settings.hard and self.settings.method == "auto" and not self._is_spread(law):
            plan = self._plan(law, min(dense, pruned, relayed))
        if plan is not None:
            return self._gathered(law, report, plan)
        if self.settings.method == "auto" and relayed < min(dense, pruned):
            return self._relayed(law, report)
        return self._pruned(law, report) if pruned < dense else self._dense(self.z, law, report)

    def _expanded(self, expansion: Expansion | Transform, law: Law, report: Report) -> Moments:
        """By expansion; targets whose error bound exceeds the accuracy are summed instead."""
        moments, error = self.expanded.moments(expansion)
        direct = "fourier" if self.z.shape[1] == 2 else "harmonics"
        report.method, report.order = "nufft" if isinstance(expansion, Transform) else direct, expansion.order
        uncertain = np.flatnonzero(~(2.0 * error <= self.settings.accuracy * moments.den))
        if len(uncertain):
            rest, pairs = self._remaining(np.ascontiguousarray(self.z[uncertain]), law)
            moments.replace(uncertain, rest)
            report.refined, report.pairs = report.refined + len(uncertain), report.pairs + int(pairs)
        return moments

    def _remaining(self, z: Array, law: Law) -> tuple[Moments, float]:
        """Moments at targets z (k, d) that an expansion is not certain of, and the number of pairs or terms summed.

        They are few, in thin wakes for instance, and are taken to rounding: how may then depend on how many of them a rank has.
        """
        workers = self.settings.workers
        if (plan := self.plan_for(z, law)) is not None:
            return plan.moments(workers)
        if self.prefers_pairs(len(z)):
            few = self.settings.workers_for(len(z) * len(law))
            return dense_moments(z, law.packed, self.sources.radius, law.log_range, few), len(z) * len(law)
        return pruned_moments(z, neighbours(z, GROUP, workers), self.weighed_tree(law), self.sources.radius, ROUNDING,
                              threads=workers)

    def plan_for(self, z: Array, law: Law, order: int = 1) -> Plan | None:
        """Expansions about cells for targets z (k, d), to rounding, if moments up to this order take less time than all pairs."""
        return self._plan(law, len(z) * len(law) * self._pair_time, order, Cells(z), ROUNDING)

    def prefers_pairs(self, targets: int) -> bool:
        """Whether all pairs of that many targets take less time than finding the leaves that matter to them."""
        return (1.0 - LEFT) * targets * self._pair_time < (0.0 if "tree" in self.__dict__ else TREE_TIME)

    @property
    def _pair_time(self) -> float:
        d = self.z.shape[1]
        return DENSE_PAIR.get(d, 0.25 * d)

    def _dense_time(self, law: Law) -> float:
        return len(self.crowd) * len(law) * self._pair_time

    def _usual_time(self, law: Law) -> float:
        """What the fastest of the other methods would take if the law covered the space evenly."""
        return min(self._summed_time(law), self.expanded.usual_time(law))

    def _summed_time(self, law: Law) -> float:
        """The same without expansions."""
        return min(self._dense_time(law), self._pruned_time(law), self._relayed_time(law))

    def _pruned_time(self, law: Law) -> float:
        """As if the law covered the unit sphere evenly. The tree is not counted where points stay and it is reused."""
        n, m = len(self.crowd), len(law)
        pairs = n * m * min(1.0, 1.6 * self._part_in_reach) * 1.4 * self._pair_time
        return 2e4 + n * 500.0 + pairs + (n + m) * (300.0 if self.calls < 2 else 0.0)

    @property
    def _part_in_reach(self) -> float:
        """The part of the unit sphere that a target sees to the accuracy asked for, if the law covers the sphere evenly."""
        reach = (4.0 - np.log(self.settings.accuracy)) / (self.sources.radius * self.kappa[0] + 1e-300)
        angle = float(np.arccos(1.0 - min(reach, 2.0))) if not self.settings.hard else 0.0
        power = self.z.shape[1] - 1
        return {1: angle / np.pi, 2: (1 - np.cos(angle)) / 2}.get(power, 0.5 * np.sin(min(angle, np.pi / 2)) ** power)
