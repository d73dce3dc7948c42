"""Dense attention in NumPy, tiled: the oracle of the compiled kernels, and their stand-in where no compiler is."""

from __future__ import annotations

import numpy as np

from solver.attention.moments import Moments

Array = np.ndarray
# Numbers of a tile of scores: 1 MB, which stays in the second-level cache.
TILE = 1 << 17
# Sources tie for the largest <z,y> if they are this close to it, relative to |z| max|y|.
TIE = 1e-13


def reference_moments(z: Array, sources: Array, masses: Array) -> Moments:
    """int e^{<z_i,y>} (1, y) dmu(y) by the sum over all sources, the row maximum subtracted.

    z (n, d) = beta B^T x; sources (m, d); masses (m,), of any sign, not all zero. Local to the rank.
    """
    n, d = z.shape
    num, den, shift = np.empty((n, d)), np.empty(n), np.empty(n)
    rows = max(1, TILE // max(1, len(sources)))
    signed = np.sign(masses)[:, None] * np.column_stack([np.ones(len(sources)), sources])
    with np.errstate(divide="ignore"):
        level = np.log(np.abs(masses))
    for i in range(0, n, rows):
        score = z[i:i + rows] @ sources.T
        score += level
        # Relative to the largest contribution, not the largest score: a source of tiny mass must not set the scale.
        top = score.max(axis=1)
        score -= top[:, None]
        sums = np.exp(score, out=score) @ signed
        den[i:i + rows], num[i:i + rows], shift[i:i + rows] = sums[:, 0], sums[:, 1:], top
    return Moments(num, den, shift)


def reference_hardmax(z: Array, sources: Array, masses: Array, tie: float = TIE) -> Moments:
    """Zero temperature: the mean of the sources of positive mass that maximise <z_i,y>, weighted by mass.

    Sources tie if their <z_i,y> lies within `tie` |z_i| max|y| of the largest. Shapes as in `reference_moments`;
    `den` is the mass of the maximisers, `shift` the largest <z_i,y>.
    """
    keep = masses > 0.0
    sources, masses = sources[keep], masses[keep]
    slack = tie * np.linalg.norm(z, axis=1) * np.linalg.norm(sources, axis=1).max()
    num, den, shift = np.empty_like(z), np.empty(len(z)), np.empty(len(z))
    rows = max(1, TILE // len(sources))
    for i in range(0, len(z), rows):
        score = z[i:i + rows] @ sources.T
        top = score.max(axis=1)
        chosen = np.where(score >= (top - slack[i:i + rows])[:, None], masses, 0.0)
        den[i:i + rows], num[i:i + rows], shift[i:i + rows] = chosen.sum(axis=1), chosen @ sources, top
    return Moments(num, den, shift)
