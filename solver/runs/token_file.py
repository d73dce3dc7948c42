"""particles.h5: the tokens at every output, with their density and their cells where they have them.

Where the number of tokens is the same at every output:

    time (T,)   points (T, N, d)   masses (N,)   log_density (T, N)

Adaptive tokens come and go, so that rows are strung together, output i holding the rows offsets[i] to offsets[i + 1] and the
cells cell_offsets[i] to cell_offsets[i + 1], whose corners are counted from the first token of that output:

    time (T,)   offsets (T + 1,)        points (R, d)   masses (R,)   log_density (R,)
                cell_offsets (T + 1,)   cells (C, k + 1)   cell_masses (C,)

`read_tokens` reads both. particles.xdmf shows both to ParaView, by views of each output in the group
`outputs`. `log_density`, the natural logarithm of the density with respect to length, area or volume, is there
only where tokens carry it, and NaN at tokens that a wall has caught.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from meshes.room import new_file, take_room
from solver.runs.token_xdmf import view_output

# Rows per chunk of the strung tables.
CHUNK = 4096


class Tokens(NamedTuple):
    """The tokens of one output: points (N, d), masses (N,), log_density (N,) or None, cells (c, k + 1) or None with their
    masses (c,)."""

    time: float
    points: np.ndarray
    masses: np.ndarray
    log_density: np.ndarray | None
    cells: np.ndarray | None
    cell_masses: np.ndarray | None


def append_tokens(path: Path, time: float, points: np.ndarray, masses: np.ndarray, carried: Mapping[str, np.ndarray],
                  title: str) -> None:
    """Add one output; the file is closed again at once, so that a killed run leaves it readable. Serial.

    Args:
        time: depth. points (N, d), masses (N,): of the tokens.
        carried: log_density (N,), and of adaptive tokens cells (c, k + 1) and cell_masses (c,), where they exist.

    Raises:
        OSError.
    """
    def begin(file: h5py.File) -> None:
        file.attrs["title"] = title
        file.create_dataset("time", (0,), maxshape=(None,), dtype="f8")

    arrays = [points, masses, masses, *carried.values()]  # masses twice: the numbers of the points need as much
    if not path.exists():
        new_file(path, begin)
    strung = sum(CHUNK * rows.nbytes // max(len(rows), 1) for rows in arrays) if "cells" in carried else 0
    take_room(path, sum(rows.nbytes for rows in arrays) + strung)
    with h5py.File(path, "r+") as file:
        if "cells" in carried:
            for name, rows in {"points": points, "masses": masses, **carried}.items():
                _string(file, name, rows)
            for name, of in (("offsets", "points"), ("cell_offsets", "cells")):
                if name not in file:
                    file.create_dataset(name, data=np.array([0]), maxshape=(None,), dtype="i8")
                file[name].resize(len(file[name]) + 1, axis=0)
                file[name][-1] = len(file[of])
        else:
            _stack(file, "points", points)
            if "masses" not in file:
                file["masses"] = masses
            if "log_density" in carried:
                _stack(file, "log_density", carried["log_density"])
        file["time"].resize(len(file["time"]) + 1, axis=0)
        file["time"][-1] = time
        view_output(file, len(file["time"]) - 1)


def read_tokens(path: Path) -> list[Tokens]:
    """The tokens of every output in a particles.h5."""
    with h5py.File(path, "r") as file:
        found, logs = [], "log_density" in file
        for i, time in enumerate(file["time"][()]):
            if "offsets" not in file:
                found.append(Tokens(float(time), file["points"][i], file["masses"][()],
                                    file["log_density"][i] if logs else None, None, None))
                continue
            rows = slice(*file["offsets"][i:i + 2])
            cells = slice(*file["cell_offsets"][i:i + 2])
            found.append(Tokens(float(time), file["points"][rows], file["masses"][rows],
                                file["log_density"][rows] if logs else None, file["cells"][cells], file["cell_masses"][cells]))
        return found


def _stack(file: h5py.File, name: str, values: np.ndarray) -> None:
    """Add one output to a dataset (T, ...)."""
    if name not in file:
        file.create_dataset(name, (0, *values.shape), maxshape=(None, *values.shape), dtype="f8", chunks=(1, *values.shape))
    file[name].resize(len(file[name]) + 1, axis=0)
    file[name][-1] = values


def _string(file: h5py.File, name: str, rows: np.ndarray) -> None:
    """Add rows to a dataset (R, ...)."""
    if name not in file:
        file.create_dataset(name, (0, *rows.shape[1:]), maxshape=(None, *rows.shape[1:]), dtype=rows.dtype,
                            chunks=(CHUNK, *rows.shape[1:]))
    start = len(file[name])
    file[name].resize(start + len(rows), axis=0)
    file[name][start:] = rows
