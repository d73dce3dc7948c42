"""A law at every output: in memory while a run lasts, and on disk so that an ended run can go on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from solver.runs.tables import read_rows
from solver.wasserstein.measure import Distance, Measure

# The density to plot: points (n, d), values (n,), triangles (m, 3) or None.
Picture = tuple[np.ndarray, np.ndarray, np.ndarray | None]


@dataclass
class History:
    """A law at every output, in the order of time; the same on all ranks.

    `rows` hold the diagnostics by column name, `measures` the law as weighted points, `pictures` the density to plot
    (points (n, d), values (n,), triangles (m, 3) or None), empty for particles; `to_target` the distances to the target with
    their bounds, by exponent, empty for outputs of an earlier, resumed run.
    """

    times: list[float] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    measures: list[Measure] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    to_target: list[dict[int, Distance]] = field(default_factory=list)

    def column(self, name: str) -> np.ndarray:
        """One diagnostic over time, (T,), NaN where it does not exist."""
        return np.array([np.nan if row.get(name) is None else row[name] for row in self.rows], float)


class HistoryStore:
    """The measures and pictures of a history in one HDF5 file, one group per output; serial.

    Args:
        path: file; opened for each output and closed again, so that a killed run leaves it readable.
    """

    def __init__(self, path: Path):
        self.path = path

    def append(self, measure: Measure, picture: Picture | None, time: float) -> None:
        """Add one output, replacing one of the same time."""
        with h5py.File(self.path, "a") as file:
            name = f"{time:.17g}"
            if name in file:
                del file[name]
            group = file.create_group(name)
            group.attrs["time"] = time
            group["points"], group["masses"] = measure.points, measure.masses
            group["resolution"] = measure.resolution
            if picture is not None:
                for key, part in zip(("picture_points", "picture_values", "triangles"), picture, strict=True):
                    if part is not None:
                        group[key] = part

    def load(self, table: Path, until: float) -> History:
        """The history up to and including depth `until`, its rows from the CSV file `table`."""
        history = History()
        rows = {float(row["time"]): row for row in read_rows(table)}
        if not self.path.exists():
            return history
        with h5py.File(self.path, "r") as file:
            for group in sorted(file.values(), key=lambda group: group.attrs["time"]):
                time = float(group.attrs["time"])
                if time > until + 1e-12 or time not in rows:
                    continue
                history.times.append(time)
                history.to_target.append({})
                history.rows.append({key: read_number(key, text) for key, text in rows[time].items() if text != ""})
                history.measures.append(Measure(group["points"][()], group["masses"][()], group["resolution"][()]))
                if "picture_values" in group:
                    history.pictures.append(tuple(group[key][()] if key in group else None for key in
                                                  ("picture_points", "picture_values", "triangles")))
        return history


def read_number(key: str, text: str) -> float | int:
    """A cell of a diagnostics table."""
    return int(text) if key == "step" else float(text)
