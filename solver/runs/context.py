"""A run and the folder it leaves behind: opening it, and recording how it ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console

from problems import Problem, dumps
from solver.ranks import Termination, world
from solver.runs.distances import TargetDistance
from solver.runs.folder import RunFolder
from solver.runs.history import History
from solver.runs.phases import Phase, find_or_skip
from solver.runs.progress import rank_console
from solver.runs.provenance import provenance

if TYPE_CHECKING:
    from mpi4py import MPI


@dataclass
class Context:
    """One run as it is recorded: problem, ranks, folder (None: nothing is written), console (None: silent), target."""

    problem: Problem
    comm: MPI.Comm
    folder: RunFolder | None
    console: Console | None
    to_target: TargetDistance
    phases: list[Phase] = field(default_factory=list)

    @property
    def end(self) -> float | None:
        """Depth of the last output; None when the run ends at a stationary state."""
        return None if self.problem.time.stationary else float(self.problem.time.end)


def open_run(problem: Problem, *, comm: MPI.Comm | None = None, out: str | Path | None = None, force: bool = False,
             resume: bool = False, quiet: bool = True, command: str = "solve") -> Context:
    """Prepare a run: folder, provenance, target (collective).

    Args:
        problem: the resolved problem, the same on every rank.
        comm: all ranks of the run; default the world.
        out: run folder; None keeps everything in memory.
        force, resume: replace an earlier run in that folder, or go on with it.
        quiet: no progress on the terminal.
        command: recorded in run.json.

    Raises:
        ProblemError: the folder cannot be used.
    """
    if comm is None:
        comm = world()
    folder = None
    if out is not None:
        folder = RunFolder(out, comm, dumps(problem), force=force, resume=resume)
        folder.record(command=command, title=problem.title, exit_reason="running", **provenance(comm))
    return Context(problem, comm, folder, rank_console(comm, quiet), TargetDistance(problem, comm))


@contextmanager
def recorded(context: Context) -> Iterator[Context]:
    """Whatever ends the run, run.json says so."""
    try:
        yield context
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt) or Termination.asked
        finish(context, "interrupted" if interrupted else f"{type(error).__name__}: {error}")
        raise


def final_numbers(history: History) -> dict[str, object]:
    """The last row of a history, for run.json."""
    return {key: np.asarray(value).tolist() for key, value in history.rows[-1].items()} if history.rows else {}


def tell_phases(context: Context) -> list[dict[str, str | float]]:
    """Find the phases of a run that has ended, keep them in the context, and return them for run.json; none but on rank 0."""
    if context.folder is not None and context.folder.writes:
        context.phases = find_or_skip(context.folder.path, context.problem, context.to_target.target)
    return [phase.summary() for phase in context.phases]


def finish(context: Context, exit_reason: str = "done", **facts: object) -> None:
    """Record how a run ended."""
    if context.folder is not None:
        context.folder.record(exit_reason=exit_reason, **facts)
