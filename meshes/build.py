"""From a token space to its distributed dolfinx mesh."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import dolfinx.mesh
import numpy as np
from mpi4py import MPI

from meshes import dolfinx_compat, file, grading, sizes, spaces
from meshes.cells import CellList
from meshes.errors import ProblemError
from meshes.manifold import Manifold, flat, sphere
from meshes.subdivide import refined


class TokenSpace(Protocol):
    """What `build_mesh` asks of a space.

    Attributes:
        manifold: "circle", "sphere", "interval", "rectangle", "box" or "file". dimension: number of coordinates, of a sphere.
        bounds: (d, 2) of a flat box. path: of a mesh file.
        grading: None, (half-width, ratio), or "law" for cells of given sizes.
        refine: how many times the cells of a file are cut into halves.
    """

    @property
    def manifold(self) -> str: ...
    @property
    def dimension(self) -> int: ...
    @property
    def bounds(self) -> Sequence[Sequence[float]] | None: ...
    @property
    def path(self) -> str | Path | None: ...
    @property
    def grading(self) -> tuple[float, float] | str | None: ...
    @property
    def refine(self) -> int: ...


@dataclass(frozen=True)
class PlainSpace:
    """A `TokenSpace` without a problem file."""

    manifold: str
    dimension: int = 3
    bounds: Sequence[Sequence[float]] | None = None
    path: str | Path | None = None
    grading: tuple[float, float] | str | None = None
    refine: int = 0


@dataclass(frozen=True)
class TokenMesh:
    """A token space cut into cells and spread over the ranks.

    Attributes:
        mesh: the dolfinx mesh, simplices of equal degree, with the cells across its facets as ghosts.
        manifold: the space itself; `manifold.closed` tells whether it has no boundary. Walls of the others
            let no mass through.
        geometry: polynomial degree of the cells, 1 to 3.
        cell_order: (owned + ghost cells,) number of each local cell in an order that depends neither on the
            ranks nor on a random renumbering; 0 .. global count - 1.
    """

    mesh: dolfinx.mesh.Mesh
    manifold: Manifold
    geometry: int
    cell_order: np.ndarray

    @property
    def comm(self) -> MPI.Comm:
        return self.mesh.comm

    @property
    def tdim(self) -> int:
        """Dimension of the cells."""
        return self.mesh.topology.dim

    @property
    def gdim(self) -> int:
        """Dimension of the space around them."""
        return self.mesh.geometry.dim

    @property
    def owned_cells(self) -> int:
        """Number of cells this rank owns; they come first, then the ghosts."""
        return self.mesh.topology.index_map(self.tdim).size_local

    @property
    def global_cells(self) -> int:
        """Number of cells on all ranks together."""
        return self.mesh.topology.index_map(self.tdim).size_global

    @property
    def cell_nodes(self) -> np.ndarray:
        """(owned + ghost cells, k, gdim) coordinates of the geometry nodes of each local cell, in basix's order."""
        return self.mesh.geometry.x[dolfinx_compat.geometry_dofmap(self.mesh), : self.gdim]

    @cached_property
    def cell_sizes(self) -> np.ndarray:
        """(owned,) greatest distance between two vertices of each owned cell."""
        return self.mesh.h(self.tdim, np.arange(self.owned_cells, dtype=np.int32))

    @cached_property
    def size_range(self) -> tuple[float, float]:
        """Smallest and greatest cell size over all ranks; collective on first use."""
        sizes = self.cell_sizes
        low = self.comm.allreduce(sizes.min() if len(sizes) else np.inf, op=MPI.MIN)
        high = self.comm.allreduce(sizes.max() if len(sizes) else 0.0, op=MPI.MAX)
        return float(low), float(high)


