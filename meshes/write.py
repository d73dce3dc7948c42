"""Meshes on file: gathered to one rank in canonical order for XDMF, or written in parallel by ADIOS2."""

from __future__ import annotations

import shutil
from pathlib import Path

import dolfinx.fem
import numpy as np

from meshes import dolfinx_compat
from meshes.build import TokenMesh
from meshes.cells import CellList
from meshes.xdmf import HIGHEST_DEGREE, XdmfFile


def gather_rows(mesh: TokenMesh, rows: np.ndarray) -> np.ndarray | None:
    """Per-cell data (owned cells, ...) of every rank as (all cells, ...) in canonical order on rank 0; collective.

    Other ranks get None.
    """
    parts = mesh.comm.gather((mesh.cell_order[: mesh.owned_cells], rows))
    if parts is None:
        return None
    result = np.empty((mesh.global_cells, *rows.shape[1:]), dtype=rows.dtype)
    for order, part in parts:
        result[order] = part
    return result


def gather_cells(mesh: TokenMesh, degree: int) -> CellList | None:
    """The whole mesh at geometry degree `degree` on rank 0, nodes shared; collective, None elsewhere."""
    space = dolfinx.fem.functionspace(mesh.mesh, ("Lagrange", degree))
    dofs = space.dofmap.list[: mesh.owned_cells]
    numbers = space.dofmap.index_map.local_to_global(dofs.ravel().astype(np.int32)).reshape(dofs.shape)
    places = space.tabulate_dof_coordinates()[dofs][..., : mesh.gdim]
    cells, points = gather_rows(mesh, numbers), gather_rows(mesh, places)
    if cells is None or points is None:
        return None
    # Number nodes as cells meet them: the same on any number of ranks.
    _, first, inverse = np.unique(cells, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    met: np.ndarray = points.reshape(-1, mesh.gdim)[np.sort(first)]
    return CellList(met, rank[inverse].reshape(cells.shape), mesh.tdim, degree)


def write_mesh(mesh: TokenMesh, folder: Path) -> list[Path]:
    """Write mesh.xdmf (degree 2 at most), and mesh.bp with the full degree where ADIOS2 is there; collective.

    Returns the paths written, on every rank.
    """
    problem = None
    cells = gather_cells(mesh, min(mesh.geometry, HIGHEST_DEGREE))
    if cells is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            XdmfFile(folder / "mesh.xdmf", cells)
            shutil.rmtree(folder / "mesh.bp", ignore_errors=True)
        except OSError as error:
            problem = (error.errno, error.strerror, str(error.filename))
    problem = mesh.comm.bcast(problem)
    if problem is not None:
        raise OSError(*problem)
    written = [folder / "mesh.xdmf"]
    if dolfinx_compat.has_vtx():
        with dolfinx_compat.vtx_writer(mesh.comm, folder / "mesh.bp", mesh.mesh) as file:
            file.write(0.0)
        written.append(folder / "mesh.bp")
    return written
