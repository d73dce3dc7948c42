"""Manifolds made of simplices, straight or curved: closest points, tangents, uniform points, quadrature. No dolfinx.

This is how the law sees a mesh file, a closed curve or surface or a flat domain. Positions and measures are those of the
file's own geometry, of whatever degree; tangent spaces of curves and surfaces are the smooth ones of `meshes.directions`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from meshes.cell_maps import CellMaps, barycentric
from meshes.cells import CellList, lagrange_nodes
from meshes.closest import Closest, flatten, foot_coordinates
from meshes.directions import SmoothProjection, neighbours
from meshes.manifold import Manifold, TangentMap
from meshes.simplex_rules import conical_rule, uniform_on_simplex

REFLECTIONS = 3
_EMPTY = CellList(np.empty((0, 1)), np.empty((0, 2), dtype=int), 1)


@dataclass(frozen=True, eq=False)
class SimplicialManifold(Manifold):
    """A manifold given by cells, the same on every rank. Methods are local.

    Attributes:
        cells: the cells, sound (`meshes.file_checks`); closed and consistently oriented unless they fill a domain.
    """

    cells: CellList = field(default_factory=lambda: _EMPTY)

    @cached_property
    def maps(self) -> CellMaps:
        """Positions of the points of each cell."""
        return CellMaps(self.cells.points[self.cells.cells], self.intrinsic, self.cells.geometry)

    @cached_property
    def measures(self) -> np.ndarray:
        """Length, area or volume (c,) of each cell."""
        from meshes import geometry  # needs basix, which problems without a mesh file do without

        return geometry.measures(self.cells.points[self.cells.cells], self.intrinsic, self.cells.geometry)

    @property
    def solid(self) -> bool:
        """Whether the cells fill a domain of the space around them."""
        return self.intrinsic == self.dimension

    @cached_property
    def reach(self) -> float:  # type: ignore[override]
        return float(np.abs(self.cells.points).max(initial=0.0)) or 1.0

    @cached_property
    def roughness(self) -> float:  # type: ignore[override]
        """The mean over facets of size x angle / 8: the height of an arc over its chord, for the angle between two cells."""
        if self.solid:
            return 0.0
        across = neighbours(self.cells.vertices)
        corners = np.vstack([np.zeros(self.intrinsic), np.eye(self.intrinsic)])
        middle = (corners.sum(axis=0) - corners) / self.intrinsic  # of the facet opposite to each corner
        count = len(across)
        own = np.stack([self._own_directions(np.arange(count), np.tile(at, (count, 1))) for at in middle], axis=1)
        other = np.argmax(across[across] == np.arange(count)[:, None, None], axis=2)  # the same facet, seen from there
        size = self.measures ** (1.0 / self.intrinsic)
        return float(np.mean(size[:, None] * _angles(own, own[across, other]) / 8.0))

    @cached_property
    def radius(self) -> float:
        """Mean radius of curvature of a closed surface: the distance of neighbouring cells over the angle between them."""
        across = neighbours(self.cells.vertices)
        number, middle = np.arange(len(across)), np.full((len(across), 2), 1.0 / 3.0)
        normal, centre = self._own_directions(number, middle), self.maps.value(number, middle)
        away = np.linalg.norm(centre[:, None] - centre[across], axis=2)
        return float(away.mean() / max(float(_angles(normal[:, None], normal[across]).mean()), 1e-300))

    def _own_directions(self, cell: np.ndarray, xi: np.ndarray) -> np.ndarray:
        """Unit tangents (n, d) of curves, normals of surfaces, of the cells themselves."""
        slope = self.maps.derivative(cell, xi)
        value = slope[..., 0] if self.intrinsic == 1 else np.cross(slope[..., 0], slope[..., 1])
        return value / np.linalg.norm(value, axis=1, keepdims=True)

    @cached_property
    def smooth(self) -> SmoothProjection:
        """The projection along smooth normals; of curves and surfaces only."""
        return SmoothProjection(self.cells)

    @cached_property
    def _nearest(self) -> Closest:
        """What a point off the manifold can be nearest to: the cells of a curve or surface, the walls of a domain."""
        return Closest(_walls(self.cells) if self.solid else self.maps)

    @cached_property
    def _pieces(self) -> Closest:
        return Closest(self.maps)

    @cached_property
    def _latest(self) -> dict[str, np.ndarray]:
        """Where the points last retracted lie: they are the ones whose tangents are asked for next."""
        return {"points": np.empty((0, self.dimension)), "cell": np.empty(0, dtype=int), "xi": np.empty((0, self.intrinsic))}

    def locate(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cells (n,) of a curve or surface and reference coordinates (n, intrinsic) of points (n, d) brought back to it.

        Along smooth normals where that leads to a place near the closest one, else to the closest point itself.
        """
        latest = self._latest
        if len(points) == len(latest["points"]):
            if np.array_equal(points, latest["points"]):
                return latest["cell"], latest["xi"]
            # The same points a little later, most likely; that the place found is near is checked in any case.
            start, at = latest["cell"], latest["xi"]
        else:
            start, at = self._nearest.guess(points), None
        cell, xi, found = self.smooth(points, start, at)
        near = 0.5 * self._nearest.radius
        away = np.where(found, np.linalg.norm(points - self.maps.value(cell, xi), axis=1), np.inf)
        doubtful = np.flatnonzero(~(away <= near))
        if len(doubtful):
            some = points[doubtful]
            x, start, at = self._nearest(some)
            closest = np.linalg.norm(some - x, axis=1)
            again, along, found = self.smooth(some, start)
            smooth = found & (np.linalg.norm(some - self.maps.value(again, along), axis=1) <= 1.5 * closest + 1e-12 * near)
            cell[doubtful] = np.where(smooth, again, start)
            xi[doubtful] = np.where(smooth[:, None], along, at)
        return cell, xi

    def retract(self, points: np.ndarray) -> np.ndarray:
        points = np.array(points, dtype=float)
        if self.solid:
            outside = ~self.contains(points)
            if outside.any():
                points[outside] = self._nearest(points[outside])[0]
            return points
        if len(points):
            cell, xi = self.locate(points)
            points = self.maps.value(cell, xi)
            self._latest.update(points=points.copy(), cell=cell, xi=xi)
        return points

    def reflect(self, points: np.ndarray) -> np.ndarray:
        if not self.solid:
            return self.retract(points)
        points = np.array(points, dtype=float)
        outside = np.flatnonzero(~self.contains(points))
        for _ in range(REFLECTIONS):  # more than once in corners only
            if not len(outside):
                return points
            points[outside] = 2.0 * self._nearest(points[outside])[0] - points[outside]
            outside = outside[~self.contains(points[outside])]
        return self.retract(points)

    def project(self, points: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        return self.tangents(points)(np.asarray(vectors, dtype=float))

    def tangents(self, points: np.ndarray) -> TangentMap:
        if self.solid or not len(points):
            return lambda vectors: np.array(vectors, dtype=float)
        direction = self.directions(points)
        along = 1.0 if self.intrinsic == 1 else -1.0

        def project(vectors: np.ndarray) -> np.ndarray:
            component = np.einsum("ni,ni->n", vectors, direction)[:, None] * direction
            return component if along > 0 else vectors - component

        return project

    def directions(self, points: np.ndarray) -> np.ndarray:
        """(n, d) unit smooth normals of a surface, or tangents of a curve, at points (n, d) on it."""
        return self.smooth.direction(*self.locate(np.asarray(points, dtype=float)))

    def spread(self, points: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        if self.solid or not len(points):
            return np.array(vectors, dtype=float)
        # The part of the vectors in the cell's own plane; `retract` moves along smooth normals, which undo the last line.
        cell, xi = self.locate(np.asarray(points, dtype=float))
        basis = np.linalg.qr(self.maps.derivative(cell, xi))[0]
        flat = np.einsum("nij,nkj,nk->ni", basis, basis, vectors)
        return self.tangents(points)(flat)

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Whether each point (n, d) lies in a domain; exact but for points within 1e-12 of curved walls."""
        inside = np.zeros(len(points), dtype=bool)
        if not len(points):
            return inside
        pieces = self._pieces
        within = pieces.tree.query_ball_point(points, pieces.radius * (1.0 + 1e-12))
        candidates, owner = flatten(within)
        if len(candidates):
            hit = foot_coordinates(points[owner], pieces.corners[candidates]).min(axis=1) >= -1e-12
            np.logical_or.at(inside, owner, hit)
        if self.cells.geometry > 1:  # pieces are straight: what is near a curved wall is decided by the wall
            inside = self._beyond_pieces(points, inside)
        return inside

    def _beyond_pieces(self, points: np.ndarray, inside: np.ndarray) -> np.ndarray:
        x, face, at = self._nearest(points)
        gap = points - x
        near = np.flatnonzero(np.linalg.norm(gap, axis=1) < self._nearest.radius)
        if len(near):
            walls, outward = self._nearest.maps, _outward(self._nearest.maps.derivative(face[near], at[near]))
            sign = self._wall_signs[face[near]]
            height = sign * np.einsum("ni,ni->n", gap[near], outward)
            edge = barycentric(at[near]).min(axis=1) < 1e-9 if walls.dimension else np.zeros(len(near), dtype=bool)
            inside = inside.copy()
            sure = ~edge | (np.abs(height) < 1e-13)
            inside[near[sure]] = height[sure] <= 1e-12
        return inside

    @cached_property
    def _wall_signs(self) -> np.ndarray:
        """+1 where the normal of `_outward` points out of the domain at each wall facet (f,), else -1."""
        walls, count = self._nearest.maps, len(self._nearest.maps)
        centre = np.full((count, walls.dimension), 1.0 / (walls.dimension + 1))
        number = np.arange(count)
        normal = _outward(walls.derivative(number, centre))
        towards = self._wall_inside - walls.value(number, centre)
        return np.where(np.einsum("ni,ni->n", normal, towards) < 0, 1.0, -1.0)

    @cached_property
    def _wall_inside(self) -> np.ndarray:
        """(f, d) the centre of the cell behind each wall facet."""
        owner = np.flatnonzero(_on_wall(self.cells).ravel()) // (self.intrinsic + 1)
        xi = np.full((len(owner), self.intrinsic), 1.0 / (self.intrinsic + 1))
        return self.maps.value(owner, xi)

    @property
    def uniforms(self) -> int:
        """How many uniform numbers `uniform` takes per point."""
        return self.intrinsic + 1

    def uniform(self, u: np.ndarray) -> np.ndarray:
        """Points (n, d), uniform on the manifold, from independent uniform numbers (n, uniforms)."""
        edges = np.cumsum(self.measures)
        cell = np.minimum(np.searchsorted(edges, u[:, 0] * edges[-1], side="right"), len(edges) - 1)
        return self.uniform_in(cell, u[:, 1:])

    def uniform_in(self, cells: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Points (n, d), uniform in the given cells (n,), from independent uniform numbers (n, intrinsic)."""
        scale = None if self.cells.geometry == 1 else lambda chosen, xi: _scale(self.maps.derivative(cells[chosen], xi))
        return self.maps.value(cells, uniform_on_simplex(u, scale))

    def nodes(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """About n quadrature nodes (m, d), at least one per cell, and weights (m,) that sum to the volume.

        Each cell's weights sum to its own measure.
        """
        order = max(1, round((n / len(self.maps)) ** (1 / self.intrinsic)))
        xi, weights = conical_rule(self.intrinsic, order)
        shares = self._scales(xi) * weights
        shares *= (self.measures / shares.sum(axis=1))[:, None]
        points = self.maps.everywhere(xi).reshape(-1, self.dimension)
        return points, shares.ravel() * ((self.volume or shares.sum()) / shares.sum())

    def _scales(self, xi: np.ndarray) -> np.ndarray:
        """(c, q) length, area or volume factors of every cell at reference points (q, intrinsic)."""
        count = len(self.maps)
        slope = self.maps.derivative(np.repeat(np.arange(count), len(xi)), np.tile(xi, (count, 1)))
        return _scale(slope).reshape(count, len(xi))


def simplicial(name: str, cells: CellList) -> SimplicialManifold:
    """The manifold that sound `cells` make up: a domain where they have the dimension of the space, else closed."""
    d, intrinsic = cells.points.shape[1], cells.dimension
    manifold = SimplicialManifold(name, d, intrinsic, d > intrinsic, False, None, cells)
    return SimplicialManifold(name, d, intrinsic, d > intrinsic, False, float(manifold.measures.sum()), cells)


def _angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angles (..) between unit vectors (.., d)."""
    return 2.0 * np.arcsin(np.minimum(np.linalg.norm(a - b, axis=-1) / 2.0, 1.0))


def _scale(slope: np.ndarray) -> np.ndarray:
    """sqrt(det J^T J) of Jacobians (n, d, k)."""
    return np.sqrt(np.maximum(np.linalg.det(np.swapaxes(slope, 1, 2) @ slope), 0.0))


def _outward(slope: np.ndarray) -> np.ndarray:
    """(n, d) a unit normal of hypersurfaces with Jacobians (n, d, d - 1); its side depends on the order of vertices."""
    if slope.shape[2] == 0:
        return np.ones(slope.shape[:2])
    if slope.shape[2] == 2:
        normal = np.cross(slope[..., 0], slope[..., 1])
    else:
        normal = slope[..., 0] @ np.array([[0.0, -1.0], [1.0, 0.0]])
    return normal / np.linalg.norm(normal, axis=1, keepdims=True)


def _on_wall(cells: CellList) -> np.ndarray:
    """(c, dimension + 1) whether the facet opposite to each vertex belongs to one cell only."""
    count, corners = cells.vertices.shape
    facets = np.sort(np.stack([np.delete(cells.vertices, i, axis=1) for i in range(corners)], axis=1), axis=2)
    _, number, times = np.unique(facets.reshape(count * corners, -1), axis=0, return_inverse=True, return_counts=True)
    return (times[number.ravel()] == 1).reshape(count, corners)


def _walls(cells: CellList) -> CellMaps:
    """The walls of a domain as cells of one dimension less."""
    own = lagrange_nodes(cells.dimension, cells.geometry)
    lower = cells.dimension - 1
    wanted = lagrange_nodes(lower, cells.geometry) if lower else np.ones((1, 1))
    wall, nodes = _on_wall(cells), []
    on_facet = []
    for i in range(cells.dimension + 1):
        gaps = np.abs(np.delete(own, i, axis=1)[None] - wanted[:, None]).sum(axis=2) + own[None, :, i]
        on_facet.append(gaps.argmin(axis=1))
    for cell, i in zip(*np.nonzero(wall), strict=True):
        nodes.append(cells.cells[cell][on_facet[i]])
    return CellMaps(cells.points[np.array(nodes)], lower, cells.geometry)
