"""A law at every output: in memory while a run lasts, and as records of its journal so that an ended run can go on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from solver.runs.journal import Record
from solver.wasserstein.measure import Distance, Measure

# The density to plot: points (n, d), values (n,), triangles (m, 3) or None.
Picture = tuple[np.ndarray, np.ndarray, np.ndarray | None]
PICTURE = ("picture_points", "picture_values", "triangles")


@dataclass
class History:
    """A law at every output, in the order of time; the same on all ranks.

    `rows` hold the diagnostics by column name, `measures` the law as weighted points, `pictures` the density to plot
    (points (n, d), values (n,), triangles (m, 3) or None), empty for particles; `to_target` the distances to the target with
    their bounds, by exponent.
    """

    times: list[float] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    measures: list[Measure] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    to_target: list[dict[int, Distance]] = field(default_factory=list)

    def column(self, name: str) -> np.ndarray:
        """One diagnostic over time, (T,), NaN where it does not exist."""
        return np.array([np.nan if row.get(name) is None else row[name] for row in self.rows], float)

    def keep(self, row: dict[str, Any], measure: Measure, picture: Picture | None, to_target: dict[int, Distance]) -> None:
        """Add one output."""
        self.times.append(row["time"])
        self.rows.append(row)
        self.measures.append(measure)
        self.to_target.append(to_target)
        if picture is not None:
            self.pictures.append(picture)

    def record(self) -> Record:
        """The newest output for the journal."""
        measure, row = self.measures[-1], self.rows[-1]
        bounds = {str(p): dataclasses.asdict(found) for p, found in self.to_target[-1].items()}
        arrays = {"time": np.array(row["time"]), "step": np.array(row["step"]), "points": measure.points,
                  "masses": measure.masses,
                  "resolution": np.array(measure.resolution), "words": encode({"row": row, "to_target": bounds})}
        if self.pictures:
            arrays |= {name: part for name, part in zip(PICTURE, self.pictures[-1], strict=True) if part is not None}
        return arrays

    def restore(self, record: Record) -> None:
        """Add one output of the journal."""
        words = decode(record["words"])
        picture = None
        if "picture_values" in record:
            picture = record["picture_points"], record["picture_values"], record.get("triangles")
        self.keep(words["row"], Measure(record["points"], record["masses"], record["resolution"][()]), picture,
                  {int(p): Distance(**found) for p, found in words["to_target"].items()})


def encode(words: Mapping[str, Any]) -> np.ndarray:
    """Numbers and texts by name as an array of bytes; floats come back to the last bit."""
    return np.frombuffer(json.dumps(words, default=lambda value: value.item()).encode(), dtype=np.uint8)


def decode(array: np.ndarray) -> dict[str, Any]:
    """What `encode` was given."""
    return json.loads(array.tobytes())
