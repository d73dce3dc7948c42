"""What makes a mesh read from a file fit to carry a density; every complaint names a cell of the file."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from meshes import geometry
from meshes.cells import CellList
from meshes.errors import ProblemError

DEGENERATE = 1e-8  # a radius ratio, or a Jacobian relative to its mean, below this makes a cell degenerate


def refuse(path: Path, cell: int, complaint: str) -> NoReturn:
    """Raise the ProblemError about one cell of the file (numbers count from 0)."""
    raise ProblemError("space.path", str(path), f"cell {cell} {complaint}")


def node_numbers(path: Path, nodes: np.ndarray, count: int, file_index: np.ndarray) -> None:
    """Node numbers (c, k) must lie in 0 .. count - 1, and no cell may use a node twice."""
    outside = ((nodes < 0) | (nodes >= count)).any(axis=1)
    if outside.any():
        refuse(path, file_index[np.argmax(outside)], f"uses a node that is not among the {count} of the file")
    ordered = np.sort(nodes, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
    if twice.any():
        refuse(path, file_index[np.argmax(twice)], "is degenerate: it uses a node twice")


def finite(path: Path, points: np.ndarray, nodes: np.ndarray, file_index: np.ndarray) -> None:
    """Coordinates must be finite numbers."""
    bad = ~np.isfinite(points).all(axis=1)
    if bad.any():
        cell = file_index[np.argmax(bad[nodes].any(axis=1))]
        refuse(path, cell, "has a coordinate that is not a finite number")


def shapes(path: Path, cells: CellList, file_index: np.ndarray) -> None:
    """No cell may be degenerate or folded."""
    nodes = cells.points[cells.cells]
    ratio = geometry.radius_ratios(cells.points[cells.vertices])
    jacobian, weights = geometry.jacobians(nodes, cells.dimension, cells.geometry)
    factor = geometry.scale(jacobian)
    mean = factor @ weights / weights.sum()
    bad = ~((ratio > DEGENERATE) & (factor.min(axis=1) > DEGENERATE * mean) & (mean > 0))
    if bad.any():
        refuse(path, file_index[np.argmax(bad)], "is degenerate: its length, area or volume vanishes")
    if cells.geometry == 1:
        return
    if cells.points.shape[1] == cells.dimension:
        sign = np.linalg.det(jacobian)
    else:  # on a curve or surface: compare tangents or normals with their mean over the cell
        direction = (jacobian[..., 0] if cells.dimension == 1
                     else np.cross(jacobian[..., 0], jacobian[..., 1]))
        sign = np.einsum("cqg,cg->cq", direction, np.einsum("cqg,q->cg", direction, weights))
    folded = (sign.max(axis=1) > 0) & (sign.min(axis=1) < 0)
    if folded.any():
        refuse(path, file_index[np.argmax(folded)], "is folded: its curved map turns over")


def topology(path: Path, cells: CellList, closed: bool, file_index: np.ndarray) -> None:
    """Cells must form a manifold, consistently oriented, and closed where `closed`; none may hang loose."""
    vertices, dimension = cells.vertices, cells.dimension
    count = len(vertices)
    facets = np.stack([np.delete(vertices, i, axis=1) for i in range(dimension + 1)], axis=1)
    signs = np.tile((-1) ** np.arange(dimension + 1), (count, 1))
    order = np.argsort(facets, axis=2)
    signs = signs * _parity(order)
    keys = np.sort(facets, axis=2).reshape(-1, dimension)
    unique, facet_of, meeting = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    facet_of = facet_of.reshape(count, dimension + 1)
    kind = {1: "a vertex", 2: "an edge", 3: "a face"}[dimension]
    if (meeting > 2).any():
        bad = (meeting > 2)[facet_of].any(axis=1)
        cell = file_index[np.argmax(bad)]
        refuse(path, cell, f"has {kind} shared by more than two cells (not a manifold)")
    if closed and (meeting == 1).any():
        bad = (meeting == 1)[facet_of].any(axis=1)
        what = "curve" if dimension == 1 else "surface"
        middle = cells.points - cells.points.mean(axis=0)
        spread = np.linalg.svd(middle, compute_uv=False)  # a domain of the plane somewhere else in space, or a part of a line
        place = "z = 0" if dimension == 2 else "y = z = 0"
        advice = f"a flat domain must lie in {place}" if np.all(spread[dimension:] < 1e-9 * spread[0]) else \
            f"a curved {what} must be closed, without doubled vertices"
        refuse(path, file_index[np.argmax(bad)], f"has {kind} on a boundary; {advice}")
    total = np.zeros(len(unique))
    if cells.points.shape[1] == dimension:
        # In flat space orientation is the sign of the volume: all cells must agree.
        edges = cells.points[vertices[:, 1:]] - cells.points[vertices[:, :1]]
        sign = np.sign(np.linalg.det(edges))
        if (sign != sign[0]).any():
            minority = sign != np.sign(sign.sum() or 1.0)
            refuse(path, file_index[np.argmax(minority)], "is oriented against the others")
    else:
        np.add.at(total, facet_of, signs)
        wrong = (np.abs(total) == 2)[facet_of]
        if wrong.any():
            cell = np.argmax(wrong.sum(axis=1))
            refuse(path, file_index[cell], "is oriented against its neighbours")
    _fans(path, vertices, facet_of, len(unique), file_index)


def _parity(order: np.ndarray) -> np.ndarray:
    """Sign of each permutation along the last axis, which has one to three entries."""
    size = order.shape[-1]
    parity = np.ones(order.shape[:-1], dtype=int)
    for i in range(size):
        for j in range(i + 1, size):
            parity = np.where(order[..., i] > order[..., j], -parity, parity)
    return parity


def _fans(path: Path, vertices: np.ndarray, facet_of: np.ndarray, facets: int,
          file_index: np.ndarray) -> None:
    """Cells that share a vertex must be linked through facets at that vertex; no cell may be alone."""
    count, corners = vertices.shape
    if corners == 2 or count == 1:
        return
    # Nodes of the graph: the corners of all cells; links: the same vertex in two cells with a common facet.
    corner = np.arange(count * corners).reshape(count, corners)
    rows = np.concatenate([np.delete(corner, i, axis=1).ravel() for i in range(corners)])
    facet = np.concatenate([np.repeat(facet_of[:, i], corners - 1) for i in range(corners)])
    key = facet * (vertices.max() + 1) + vertices.ravel()[rows]
    order = np.argsort(key, kind="stable")
    same = key[order][1:] == key[order][:-1]
    left, right = rows[order][:-1][same], rows[order][1:][same]
    graph = coo_array((np.ones(len(left)), (left, right)), shape=(count * corners,) * 2)
    _, fan = connected_components(graph, directed=False)
    fans = np.unique(np.column_stack([vertices.ravel(), fan]), axis=0)
    vertex, times = np.unique(fans[:, 0], return_counts=True)
    if (times > 1).any():
        pinched = vertex[np.argmax(times > 1)]
        cell = np.flatnonzero((vertices == pinched).any(axis=1))[-1]
        refuse(path, file_index[cell], "touches others at a vertex alone (dangling, not a manifold)")
    alone = np.bincount(facet_of.ravel(), minlength=facets)[facet_of].max(axis=1) == 1
    if alone.any():
        refuse(path, file_index[np.argmax(alone)], "is attached to no other cell (dangling)")
