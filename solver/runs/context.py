"""A run and the folder it leaves behind: opening it, and recording how it ended."""

from __future__ import annotations

import json
import os
import socket
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.markup import escape

from problems import Problem, ProblemError, dumps
from solver.attention.head import USED
from solver.errors import RunError, in_one_line
from solver.ranks import STOP_WORDS, Stopped, Termination, world
from solver.runs.checkpoints import on_first_rank
from solver.runs.contents import read_facts
from solver.runs.disk import write_text
from solver.runs.distances import TargetDistance
from solver.runs.folder import RunFolder
from solver.runs.history import History
from solver.runs.phases import Phase, find_or_skip
from solver.runs.progress import notebook_display, rank_console
from solver.runs.provenance import peak_memory, provenance
from solver.runs.resolution import unresolved
from solver.runs.stop import Limits, Supervisor
from solver.runs.warden import Warden

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
    supervisor: Supervisor
    phases: list[Phase] = field(default_factory=list)
    warden: Warden | None = None
    show: Callable[[str], None] | None = None  # what shows progress below the cell of a notebook
    stages: dict[str, float] = field(default_factory=dict)
    kernels_before: Counter[str] = field(default_factory=USED.copy)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the wall time of a part of the run; local."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.stages[name] = round(self.stages.get(name, 0.0) + time.monotonic() - began, 3)

    def spent(self) -> dict[str, object]:
        """Wall time by stage and how often each attention kernel was chosen, for run.json; of this rank."""
        return {"wall_seconds_by_stage": self.stages, "kernels": dict(USED - self.kernels_before)}

    @property
    def end(self) -> float | None:
        """Depth of the last output; None when the run ends at a stationary state."""
        return None if self.problem.time.stationary else float(self.problem.time.end)


def open_run(problem: Problem, *, comm: MPI.Comm | None = None, out: str | Path | None = None, force: bool = False,
             resume: bool = False, quiet: bool | None = None, command: str = "solve", limits: Limits | None = None) -> Context:
    """Prepare a run: folder, provenance, target (collective).

    Args:
        problem: the resolved problem, the same on every rank.
        comm: all ranks of the run; default the world.
        out: run folder; None keeps everything in memory.
        force, resume: replace an earlier run in that folder, or go on with it.
        quiet: no progress on the terminal; None: neither there, but in a notebook below its cell.
        command: recorded in run.json.
        limits: of time, between checkpoints, and of the watchdog.

    Raises:
        ProblemError: the folder cannot be used.
    """
    if comm is None:
        comm = world()
    folder, console = None, rank_console(comm, quiet is not False)
    to_target = TargetDistance(problem, comm)  # before anything is written: it may find that the problem makes no sense
    findings = [finding.words for finding in unresolved(problem, SIDES.get(command, BOTH))]
    resumed: list[str] = []

    def tell(words: str) -> None:
        resumed.append(words)
        if console is not None:
            console.print(words, style="dim", highlight=False, markup=False)

    if out is not None:
        folder = RunFolder(out, comm, dumps(problem), force=force, resume=resume, tell=tell)
        if folder.resumed:
            folder.facts["resumed"] = resumed
    context = Context(problem, comm, folder, console, to_target, Supervisor(comm, limits))
    if quiet is None and comm.rank == 0:
        context.show = notebook_display()
    if folder is not None:
        everyone = comm.allgather((socket.gethostname(), os.getpid()))
        here = {rank: pid for rank, (host, pid) in enumerate(everyone) if host == everyone[comm.rank][0]}
        context.warden = Warden(folder.path, comm.rank, here, context.supervisor.limits.watchdog, listen=Termination.listening)
        context.supervisor.note = context.warden.note
    with recorded(context):
        if folder is not None:
            begun = {"command": command, "title": problem.title, "exit_reason": "running", "seed": problem.particles.seed,
                     "resolution": findings}
            on_first_rank(comm, lambda: folder.record({**begun, **provenance(comm)}))
    if console is not None:
        for words in findings:
            console.print(f"[bold]not resolved[/bold]: {escape(words)}", highlight=False)
    return context


BOTH = ("density", "particles")
SIDES = {"solve": ("density",), "particles": ("particles",)}


@contextmanager
def recorded(context: Context) -> Iterator[Context]:
    """Whatever ends the run, run.json says so; a run whose input was bad, or that never began, leaves nothing behind."""
    folder = context.folder
    tell = partial(end_alone, folder) if folder is not None else None
    if tell is not None:
        Termination.last_words.append(tell)
    try:
        yield context
    except BaseException as error:
        if folder is not None:
            if isinstance(error, ProblemError):
                folder.discard()
            else:
                with suppress(OSError):
                    folder.record({**traceback_of(error), **context.spent()}, complete=True, exit_reason=reason_of(error))
            folder.close()
        context.supervisor.end()
        if context.warden is not None and (context.comm.size == 1 or isinstance(error, Stopped)):
            context.warden.goodbye()  # else only when it is known that no rank is left behind: at the end of the process
        raise  # `tell` stays: this rank may have to end without the others
    if tell is not None:
        Termination.last_words.remove(tell)


def reason_of(error: BaseException) -> str:
    """Why a run ended, for run.json."""
    if isinstance(error, Stopped):
        return STOP_WORDS[error.code]
    if isinstance(error, KeyboardInterrupt) or Termination.asked:
        return "interrupted"
    return in_one_line(error)


def traceback_of(error: BaseException | None) -> dict[str, list[str]]:
    """The traceback of a fault of the program, for run.json; nothing for an error that the program foresaw."""
    if not isinstance(error, Exception) or isinstance(error, RunError | MemoryError) or Termination.asked:
        return {}
    return {"traceback": [line for part in traceback.format_exception(error) for line in part.rstrip().splitlines()]}


def end_alone(folder: RunFolder, reason: str, error: BaseException | None = None) -> None:
    """A rank ends without the others: run.json says why, whichever rank it is, if nobody has said anything else yet."""
    facts = read_facts(folder.path)
    if facts is not None and facts.get("exit_reason") == "running":
        write_text(folder.path / "run.json", json.dumps({**facts, "exit_reason": reason, **traceback_of(error)}, indent=2) + "\n")


def final_numbers(history: History) -> dict[str, object]:
    """The last row of a history, for run.json."""
    return {key: np.asarray(value).tolist() for key, value in history.rows[-1].items()} if history.rows else {}


def tell_phases(context: Context) -> list[dict[str, str | float]]:
    """Find the phases of a run that has ended, keep them in the context, and return them for run.json; none but on rank 0."""
    if context.folder is not None and context.folder.writes:
        context.phases = find_or_skip(context.folder.path, context.problem, context.to_target.target)
    return [phase.summary() for phase in context.phases]


def finish(context: Context, exit_reason: str = "done", numbers: Mapping[str, object] | None = None, **facts: object) -> None:
    """Record how a run ended, with its last numbers."""
    if context.folder is not None:
        context.folder.record({"exit_reason": exit_reason, **(numbers or {}), **facts})


def leave(context: Context) -> None:
    """The run is over and everything of it written: list its files, give the folder free (collective)."""
    context.supervisor.end()
    if context.warden is not None:
        context.warden.goodbye()
    if context.folder is not None:
        memory = context.comm.allreduce(peak_memory())
        on_first_rank(context.comm, partial(context.folder.record, complete=True, peak_memory_mib=round(memory, 1),
                                            **context.spent()))
        context.folder.close()
