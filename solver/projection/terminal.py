"""Where a law ends: the dominant eigenspace E(V) of V, and how far points are from it (docs/theory.md §4.7)."""

from __future__ import annotations

import numpy as np

from problems import Problem
from solver.projection.spectrum import MOST_DIMENSIONS, analyse


def dominant_directions(problem: Problem) -> np.ndarray | None:
    """Orthonormal basis (d, k) of the dominant eigenspace E(V) that clusters drift to.

    None where there is no such drift or it is not computed: in flat spaces, in more than `MOST_DIMENSIONS`, beside an external
    drift or with a registered score, at zero temperature, for layers or several heads, when the leading eigenvalue is complex,
    and when V is a multiple of the identity, so that E(V) is everything.
    """
    layers = problem.attention.layers
    if not problem.manifold.normalised or len(layers) > 1 or len(layers[0].weights.heads) > 1:
        return None
    if problem.manifold.dimension > MOST_DIMENSIONS:
        return None
    if problem.attention.has_own_score or problem.drift.velocity is not None:
        return None
    if not np.isfinite(layers[0].weights.beta):
        return None
    analysis = analyse(layers[0].weights.heads[0].value)
    if not analysis.exists or analysis.dimension == len(analysis.matrix):
        return None
    return np.linalg.qr(analysis.basis)[0]


def arc_to_span(points: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Angle (n,) between unit vectors (n, d) and the span of an orthonormal basis (d, k), in [0, pi/2]."""
    inside = points @ basis
    return np.arctan2(np.linalg.norm(points - inside @ basis.T, axis=1), np.linalg.norm(inside, axis=1))
