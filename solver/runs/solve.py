"""The two solvers, alone and as recorded runs: `solve` for the density, `simulate` for the tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from problems import Problem
from solver.runs.context import Context, final_numbers, finish, open_run, recorded, tell_phases
from solver.runs.history import History
from solver.runs.observers import Checkpoints, FieldFiles, Observer, ProgressLine
from solver.runs.recorders import DensityRecorder, ParticleRecorder, Recorder

if TYPE_CHECKING:
    from mpi4py import MPI

    from solver.density.evolve import DensitySolver
    from solver.particles.solver import ParticleSolver

State = Mapping[str, Any]


def run_density(problem: Problem, comm: MPI.Comm, observers: Sequence[Observer], state: State | None = None) -> None:
    """Solve for the density to the end of the problem (collective).

    Args:
        problem: the resolved problem, the same on every rank.
        comm: all ranks.
        observers: told of every output and step.
        state: of a checkpoint to go on from; None starts at depth 0.

    Raises:
        ProblemError, RunError.
    """
    from solver.density.evolve import DensitySolver

    drive(DensitySolver(problem, comm), observers, state)


def run_particles(problem: Problem, comm: MPI.Comm, observers: Sequence[Observer], state: State | None = None) -> None:
    """Follow the tokens to the end of the problem (collective); as `run_density`."""
    from solver.particles.solver import ParticleSolver

    drive(ParticleSolver(problem, comm), observers, state)


def drive(solver: DensitySolver | ParticleSolver, observers: Sequence[Observer], state: State | None) -> None:
    """Run a solver under observation, from a checkpoint if there is one (collective)."""
    if state is not None:
        solver.load_state(state)

    def output(snapshot: Any) -> None:
        for observer in observers:
            observer.output(snapshot)

    def step(info: Any) -> None:
        for observer in observers:
            observer.step(info)

    with ExitStack() as closing:
        for observer in observers:
            closing.callback(observer.close)
            observer.begin(solver)
        solver.run(output, step)


def record_density(context: Context) -> History:
    """Solve for the density and keep everything a run folder holds of it (collective)."""
    return record(context, "density")


def record_particles(context: Context) -> History:
    """Follow the tokens and keep everything a run folder holds of them (collective)."""
    return record(context, "particles")


def record(context: Context, side: str) -> History:
    """Run one solver, "density" or "particles", with its table, checkpoints, files and progress (collective)."""
    folder = context.folder
    state = folder.restore(side) if folder is not None else None
    kind, run = (DensityRecorder, run_density) if side == "density" else (ParticleRecorder, run_particles)
    recorder: Recorder = kind(context.problem, context.comm, folder, context.to_target,
                              None if state is None else float(state["time"]))
    observers: list[Observer] = [recorder]
    if folder is not None:
        if side == "density":
            observers.append(FieldFiles(folder.path, append=state is not None))
        observers.append(Checkpoints(folder, side))

    def newest() -> float | None:
        rows = recorder.history.rows
        return rows[-1].get("w2_target") if rows else None

    run(context.problem, context.comm, [*observers, ProgressLine(context.console, side, context.end, newest)], state)
    return recorder.history


def solve(problem: Problem, *, comm: MPI.Comm | None = None, out: str | Path | None = None, force: bool = False,
          resume: bool = False, quiet: bool = True) -> History:
    """The density on its mesh, at every output depth of the problem (collective).

    Args: see `open_run`.

    Returns:
        The history, the same on every rank: times, diagnostics rows, the law as weighted points.

    Raises:
        ProblemError, RunError.
    """
    context = open_run(problem, comm=comm, out=out, force=force, resume=resume, quiet=quiet, command="solve")
    return run_alone(context, "density")


def simulate(problem: Problem, *, comm: MPI.Comm | None = None, out: str | Path | None = None, force: bool = False,
             resume: bool = False, quiet: bool = True) -> History:
    """The token system, at every output depth of the problem (collective); as `solve`."""
    context = open_run(problem, comm=comm, out=out, force=force, resume=resume, quiet=quiet, command="particles")
    return run_alone(context, "particles")


def run_alone(context: Context, side: str) -> History:
    """Run one solver by itself, "density" or "particles", and record how it ended (collective)."""
    with recorded(context):
        history = record(context, side)
    finish(context, **{side: final_numbers(history)}, phases=tell_phases(context))
    return history
