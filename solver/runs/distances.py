"""Distances between laws in the metric of a problem, and to its push-forward target."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from problems import Problem
from solver.projection.target import target
from solver.projection.terminal import arc_to_span, dominant_directions
from solver.wasserstein.distance import distance
from solver.wasserstein.measure import Distance, Measure

if TYPE_CHECKING:
    from mpi4py import MPI

Coupling = Callable[[np.ndarray], np.ndarray]


class TargetDistance:
    """W1 and W2 of a law to the push-forward target; nothing where the problem has none, or has its start for a target.

    Args:
        problem: the problem; its target is worked out once.
        comm: all ranks; the distances are computed on rank 0 and shared (collective).
        points: how many points represent a target that is not a few atoms.
    """

    def __init__(self, problem: Problem, comm: MPI.Comm, points: int = 4096):
        self.problem, self.comm = problem, comm
        self.target = target(problem)
        self.measure = None if self.target.unmeasured else Measure(*self.target.measure(points))
        self.terminal = dominant_directions(problem)

    def terminal_distance(self, law: Measure) -> float | None:
        """Mean distance int d(x, E(V)) dlaw from the dominant eigenspace of V; None where V has no real one.

        It is W1 to the nearest law on E(V). Source: docs/theory.md §4.7.
        """
        if self.terminal is None:
            return None
        return float(law.masses @ arc_to_span(law.points, self.terminal))

    def terminal_level(self) -> float | None:
        """W2 between the target and its nearest law on E(V), the level a long run ends at; None without either."""
        if self.terminal is None or self.measure is None:
            return None
        return float(np.sqrt(self.measure.masses @ arc_to_span(self.measure.points, self.terminal) ** 2))

    def __call__(self, law: Measure) -> dict[int, Distance]:
        """{1: W1, 2: W2} with their bounds, the coupling by T among them, or {} without a target (collective)."""
        if self.measure is None:
            return {}
        return self.comm.bcast(self.local(law) if self.comm.rank == 0 else None)

    def local(self, law: Measure) -> dict[int, Distance]:
        """The same on one rank alone: for pictures."""
        if self.measure is None:
            return {}
        return {p: bounded_distance(self.problem, law, self.measure, p, self.target.map) for p in (1, 2)}


def bounded_distance(problem: Problem, a: Measure, b: Measure, p: int, coupling: Coupling | None = None) -> Distance:
    """W_p in the problem's metric with its bounds; `coupling` maps points of `a` towards `b`. Local."""
    metric = cast(Literal["geodesic", "chordal"], problem.compare.metric)
    return distance(a, b, p=p, manifold=problem.manifold, metric=metric, coupling=coupling)


def distance_between(problem: Problem, a: Measure, b: Measure, p: int) -> float:
    """W_p in the problem's metric; local."""
    return bounded_distance(problem, a, b, p).value
