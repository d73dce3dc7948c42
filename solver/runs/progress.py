"""Progress of a run on the terminal: a bar on a terminal, a few plain lines in a log, silence elsewhere.

Only rank 0 speaks. The bar is closed in every case, since an open one aborts an MPI job at its end.
"""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from solver.runs.console import make_console

if TYPE_CHECKING:
    from mpi4py import MPI

PLAIN_LINE_SECONDS = 10.0
# A run shorter than this shows no progress in a notebook; longer ones do so often.
NOTEBOOK_SECONDS = 0.5


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
        self.progress, self.task = progress, task
        self.facts: dict[str, float] = {}
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


class NotebookTicker(Ticker):
    """A line with a bar below a cell of a notebook, replaced as the run goes on and taken away at its end.

    Args:
        show: makes or replaces what stands below the cell. label: of the run. end: last depth, None if not known.
    """

    def __init__(self, show: Callable[[str], None], label: str, end: float | None):
        self.show, self.label, self.end = show, label, end
        self.began = time.monotonic()
        self.last = self.began

    def update(self, time_reached: float, **facts: float) -> None:
        now = time.monotonic()
        if now - self.last < NOTEBOOK_SECONDS:
            return
        self.last = now
        share = "" if not self.end else f' value="{time_reached / self.end:.4f}"'
        end = "" if self.end is None else f" of {self.end:.4g}"
        self.show(f"{html.escape(self.label)} <progress{share}></progress> t = {time_reached:.4g}{end}, "
                  f"{now - self.began:.0f} s {html.escape(describe(facts))}")

    def close(self) -> None:
        """Take the line away, if there is one."""
        if self.last > self.began:
            self.show("")


def notebook_display() -> Callable[[str], None] | None:
    """What shows HTML below the present cell, each time in the place of the last; None where this is no notebook."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import HTML, display

    shown: list[Any] = []

    def show(text: str) -> None:
        if shown:
            shown[0].update(HTML(text))
        else:
            shown.append(display(HTML(text), display_id=True))

    return show


@contextmanager
def notebook_ticker(show: Callable[[str], None], label: str, end: float | None) -> Iterator[Ticker]:
    """Progress below a cell of a notebook."""
    found = NotebookTicker(show, label, end)
    try:
        yield found
    finally:
        found.close()


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
