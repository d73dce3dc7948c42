"""Tokens that stand for the initial law: independent samples, Sobol points, or weighted quadrature nodes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from problems import Problem
from problems.laws.base import InitialLaw

Array = NDArray[np.float64]


def _equal(points: Array) -> tuple[Array, Array]:
    return points, np.full(len(points), 1.0 / len(points))


# How to get about n weighted tokens from a law and a seed; the names are those of `particles.sampling`.
SAMPLINGS: dict[str, Callable[[InitialLaw, int, int], tuple[Array, Array]]] = {
    "random": lambda law, n, seed: _equal(law.sample(n, seed)),
    "sobol": lambda law, n, seed: _equal(law.sobol(n, seed)),
    "quadrature": lambda law, n, seed: law.quadrature(n),
}


def initial_tokens(problem: Problem) -> tuple[Array, Array]:
    """The tokens of every member of the ensemble at depth 0, the same on every rank.

    Returns:
        points (M, N, d) and masses (N,), positive with sum one and shared by the members. Member m uses the seed
        `particles.seed` + m; quadrature nodes do not depend on it. N is `particles.count`, or near it for quadrature.

    Raises:
        ProblemError: the law has no quadrature in this space, or needs more nodes.
    """
    settings = problem.particles
    sample = SAMPLINGS[settings.sampling]
    points, masses = sample(problem.initial, settings.count, settings.seed)
    members = [points]
    for member in range(1, settings.ensemble):
        if settings.sampling != "quadrature":
            points, masses = sample(problem.initial, settings.count, settings.seed + member)
        members.append(points)
    return np.ascontiguousarray(np.stack(members), float), np.ascontiguousarray(masses, float)
