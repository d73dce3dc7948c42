"""Token spaces from mesh files: closed curves and surfaces, or flat domains, of geometry degree 1 to 3."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from functools import cached_property
from math import comb
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from meshes import file_checks, references
from meshes.cells import CellList, lagrange_nodes
from meshes.errors import ProblemError
from meshes.simplicial import SimplicialManifold, simplicial

if TYPE_CHECKING:
    import meshio

# Name in meshio: dimension and degree of the cells that can be used.
SUPPORTED = {"line": (1, 1), "line3": (1, 2), "line4": (1, 3), "triangle": (2, 1), "triangle6": (2, 2),
             "triangle10": (2, 3), "tetra": (3, 1), "tetra10": (3, 2)}
# VTK's cells of any degree, by dimension; the number of nodes tells the degree.
_LAGRANGE = {"VTK_LAGRANGE_CURVE": 1, "VTK_LAGRANGE_TRIANGLE": 2, "VTK_LAGRANGE_TETRAHEDRON": 3}
FORMATS = (".msh", ".xdmf", ".vtu")
# Ends of the edges in the order in which VTK and Gmsh number the nodes on them.
_EDGES = {1: ((0, 1),), 2: ((0, 1), (1, 2), (2, 0)), 3: ((0, 1), (1, 2), (2, 0), (0, 3), (1, 3), (2, 3))}


@dataclass(frozen=True)
class FileMesh:
    """What a mesh file holds, checked.

    Attributes:
        cells: the cells, nodes in basix's order, coordinates reduced to the smallest of R^1, R^2, R^3.
        closed: True for a closed curve or surface; False for a flat domain, whose walls let no mass through.
        file_index: (c,) number of each cell in the file, counted from 0 over the cells of every kind.
        unused_nodes: how many nodes of the file belong to no cell of the mesh.
    """

    cells: CellList
    closed: bool
    file_index: np.ndarray
    unused_nodes: int

    @cached_property
    def manifold(self) -> SimplicialManifold:
        """The space the cells cover, with their own total length, area or volume."""
        return simplicial("file", self.cells)


def read(path: str | Path) -> FileMesh:
    """Read and check a mesh file; local to the calling rank.

    Cells of the highest dimension make the mesh, each once; lower ones (marked boundaries) are left out. A mesh within
    z = 0 is reduced to the plane, one within y = z = 0 to the line.

    Raises:
        ProblemError: for a file that is missing, cannot be read, or is not a sound mesh; the cell is named.
    """
    path = Path(path)
    raw = _read(path)
    dimension = max((block.dim for block in raw.cells), default=0)
    start, kind, chosen, index = 0, None, [], []
    for block in raw.cells:
        if block.dim == dimension > 0 and len(block.data):
            found = _kind(block)
            if found not in SUPPORTED:
                file_checks.refuse(path, start, f"is a {found}; supported are {', '.join(SUPPORTED)}")
            if kind not in (None, found):
                file_checks.refuse(path, start, f"is a {found} among cells of type {kind}; use one type")
            kind = found
            chosen.append(np.asarray(block.data, dtype=np.int64))
            index.append(start + np.arange(len(block.data)))
        start += len(block.data)
    if kind is None:
        raise ProblemError("space.path", str(path), "the file must hold cells: " + ", ".join(SUPPORTED))
    dimension, degree = SUPPORTED[kind]
    nodes, file_index = np.concatenate(chosen), np.concatenate(index)
    points = np.asarray(raw.points, dtype=float)
    file_checks.node_numbers(path, nodes, len(points), file_index)
    # Gmsh's format 2 lists a cell once for each physical group that it belongs to.
    first = np.sort(np.unique(np.sort(nodes, axis=1), axis=0, return_index=True)[1])
    nodes, file_index = nodes[first], file_index[first]
    used, numbers = np.unique(nodes, return_inverse=True)
    points, nodes = points[used], numbers.reshape(nodes.shape)
    file_checks.finite(path, points, nodes, file_index)
    points = points[:, : _coordinates(points, dimension)]
    cells = CellList(points, nodes[:, basix_order(dimension, degree)], dimension, degree)
    closed = points.shape[1] > dimension
    file_checks.shapes(path, cells, file_index)
    file_checks.topology(path, cells, closed, file_index)
    return FileMesh(cells, closed, file_index, len(raw.points) - len(used))


def basix_order(dimension: int, degree: int) -> np.ndarray:
    """(k,) positions, in the order of VTK and Gmsh, of the nodes that basix lists first, second, ..."""
    corners = np.eye(dimension + 1)
    listed: list[np.ndarray] = list(corners)
    for first, second in _EDGES[dimension]:
        listed += [corners[first] * (1 - s) + corners[second] * s for s in np.arange(1, degree) / degree]
    if dimension == 2 and degree == 3:
        listed.append(np.full(3, 1 / 3))
    gaps = np.abs(lagrange_nodes(dimension, degree)[:, None] - np.array(listed)).sum(axis=2)
    return np.argmin(gaps, axis=1)


def _read(path: Path) -> meshio.Mesh:
    if not path.is_file():
        raise ProblemError("space.path", str(path), "no such file")
    if path.suffix.lower() not in FORMATS:
        raise ProblemError("space.path", str(path), "the format must be one of " + ", ".join(FORMATS))
    import meshio  # here, because the import is slow and most problems have no mesh file

    references.examine(path)

    try:  # meshio reports some bad files on the terminal and leaves the interpreter
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return meshio.read(path)
    except MemoryError:
        raise
    except (Exception, SystemExit) as error:
        reason = "" if isinstance(error, SystemExit) or not str(error) else f" ({str(error)[:80]})"
        raise ProblemError("space.path", str(path), f"not a mesh file that can be read{reason}") from None


def _kind(block: meshio.CellBlock) -> str:
    """meshio's own name for a cell type that VTK names by family alone."""
    nodes = np.asarray(block.data).shape[-1]
    return next((name for name, (dimension, degree) in SUPPORTED.items()
                 if _LAGRANGE.get(block.type) == dimension and nodes == comb(dimension + degree, degree)), block.type)


def _coordinates(points: np.ndarray, dimension: int) -> int:
    """How many leading coordinates hold the mesh; the others vanish."""
    size = np.ptp(points, axis=0).max() or 1.0
    vanishing = np.abs(points).max(axis=0) <= 1e-14 * size
    needed = points.shape[1]
    while needed > dimension and vanishing[needed - 1]:
        needed -= 1
    return needed
