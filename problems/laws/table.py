"""Laws given as a table of points: a CSV file of coordinates and weights."""

from __future__ import annotations

import csv
from array import array
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from meshes.manifold import Manifold
from problems.checks import path as check_path
from problems.errors import MISSING, ProblemError
from problems.fields import Field
from problems.laws.base import InitialLaw

# Larger files are refused before they are read.
MOST_BYTES = 10**9


class Table(InitialLaw):
    """Point masses from a CSV file with rows x_1, .., x_d, weight; a header and lines after # are skipped.

    Points must lie on the manifold; weights must be positive and are scaled to sum to one. Key: `path`,
    relative to the problem file.
    """

    name = "table"
    fields = (Field("path", check_path, "CSV file with rows of coordinates and a weight, relative to the problem file", MISSING),)
    is_atomic = True

    def __init__(self, manifold: Manifold, options: Mapping[str, object]):
        """As every law; `options` also has "rows", what `read_rows` found in the file."""
        super().__init__(manifold, {key: value for key, value in options.items() if key != "rows"})
        rows = np.asarray(options["rows"], dtype=float)
        self._points, self._masses = _checked_atoms(rows, manifold, str(self.options["path"]))

    def atoms(self) -> tuple[np.ndarray, np.ndarray]:
        """The points (m, d) and their masses (m,), which sum to one."""
        return self._points.copy(), self._masses.copy()

    def density(self, points: np.ndarray) -> np.ndarray:
        raise ProblemError("initial.law", self.name, "point masses have no density")

    def quadrature(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        return self.atoms()

    @property
    def uniforms(self) -> int:
        return 1

    def transform(self, u: np.ndarray) -> np.ndarray:
        cumulative = np.cumsum(self._masses)
        return self._points[np.minimum(np.searchsorted(cumulative, u[:, 0], side="right"), len(cumulative) - 1)]

    def words(self) -> str:
        return f"{len(self._masses)} points from {self.options['path']}"


def read_rows(path: Path, dimension: int) -> np.ndarray:
    """Rows (m, dimension + 1) of coordinates and weights from a CSV file.

    Raises:
        ProblemError: the file cannot be read; a line is not such a row; there is no mass.
    """
    field, want = "initial.path", f"rows of {dimension} coordinates and a weight, separated by commas"
    rows, header = array("d"), True
    try:
        if path.exists() and not path.is_file():  # a pipe or device might never end
            raise ProblemError(field, str(path), f"not a regular file; must be a CSV file of {want}")
        if path.stat().st_size > MOST_BYTES:
            raise ProblemError(field, str(path), f"has {path.stat().st_size:.3g} bytes; must have at most {MOST_BYTES:.3g}")
        with path.open(newline="", encoding="utf-8-sig") as stream:
            for line, row in enumerate(csv.reader(stream), 1):
                if not row or row[0].lstrip().startswith("#"):
                    continue
                values = _numbers(path, line, row, want, header)
                header = False
                if values is None:
                    continue
                if len(values) != dimension + 1 or not all(abs(value) < 1e300 for value in values):
                    raise ProblemError(field, str(path), f"line {line} is not {want}")
                if values[-1] < 0.0:
                    raise ProblemError(field, str(path), f"line {line} has weight {values[-1]:g}; weights must not be negative")
                rows.extend(values)
    except (OSError, ValueError, csv.Error) as error:
        if isinstance(error, ProblemError):
            raise
        reason = getattr(error, "strerror", None) or "not a text file"
        raise ProblemError(field, str(path), f"cannot be read ({reason}); must be a CSV file of {want}") from None
    found = np.array(rows).reshape(-1, dimension + 1)
    weights = found[:, -1]
    if not len(found) or not weights.max() > 0.0:
        raise ProblemError(field, str(path), f"holds no mass; must have {want}")
    # Scaled first: neither does the sum overflow nor do small weights vanish.
    found[:, -1] = weights / weights.max()
    return found


def _numbers(path: Path, line: int, row: list[str], want: str, first: bool) -> list[float] | None:
    """The numbers of a row; None for a header, which only the first row can be."""
    try:
        return [float(entry) for entry in row]
    except ValueError:
        if first:
            return None
        raise ProblemError("initial.path", str(path), f"line {line} is not numeric; must be {want}") from None


def _checked_atoms(rows: np.ndarray, manifold: Manifold, path: str) -> tuple[np.ndarray, np.ndarray]:
    points, weights = rows[:, :-1], rows[:, -1]
    points, weights = points[weights > 0.0], weights[weights > 0.0]
    if manifold.normalised and not np.all(np.linalg.norm(points, axis=1) > 0.0):
        raise ProblemError("initial.path", path, "a point at the origin is not on the sphere")
    placed = manifold.retract(points)
    off = np.linalg.norm(placed - points, axis=1)
    if off.max() > 1e-6:
        worst = int(off.argmax())
        raise ProblemError("initial.path", path, f"point {points[worst].tolist()} is {off[worst]:.3g} off the {manifold.name}")
    return placed, weights / weights.sum()
