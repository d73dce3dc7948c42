"""Manifolds made of straight simplices: closest points, tangents, uniform points, quadrature. No dolfinx.

This is how tokens see a mesh file: a closed curve or surface, or a flat domain. Curved cells count as straight ones between
their vertices, which is exact to second order in the cell size.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.special import roots_jacobi

from meshes.manifold import Manifold


@dataclass(frozen=True, eq=False)
class SimplicialManifold(Manifold):
    """A manifold given by simplices, the same on every rank.

    Attributes:
        vertices: (v, d) coordinates. simplices: (c, intrinsic + 1) vertex numbers.
    """

    vertices: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    simplices: np.ndarray = field(default_factory=lambda: np.empty((0, 0), dtype=int))

    @cached_property
    def _corners(self) -> np.ndarray:
        return self.vertices[self.simplices]

    @cached_property
    def measures(self) -> np.ndarray:
        """Length, area or volume (c,) of each cell."""
        return _measures(self._corners)

    @cached_property
    def _tangents(self) -> np.ndarray:
        """Orthonormal tangents (c, d, intrinsic) of each simplex."""
        return np.linalg.qr(np.swapaxes(self._corners[:, 1:] - self._corners[:, :1], 1, 2))[0]

    @cached_property
    def _nearest(self) -> _Tree:
        """What a point off the manifold can be nearest to: the cells of a curve or surface, the walls of a domain."""
        return _Tree(self.vertices[_boundary(self.simplices)] if self._solid else self._corners)

    @cached_property
    def _cells(self) -> _Tree:
        return _Tree(self._corners)

    @property
    def _solid(self) -> bool:
        return self.intrinsic == self.dimension

    def project(self, points: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        if self._solid:
            return np.array(vectors, dtype=float)
        basis = self._tangents[self._nearest.nearest(np.asarray(points, dtype=float))[1]]
        return np.einsum("nij,nkj,nk->ni", basis, basis, vectors)

    def retract(self, points: np.ndarray) -> np.ndarray:
        points = np.array(points, dtype=float)
        outside = np.ones(len(points), dtype=bool) if not self._solid else ~self._cells.contains(points)
        if outside.any():
            points[outside] = self._nearest.nearest(points[outside])[0]
        return points

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
        # The gaps between sorted uniform numbers are uniform barycentric coordinates.
        ends = np.pad(np.sort(u, axis=1), ((0, 0), (1, 1)), constant_values=((0, 0), (0.0, 1.0)))
        return np.einsum("nk,nki->ni", np.diff(ends, axis=1), self._corners[cells])

    def nodes(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """About n quadrature nodes (m, d), at least one per cell, and weights (m,) that sum to the volume."""
        order = max(1, round((n / len(self._corners)) ** (1 / self.intrinsic)))
        coordinates, weights = _conical_rule(self.intrinsic, order)
        points = np.einsum("qk,cki->cqi", coordinates, self._corners).reshape(-1, self.dimension)
        share = np.outer(self.measures, weights).ravel()
        return points, share * ((self.volume or share.sum()) / share.sum())


class _Tree:
    """Closest points on a set of simplices (f, k, d), exact: candidates are all those that can come close enough."""

    def __init__(self, corners: np.ndarray):
        self.corners = corners
        centres = corners.mean(axis=1)
        self.radius = float(np.linalg.norm(corners - centres[:, None], axis=2).max())
        from scipy.spatial import cKDTree  # here, because the import is slow and most problems have no mesh file

        self.tree = cKDTree(centres)

    def nearest(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Closest points (n, d), and the number (n,) of the simplex each lies on."""
        reach = self.tree.query(points)[0] + self.radius
        candidates, owner = _flatten(self.tree.query_ball_point(points, reach * (1.0 + 1e-12)))
        closest, squared = closest_on_simplices(points[owner], self.corners[candidates])
        order = np.lexsort((candidates, squared, owner))
        first = order[np.unique(owner[order], return_index=True)[1]]
        return closest[first], candidates[first]

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Whether each point (n,) lies in one of the simplices, which are of full dimension."""
        candidates, owner = _flatten(self.tree.query_ball_point(points, self.radius * (1.0 + 1e-12)))
        inside = np.zeros(len(points), dtype=bool)
        if len(candidates):
            hit = _barycentric(points[owner], self.corners[candidates]).min(axis=1) >= -1e-12
            np.logical_or.at(inside, owner, hit)
        return inside


def _flatten(lists: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    owner = np.repeat(np.arange(len(lists)), [len(entry) for entry in lists])
    return np.fromiter(itertools.chain.from_iterable(lists), dtype=int, count=len(owner)), owner


def _barycentric(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Barycentric coordinates (n, k) of the foot of each point (n, d) in the plane of its simplex (n, k, d)."""
    edges = corners[:, 1:] - corners[:, :1]
    gram = np.einsum("nki,nli->nkl", edges, edges)
    right = np.einsum("nki,ni->nk", edges, points - corners[:, 0])
    rest = np.linalg.solve(gram, right[..., None])[..., 0]
    return np.column_stack([1.0 - rest.sum(axis=1), rest])


def closest_on_simplices(points: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Closest point (n, d) of each simplex (n, k, d) and its squared distance (n,): inside, else on the nearest facet."""
    count = corners.shape[1]
    if count == 1:
        return corners[:, 0], np.sum((points - corners[:, 0]) ** 2, axis=1)
    coordinates = _barycentric(points, corners)
    closest = np.einsum("nk,nki->ni", coordinates, corners)
    squared = np.sum((points - closest) ** 2, axis=1)
    out = coordinates.min(axis=1) < 0.0
    if out.any():
        options = [closest_on_simplices(points[out], np.delete(corners[out], i, axis=1)) for i in range(count)]
        distances = np.stack([option[1] for option in options])
        best = distances.argmin(axis=0)
        closest[out] = np.stack([option[0] for option in options])[best, np.arange(len(best))]
        squared[out] = distances.min(axis=0)
    return closest, squared


def _boundary(simplices: np.ndarray) -> np.ndarray:
    """Facets (f, k - 1) that belong to one simplex only."""
    facets = np.concatenate([np.delete(simplices, i, axis=1) for i in range(simplices.shape[1])])
    _, first, times = np.unique(np.sort(facets, axis=1), axis=0, return_index=True, return_counts=True)
    return facets[first[times == 1]]


def _measures(corners: np.ndarray) -> np.ndarray:
    edges = corners[:, 1:] - corners[:, :1]
    gram = np.einsum("cki,cli->ckl", edges, edges)
    return np.sqrt(np.maximum(np.linalg.det(gram), 0.0)) / math.factorial(edges.shape[1])


def _conical_rule(dimension: int, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Barycentric nodes (order^dimension, dimension + 1) and weights, summing to 1, exact to degree 2 order - 1 (Stroud 1971)."""
    points, weights = np.ones((1, 1)), np.ones(1)
    for k in range(1, dimension + 1):
        z, w = roots_jacobi(order, k - 1, 0)
        s, w = 0.5 * (z + 1.0), w / w.sum()
        # A simplex is a cone over the previous one: s measures towards the new vertex.
        inner = (1.0 - s)[:, None, None] * points
        points = np.concatenate([inner.reshape(-1, k), np.repeat(s, len(points))[:, None]], axis=1)
        weights = np.outer(w, weights).ravel()
    return points, weights
