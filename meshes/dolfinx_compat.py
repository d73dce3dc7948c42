"""Every difference between the supported dolfinx versions (0.9 to 0.11), behind one name each."""

from __future__ import annotations

import re
from pathlib import Path

import basix
import basix.ufl
import dolfinx
import dolfinx.cpp
import dolfinx.fem
import dolfinx.fem.petsc
import dolfinx.io
import dolfinx.mesh
import numpy as np
import ufl
from mpi4py import MPI
from petsc4py import PETSc

VERSION = tuple(int(part) for part in re.findall(r"\d+", dolfinx.__version__)[:2])


def shared_facet_partitioner():
    """Graph partitioner that gives each rank the cells across its facets, for integrals over facets."""
    factory = dolfinx.mesh.create_cell_partitioner
    ghosts = dolfinx.mesh.GhostMode.shared_facet
    if VERSION < (0, 10):
        return factory(ghosts)
    return factory(ghosts, 2)  # since 0.10: at most two cells meet in a facet


def create_mesh(comm: MPI.Comm, cells: np.ndarray, points: np.ndarray, cell: str,
                degree: int) -> dolfinx.mesh.Mesh:
    """Distributed mesh of Lagrange cells with shared-facet ghosts.

    Args:
        comm: communicator; collective.
        cells: (c, k) node numbers, local to the rank; in basix order; the global list is the concatenation.
        points: (n, gdim) node coordinates, local to the rank likewise.
        cell: "interval", "triangle" or "tetrahedron"; degree: of the geometry, nodes equispaced.
    """
    element = basix.ufl.element("Lagrange", cell, degree, shape=(points.shape[1],),
                                lagrange_variant=basix.LagrangeVariant.equispaced, dtype=np.float64)
    domain = ufl.Mesh(element)
    partitioner = shared_facet_partitioner()
    if VERSION < (0, 10):
        return dolfinx.mesh.create_mesh(comm, cells, points, domain, partitioner)
    return dolfinx.mesh.create_mesh(comm, cells, domain, points, partitioner)


def original_cell_index(mesh: dolfinx.mesh.Mesh) -> np.ndarray:
    """(owned + ghost cells,) position of each local cell in the global list `create_mesh` was given."""
    return np.asarray(mesh.topology.original_cell_index, dtype=np.int64)


def geometry_dofmap(mesh: dolfinx.mesh.Mesh) -> np.ndarray:
    """(owned + ghost cells, k) numbers of the geometry nodes of each local cell (a list of dofmaps since 0.11)."""
    geometry = mesh.geometry
    return np.asarray(geometry.dofmap if VERSION < (0, 11) else geometry.dofmaps[0])


def geometric_dimension(domain: ufl.Mesh) -> int:
    """Dimension of the space around a UFL domain or form argument (a property since UFL 2025.2)."""
    value = domain.geometric_dimension
    return int(value() if callable(value) else value)


def interpolation_points(space: dolfinx.fem.FunctionSpace) -> np.ndarray:
    """(p, tdim) points in the reference cell at which the element of `space` interpolates."""
    points = space.element.interpolation_points
    return np.asarray(points() if callable(points) else points)


def create_vector(form: dolfinx.fem.Form) -> PETSc.Vec:
    """PETSc vector, with ghosts, for the linear form `form` (it takes the space since 0.10)."""
    if VERSION < (0, 10):
        return dolfinx.fem.petsc.create_vector(form)
    return dolfinx.fem.petsc.create_vector(dolfinx.fem.extract_function_spaces([form])[0])


def has_vtx() -> bool:
    """Whether this dolfinx can write ADIOS2 files for ParaView."""
    return bool(getattr(dolfinx, "has_adios2", False)) and hasattr(dolfinx.io, "VTXWriter")


def vtx_writer(comm: MPI.Comm, path: str | Path, output: dolfinx.mesh.Mesh | list[dolfinx.fem.Function]) -> dolfinx.io.VTXWriter:
    """Open ADIOS2 file `path` (a folder) for a mesh or a list of functions; a context manager, collective."""
    return dolfinx.io.VTXWriter(comm, str(path), output)
