"""Tables on the reference simplex: basis, quadrature, velocity nodes, and the weights behind the positivity bound."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import basix
import basix.ufl
import numpy as np

CELL_NAMES = ("point", "interval", "triangle", "tetrahedron")
VOLUMES = (1.0, 1.0, 1.0 / 2.0, 1.0 / 6.0)
# What `positivity_weight` gives, by dimension, degree and the numbers of facet, quadrature and check points: the linear programme
# and its import would take seconds of every run. `tests/density/test_reference.py` solves them again.
_COMMON = {
    (1, 0, 2, 1, 2): 1 / 2, (1, 0, 2, 2, 2): 1 / 2, (1, 1, 2, 2, 2): 1 / 2, (1, 2, 2, 3, 7): 1 / 6, (1, 3, 2, 4, 9): 1 / 6,
    (2, 0, 3, 1, 3): 1 / 6, (2, 0, 3, 3, 3): 1 / 6, (2, 1, 6, 3, 3): 1 / 6, (2, 2, 9, 6, 25): 1 / 12,
    (2, 3, 12, 12, 39): 0.06647482966310772,
    (3, 0, 4, 1, 4): 1 / 12, (3, 0, 4, 4, 4): 1 / 12, (3, 1, 24, 4, 4): 1 / 12, (3, 2, 28, 14, 58): 0.04172358836062768,
    (3, 3, 60, 24, 119): 0.0451645379165002,
}


@dataclass(frozen=True)
class Reference:
    """All that depends on the shape and the degrees only. Local: the same on every rank.

    Attributes:
        tdim: 1 to 3; degree: of the density, 0 to 3; affine: whether cells are flat simplices.
        points (q, tdim), weights (q,): quadrature in the cell, positive weights, exact for degree 2 * degree. It defines mass and
            inner product of the density, and its points are the sources of attention.
        facet_points (facets, r, tdim), facet_weights (r,): quadrature on each facet, exact for 2 * degree + 1; the weights add up
            to 1, 1 and 1/2 on points, edges and triangles.
        basis (q, n), gradient (q, tdim, n), facet_basis (facets, r, n): the orthonormal (Legendre) basis there; its first
            function is constant, its mass matrix the identity.
        check_basis (m, n): the basis at all points where the limiter keeps the density non-negative, a superset of the above
            (vertices alone for degree 1, where they imply all others).
        nodes (k, tdim): nodes of the continuous Lagrange space of degree + 1 that carries the velocity; `velocity` (q, k) its
            basis at `points`; `facet_nodes` (facets, j) its nodes on each facet, `facet_velocity` (r, j) their basis at facet
            points, the same for every facet.
        positivity: largest t such that mean(f) >= t * sum over facet points of facet_weights * f for every polynomial f of the
            degree that is non-negative at the check points (volume of the cell included).
    """

    tdim: int
    degree: int
    affine: bool
    points: np.ndarray
    weights: np.ndarray
    facet_points: np.ndarray
    facet_weights: np.ndarray
    basis: np.ndarray
    gradient: np.ndarray
    facet_basis: np.ndarray
    check_basis: np.ndarray
    nodes: np.ndarray
    velocity: np.ndarray
    facet_nodes: np.ndarray
    facet_velocity: np.ndarray
    positivity: float

    @property
    def cell_name(self) -> str:
        return CELL_NAMES[self.tdim]

    @property
    def volume(self) -> float:
        """Of the reference simplex."""
        return VOLUMES[self.tdim]

    @property
    def size(self) -> int:
        """Unknowns per cell."""
        return self.basis.shape[1]

    @property
    def facets(self) -> int:
        """Facets per cell."""
        return self.tdim + 1

    @property
    def constant(self) -> float:
        """Value of the first basis function."""
        return float(self.volume**-0.5)


def density_element(tdim: int, degree: int):
    """The basix.ufl element of the density: discontinuous, in the orthonormal Legendre basis."""
    return basix.ufl.element("DG", CELL_NAMES[tdim], degree, lagrange_variant=basix.LagrangeVariant.legendre)


def velocity_element(tdim: int, degree: int):
    """The basix.ufl element whose nodes carry the velocity: continuous Lagrange, one degree above the density."""
    return basix.ufl.element("Lagrange", CELL_NAMES[tdim], degree + 1)


def quadrature(tdim: int, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (q, tdim) and positive weights (q,) on the reference simplex, exact for polynomials of `degree`."""
    if tdim == 0:
        return np.zeros((1, 0)), np.ones(1)
    cell = getattr(basix.CellType, CELL_NAMES[tdim])
    points, weights = basix.make_quadrature(cell, degree)
    if weights.min() <= 0.0:  # Gauss-Jacobi is always positive
        points, weights = basix.make_quadrature(cell, degree, basix.QuadratureType.gauss_jacobi)
    return points, weights


