"""What a result of rows does in a notebook, whether of one side or of two: its columns, its table, its pictures, its film."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from solver.runs.drawing import Film, Pictures, drawer, film_maker
from solver.runs.frames import dataframe
from solver.runs.tables import Row

if TYPE_CHECKING:
    import pandas


class Shown:
    """A result with one row for each output. drawn: the name of what draws it, see `drawer`."""

    drawn: ClassVar[str]
    rows: list[Row]

    def column(self, name: str) -> np.ndarray:
        """One column over depth, (T,), NaN where it does not exist."""
        return np.array([np.nan if row.get(name) is None else row[name] for row in self.rows], float)

    def to_dataframe(self) -> pandas.DataFrame:
        """The rows as a pandas table, one line for each output.

        Raises:
            ProblemError: pandas is not installed.
        """
        return dataframe(self.rows)

    def plot(self) -> Pictures:
        """The pictures a run folder would hold of it, `solver.report.notebook.Pictures`; local."""
        return drawer(self.drawn)(self)

    def animate(self) -> Film:
        """The law over depth as a film, `solver.report.notebook.Film`; local."""
        return film_maker()(*self.sides())

    def sides(self) -> Sequence[Shown]:
        """The histories that a film shows."""
        raise NotImplementedError
