"""[diagnostics]: numbers of the user's own, written beside ours at every output.

    [diagnostics]
    columns = ["near-pole", { name = "near-pole", height = 0.5, column = "upper" }]

Each is a registered function of the points and masses of a law; `column` is the name of its column, by default its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from meshes.manifold import Manifold
from problems.checks import Check
from problems.errors import Mistakes, ProblemError
from problems.fields import Field, read_fields
from problems.registered import DIAGNOSTICS, Named, named, probe_points

MOST = 1000
# Coordinates up to which tables hold the second moments of all pairs; beyond it those of each with itself.
MOST_PAIRED = 64
COLUMN = re.compile(r"^[A-Za-z][\w-]*$")
# Columns that every run has already.
TAKEN = ("time", "step", "mass", "minimum", "maximum", "energy", "log_energy", "entropy", "w1_target", "w2_target", "tokens",
         "largest_gap")
TAKEN_BEGINNINGS = ("mean_", "second_")
NAMED = named(DIAGNOSTICS)


def _as_given(field: str, value: object) -> object:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > MOST:
        raise ProblemError(field, value, f"must be a list of at most {MOST} names of registered diagnostics")
    return list(value)


FIELDS = (Field("columns", Check(_as_given, {"type": "array", "maxItems": MOST, "items": NAMED.schema}),
                "names of registered diagnostics, or tables of name, its arguments and column, the name of the column", ()),)


@dataclass(frozen=True)
class Diagnostics:
    """[diagnostics]: columns of the user's own, by name, in the order of the file."""

    columns: tuple[tuple[str, Named], ...] = ()

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return [name for name, _ in self.columns]

    def values(self, points: np.ndarray, masses: np.ndarray) -> dict[str, float]:
        """column -> number for a law of points (n, d) and masses (n,); local.

        Raises:
            OwnFunctionError: a function raised an error, or returned no number.
        """
        return {name: float(function.values((), points.copy(), masses.copy())) for name, function in self.columns}

    def try_out(self, manifold: Manifold) -> None:
        """Evaluate them on a few points of equal masses.

        Raises:
            ProblemError: with every one that returns no number.
        """
        points, wrong = probe_points(manifold), Mistakes()
        for _, function in self.columns:
            wrong.check(function.try_out, (), points, np.full(len(points), 1.0 / len(points)))
        wrong.stop()


def read_diagnostics(table: Mapping[str, object]) -> Diagnostics:
    """[diagnostics] from its TOML table.

    Raises:
        ProblemError: with every mistake of the section.
    """
    wrong = Mistakes()
    columns: list[tuple[str, Named]] = []
    values = read_fields("diagnostics", table, FIELDS, wrong)
    for i, entry in enumerate(values.get("columns", ())):
        field = f"diagnostics.columns[{i}]"
        given = {key: part for key, part in entry.items() if key != "column"} if isinstance(entry, Mapping) else entry
        found = wrong.check(NAMED, field, given)
        if found is None:
            continue
        column = entry.get("column", found.name) if isinstance(entry, Mapping) else found.name
        if not isinstance(column, str) or not COLUMN.match(column):
            wrong.note(f"{field}.column", column, "must be a letter, then letters, digits, - and _")
        elif column in TAKEN or column.startswith(TAKEN_BEGINNINGS):
            wrong.note(f"{field}.column", column, "is the name of a column that every run has")
        elif any(column == name for name, _ in columns):
            wrong.note(f"{field}.column", column, "must be a name of its own: give one of them another `column`")
        else:
            columns.append((column, found))
    wrong.stop()
    return Diagnostics(tuple(columns))


def tabulate_diagnostics(diagnostics: Diagnostics) -> dict[str, object]:
    """The TOML table of [diagnostics]; empty without columns."""
    if not diagnostics.columns:
        return {}
    return {"columns": [{"name": function.name, **function.options, "column": name}
                        if name != function.name else function.table() for name, function in diagnostics.columns]}
