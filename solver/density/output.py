"""The density on file for ParaView: XDMF always, ADIOS2 (VTX) where dolfinx has it.

Both keep the curved geometry and the jumps between cells. VTX holds the polynomial itself, raised to the degree of
the geometry where that is higher. XDMF knows cells up to degree 2: beyond, the density and the geometry are
interpolated there at degree 2. Degree 0 on flat cells stays one value per cell.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import basix.ufl
import dolfinx.fem
import numpy as np

from meshes import dolfinx_compat
from meshes.cells import CellList, lagrange_nodes
from meshes.write import gather_rows
from meshes.xdmf import HIGHEST_DEGREE, XdmfFile
from solver.density.operator import DensityOperator
from solver.density.reference import density_element, tabulate
from solver.density.snapshot import DensitySnapshot

NAME = "density"
_abandoned: list[dolfinx.io.VTXWriter] = []


class DensityWriter:
    """Writes density.xdmf (with density.h5) and density.bp, output by output. Collective throughout.

    A resumed run goes on with density.xdmf, and writes a new density-<n>.bp beside the earlier ones, because ADIOS2
    files are closed for good.

    Args:
        folder: of the run, existing.
        operator: of the density that is written.
        append: keep the outputs of an earlier run with the same mesh.
    """

    def __init__(self, folder: str | Path, operator: DensityOperator, *, append: bool = False):
        self.operator, self.folder = operator, Path(folder)
        mesh, degree = self.operator.mesh, self.operator.geometry.degree
        self.per_cell = max(degree, mesh.geometry) == 1 and degree == 0
        self.degree = min(max(degree, mesh.geometry, 1), HIGHEST_DEGREE)
        self._local = lagrange_nodes(mesh.tdim, self.degree)[:, 1:]
        self._xdmf: XdmfFile | None = None
        self._vtx: dolfinx.io.VTXWriter | None = None
        self._open(append)

    def follow(self, operator: DensityOperator) -> None:
        """Let what follows be on the mesh of another operator, of the same degrees: in the same density.xdmf, and in a new
        density-<n>.bp."""
        self.close()
        self.operator = operator
        self._open(append=True)

    def _open(self, append: bool) -> None:
        """Begin with the mesh of the operator."""
        mesh = self.operator.mesh
        points = self.operator.geometry.map.points(self._local, slice(0, mesh.owned_cells))
        gathered, problem = gather_rows(mesh, points), None
        if gathered is not None:
            cells = np.arange(gathered.shape[0] * gathered.shape[1]).reshape(gathered.shape[:2])
            whole = CellList(gathered.reshape(-1, mesh.gdim), cells, mesh.tdim, self.degree)
            try:
                if self._xdmf is None:
                    self._xdmf = XdmfFile(self.folder / f"{NAME}.xdmf", whole, append=append)
                else:
                    self._xdmf.remesh(whole)
            except OSError as error:
                problem = parts(error)
        problem = mesh.comm.bcast(problem)
        if problem is not None:
            raise OSError(*problem)
        if dolfinx_compat.has_vtx():
            self._vtx, self._function = self._open_vtx(append)

    def write(self, snapshot: DensitySnapshot) -> None:
        """Add the density at `snapshot.time`."""
        op, mesh = self.operator, self.operator.mesh
        coefficients = snapshot.state.reshape(-1, op.size)
        element = density_element(mesh.tdim, op.geometry.degree)
        values = coefficients @ tabulate(element, self._local[:1] if self.per_cell else self._local).T
        everything, problem = gather_rows(mesh, values), None
        if self._xdmf is not None and everything is not None:
            try:
                self._xdmf.write(snapshot.time, NAME, everything.ravel())
            except OSError as error:
                problem = parts(error)
        problem = mesh.comm.bcast(problem)
        if problem is not None:
            raise OSError(*problem)
        if self._vtx is not None:
            self._function.interpolate(snapshot.function)
            with plain_errors(self.folder):
                self._vtx.write(snapshot.time)

    __call__ = write

    def close(self) -> None:
        """Finish the files; a second call does nothing."""
        if self._vtx is not None:
            with plain_errors(self.folder):
                self._vtx.close()
            self._vtx = None

    def abandon(self) -> None:
        """Let go of the files without closing them: ADIOS2 closes them together with all ranks, which may not be there."""
        if self._vtx is not None:
            _abandoned.append(self._vtx)
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._vtx))  # or its end would close them after all
            self._vtx = None

    def _open_vtx(self, append: bool) -> tuple[dolfinx.io.VTXWriter, dolfinx.fem.Function]:
        mesh = self.operator.mesh
        path = self.folder / f"{NAME}.bp"
        if mesh.comm.rank == 0:
            earlier = sorted(self.folder.glob(f"{NAME}-*.bp"))
            if append and path.exists():
                path = self.folder / f"{NAME}-{len(earlier) + 1}.bp"
            else:
                for old in (path, *earlier):
                    shutil.rmtree(old, ignore_errors=True)
        path = mesh.comm.bcast(path)
        degree = max(self.operator.geometry.degree, mesh.geometry, 1)
        element = basix.ufl.element("DG", mesh.mesh.topology.cell_name(), degree)
        function = dolfinx.fem.Function(dolfinx.fem.functionspace(mesh.mesh, element), name=NAME)
        with plain_errors(self.folder):
            return dolfinx_compat.vtx_writer(mesh.comm, path, [function]), function


def parts(error: OSError) -> tuple[int, str, str]:
    """What an error of the disk says: its number, its words, the file; to be sent to other ranks."""
    return error.errno or errno.EIO, error.strerror or str(error), str(error.filename or "")


@contextlib.contextmanager
def plain_errors(folder: Path) -> Iterator[None]:
    """ADIOS2's own errors as errors of the disk, on the rank that writes; the others may wait for it.

    Raises:
        OSError.
    """
    try:
        yield
    except RuntimeError as error:
        found = re.search(r"errno = (\d+)", str(error))
        if "ADIOS2" not in str(error) and not found:
            raise
        number = int(found[1]) if found else errno.EIO
        raise OSError(number, os.strerror(number), str(folder / f"{NAME}.bp")) from None
