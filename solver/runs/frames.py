"""Rows of results for people: as a pandas table, and as the HTML a notebook shows."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from problems.errors import ProblemError
from solver.runs.tables import evenly

if TYPE_CHECKING:
    import pandas

SHOWN = 8  # rows of a table in a notebook
NAMES = 8  # columns


def dataframe(rows: Sequence[Mapping[str, object]]) -> pandas.DataFrame:
    """Rows as a pandas table, NaN where a quantity does not exist.

    Raises:
        ProblemError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise ProblemError("pandas", "missing", "must be installed for tables (pip install pandas, or python3-pandas); "
                           ".rows holds the same numbers") from None
    return pandas.DataFrame(list(rows))


def table(rows: Sequence[Mapping[str, object]], names: Sequence[str]) -> str:
    """Evenly chosen rows as an HTML table, the first and the last among them; columns without any number are left out."""
    names = [name for name in names if any(text(row.get(name)) for row in rows)][:NAMES]
    chosen = evenly(len(rows), SHOWN)
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(text(rows[i].get(name)))}</td>" for name in names) + "</tr>"
                   for i in chosen)
    return f"<table><tr>{head}</tr>{body}</table>"


def text(value: object) -> str:
    """A cell: four digits, empty where there is nothing."""
    if value is None or (isinstance(value, float | np.floating) and math.isnan(value)):
        return ""
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)
