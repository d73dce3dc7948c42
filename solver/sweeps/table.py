"""Tidy tables: one row for each run or output, as CSV and, where a library for it is installed, as Parquet."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

from solver.runs.tables import CsvTable


def write_tidy(path: Path, rows: Sequence[Mapping[str, object]]) -> list[Path]:
    """Write rows, whose keys may differ, to path.csv and path.parquet.

    Returns:
        The files written: the Parquet file is left out where pyarrow is not installed (an optional dependency).
    """
    columns = list(dict.fromkeys(key for row in rows for key in row))
    path.parent.mkdir(parents=True, exist_ok=True)
    table = CsvTable(path.with_suffix(".csv"), columns)
    table.write_all(rows)
    written = [path.with_suffix(".csv")]
    if importlib.util.find_spec("pyarrow") is not None and columns:
        import pyarrow
        import pyarrow.parquet

        data = {name: pyarrow.array(_column([row.get(name) for row in rows])) for name in columns}
        pyarrow.parquet.write_table(pyarrow.table(data), path.with_suffix(".parquet"))
        written.append(path.with_suffix(".parquet"))
    return written


def _column(values: list[object]) -> list[float | None] | list[str | None]:
    """A column of one type: numbers, or else text."""
    numbers = [value for value in values if value is None or isinstance(value, int | float)]
    if len(numbers) == len(values):
        return [None if value is None else float(value) for value in numbers]
    return [None if value is None else str(value) for value in values]
