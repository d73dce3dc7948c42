"""The zero-temperature flow of a law with full support: the line that cold tokens follow at first."""

from __future__ import annotations

import numpy as np

from problems import Problem, ProblemError
from problems.attention import Weights, spectral_norm
from solver.errors import RunError

# Points that stand for a law: on the circle, where distances cost little, and elsewhere.
POINTS_ON_CIRCLE, MOST_ON_CIRCLE = 2**13, 2**15
POINTS = 2**11
# Evaluations of the drift, at all and for each e-fold: smooth flows take fifty. Scores of low rank let points gather where the
# drift jumps, and steps there shrink for ever.
EVALUATIONS, PER_FOLD = 5_000, 200


def flow(points: np.ndarray, weights: Weights, times: np.ndarray) -> np.ndarray:
    """Tokens at the given depths under x' = P_x sum_h V_h B_h^T x / |B_h^T x|.

    Args:
        points: (n, d) unit vectors at depth times[0].
        weights: matrices of the heads.
        times: (T,) ascending depths, T >= 2.

    Returns:
        (T, n, d) unit vectors. Source: docs/theory.md §3.1, where the orbit of one head is e^{tau A} x normalised; the depth
        is kept by integrating in t, to a relative tolerance of 1e-10.

    Raises:
        RunError: steps do not get on, since points gather where the drift jumps.
    """
    from scipy.integrate import solve_ivp  # here, because the import takes a fifth of a second, and most runs are warm

    count, dimension = points.shape
    left, rate = EVALUATIONS, sum(spectral_norm(head.value) for head in weights.heads)

    def drift(t: float, flat: np.ndarray) -> np.ndarray:
        nonlocal left
        left -= 1
        if left + PER_FOLD * rate * (t - times[0]) < 0:
            raise RunError("the zero-temperature flow does not get on: points gather where it jumps", time=t)
        x = unit(flat.reshape(count, dimension))  # or else a negative V pulls rounding errors off the sphere
        field = sum(unit(x @ head.score) @ head.value.T for head in weights.heads)
        return (field - x * np.sum(field * x, axis=1, keepdims=True)).ravel()

    solved = solve_ivp(drift, (float(times[0]), float(times[-1])), points.ravel(), method="DOP853", t_eval=times, rtol=1e-10,
                       atol=1e-12)
    return unit(solved.y.T.reshape(len(times), count, dimension))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (.., d) scaled to length one; zero stays zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length > 0.0, length, 1.0)


def cold_flow(problem: Problem, times: np.ndarray, coarser: int = 1) -> tuple[np.ndarray, np.ndarray] | None:
    """The zero-temperature flow of the initial law: points (T, n, d) at the given ascending depths from 0 on, masses (n,).

    `coarser` divides the number of points, for an estimate of the error. None where the law at zero temperature is not this
    flow: without layer normalisation, with noise, for unnormalised attention, and for laws of atoms, which attend to each other
    alone. Local.
    """
    attention = problem.attention
    softmax = all(layer.weights.normalization == "softmax" for layer in attention.layers)
    if not (problem.manifold.normalised and softmax) or problem.initial.is_atomic or problem.noise.diffusivity > 0:
        return None
    times = np.asarray(times, float)
    if len(times) < 2 or times[-1] <= 0.0:
        return None
    points, masses = resolved(problem, coarser)
    found, start, x = [], 0.0, points
    for layer in attention.layers:
        inside = times[(times >= start) & (times < layer.until)]
        end = min(float(layer.until), float(times[-1]))
        marks = np.unique(np.concatenate([[start], inside, [end]]))
        if len(marks) > 1:
            path = flow(x, layer.weights, marks)
            found += [path[np.searchsorted(marks, t)] for t in inside]
            x = path[-1]
        elif len(inside):
            found += [x] * len(inside)
        start = end
        if end >= times[-1]:
            found += [x] * (len(times) - len(found))
            break
    return np.array(found), masses


def resolved(problem: Problem, coarser: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, d) and masses (n,) that stand for the initial law: quadrature nodes, as many as a narrow law needs, else a Sobol
    sample."""
    circle = problem.manifold.dimension == 2
    count, most = (POINTS_ON_CIRCLE, MOST_ON_CIRCLE) if circle else (POINTS, POINTS)
    few = count // coarser
    while count <= most:
        try:
            return problem.initial.quadrature(count // coarser)
        except ProblemError:
            count *= 4
    return problem.initial.sobol(few, 0), np.full(few, 1.0 / few)
