"""Edges between two triangles, turned over to the other diagonal where that makes the triangles rounder (Lawson 1977)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from solver.particles.bisection import Edges

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]

# Corners opposite an edge whose angles add up to more than a straight one by this, in radians: rounding turns nothing back.
SLACK = 0.05


def flipped(points: Array, cells: Numbers) -> tuple[Numbers, Numbers]:
    """One round of flips, no two of them in one triangle.

    Args:
        points: (N, 2 or 3). cells: (c, 3), all turning the same way.

    Returns:
        pairs (k, 2) of triangles that change, and the new ones (k, 2, 3), turning as the old ones do; the triangle of each pair
        whose angles are worst goes first.
    """
    x = points if points.shape[1] == 3 else np.pad(points, ((0, 0), (0, 1)))
    edges = Edges(cells)
    angles = np.stack([_angle(x, cells, k) for k in range(3)], axis=1)
    flat = edges.of_cells.ravel()
    order = np.argsort(flat, kind="stable")
    joined = np.flatnonzero(np.bincount(flat, minlength=len(edges.ends)) == 2)
    start = np.searchsorted(flat[order], joined)
    sides = order[np.stack([start, start + 1], axis=1)]  # places in `cells` of the corners opposite each edge
    excess = angles.ravel()[sides].sum(axis=1) - np.pi
    chosen = excess > SLACK
    joined, sides, excess = joined[chosen], sides[chosen], excess[chosen]
    cell, corner = sides // 3, sides % 3
    p, q = (cells[cell[:, k], corner[:, k]] for k in range(2))
    a, b = (cells[cell[:, 0], (corner[:, 0] + turn) % 3] for turn in (1, 2))
    new = np.stack([np.stack([p, a, q], axis=1), np.stack([p, q, b], axis=1)], axis=1)
    # Both must turn as the two old ones together do, and the new edge must not be there already.
    old = _normal(x, cells[cell[:, 0]]) + _normal(x, cells[cell[:, 1]])
    upright = np.all([np.einsum("ij,ij->i", _normal(x, new[:, k]), old) > 1e-3 * np.einsum("ij,ij->i", old, old)
                      for k in range(2)], axis=0)
    count = len(points)
    keys = np.minimum(p, q) * count + np.maximum(p, q)
    there = np.isin(keys, edges.ends[:, 0] * count + edges.ends[:, 1])
    fine = upright & ~there & (p != q)
    cell, new, excess, keys = cell[fine], new[fine], excess[fine], keys[fine]
    # The worst first; a flip is made where it is the first of all that touch its triangles or would make the same edge.
    rank = np.empty(len(cell), np.int64)
    rank[np.argsort(-excess, kind="stable")] = np.arange(len(cell))
    least = np.full(len(cells), len(cell), np.int64)
    for k in range(2):
        np.minimum.at(least, cell[:, k], rank)
    _, number = np.unique(keys, return_inverse=True)
    twin = np.full(len(cell), len(cell), np.int64)
    np.minimum.at(twin, number, rank)
    first = (least[cell[:, 0]] == rank) & (least[cell[:, 1]] == rank) & (twin[number] == rank)
    return cell[first], new[first]


def _normal(x: Array, cells: Numbers) -> Array:
    return np.asarray(np.cross(x[cells[:, 1]] - x[cells[:, 0]], x[cells[:, 2]] - x[cells[:, 0]]), float)


def _angle(x: Array, cells: Numbers, k: int) -> Array:
    """(c,): the angle at corner k."""
    first, second = x[cells[:, k - 2]] - x[cells[:, k]], x[cells[:, k - 1]] - x[cells[:, k]]
    return np.asarray(np.arctan2(np.linalg.norm(np.cross(first, second), axis=1), np.einsum("ij,ij->i", first, second)), float)
