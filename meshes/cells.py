"""Lists of cells before they become a dolfinx mesh, and the nodes of their curved geometry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

CELL_NAMES = {1: "interval", 2: "triangle", 3: "tetrahedron"}


@dataclass(frozen=True)
class CellList:
    """Simplices of one kind, all on one rank.

    Attributes:
        points: (n, gdim) coordinates of the nodes.
        cells: (c, k) node numbers per cell, in basix's order of Lagrange nodes: vertices, edges, interior.
        dimension: of the cells, 1 to 3.
        geometry: polynomial degree of the cells, 1 to 3.
    """

    points: np.ndarray
    cells: np.ndarray
    dimension: int
    geometry: int = 1

    @property
    def cell_name(self) -> str:
        return CELL_NAMES[self.dimension]

    @property
    def vertices(self) -> np.ndarray:
        """(c, dimension + 1) vertex numbers of each cell."""
        return self.cells[:, : self.dimension + 1]

    def renumbered(self, seed: int) -> tuple[CellList, np.ndarray]:
        """The same cells and nodes in a random order, and (c,) the old number of each new cell."""
        rng = np.random.default_rng(seed)
        old_cell, old_node = rng.permutation(len(self.cells)), rng.permutation(len(self.points))
        new_node = np.empty_like(old_node)
        new_node[old_node] = np.arange(len(old_node))
        cells = new_node[self.cells[old_cell]]
        return CellList(self.points[old_node], cells, self.dimension, self.geometry), old_cell


def lagrange_nodes(dimension: int, degree: int) -> np.ndarray:
    """(k, dimension + 1) barycentric coordinates of the equispaced Lagrange nodes, in basix's order."""
    import basix  # not needed, hence not imported, where there is no mesh

    cell = {1: basix.CellType.interval, 2: basix.CellType.triangle, 3: basix.CellType.tetrahedron}[dimension]
    element = basix.create_element(basix.ElementFamily.P, cell, degree, basix.LagrangeVariant.equispaced)
    points = np.asarray(element.points)
    return np.column_stack([1.0 - points.sum(axis=1), points])


def curved(flat: CellList, geometry: int, push: Callable[[np.ndarray], np.ndarray]) -> CellList:
    """Triangles of degree `geometry` whose nodes lie on a manifold.

    Each node is placed on the flat triangle and moved by `push`, (n, gdim) -> (n, gdim), the retraction onto
    the manifold; nodes on a shared edge are shared. `flat` has degree 1 and its vertices on the manifold.
    """
    if geometry == 1:
        return flat
    bary, triangles, gdim = lagrange_nodes(2, geometry), flat.cells, flat.points.shape[1]
    cells = np.empty((len(triangles), len(bary)), dtype=np.int64)
    cells[:, :3] = triangles
    edges, edge_of_cell = edges_of(triangles)
    steps = (np.arange(1, geometry) / geometry)[:, None]
    start, stop = flat.points[edges[:, :1]], flat.points[edges[:, 1:]]
    on_edges = push(((1 - steps) * start + steps * stop).reshape(-1, gdim))
    count = len(flat.points)
    for edge, (first, second) in enumerate(EDGE_ENDS):
        nodes = np.flatnonzero((bary[:, edge] < 1e-12) & (bary[:, first] > 1e-12) & (bary[:, second] > 1e-12))
        along = np.rint(bary[nodes, second] * geometry).astype(int) - 1  # 0, 1, .. from the first end on
        forward = (triangles[:, first] < triangles[:, second])[:, None]
        position = np.where(forward, along, geometry - 2 - along)
        cells[:, nodes] = count + edge_of_cell[:, edge, None] * (geometry - 1) + position
    count += len(on_edges)
    inside = np.flatnonzero((bary > 1e-12).all(axis=1))
    in_cells = push(np.einsum("kb,cbd->ckd", bary[inside], flat.points[triangles]).reshape(-1, gdim))
    cells[:, inside] = count + np.arange(len(in_cells)).reshape(len(triangles), len(inside))
    return CellList(np.concatenate([flat.points, on_edges, in_cells]), cells, 2, geometry)


EDGE_ENDS = ((1, 2), (0, 2), (0, 1))  # basix: edge i of a triangle lies opposite to vertex i


def edges_of(triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(e, 2) edges as sorted vertex numbers, and (c, 3) their numbers per triangle, ordered as EDGE_ENDS."""
    pairs = np.sort(np.stack([triangles[:, ends] for ends in EDGE_ENDS], axis=1), axis=2)
    edges, numbers = np.unique(pairs.reshape(-1, 2), axis=0, return_inverse=True)
    return edges, numbers.reshape(-1, 3)
