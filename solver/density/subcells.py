"""Cells cut into sub-simplices: atoms for transport distances and points for pictures."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from solver.density.reference import quadrature


@lru_cache
def subdivision(tdim: int, pieces: int) -> tuple[np.ndarray, np.ndarray]:
    """Lattice points (v, tdim) of the reference cell and sub-simplices (k, tdim + 1) of equal volume.

    `pieces` is what every edge is cut into: k = pieces on intervals, pieces^2 on triangles; tetrahedra stay whole.
    """
    if tdim == 1:
        return np.linspace(0.0, 1.0, pieces + 1)[:, None], np.column_stack([np.arange(pieces), np.arange(1, pieces + 1)])
    if tdim == 3:
        return np.vstack([np.zeros(3), np.eye(3)]), np.arange(4)[None]
    pairs = [(i, j) for j in range(pieces + 1) for i in range(pieces + 1 - j)]
    number = {pair: n for n, pair in enumerate(pairs)}
    up = [(number[i, j], number[i + 1, j], number[i, j + 1]) for i, j in pairs if i + j < pieces]
    down = [(number[i + 1, j], number[i + 1, j + 1], number[i, j + 1]) for i, j in pairs if i + j < pieces - 1]
    return np.array(pairs) / pieces, np.array(up + down)


def edge_pieces(tdim: int, per_cell: int) -> int:
    """Into how many pieces to cut the edges for about `per_cell` sub-simplices."""
    return max(1, round(per_cell ** (1.0 / min(tdim, 2)))) if tdim < 3 else 1


@lru_cache
def composite_quadrature(tdim: int, pieces: int, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (k, q, tdim) and weights (k, q) of a rule exact for `degree` on every sub-simplex of the reference cell."""
    vertices, simplices = subdivision(tdim, pieces)
    points, weights = quadrature(tdim, degree)
    corner = vertices[simplices[:, 0]]
    sides = vertices[simplices[:, 1:]] - corner[:, None]
    mapped = corner[:, None] + np.einsum("qa,kad->kqd", points, sides)
    return mapped, np.abs(np.linalg.det(sides))[:, None] * weights
