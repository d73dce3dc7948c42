"""XDMF files with HDF5 data, for ParaView: a mesh alone, or a field on it at successive times.

Written by one rank from arrays in canonical order, so a file does not depend on the number of ranks; appended
to, so a resumed run goes on with the same file. XDMF knows simplices up to degree 2.
"""

from __future__ import annotations

import os
from pathlib import Path
from xml.sax.saxutils import quoteattr

import h5py
import numpy as np

from meshes.cells import CellList
from meshes.file import basix_order

HIGHEST_DEGREE = 2
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
        points = cells.points if cells.points.shape[1] > 1 else np.pad(cells.points, ((0, 0), (0, 1)))
        self._shape = (*cells.cells.shape, *points.shape, _TOPOLOGY[cells.dimension, cells.geometry])
        if append and self.data.is_file():
            with h5py.File(self.data, "r") as data:
                same = data["mesh/cells"].shape + data["mesh/points"].shape == self._shape[:4]
            if not same:
                raise ValueError(f"{self.data} holds another mesh")
            return
        to_vtk = np.argsort(basix_order(cells.dimension, cells.geometry))
        with h5py.File(self.data, "w") as data:
            data["mesh/points"], data["mesh/cells"] = points, cells.cells[:, to_vtk]
        self._write(self._mesh())

    def write(self, time: float, name: str, values: np.ndarray) -> None:
        """Add one scalar field: values (nodes,) at the nodes, or (cells,) constant in each cell.

        Fields at times not before `time`, left by a run that is being resumed, are dropped.
        """
        with h5py.File(self.data, "a") as data:
            group = data.require_group(f"fields/{name}")
            for old in [key for key, field in group.items() if field.attrs["time"] >= time]:
                del group[old]
            group.create_dataset(f"{len(group):06d}", data=np.asarray(values, dtype=float)).attrs["time"] = time
            steps = [(field.attrs["time"], field.name, field.shape[0]) for field in group.values()]
        centre = {self._shape[0]: "Cell", self._shape[2]: "Node"}
        grids = "".join(
            f'<Grid Name={quoteattr(name)} GridType="Uniform">{self._mesh()}<Time Value="{t!r}"/>'
            f'<Attribute Name={quoteattr(name)} AttributeType="Scalar" Center="{centre[size]}">'
            f"{self._item((size,), 'Float', place)}</Attribute></Grid>\n"
            for t, place, size in ((float(t), place, size) for t, place, size in steps))
        head = '<Grid Name="times" GridType="Collection" CollectionType="Temporal">'
        self._write(f"{head}\n{grids}</Grid>", bare=True)

    def _mesh(self) -> str:
        count, nodes, points, gdim, kind = self._shape
        geometry = {2: "XY", 3: "XYZ"}[gdim]
        cells, places = (count, nodes), (points, gdim)
        return (f'<Topology TopologyType="{kind}" NumberOfElements="{count}" NodesPerElement="{nodes}">'
                f'{self._item(cells, "Int", "/mesh/cells")}</Topology>'
                f'<Geometry GeometryType="{geometry}">{self._item(places, "Float", "/mesh/points")}</Geometry>')

    def _item(self, shape: tuple[int, ...], kind: str, place: str) -> str:
        size = " ".join(map(str, shape))
        return (f'<DataItem Dimensions="{size}" NumberType="{kind}" Precision="8" Format="HDF">'
                f"{self.data.name}:{place}</DataItem>")

    def _write(self, body: str, *, bare: bool = False) -> None:
        grid = body if bare else f'<Grid Name="mesh" GridType="Uniform">{body}</Grid>'
        draft = self.path.with_suffix(".xdmf.part")
        draft.write_text(f'<?xml version="1.0"?>\n<Xdmf Version="3.0"><Domain>\n{grid}\n</Domain></Xdmf>\n')
        os.replace(draft, self.path)  # a viewer never sees half a file
