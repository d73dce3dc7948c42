"""The field of docs/theory.md §1 written out in numpy, all pairs: what predictions use, independent of the solvers' kernels."""

from __future__ import annotations

import numpy as np

from solver.claims.case import Array, Case


def attended(case: Case, x: Array, points: Array, masses: Array) -> tuple[Array, Array]:
    """m[mu](x), (n, d), and log of the denominator Z(x), (n,), for points x (n, d) and the law of `points` (m, d), `masses` (m,).

    At infinite beta m is the mean of the maximisers and log Z the largest exponent.
    """
    scores = (x @ case.B) @ points.T
    top = scores.max(axis=1)
    if np.isinf(case.beta):
        weights = np.where(scores >= top[:, None] - 1e-13, masses, 0.0)
        return (weights @ points) / weights.sum(axis=1, keepdims=True), top
    weights = np.exp(case.beta * (scores - top[:, None])) * masses
    total = weights.sum(axis=1)
    return (weights @ points) / total[:, None], case.beta * top + np.log(total)


def drift(case: Case, x: Array, points: Array, masses: Array) -> Array:
    """X[mu](x), (n, d): P_x V m on circle and sphere, V m in flat space; not divided by Z for unnormalised attention."""
    m, log_z = attended(case, x, points, masses)
    field = (m * np.exp(log_z)[:, None] if case.unnormalised else m) @ case.V.T
    if case.problem.manifold.normalised:
        field = field - x * np.sum(field * x, axis=1, keepdims=True)
    return field