def build_mesh(space: TokenSpace, cells: int, geometry: int, comm: MPI.Comm, *, renumber_seed: int | None = None,
               distance_to_E: Callable[[np.ndarray], np.ndarray] | None = None,
               wanted: sizes.Sizes | None = None, factor: float | None = None) -> TokenMesh:
    """Mesh of a token space; collective, and the same whatever the number of ranks.

    Args:
        space: what is meshed, see `TokenSpace`.
        cells: about how many cells to make, over all ranks (not for "file").
        geometry: degree of the cells, 1 to 3; nodes lie on the manifold. Built-in flat spaces need, and get,
            degree 1; a file brings its own.
        comm: communicator.
        renumber_seed: number cells and nodes at random (for tests of invariance); `cell_order` undoes it.
        distance_to_E: (n, d) points -> (n,) their distance to the target set, for a mesh graded towards it.
        wanted: the sizes of cells where `space.grading` is "law", and factor what they are multiplied by, see
            `meshes.sizes.sphere`; rank 0's count.

    Raises:
        ProblemError: on every rank, for a space that cannot be meshed.
    """
    cell_list, manifold, problem = None, None, None
    if comm.rank == 0:  # one rank makes the list, all take part in cutting it up
        try:
            cell_list, manifold = _cell_list(space, cells, geometry, distance_to_E, wanted, factor)
        except ProblemError as error:
            problem = (error.field, error.value, error.allowed)
    problem = comm.bcast(problem)
    if problem is not None:
        raise ProblemError(*problem)
    return distribute(cell_list, manifold, comm, renumber_seed=renumber_seed)


def distribute(cell_list: CellList | None, manifold: Manifold | None, comm: MPI.Comm, *,
               renumber_seed: int | None = None) -> TokenMesh:
    """Spread cells and their manifold, given on rank 0 and None elsewhere, over the ranks; collective."""
    old_cell, shape = np.empty(0, dtype=np.int64), None
    if cell_list is not None:
        old_cell = np.arange(len(cell_list.cells))
        if renumber_seed is not None:
            cell_list, old_cell = cell_list.renumbered(renumber_seed)
        shape = (cell_list.cells.shape[1], cell_list.points.shape[1], cell_list.cell_name, cell_list.geometry)
    nodes_per_cell, gdim, cell_name, degree = comm.bcast(shape)
    cells = cell_list.cells if cell_list is not None else np.empty((0, nodes_per_cell), dtype=np.int64)
    points = cell_list.points if cell_list is not None else np.empty((0, gdim))
    mesh = dolfinx_compat.create_mesh(comm, cells, points, cell_name, degree)
    tdim = mesh.topology.dim
    for dimension in {tdim - 1, 0}:
        mesh.topology.create_connectivity(dimension, tdim)
        mesh.topology.create_connectivity(tdim, dimension)
    everywhere: tuple[np.ndarray, Manifold] = comm.bcast((old_cell, manifold))
    old_cell, manifold = everywhere
    order = old_cell[dolfinx_compat.original_cell_index(mesh)]
    return TokenMesh(mesh, manifold, degree, order)


def _cell_list(space: TokenSpace, cells: int, geometry: int,
               distance_to_E: Callable[[np.ndarray], np.ndarray] | None,
               wanted: sizes.Sizes | None, factor: float | None) -> tuple[CellList, Manifold]:
    """The cells of `space` and the manifold they cover; on one rank."""
    name = space.manifold
    if name == "file" and space.path is not None:
        found = file.read(space.path)
        finer = found.cells
        for _ in range(space.refine):
            finer = refined(finer)
        return finer, found.manifold
    if name in ("interval", "rectangle", "box") and space.bounds is not None and len(space.bounds) <= 3:
        if space.grading is not None:
            grading.check(space.grading, name)
        return spaces.flat(np.asarray(space.bounds), cells), flat(space.bounds)
    dimension = {"circle": 2, "sphere": space.dimension}.get(name)
    if dimension not in (2, 3):
        allowed = f"has no mesh with {space.dimension} coordinates, hence no density; tokens need none"
        raise ProblemError("space.manifold", name, allowed)
    if space.grading == "law" and wanted is not None:
        follow = sizes.circle if dimension == 2 else sizes.sphere
        return follow(max(3, cells), geometry, wanted, factor), sphere(dimension)
    if space.grading is not None:
        half_width, ratio = grading.check(space.grading, name)
        if distance_to_E is None:
            allowed = "V K^T Q has no target set E to grade towards"
            raise ProblemError("space.grading", [half_width, ratio], allowed)
        make = grading.circle if dimension == 2 else grading.sphere
        return make(max(3, cells), geometry, distance_to_E, half_width, ratio), sphere(dimension)
    if dimension == 2:
        return spaces.circle(max(3, cells), geometry), sphere(2)
    return spaces.sphere(spaces.icosahedral_frequency(cells), geometry), sphere(3)
