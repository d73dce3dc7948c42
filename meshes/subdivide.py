"""Simplices cut into smaller ones: pieces of the reference simplex, and meshes refined uniformly onto their own geometry."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from meshes.cell_maps import CellMaps
from meshes.cells import CellList, lagrange_nodes

# Corners of the children in halves of barycentric coordinates. Tetrahedra are cut as by Bey (1995).
_CHILDREN: dict[int, tuple[tuple[str, ...], ...]] = {
    1: (("0", "01"), ("01", "1")),
    2: (("0", "01", "02"), ("01", "1", "12"), ("02", "12", "2"), ("01", "12", "02")),
    3: (("0", "01", "02", "03"), ("01", "1", "12", "13"), ("02", "12", "2", "23"), ("03", "13", "23", "3"),
        ("01", "02", "03", "13"), ("01", "02", "12", "13"), ("02", "03", "13", "23"), ("02", "12", "13", "23")),
}


@lru_cache
def children(dimension: int) -> np.ndarray:
    """(2^dimension, dimension + 1, dimension + 1) barycentric corners of the children, oriented as their parent."""
    unit = np.eye(dimension + 1)
    corners = np.array([[unit[[int(v) for v in name]].mean(axis=0) for name in child] for child in _CHILDREN[dimension]])
    left = np.linalg.det(corners) < 0
    corners[left] = corners[left][:, [*range(dimension - 1), dimension, dimension - 1]]
    return corners


@lru_cache
def subdivision(dimension: int, pieces: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (v, dimension) of the reference simplex and simplices (p, dimension + 1) that fill it.

    Every edge is cut into the least power of two that is at least `pieces`.
    """
    corners = np.eye(dimension + 1)[None]
    count = 1
    while dimension and count < pieces:
        corners = np.einsum("pij,cki->pckj", corners, children(dimension)).reshape(-1, dimension + 1, dimension + 1)
        count *= 2
    points, simplices = np.unique(corners.reshape(-1, dimension + 1).round(12), axis=0, return_inverse=True)
    return points[:, 1:], simplices.reshape(len(corners), dimension + 1)


def refined(cells: CellList) -> CellList:
    """Every cell cut into 2^dimension, of the same degree: the maps are restricted, so that the geometry stays as it was.

    The children of a cell follow each other in the new list.
    """
    dimension, degree = cells.dimension, cells.geometry
    steps = 2 * degree
    nodes = np.einsum("kj,cji->cki", lagrange_nodes(dimension, degree), children(dimension))
    local = np.rint(nodes * steps).astype(np.int64)  # (children, k, dimension + 1) whole numbers that add up to `steps`
    lattice, place = np.unique(local.reshape(-1, dimension + 1), axis=0, return_inverse=True)
    points = CellMaps(cells.points[cells.cells], dimension, degree).everywhere(lattice[:, 1:] / steps)
    # A node is known by the vertices around it and its place between them, inside a cell by the cell too.
    count = len(cells.cells)
    vertex = np.where(lattice[None] > 0, cells.vertices[:, None, :], -1)
    share = np.broadcast_to(lattice, vertex.shape)
    order = np.argsort(vertex, axis=2)
    inside = np.where((lattice > 0).all(axis=1), np.arange(count)[:, None], -1)
    keys = np.concatenate([np.take_along_axis(vertex, order, 2), np.take_along_axis(share, order, 2), inside[..., None]], axis=2)
    _, first, number = np.unique(keys.reshape(-1, keys.shape[2]), axis=0, return_index=True, return_inverse=True)
    number = number.reshape(count, len(lattice))[:, place.ravel()]
    return CellList(points.reshape(-1, points.shape[2])[first], number.reshape(-1, local.shape[1]), dimension, degree)