def tabulate(element, points: np.ndarray, derivatives: int = 0) -> np.ndarray:
    """Values (q, n), or with derivatives = 1 gradients (q, tdim, n), of an element's basis at reference points."""
    table = element.tabulate(derivatives, points)
    return table[0] if derivatives == 0 else np.moveaxis(table[1:], 0, 1)


def facet_map(tdim: int, local: np.ndarray) -> np.ndarray:
    """Points (r, tdim - 1) of the reference facet as points (facets, r, tdim) on every facet of the reference cell."""
    cell = getattr(basix.CellType, CELL_NAMES[tdim])
    vertices, facets = basix.geometry(cell), basix.topology(cell)[tdim - 1]
    corner = vertices[[f[0] for f in facets]]
    sides = vertices[[f[1:] for f in facets]] - corner[:, None, :] if tdim > 1 else np.zeros((len(facets), 0, tdim))
    return corner[:, None, :] + np.einsum("ra,fak->frk", local, sides)


@lru_cache
def reference(tdim: int, degree: int, affine: bool) -> Reference:
    """The tables for cells of dimension `tdim` and a density of `degree` 0 to 3."""
    # A curved cell's measure is not constant, so that degree 0 needs more than its midpoint to get it right.
    points, weights = quadrature(tdim, max(2 * degree, 1 if affine else 2))
    facet_local, facet_weights = quadrature(tdim - 1, 2 * degree + 1)
    facet_points = facet_map(tdim, facet_local)
    density, velocity = density_element(tdim, degree), velocity_element(tdim, degree)
    cell = getattr(basix.CellType, CELL_NAMES[tdim])
    nodes = np.asarray(velocity.basix_element.points)
    if degree <= 1:
        check = basix.geometry(cell)
    else:
        check = np.unique(np.vstack([points, facet_points.reshape(-1, tdim), basix.geometry(cell), nodes]).round(14), axis=0)
    on_facet = np.array(velocity.basix_element.entity_closure_dofs[tdim - 1])
    tables = np.array([tabulate(velocity, p)[:, k] for p, k in zip(facet_points, on_facet, strict=True)])
    if np.abs(tables - tables[0]).max() > 1e-12:
        raise RuntimeError("the velocity element numbers its facet nodes differently from facet to facet")
    known = _COMMON.get((tdim, degree, facet_points.shape[0] * facet_points.shape[1], len(points), len(check)))
    return Reference(
        tdim, degree, affine, points, weights, facet_points, facet_weights,
        tabulate(density, points), tabulate(density, points, 1),
        np.array([tabulate(density, p) for p in facet_points]), tabulate(density, check),
        nodes, tabulate(velocity, points), on_facet, tables[0],
        positivity_weight(tdim, degree, check, points, facet_points, facet_weights) if known is None else known)


def positivity_weight(tdim: int, degree: int, check: np.ndarray, points: np.ndarray, facet_points: np.ndarray,
                      facet_weights: np.ndarray) -> float:
    """Largest t with int f = sum_s W_s f(s), W >= 0, and W >= t * facet_weights at the facet points, for f of `degree`.

    A linear programme over the weights W at facet points, quadrature points and check points. It is the constant of the
    positivity bound of Zhang & Shu (2010), here as large as the points allow: a forward Euler step keeps the cell average
    non-negative if dt * facet_weights * speed <= W * (least measure of the cell) at every facet point.
    """
    from scipy.optimize import linprog

    on_facets = facet_points.reshape(-1, tdim)
    every = np.vstack([on_facets, points, check])
    table = tabulate(density_element(tdim, degree), every)
    n, least = len(every), np.tile(facet_weights, len(facet_points))
    moments = np.zeros(table.shape[1])
    moments[0] = VOLUMES[tdim] ** 0.5  # the basis is orthonormal, so that all but the constant integrate to zero
    below = np.hstack([np.zeros((len(least), n)), least[:, None]])
    below[np.arange(len(least)), np.arange(len(least))] = -1.0
    result = linprog(-np.eye(n + 1)[n], A_ub=below, b_ub=np.zeros(len(least)),
                     A_eq=np.hstack([table.T, np.zeros((table.shape[1], 1))]), b_eq=moments, method="highs")
    if not result.success:
        raise RuntimeError(f"no positive decomposition of the cell average for degree {degree}: {result.message}")
    return float(result.x[n])
