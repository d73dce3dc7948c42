"""The zero-temperature flow of a law with full support: the line that cold tokens follow at first."""

from __future__ import annotations

import numpy as np
from scipy.integrate import solve_ivp

from problems import Problem
from solver.runs.recorders import TargetDistance
from solver.wasserstein.measure import Measure

POINTS = 2048


def flow(points: np.ndarray, score: np.ndarray, value: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Tokens at the given depths under x' = P_x V B^T x / |B^T x|.

    Args:
        points: (n, d) unit vectors at depth 0.
        score: (d, d) matrix B of <x, B y>; value: (d, d) matrix V.
        times: (T,) ascending depths.

    Returns:
        (T, n, d) unit vectors. Source: theory.md §3.1, where the orbit is e^{tau A} x normalised; the depth is kept
        by integrating in t, to a relative tolerance of 1e-10.
    """
    count, dimension = points.shape

    def drift(_: float, flat: np.ndarray) -> np.ndarray:
        x = flat.reshape(count, dimension)
        attended = x @ score
        field = (attended @ value.T) / np.linalg.norm(attended, axis=1, keepdims=True)
        return (field - x * np.sum(field * x, axis=1, keepdims=True)).ravel()

    solved = solve_ivp(drift, (0.0, float(times[-1])), points.ravel(), method="DOP853", t_eval=times, rtol=1e-10,
                       atol=1e-12)
    found = solved.y.T.reshape(len(times), count, dimension)
    return found / np.linalg.norm(found, axis=2, keepdims=True)


def zero_temperature_distances(problem: Problem, to_target: TargetDistance, times: np.ndarray) -> np.ndarray | None:
    """W2 to the target along the zero-temperature flow, (T,); None without a target, with noise, layers or several heads
    (collective)."""
    weights = problem.attention.at(0.0)
    several = len(problem.attention.layers) > 1 or len(weights.heads) > 1
    if to_target.measure is None or several or problem.noise.diffusivity > 0 or len(times) < 2:
        return None
    points, masses = problem.initial.quadrature(POINTS)
    head = weights.heads[0]
    found = flow(points, head.score, head.value, np.asarray(times, float))
    return np.array([to_target(Measure(x, masses))[2].value for x in found])
