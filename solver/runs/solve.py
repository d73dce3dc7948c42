"""The two solvers, alone and as recorded runs: `solve` for the density, `simulate` for the tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from rich.markup import escape

from problems import Problem
from problems.loader import ProblemLike, as_problem
from problems.space import LAW
from solver.errors import located, need_density
from solver.particles.adaptive import beyond_gap
from solver.particles.cell_sizes import Foresight, first_run, known, remember
from solver.ranks import Stopped, Termination
from solver.runs.checkpoints import Restart, Store, on_first_rank
from solver.runs.context import Context, final_numbers, finish, leave, open_run, recorded, tell_phases
from solver.runs.events import EventRecorder
from solver.runs.first_run import NAME, CellsLine, SizesRecorder
from solver.runs.history import History
from solver.runs.observers import Checkpoints, FieldFiles, Observer, ProgressLine, Snapshot, Solver, Step
from solver.runs.recorders import DensityRecorder, ParticleRecorder
from solver.runs.stop import Limits, Supervisor

if TYPE_CHECKING:
    from mpi4py import MPI

    from solver.density.snapshot import DensitySnapshot
    from solver.particles.snapshot import ParticleSnapshot

S_co = TypeVar("S_co", bound=Snapshot, covariant=True)
S = TypeVar("S", bound=Snapshot)
Stores = Callable[[str], Store]


class Watched(Solver, Protocol[S_co]):
    """What `drive` asks of a solver: to go on from a state, and to run under observation."""

    comm: MPI.Comm
    problem: Problem

    @property
    def step(self) -> int: ...
    def load_state(self, state: Mapping[str, float | np.ndarray], /) -> None: ...
    def snapshot(self) -> S_co: ...
    def run(self, on_output: Callable[[S_co], None], on_step: Callable[[Step], None], /) -> object: ...


def run_density(problem: Problem, comm: MPI.Comm, observers: Sequence[Observer[DensitySnapshot]], restart: Restart | None = None,
                supervisor: Supervisor | None = None) -> None:
    """Solve for the density to the end of the problem (collective).

    Args:
        problem: the resolved problem, the same on every rank.
        comm: all ranks.
        observers: told of every output and step.
        restart: what to go on from; None starts at depth 0.
        supervisor: says when to stop and to save; None: one of its own.

    Raises:
        ProblemError, RunError; Stopped.
    """
    need_density()
    from solver.density.evolve import DensitySolver
    from solver.density.following import FollowingSolver

    drive(FollowingSolver(problem, comm) if problem.space.grading == LAW else DensitySolver(problem, comm), observers, restart,
          supervisor)


def run_particles(problem: Problem, comm: MPI.Comm, observers: Sequence[Observer[ParticleSnapshot]],
                  restart: Restart | None = None, supervisor: Supervisor | None = None, *, stride: int = 1) -> None:
    """Follow the tokens to the end of the problem (collective); as `run_density`. stride: see `ParticleSolver`."""
    from solver.particles.solver import ParticleSolver

    drive(ParticleSolver(problem, comm, stride=stride), observers, restart, supervisor)


def drive(solver: Watched[S], observers: Sequence[Observer[S]], restart: Restart | None,
          supervisor: Supervisor | None) -> None:
    """Run a solver under observation, from a checkpoint if there is one (collective)."""
    watch = supervisor if supervisor is not None else Supervisor(solver.comm)
    pending = False
    if restart is not None:
        solver.load_state(restart.state)
        # Stopped after the step that reached an output, before that was recorded.
        pending = solver.time in solver.problem.time.outputs and restart.recorded < solver.time

    def output(snapshot: S) -> None:
        for observer in observers:
            observer.output(snapshot)
        watch.check(solver.step, solver.time)

    def step(info: Step) -> None:
        for observer in observers:
            observer.step(info)
        watch.beat(solver.step, solver.time)
        code, due = watch.agree()
        if code or due:
            for observer in observers:
                observer.save()
        if code:
            raise Stopped(code)

    begun: list[Observer[S]] = []
    try:
        # Numbers beyond the range end the run in a message of the solver's own; numpy's warnings would only come before it.
        with Termination.held(), np.errstate(all="ignore"):
            for observer in observers:
                begun.append(observer)
                observer.begin(solver)
            watch.check(solver.step, solver.time)
            if restart is None or not restart.finished:
                if pending:
                    output(solver.snapshot())
                solver.run(output, step)
    except BaseException as error:
        watch.end()
        for observer in reversed(begun):
            observer.abandon()
        raise located(error, solver.step, solver.time) from error.__cause__
    watch.end()
    for observer in observers:
        observer.close()


def follow_law(context: Context) -> Foresight | None:
    """Let a first run of tokens say how small the cells must be, where the problem asks for that and this process does not know
    it yet; with checkpoints and progress of its own (collective). What it says, for another process."""
    from solver.particles.solver import ParticleSolver

    problem = context.problem
    if problem.space.grading != LAW:
        return None
    if known(problem) is None:
        store = context.folder.store(NAME) if context.folder is not None else None
        recorder = SizesRecorder(problem, store)
        line = ProgressLine(context.console, "first run", context.end, lambda: None, context.show)
        restart = store.restart if store is not None else None
        with context.stage("first run"):
            solver = ParticleSolver(first_run(problem), context.comm)
            drive(solver, [recorder, *([] if store is None else [Checkpoints(store)]), line], restart, context.supervisor)
        remember(problem, recorder.foresight)
    return known(problem)


def record_density(context: Context) -> History:
    """Solve for the density and keep everything a run folder holds of it, to be compared (collective)."""
    return record(context, "density", shared=True)


def record_particles(context: Context, stores: Stores | None = None) -> History:
    """Follow the tokens and keep everything a run folder holds of them, to be compared (collective); `stores`: see `record`."""
    return record(context, "particles", shared=True, stores=stores)


def record(context: Context, side: str, *, shared: bool = False, stores: Stores | None = None) -> History:
    """Run one solver, "density" or "particles", with its table, checkpoints, files and progress (collective).

    Args:
        shared: to be compared, see `History`. stores: gives the store of a run by its name, None: the folder does.
    """
    folder = context.folder
    if side == "density":
        follow_law(context)
    stores = stores or (folder.store if folder is not None else None)
    store = stores(side) if stores is not None else None
    restart = store.restart if store is not None else None
    arguments = context.problem, context.comm, folder, context.to_target, store, shared

    def others(history: History) -> list[Observer[Snapshot]]:
        line = ProgressLine(context.console, side, context.end,
                            lambda: history.rows[-1].get("w2_target") if history.rows else None, context.show)
        return [line] if store is None else [Checkpoints(store), line]

    with context.stage(side):
        if side == "density":
            density = DensityRecorder(*arguments)
            files: list[Observer[DensitySnapshot]] = [] if folder is None or store is None else [FieldFiles(folder.path, store)]
            if context.problem.space.grading == LAW:
                files.append(CellsLine(context.console))
            run_density(context.problem, context.comm, [density, *files, *others(density.history)], restart, context.supervisor)
            return density.history
        tokens = ParticleRecorder(*arguments)
        events = [] if folder is None else [EventRecorder(folder)]
        run_particles(context.problem, context.comm, [tokens, *events, *others(tokens.history)], restart, context.supervisor)
        tell_capped(context, tokens.history)
        return tokens.history


def tell_capped(context: Context, tokens: History) -> None:
    """Say on the terminal and in run.json where adaptive tokens were not allowed to become as many as are needed (collective)."""
    words, folder = beyond_gap(context.problem, tokens.times, tokens.column("largest_gap")), context.folder
    if words and context.console is not None:
        context.console.print(f"[bold]not resolved[/bold]: {escape(words)}", highlight=False)
    if words and folder is not None:
        earlier = folder.facts.get("resolution", [])
        found = [*(earlier if isinstance(earlier, list) else []), words]
        on_first_rank(context.comm, lambda: folder.record(resolution=found))


def solve(problem: ProblemLike, *, comm: MPI.Comm | None = None, out: str | Path | None = None, force: bool = False,
          resume: bool = False, quiet: bool | None = None, limits: Limits | None = None) -> History:
    """The density on its mesh, at every output depth of the problem (collective).

    Args: problem: a Problem, a bundled name, the path of a file, or its tables; the others see `open_run`.

    Returns:
        The history: times and diagnostics rows on every rank, the law as weighted points on rank 0.

    Raises:
        ProblemError, RunError.
    """
    need_density()
    context = open_run(as_problem(problem), comm=comm, out=out, force=force, resume=resume, quiet=quiet, command="solve",
                       limits=limits)
    history = run_alone(context, "density")
    leave(context)
    return history


def simulate(problem: ProblemLike, *, comm: MPI.Comm | None = None, out: str | Path | None = None, force: bool = False,
             resume: bool = False, quiet: bool | None = None, limits: Limits | None = None) -> History:
    """The token system, at every output depth of the problem (collective); as `solve`."""
    context = open_run(as_problem(problem), comm=comm, out=out, force=force, resume=resume, quiet=quiet, command="particles",
                       limits=limits)
    history = run_alone(context, "particles")
    leave(context)
    return history


def run_alone(context: Context, side: str) -> History:
    """Run one solver by itself, "density" or "particles", and record how it ended (collective); `leave` is to follow."""
    with recorded(context):
        history = record(context, side)
    on_first_rank(context.comm, partial(finish, context, "done", {side: final_numbers(history)}, phases=tell_phases(context)))
    return history
