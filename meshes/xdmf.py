"""XDMF files with HDF5 data, for ParaView: a mesh alone, or a field on it at successive times.

Written by one rank from arrays in canonical order, so a file does not depend on the number of ranks; appended
to, so a resumed run goes on with the same file. XDMF knows simplices up to degree 2.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from xml.sax.saxutils import quoteattr

import h5py
import numpy as np

from meshes.cells import CellList
from meshes.file import basix_order
from meshes.room import new_file, take_room

HIGHEST_DEGREE = 2
CLOSING = "\n</Domain></Xdmf>\n"
TAIL = b"</Grid>" + CLOSING.encode()  # of a file with fields
_TOPOLOGY = {(1, 1): "Polyline", (1, 2): "Edge_3", (2, 1): "Triangle", (2, 2): "Triangle_6",
             (3, 1): "Tetrahedron", (3, 2): "Tetrahedron_10"}


class XdmfFile:
    """One `.xdmf` file and its `.h5` companion; local to the rank that makes it.

    On the line points get a second coordinate, 0: viewers expect at least two.

    Args:
        path: of the .xdmf file.
        cells: the mesh, of degree 1 or 2; nodes may be shared or each cell's own.
        append: keep what an earlier run wrote (its mesh must be the same) and add times after it.
    """

    def __init__(self, path: Path, cells: CellList, *, append: bool = False):
        self.path, self.data = path, path.with_suffix(".h5")
        points = _drawn(cells)
        # Of every mesh the file has: numbers of cells, of their nodes, of points, of coordinates, and what its cells are.
        self._meshes = [_shape(cells, points)]
        # Of the field written last: its name, (time, dataset, length, mesh) of every output, whether the .xdmf file lists just
        # these.
        self._name, self._whole = "", False
        self._steps: list[tuple[float, str, int, int]] | None = None
        if append and self.data.is_file():
            with h5py.File(self.data, "r") as data:
                same = data["mesh/cells"].shape + data["mesh/points"].shape == self._meshes[0][:4]
            if not same:
                raise ValueError(f"{self.data} holds another mesh")
            return

        def fill(data: h5py.File) -> None:
            data["mesh/points"], data["mesh/cells"] = points, _in_vtk_order(cells)

        new_file(self.data, fill)
        self._write(self._mesh(0))

    def remesh(self, cells: CellList) -> None:
        """Let the fields that follow be on another mesh.

        Raises:
            OSError: naming the file; what is there stays readable.
        """
        points, place = _drawn(cells), _place(len(self._meshes))
        take_room(self.data, 8 * (points.size + cells.cells.size))
        with h5py.File(self.data, "r+") as data:
            data[f"{place}/points"], data[f"{place}/cells"] = points, _in_vtk_order(cells)
        self._meshes.append(_shape(cells, points))

    def write(self, time: float, name: str, values: np.ndarray) -> None:
        """Add one scalar field: values (nodes,) at the nodes, or (cells,) constant in each cell.

        Fields at times not before `time`, left by a run that is being resumed, are dropped.

        Raises:
            OSError: naming the file; what is there stays readable.
        """
        take_room(self.data, 8 * np.size(values))
        with h5py.File(self.data, "r+") as data:
            group = data.require_group(f"fields/{name}")
            if self._steps is None or self._name != name:
                self._name, self._steps = name, [(float(field.attrs["time"]), place, field.shape[0], int(field.attrs["mesh"]))
                                                 for place, field in group.items()]
                self._whole = False
            kept = [step for step in self._steps if step[0] < time]
            if len(kept) < len(self._steps):
                for _, place, *_ in self._steps[len(kept):]:
                    del group[place]
                self._steps, self._whole = kept, False
            values, place = np.asarray(values, dtype=float), f"{len(kept):06d}"
            made, mesh = group.create_dataset(place, data=values), len(self._meshes) - 1
            made.attrs["time"], made.attrs["mesh"] = time, mesh
            self._steps.append((float(time), place, len(values), mesh))
        if self._whole:
            self._append(self._grid(*self._steps[-1]))
        else:
            head = '<Grid Name="times" GridType="Collection" CollectionType="Temporal">'
            self._write(f"{head}\n{''.join(self._grid(*step) for step in self._steps)}</Grid>", bare=True)
            self._whole = True

    def _grid(self, time: float, place: str, size: int, mesh: int) -> str:
        """The mesh with the field of one time."""
        centre = {self._meshes[mesh][0]: "Cell", self._meshes[mesh][2]: "Node"}[size]
        name = quoteattr(self._name)
        return (f'<Grid Name={name} GridType="Uniform">{self._mesh(mesh)}<Time Value="{time!r}"/>'
                f'<Attribute Name={name} AttributeType="Scalar" Center="{centre}">'
                f"{self._item((size,), 'Float', f'/fields/{self._name}/{place}')}</Attribute></Grid>\n")

    def _append(self, grid: str) -> None:
        """Put one more grid before the closing tags, in one write, so that an output costs the same however many there are."""
        with self.path.open("rb+", buffering=0) as file:
            start, content = file.seek(-len(TAIL), os.SEEK_END), grid.encode() + TAIL
            try:
                if file.write(content) != len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as error:  # the tail goes where it was, which takes no room
                file.seek(start)
                file.write(TAIL)
                file.truncate()
                raise OSError(error.errno, error.strerror, str(self.path)) from None

    def _mesh(self, mesh: int) -> str:
        count, nodes, points, gdim, kind = self._meshes[mesh]
        geometry = {2: "XY", 3: "XYZ"}[gdim]
        cells, places, place = (count, nodes), (points, gdim), _place(mesh)
        return (f'<Topology TopologyType="{kind}" NumberOfElements="{count}" NodesPerElement="{nodes}">'
                f'{self._item(cells, "Int", place + "/cells")}</Topology>'
                f'<Geometry GeometryType="{geometry}">{self._item(places, "Float", place + "/points")}</Geometry>')

    def _item(self, shape: tuple[int, ...], kind: str, place: str) -> str:
        size = " ".join(map(str, shape))
        return (f'<DataItem Dimensions="{size}" NumberType="{kind}" Precision="8" Format="HDF">'
                f"{self.data.name}:{place}</DataItem>")

    def _write(self, body: str, *, bare: bool = False) -> None:
        grid = body if bare else f'<Grid Name="mesh" GridType="Uniform">{body}</Grid>'
        draft = self.path.with_suffix(".xdmf.part")
        try:
            draft.write_text(f'<?xml version="1.0"?>\n<Xdmf Version="3.0"><Domain>\n{grid}{CLOSING}')
            os.replace(draft, self.path)  # a viewer never sees half a file
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise OSError(error.errno, error.strerror, str(self.path)) from None


def _place(mesh: int) -> str:
    """Where the HDF5 file has a mesh."""
    return "/mesh" if mesh == 0 else f"/mesh-{mesh}"


def _drawn(cells: CellList) -> np.ndarray:
    """(n, 2 or 3): the points as viewers take them."""
    return cells.points if cells.points.shape[1] > 1 else np.pad(cells.points, ((0, 0), (0, 1)))


def _shape(cells: CellList, points: np.ndarray) -> tuple[int, int, int, int, str]:
    return (*cells.cells.shape, *points.shape, _TOPOLOGY[cells.dimension, cells.geometry])


def _in_vtk_order(cells: CellList) -> np.ndarray:
    return cells.cells[:, np.argsort(basix_order(cells.dimension, cells.geometry))]
