"""How far the density on its mesh is from the density that tokens carry (docs/theory.md §9.1).

With r = rho_mesh/rho_tokens at the tokens and m their masses,

    KL = sum_i m_i (log(1/r_i) - 1 + r_i),     L1 = sum_i m_i |1 - r_i|.

The first is the relative entropy int log(rho_tokens/rho_mesh) dmu_tokens, to which sum_i m_i (r_i - 1) is added: the integral
of rho_mesh - rho_tokens by the quadrature of the tokens, zero but for its error. Every term is then positive and of second order
in the difference, and the spacing of tokens sets no floor. Where tokens leave a part of the space empty, that part is not seen.
In what is added r is cut at 20: a token on the steep flank of a law stands for more mass than rho_tokens says there, and its r is
no measure of that mass.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from meshes.manifold import Flat, Manifold
from solver.density.subcells import subdivision
from solver.runs.history import History, Picture

Array = np.ndarray
# Cells of nearest centre among which the one that holds a point is looked for.
CANDIDATES = {1: 3, 2: 12, 3: 32}
# The density of a mesh that has run empty counts as this part of the tokens'.
LEAST = 1e-12
# Where r is cut.
MOST = 20.0


def relative_entropy(log_density: Array, masses: Array, on_mesh: Array) -> tuple[float, float]:
    """KL and L1 from log rho (N,) and masses (N,) of the tokens and rho_mesh (N,) at their places; local.

    Tokens without a density (NaN, caught by a wall) or outside the mesh are left out; NaN if they hold mass of more than 1e-6.
    """
    known = np.isfinite(log_density) & np.isfinite(on_mesh)
    if float(masses[~known].sum()) > 1e-6:
        return float("nan"), float("nan")
    with np.errstate(over="ignore", under="ignore"):
        ratio = np.maximum(on_mesh[known] * np.exp(-log_density[known]), LEAST)
    mass, cut = masses[known], np.minimum(ratio, MOST)
    return float(mass @ (cut - 1.0 - np.log(ratio))), float(mass @ np.abs(1.0 - cut))


def between(density: History, tokens: History, output: int, manifold: Manifold, degree: int) -> tuple[float, float] | None:
    """KL and L1 at one output of two histories; None where tokens carry no density. Local.

    degree: of the polynomials of the density.
    """
    logs = tokens.carried[output].get("log_density")
    if logs is None or not (manifold.normalised or isinstance(manifold, Flat)):
        return None
    measure = tokens.measures[output]
    found = relative_entropy(logs, measure.masses, density_at(density.pictures[output], degree, manifold, measure.points))
    return None if np.isnan(found[0]) else found


def density_at(picture: Picture, degree: int, manifold: Manifold, points: Array) -> Array:
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
    centres = manifold.retract(vertices.mean(axis=1))
    _, near = cKDTree(centres).query(points, k=min(CANDIDATES[tdim], len(centres)))
    near = near.reshape(len(points), -1)
    best: Array = np.full(len(points), -np.inf)
    cell: Array = np.full(len(points), -1)
    reference = np.zeros((len(points), tdim))
    for k in range(near.shape[1]):
        coordinates = _barycentric(vertices[near[:, k]], manifold, points)
        inside = coordinates.min(axis=1)
        better = inside > best
        best, cell = np.where(better, inside, best), np.where(better, near[:, k], cell)
        reference[better] = coordinates[better, 1:]
    return np.where(best > -1e-6, cell, -1), reference


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
