"""The tables of a run folder: their columns, rows written as they come, and read again."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from problems.diagnostics import MOST_PAIRED
from solver.runs.disk import append, replace_file

# One line of a table of numbers, by column.
Row = dict[str, float]


def _pairs(dimension: int) -> list[tuple[int, int]]:
    """The second moments of a row: all pairs of coordinates, in high dimensions each with itself."""
    if dimension > MOST_PAIRED:
        return [(i, i) for i in range(dimension)]
    return [(i, j) for i in range(dimension) for j in range(i, dimension)]


def axis_names(dimension: int) -> list[str]:
    """Coordinate names used in column headers: x, y, z, and x1 .. xd in higher dimensions."""
    return list("xyz"[:dimension]) if dimension <= 3 else [f"x{i + 1}" for i in range(dimension)]


def diagnostics_columns(dimension: int, *, density: bool, own: Sequence[str] = ()) -> list[str]:
    """Header of diagnostics.csv (density) or particles.csv; moments as int x mu and int x x^T mu; `own`: columns of
    [diagnostics]."""
    axes = axis_names(dimension)
    first = ["time", "step", "mass"] + (["minimum", "maximum"] if density else []) + ["energy", "log_energy", "entropy"]
    means = [f"mean_{a}" for a in axes]
    seconds = [f"second_{axes[i]}{axes[j]}" for i, j in _pairs(dimension)]
    return [*first, *means, *seconds, "w1_target", "w2_target", *([] if density else ["tokens", "largest_gap"]), *own]


COMPARISON_COLUMNS = ["time"] + [f"w{p}_{a}_{b}" for a, b in
                                 (("density", "particles"), ("density", "target"), ("particles", "target"))
                                 for p in (1, 2)] + ["kl_density_particles", "l1_density_particles"]
ERROR_COLUMNS = ["error_density", "error_particles"]  # of comparison.csv, where an accuracy was asked for


DISTANCES_COLUMNS = ["time", "between", "p", "value", "error", "lower", "upper", "method"]


def flatten_row(row: Mapping[str, float | np.ndarray], dimension: int) -> Row:
    """A diagnostics row with `mean` (d,) and `second`, (d, d) or its diagonal (d,), spread over their columns; local."""
    axes = axis_names(dimension)
    flat: Row = {key: value for key, value in row.items() if not isinstance(value, np.ndarray)}
    mean, second = np.asarray(row["mean"], float), np.asarray(row["second"], float)
    flat.update({f"mean_{a}": mean[i] for i, a in enumerate(axes)})
    flat.update({f"second_{axes[i]}{axes[j]}": second[i, j] if second.ndim == 2 else second[i] for i, j in _pairs(dimension)})
    return flat


def evenly(count: int, most: int) -> list[int]:
    """At most `most` of the numbers 0 .. count - 1, as evenly apart as they can be, the first and the last among them."""
    shown = min(count, most)
    return [round(k * (count - 1) / max(shown - 1, 1)) for k in range(shown)]


def format_cell(value: object) -> str:
    """Full double precision; nothing where a quantity does not exist (None or NaN)."""
    if value is None or (isinstance(value, float | np.floating) and math.isnan(value)):
        return ""
    if isinstance(value, float | np.floating):
        return repr(float(value))
    return str(value)


class CsvTable:
    """One CSV file with a fixed header, each row on disk as soon as it is written; a no-op away from rank 0.

    Args:
        path: file to write, or None on ranks that do not write. What was there is replaced.
        columns: header; rows must have exactly these keys, missing ones are left empty.
        rows: to begin with, those of a run that goes on.

    Attributes:
        mended: whether an old file does not begin with these rows, as it would if nobody had touched it.

    Raises:
        OSError: naming the file; a row that could not be written leaves no part of it behind.
    """

    def __init__(self, path: Path | None, columns: Sequence[str], rows: Sequence[Mapping[str, object]] = ()):
        self.path, self.columns, self.mended = path, list(columns), False
        if path is None:
            return
        content = self._text([dict(zip(columns, columns, strict=True)), *rows]).encode()
        if rows:
            try:
                with path.open("rb") as file:
                    self.mended = file.read(len(content)) != content
            except FileNotFoundError:
                self.mended = True
        replace_file(path, content)

    def write(self, row: Mapping[str, object]) -> None:
        """Append one row; unknown keys raise ValueError."""
        if self.path is not None:
            append(self.path, self._text([row]).encode())

    def write_all(self, rows: Iterable[Mapping[str, object]]) -> None:
        """Append rows."""
        if self.path is not None:
            append(self.path, self._text(rows).encode())

    def close(self) -> None:
        """Nothing is kept open."""

    def _text(self, rows: Iterable[Mapping[str, object]]) -> str:
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, self.columns)
        for row in rows:
            unknown = set(row) - set(self.columns)
            if unknown:
                raise ValueError(f"{self.path.name if self.path else 'a table'} has no column {sorted(unknown)}")
            writer.writerow({c: format_cell(row.get(c)) for c in self.columns})
        return buffer.getvalue()


def read_rows(path: Path) -> list[dict[str, str]]:
    """All rows of a CSV file as text, exactly as written."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def read_columns(path: Path) -> dict[str, np.ndarray]:
    """The columns of a CSV file as float arrays, NaN where a cell is empty."""
    rows = read_rows(path)
    names = list(rows[0]) if rows else []
    return {name: np.array([float(row[name]) if row[name] else np.nan for row in rows]) for name in names}
