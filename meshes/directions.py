"""Smooth normals of surfaces and tangents of curves that are made of cells, and the projection along them.

The cells of a mesh meet in corners, where their own tangents jump. Velocities need a tangent space that is continuous: each
node gets the mean normal (on curves the mean tangent) of the cells that meet there, and in between it is interpolated by
the polynomials of the geometry (Phong 1975). A point near the mesh is projected along that field (Panozzo, Baran, Diamanti
& Sorkine-Hornung 2013), which has no jumps at corners either.
"""

from __future__ import annotations

import numpy as np

from meshes.cell_maps import CellMaps, barycentric
from meshes.cells import CellList, lagrange_nodes

NEWTON = 12
HOPS = 40
INSIDE = 1e-12
CONVERGED = 1e-8  # the step after one of this size is below rounding


def nodal_directions(cells: CellList) -> np.ndarray:
    """(n, d) unit normals of a surface in R^3, or unit tangents of a curve, at the nodes of `cells`, consistently oriented.

    At vertices of surfaces cells count by their angle (Thürrner & Wüthrich 1998). NaN where the mean vanishes.
    """
    maps = CellMaps(cells.points[cells.cells], cells.dimension, cells.geometry)
    weights = lagrange_nodes(cells.dimension, cells.geometry)
    count, per = cells.cells.shape
    slope = maps.derivative(np.repeat(np.arange(count), per), np.tile(weights[:, 1:], (count, 1)))
    slope = slope.reshape(count, per, -1, cells.dimension)
    if cells.dimension == 1:
        own, share = slope[..., 0], np.ones((count, per))
    else:
        own, share = np.cross(slope[..., 0], slope[..., 1]), np.ones((count, per))
        corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        for i in range(3):
            a, b = (slope[:, i] @ (corners[(i + k) % 3] - corners[i]) for k in (1, 2))
            share[:, i] = np.arctan2(np.linalg.norm(np.cross(a, b), axis=1), np.einsum("ci,ci->c", a, b))
    own = own / np.linalg.norm(own, axis=2, keepdims=True) * share[..., None]
    total = np.zeros_like(cells.points)
    np.add.at(total, cells.cells, own)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.where(length > 1e-6, total / np.maximum(length, 1e-300), np.nan)


class SmoothProjection:
    """The projection of points near a curve or surface along its smooth normals. Local.

    Args:
        cells: a closed curve or surface, one dimension or more below that of the space.
    """

    def __init__(self, cells: CellList):
        self.curve = cells.dimension == 1
        self.positions = CellMaps(cells.points[cells.cells], cells.dimension, cells.geometry)
        self.directions = CellMaps(nodal_directions(cells)[cells.cells], cells.dimension, cells.geometry)
        self.neighbours = neighbours(cells.vertices)

    def __call__(self, points: np.ndarray, start: np.ndarray,
                 at: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """From cells `start` (n,), at reference coordinates `at` (n, dimension) in them, which should be near.

        Returns the cells (n,), reference coordinates (n, dimension), and whether there was a projection (n,).
        """
        cell, found = np.array(start), np.zeros(len(points), dtype=bool)
        dimension = self.positions.dimension
        xi = np.full((len(points), dimension), 1.0 / (dimension + 1)) if at is None else at.copy()
        active = np.arange(len(points))
        for _ in range(HOPS):
            xi[active] = self._solve(points[active], cell[active], xi[active])
            inside = barycentric(xi[active])
            here = inside.min(axis=1) >= -INSIDE
            found[active[here]] = True
            active, inside = active[~here], inside[~here]
            if not len(active):
                break
            # NaN has no side to leave by: such points are given up.
            lost = ~np.isfinite(inside).all(axis=1)
            active, inside = active[~lost], inside[~lost]
            cell[active] = self.neighbours[cell[active], inside.argmin(axis=1)]
            xi[active] = 1.0 / (dimension + 1)
        return cell, xi, found

    def direction(self, cell: np.ndarray, xi: np.ndarray) -> np.ndarray:
        """Unit normals or tangents (n, d) at reference points (n, dimension) of the cells (n,)."""
        values = self.directions.value(cell, xi)
        return values / np.linalg.norm(values, axis=1, keepdims=True)

    def _solve(self, points: np.ndarray, cell: np.ndarray, xi: np.ndarray) -> np.ndarray:
        """Newton's method in one cell each, whose polynomial is continued beyond it."""
        xi, active = xi.copy(), np.arange(len(points))
        height = np.zeros(len(points))
        with np.errstate(all="ignore"):
            for _ in range(NEWTON):
                on, at = cell[active], xi[active]
                gap, slope = points[active] - self.positions.value(on, at), self.positions.derivative(on, at)
                direction, turn = self.directions.value(on, at), self.directions.derivative(on, at)
                if self.curve:  # gap . tangent = 0
                    value = np.einsum("ni,ni->n", gap, direction)
                    rate = np.einsum("ni,ni->n", slope[..., 0], direction) - np.einsum("ni,ni->n", gap, turn[..., 0])
                    step = (value / rate)[:, None]
                else:  # gap = height * normal, by Cramer's rule
                    h = height[active, None]
                    a, b = (slope[..., i] + h * turn[..., i] for i in (0, 1))
                    rest = gap - h * direction
                    across = np.cross(a, b)
                    rate = np.einsum("ni,ni->n", across, direction)
                    step = np.stack([np.einsum("ni,ni->n", np.cross(rest, b), direction),
                                     np.einsum("ni,ni->n", np.cross(a, rest), direction)], axis=1) / rate[:, None]
                    height[active] += np.einsum("ni,ni->n", across, rest) / rate
                xi[active] = np.clip(at + step, -2.0, 3.0)  # NaN stays
                active = active[~(np.abs(step).max(axis=1) < CONVERGED)]
                if not len(active):
                    break
        return xi


def neighbours(vertices: np.ndarray) -> np.ndarray:
    """(c, dimension + 1) the cell across the facet opposite to each vertex of the cells (c, dimension + 1); itself at a wall."""
    count, corners = vertices.shape
    facets = np.sort(np.stack([np.delete(vertices, i, axis=1) for i in range(corners)], axis=1), axis=2)
    _, facet = np.unique(facets.reshape(count * corners, -1), axis=0, return_inverse=True)
    order = np.argsort(facet.ravel(), kind="stable")
    same = np.flatnonzero(facet.ravel()[order][1:] == facet.ravel()[order][:-1])
    across = np.repeat(np.arange(count), corners)
    one, other = order[same], order[same + 1]
    across[one], across[other] = other // corners, one // corners
    return across.reshape(count, corners)
