"""The zero-temperature flow of a law with full support: the line that cold tokens follow at first."""

from __future__ import annotations

import numpy as np
from scipy.integrate import solve_ivp

from problems import Problem

POINTS = 2048


def flow(points: np.ndarray, score: np.ndarray, value: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Tokens at the given depths under x' = P_x V B^T x / |B^T x|.

    Args:
        points: (n, d) unit vectors at depth 0.
        score: (d, d) matrix B of <x, B y>; value: (d, d) matrix V.
        times: (T,) ascending depths.

    Returns:
        (T, n, d) unit vectors. Source: docs/theory.md §3.1, where the orbit is e^{tau A} x normalised; the depth is kept
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


def cold_flow(problem: Problem, times: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The zero-temperature flow of the initial law: points (T, n, d) at the given depths and masses (n,).

    None where the law at zero temperature is not this flow: with noise, layers or several heads. Local.
    """
    weights = problem.attention.at(0.0)
    several = len(problem.attention.layers) > 1 or len(weights.heads) > 1
    if several or problem.noise.diffusivity > 0 or len(times) < 2:
        return None
    points, masses = problem.initial.quadrature(POINTS)
    head = weights.heads[0]
    return flow(points, head.score, head.value, np.asarray(times, float)), masses
