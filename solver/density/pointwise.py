"""The density of a mesh at any points."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from meshes.manifold import Manifold
from solver.density.subcells import subdivision

Array = np.ndarray
# Cells of nearest centre among which the one that holds a point is looked for, and so many times more where it is none of them.
CANDIDATES = {1: 3, 2: 12, 3: 32}
MORE = (1, 4, 16)


def density_at(picture: tuple[Array, Array, Array | None], degree: int, manifold: Manifold, points: Array) -> Array:
    """The polynomials of a picture at points (n, d) of the circle, the sphere or a box; NaN outside its cells. Local.

    Args:
        picture: of `DensitySnapshot.plot_data`: the density at the nodes of every cell.
        degree: of the polynomials.
    """
    tdim = manifold.intrinsic
    lattice, _ = subdivision(tdim, max(1, degree))
    nodes = picture[0].reshape(-1, len(lattice), picture[0].shape[1])
    values = picture[1].reshape(len(nodes), len(lattice))
    # The corners of the reference cell among the lattice points.
    corners = [int(np.argmin(np.abs(lattice - corner).sum(axis=1))) for corner in np.vstack([np.zeros(tdim), np.eye(tdim)])]
    vertices = nodes[:, corners]
    cell, reference = _locate(vertices, manifold, points)
    powers = _powers(tdim, max(1, degree) if tdim < 3 else 1)
    coefficients = np.linalg.solve(_monomials(lattice, powers), values.T)
    found = np.einsum("nk,kn->n", _monomials(reference, powers), coefficients[:, np.maximum(cell, 0)])
    return np.where(cell >= 0, found, np.nan)


def _locate(vertices: Array, manifold: Manifold, points: Array) -> tuple[Array, Array]:
    """Number (n,) of the cell that holds each point, -1 for none, and reference coordinates (n, tdim)."""
    tdim = manifold.intrinsic
    tree = cKDTree(manifold.retract(vertices.mean(axis=1)))
    cell: Array = np.full(len(points), -1)
    reference = np.zeros((len(points), tdim))
    # Beside much smaller cells there are many centres nearer than that of the own cell.
    for count in sorted({min(more * CANDIDATES[tdim], len(vertices)) for more in MORE}):
        left = np.flatnonzero(cell < 0)
        if not len(left):
            break
        near = tree.query(points[left], k=count)[1].reshape(len(left), -1)
        best: Array = np.full(len(left), -np.inf)
        for k in range(count):
            coordinates = _barycentric(vertices[near[:, k]], manifold, points[left])
            inside = coordinates.min(axis=1)
            better = inside > best
            best = np.where(better, inside, best)
            cell[left[better]], reference[left[better]] = near[better, k], coordinates[better, 1:]
        cell[left[best <= -1e-6]] = -1
    return cell, reference


def _barycentric(vertices: Array, manifold: Manifold, points: Array) -> Array:
    """(n, tdim + 1): of each point in its cell (n, tdim + 1, d); on the sphere of its shadow on the flat cell."""
    if manifold.intrinsic == 1 and manifold.normalised:
        # Nodes are spaced equally by arc.
        first = np.arctan2(vertices[:, 0, 1], vertices[:, 0, 0])
        turn = [np.remainder(np.arctan2(x[:, 1], x[:, 0]) - first + np.pi, 2 * np.pi) - np.pi for x in (points, vertices[:, 1])]
        u = turn[0] / turn[1]
        return np.column_stack([1 - u, u])
    matrix = np.swapaxes(vertices, 1, 2)
    if manifold.normalised:
        weights = np.linalg.solve(matrix, points[..., None])[..., 0]
        total = weights.sum(axis=1, keepdims=True)
        return np.where(total > 0, weights / np.where(total > 0, total, 1.0), -np.inf)
    rest = np.linalg.solve(matrix[:, :, 1:] - matrix[:, :, :1], (points - vertices[:, 0])[..., None])[..., 0]
    return np.column_stack([1 - rest.sum(axis=1), rest])


def _powers(tdim: int, degree: int) -> Array:
    """(m, tdim): exponents of all monomials up to a degree."""
    grid = np.stack(np.meshgrid(*[np.arange(degree + 1)] * tdim, indexing="ij"), axis=-1).reshape(-1, tdim)
    return grid[grid.sum(axis=1) <= degree]


def _monomials(points: Array, powers: Array) -> Array:
    return np.prod(points[:, None, :] ** powers[None], axis=2)
