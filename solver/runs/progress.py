"""Progress of a run on the terminal: a bar on a terminal, a few plain lines in a log, silence elsewhere.

Only rank 0 speaks. The bar is closed in every case, since an open one aborts an MPI job at its end.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from solver.runs.console import make_console

if TYPE_CHECKING:
    from mpi4py import MPI

PLAIN_LINE_SECONDS = 10.0


class Ticker:
    """Receives the state of a run; what it does with it is up to the subclass."""

    def update(self, time_reached: float, **facts: float) -> None:
        """Depth t reached and named numbers to show (dt, mass, distance)."""


class PlainTicker(Ticker):
    """A line every few seconds, for logs and batch jobs."""

    def __init__(self, console: Console, label: str, end: float | None):
        self.console, self.label, self.end = console, label, end
        self.last = time.monotonic()

    def update(self, time_reached: float, **facts: float) -> None:
        now = time.monotonic()
        if now - self.last >= PLAIN_LINE_SECONDS:
            self.last = now
            end = "" if self.end is None else f" of {self.end:.4g}"
            self.console.print(f"{self.label}: t = {time_reached:.4g}{end}  {describe(facts)}", highlight=False)


class BarTicker(Ticker):
    """A rich progress bar; facts of earlier calls stay shown until replaced."""

    def __init__(self, progress: Progress, task: TaskID):
        self.progress, self.task, self.facts = progress, task, {}
        self.last = 0.0

    def update(self, time_reached: float, **facts: float) -> None:
        self.facts.update(facts)
        now = time.monotonic()
        if now - self.last > 0.1 or time_reached == self.progress.tasks[self.task].total:
            self.last = now
            self.progress.update(self.task, completed=time_reached, facts=describe(self.facts),
                                 t=f"t = {time_reached:.3f}")


def describe(facts: dict[str, float]) -> str:
    """Facts as `name value`, mass by its distance from one since all its digits are meant to be zero."""
    words = []
    for name, value in facts.items():
        if name == "mass":
            words.append(f"mass 1{value - 1:+.1e}" if abs(value - 1) < 1e-3 else f"mass {value:.4f}")
        else:
            words.append(f"{name} {value:.4g}")
    return "  ".join(words)


@contextmanager
def ticker(console: Console | None, label: str, end: float | None) -> Iterator[Ticker]:
    """Show progress from 0 to `end` (None: no end known); `console` None (other ranks, --quiet) shows nothing."""
    if console is None:
        yield Ticker()
        return
    if not console.is_terminal:
        yield PlainTicker(console, label, end)
        return
    progress = Progress(TextColumn("{task.description:10s}"), BarColumn(bar_width=24), TextColumn("{task.fields[t]}"),
                        TextColumn("{task.fields[facts]}", style="dim"), TimeElapsedColumn(), TimeRemainingColumn(),
                        console=console, transient=False)
    try:
        progress.start()
        yield BarTicker(progress, progress.add_task(label, total=end, t="t = 0", facts=""))
    finally:
        progress.stop()


def rank_console(comm: MPI.Comm, quiet: bool = False) -> Console | None:
    """The console of rank 0, None on the others and when quiet; local.

    `mpirun` gives every rank a terminal of its own, wherever its output goes: then no bars and no colours.
    """
    if comm.rank != 0 or quiet:
        return None
    return make_console(terminal=False if comm.size > 1 else None)
