"""Closest points on sets of simplices, straight or curved."""

from __future__ import annotations

import itertools

import numpy as np

from meshes.cell_maps import CellMaps
from meshes.subdivide import subdivision

NEIGHBOURS = 12  # pieces looked at before the exact search
ITERATIONS = 30


def closest_on_simplices(points: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Closest point (n, d) of each straight simplex (n, k, d) and its squared distance (n,)."""
    closest = np.einsum("nk,nki->ni", closest_coordinates(points, corners), corners)
    return closest, np.sum((points - closest) ** 2, axis=1)


def closest_coordinates(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Barycentric coordinates (n, k), non-negative, of that point: inside, else on the nearest facet."""
    count = corners.shape[1]
    if count == 1:
        return np.ones((len(points), 1))
    coordinates = foot_coordinates(points, corners)
    out = coordinates.min(axis=1) < 0.0
    if out.any():
        options, distances = [], []
        for i in range(count):
            facet = np.delete(corners[out], i, axis=1)
            found = closest_coordinates(points[out], facet)
            distances.append(np.sum((points[out] - np.einsum("nk,nki->ni", found, facet)) ** 2, axis=1))
            options.append(np.insert(found, i, 0.0, axis=1))
        best = np.argmin(distances, axis=0)
        coordinates[out] = np.stack(options)[best, np.arange(len(best))]
    return coordinates


def foot_coordinates(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Barycentric coordinates (n, k) of the foot of each point (n, d) in the plane of its simplex (n, k, d)."""
    edges = corners[:, 1:] - corners[:, :1]
    gram = np.einsum("nki,nli->nkl", edges, edges)
    right = np.einsum("nki,ni->nk", edges, points - corners[:, 0])
    rest = np.linalg.solve(gram, right[..., None])[..., 0]
    return np.column_stack([1.0 - rest.sum(axis=1), rest])


class Closest:
    """Closest points on the cells of `maps`, exact for straight cells.

    Curved cells are cut into straight pieces that tell which cell is closest; the point on it then comes from successive
    linearisation of its map, each step a closest point on the tangent simplex.

    Attributes:
        radius: greatest distance of a point of a piece from the piece's centre.
    """

    def __init__(self, maps: CellMaps):
        self.maps = maps
        lattice, simplices = subdivision(maps.dimension, 1 if maps.degree == 1 else 2 * maps.degree)
        self._local = lattice[simplices]  # (p, k, dimension)
        corners = maps.everywhere(lattice)[:, simplices]
        self.per_cell = len(simplices)
        self.corners = corners.reshape(-1, *corners.shape[2:])
        centres = self.corners.mean(axis=1)
        self.radius = float(np.linalg.norm(self.corners - centres[:, None], axis=2).max())
        from scipy.spatial import cKDTree  # here, because the import is slow and most problems have no mesh file

        self.tree = cKDTree(centres)

    def guess(self, points: np.ndarray) -> np.ndarray:
        """The cell (n,) with the nearest piece centre: cheap, not always the closest cell."""
        return self.tree.query(points)[1] // self.per_cell

    def __call__(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Closest points (n, d), the cell (n,) each lies in, and its reference coordinates (n, dimension)."""
        piece, inside = self._piece(points)
        cell = piece // self.per_cell
        xi = np.einsum("nk,nka->na", inside, self._local[piece % self.per_cell])
        if self.maps.degree > 1 and self.maps.dimension:
            xi = self._polish(points, cell, xi)
        return self.maps.value(cell, xi), cell, xi

    def _piece(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The closest piece (n,) and the barycentric coordinates (n, k) of the point in it."""
        count = min(NEIGHBOURS, len(self.corners))
        away, near = self.tree.query(points, k=np.arange(1, count + 1))
        owner = np.repeat(np.arange(len(points)), count)
        best, inside, squared = self._best(points, near.ravel(), owner)
        missed = np.sqrt(squared) > away[:, -1] - self.radius
        if count < len(self.corners) and missed.any():
            rest = np.flatnonzero(missed)
            lists = self.tree.query_ball_point(points[rest], (np.sqrt(squared[rest]) + self.radius) * (1.0 + 1e-12))
            candidates, owner = flatten(lists)
            best[rest], inside[rest], _ = self._best(points[rest], candidates, owner)
        return best, inside

    def _best(self, points: np.ndarray, candidates: np.ndarray, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        coordinates = closest_coordinates(points[owner], self.corners[candidates])
        closest = np.einsum("nk,nki->ni", coordinates, self.corners[candidates])
        squared = np.sum((points[owner] - closest) ** 2, axis=1)
        order = np.lexsort((candidates, squared, owner))
        first = order[np.unique(owner[order], return_index=True)[1]]
        return candidates[first], coordinates[first], squared[first]

    def _polish(self, points: np.ndarray, cell: np.ndarray, xi: np.ndarray) -> np.ndarray:
        corners = np.vstack([np.zeros(self.maps.dimension), np.eye(self.maps.dimension)])
        xi, active = xi.copy(), np.arange(len(points))
        for _ in range(ITERATIONS):
            here, at = cell[active], xi[active]
            x, slope = self.maps.value(here, at), self.maps.derivative(here, at)
            tangent = x[:, None] + np.einsum("nda,nka->nkd", slope, corners - at[:, None])
            new = closest_coordinates(points[active], tangent)[:, 1:]
            xi[active] = new
            active = active[np.abs(new - at).max(axis=1) > 1e-14]
            if not len(active):
                break
        return xi


def flatten(lists: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The entries of an array of lists in one array, and the number of the list each comes from."""
    owner = np.repeat(np.arange(len(lists)), [len(entry) for entry in lists])
    return np.fromiter(itertools.chain.from_iterable(lists), dtype=int, count=len(owner)), owner
