"""particles.xdmf: the tokens of particles.h5 for ParaView, as points beside the density.

XDMF wants one array for each output, which particles.h5 offers by views of its tables (HDF5's virtual datasets) in its group
`outputs`: no number is stored twice. Of more than three coordinates the first three are seen; on the line the second one is 0.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from solver.runs.disk import write_text

SHOWN = 3
GROUP, NUMBERS = "outputs", "numbers"
CHUNK = 4096


def view_output(file: h5py.File, output: int) -> None:
    """Add views of one output, which the tables hold already: points (N, 2 or 3), mass (N,), log_density (N,) where it is, and
    the numbers (N,) of the points, which some viewers ask for.
    """
    place = f"{GROUP}/{output:06d}"
    if "offsets" in file:  # rows strung together
        start, stop = (int(at) for at in file["offsets"][output:output + 2])
        rows: tuple[slice | int, ...] = (slice(start, stop),)
        count, masses = stop - start, slice(start, stop)
    else:
        count = file["points"].shape[1]
        rows, masses = (output, slice(0, count)), slice(0, count)
    seen = min(file["points"].shape[-1], SHOWN)
    points = h5py.VirtualLayout((count, max(seen, 2)), "f8")
    points[:, :seen] = h5py.VirtualSource(file["points"])[(*rows, slice(0, seen))]
    file.create_virtual_dataset(f"{place}/points", points, fillvalue=0.0)
    for name, table, part in (("mass", "masses", (masses,)), ("log_density", "log_density", rows)):
        if table in file:
            layout = h5py.VirtualLayout((count,), "f8")
            layout[:] = h5py.VirtualSource(file[table])[part]
            file.create_virtual_dataset(f"{place}/{name}", layout)
    numbers = file[NUMBERS] if NUMBERS in file else file.create_dataset(NUMBERS, (0,), "i8", maxshape=(None,), chunks=(CHUNK,))
    if len(numbers) < count:
        first = len(numbers)
        numbers.resize(count, axis=0)
        numbers[first:] = np.arange(first, count)
    layout = h5py.VirtualLayout((count,), "i8")
    layout[:] = h5py.VirtualSource(numbers)[:count]
    file.create_virtual_dataset(f"{place}/numbers", layout)


def write_token_xdmf(data: Path) -> None:
    """Write NAME.xdmf beside NAME.h5, for every output that has views there. Serial.

    Raises:
        OSError.
    """
    with h5py.File(data, "r") as file:
        grids = [_grid(data.name, group, float(time))
                 for time, group in zip(file["time"][()], file.get(GROUP, {}).values(), strict=False)]
    head = '<Grid Name="tokens" GridType="Collection" CollectionType="Temporal">'
    text = f'<?xml version="1.0"?>\n<Xdmf Version="3.0"><Domain>\n{head}\n{"".join(grids)}</Grid>\n</Domain></Xdmf>\n'
    write_text(data.with_suffix(".xdmf"), text)


def _grid(name: str, group: h5py.Group, time: float) -> str:
    """The tokens of one output."""
    count, columns = group["points"].shape
    attributes = "".join(f'<Attribute Name="{field}" AttributeType="Scalar" Center="Node">{_item(name, group[field])}</Attribute>'
                         for field in ("mass", "log_density") if field in group)
    return (f'<Grid Name="tokens" GridType="Uniform"><Topology TopologyType="Polyvertex" NumberOfElements="{count}" '
            f'NodesPerElement="1">{_item(name, group["numbers"], "Int")}</Topology>'
            f'<Geometry GeometryType="{"XYZ"[:columns]}">{_item(name, group["points"])}</Geometry>'
            f'<Time Value="{time!r}"/>{attributes}</Grid>\n')


def _item(name: str, table: h5py.Dataset, kind: str = "Float") -> str:
    size = " ".join(map(str, table.shape))
    return f'<DataItem Dimensions="{size}" NumberType="{kind}" Precision="8" Format="HDF">{name}:{table.name}</DataItem>'
