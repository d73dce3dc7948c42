"""The two solvers with their run folders: `solve` for the density, `simulate` for the tokens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from problems import Problem, dumps
from solver.particles.clusters import MergeTimes
from solver.ranks import Termination
from solver.runs.folder import RunFolder, axis_names
from solver.runs.history import History
from solver.runs.progress import rank_console, ticker
from solver.runs.provenance import provenance
from solver.runs.recorders import ATOMS_ON_CURVES, ATOMS_ON_SURFACES, Recorder, TargetDistance, atom_radius
from solver.wasserstein.measure import Measure

MOST_CLUSTERS = 12


@dataclass
class Context:
    """What all parts of one run share: problem, ranks, folder (None: nothing is written), console, target."""

    problem: Problem
    comm: Any
    folder: RunFolder | None
    console: Any
    to_target: TargetDistance

    def end(self) -> float | None:
        """Depth of the last output; None when the run ends at a stationary state."""
        return None if self.problem.time.end == "stationary" else float(self.problem.time.end)


def open_run(problem: Problem, *, comm: Any = None, out: str | Path | None = None, force: bool = False,
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
        from mpi4py import MPI

        comm = MPI.COMM_WORLD
    folder = None
    if out is not None:
        folder = RunFolder(out, comm, dumps(problem), force=force, resume=resume)
        folder.record(command=command, title=problem.title, exit_reason="running", **provenance(comm))
    return Context(problem, comm, folder, rank_console(comm, quiet), TargetDistance(problem, comm))


class DensityRecorder(Recorder):
    """Rows of diagnostics.csv, pictures, checkpoint and field output of the density."""

    file_name = "diagnostics.csv"
    is_density = True

    def __init__(self, context: Context, writer: Any = None):
        super().__init__(context.problem, context.comm, context.folder, context.to_target)
        self.writer = writer

    def __call__(self, snapshot: Any) -> dict[str, float]:
        """Record one output (collective)."""
        curve = self.problem.manifold.intrinsic == 1
        points, masses = snapshot.atoms(per_cell=ATOMS_ON_CURVES if curve else ATOMS_ON_SURFACES)
        measure = Measure(points, masses, atom_radius(self.problem.manifold, len(masses)))
        found = self.keep(snapshot, measure, snapshot.plot_data())
        if self.writer is not None:
            self.writer.write(snapshot)
        return found


class ParticleRecorder(Recorder):
    """Rows of particles.csv and the tokens themselves in particles.h5."""

    file_name = "particles.csv"

    def __init__(self, context: Context, resumed_at: float | None = None):
        super().__init__(context.problem, context.comm, context.folder, context.to_target)
        self.path, self.last = None, resumed_at
        if self.folder is not None and self.folder.writes:
            self.path = self.folder.path / "particles.h5"
            if resumed_at is None:
                self.path.unlink(missing_ok=True)
            elif self.path.exists():
                # What was written after the checkpoint will be computed again.
                with h5py.File(self.path, "a") as file:
                    kept = int(np.count_nonzero(file["time"][()] <= resumed_at))
                    file["time"].resize(kept, axis=0)
                    file["points"].resize(kept, axis=0)
        self.merges = MergeTimes()
        if self.folder is not None:
            centres = [f"centre_{a}" for a in axis_names(self.dimension)]
            self.clusters = self.folder.table("clusters.csv", ["time", "count", "cluster", "mass", "radius", *centres],
                                              resumed_at)

    def __call__(self, snapshot: Any) -> dict[str, float]:
        """Record one output (collective)."""
        if self.last is not None and snapshot.time <= self.last:
            return {}
        found = self.keep(snapshot, Measure(snapshot.points, snapshot.masses))
        if self.path is not None:
            self.append(snapshot)
            self.watch(snapshot)
        return found

    def watch(self, snapshot: Any) -> None:
        """Add the heaviest clusters of this output to clusters.csv."""
        found = self.merges(snapshot)
        axes = axis_names(self.dimension)
        for k in range(min(found.count, MOST_CLUSTERS)):
            self.clusters.write({"time": snapshot.time, "count": found.count, "cluster": k + 1, "mass": found.masses[k],
                                 "radius": found.radii[k], **{f"centre_{a}": found.centres[k][i] for i, a in enumerate(axes)}})

    def append(self, snapshot: Any) -> None:
        """Add one output to particles.h5, which is closed again at once: a killed run leaves a readable file."""
        count, dimension = snapshot.points.shape
        with h5py.File(self.path, "a") as file:
            if "points" not in file:
                file.create_dataset("time", (0,), maxshape=(None,), dtype="f8")
                file.create_dataset("points", (0, count, dimension), maxshape=(None, count, dimension), dtype="f8",
                                    chunks=(1, count, dimension))
                file["masses"] = snapshot.masses
                file.attrs["title"] = self.problem.title
            row = len(file["time"])
            file["time"].resize(row + 1, axis=0)
            file["points"].resize(row + 1, axis=0)
            file["time"][row] = snapshot.time
            file["points"][row] = snapshot.points


def run_density(context: Context, *, fields: bool = True) -> History:
    """Solve for the density and record every output (collective).

    Args:
        context: the run.
        fields: also write the density for ParaView.

    Raises:
        RunError: the solver cannot go on.
    """
    from solver.density import DensitySolver

    problem = context.problem
    solver = DensitySolver(problem, context.comm)
    restored = context.folder.restore("density") if context.folder else None
    writer = None
    if fields and context.folder is not None:
        from solver.density.output import DensityWriter

        writer = DensityWriter(context.folder.path, solver, append=restored is not None)
    recorder = DensityRecorder(context, writer)
    if restored is not None:
        solver.load_state(restored)
    recorder.open(None if restored is None else float(restored["time"]))
    with ticker(context.console, "density", context.end()) as progress:
        def output(snapshot: Any) -> None:
            found = recorder(snapshot)
            if context.folder is not None:
                context.folder.checkpoint("density", **solver.state_dict())
            progress.update(snapshot.time, **({"W2": found["w2_target"]} if found else {}))

        def step(info: Any) -> None:
            progress.update(info.time, dt=info.dt, mass=info.mass)

        try:
            solver.run(output, step)
        finally:
            recorder.close()
            if writer is not None:
                writer.close()
    return recorder.history


def run_particles(context: Context) -> History:
    """Follow the tokens and record every output (collective)."""
    from solver.particles.solver import ParticleSolver

    solver = ParticleSolver(context.problem, context.comm)
    restored = context.folder.restore("particles") if context.folder else None
    if restored is not None:
        solver.load_state(restored)
    resumed_at = None if restored is None else float(restored["time"])
    recorder = ParticleRecorder(context, resumed_at)
    recorder.open(resumed_at)
    with ticker(context.console, "particles", context.end()) as progress:
        def output(snapshot: Any) -> None:
            found = recorder(snapshot)
            if context.folder is not None:
                context.folder.checkpoint("particles", **solver.state_dict())
            progress.update(snapshot.time, **({"W2": found["w2_target"]} if found else {}))

        try:
            solver.run(output, lambda info: progress.update(info.time, dt=info.dt))
        finally:
            recorder.close()
    return recorder.history


def solve(problem: Problem, *, comm: Any = None, out: str | Path | None = None, force: bool = False,
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


def simulate(problem: Problem, *, comm: Any = None, out: str | Path | None = None, force: bool = False,
             resume: bool = False, quiet: bool = True) -> History:
    """The token system, at every output depth of the problem (collective); as `solve`."""
    context = open_run(problem, comm=comm, out=out, force=force, resume=resume, quiet=quiet, command="particles")
    return run_alone(context, "particles")


def run_alone(context: Context, side: str) -> History:
    """Run one solver by itself, "density" or "particles", and record how it ended (collective)."""
    with recorded(context):
        history = run_density(context) if side == "density" else run_particles(context)
    finish(context, **{side: final_numbers(history)})
    return history


@contextmanager
def recorded(context: Context) -> Iterator[Context]:
    """Whatever ends the run, run.json says so."""
    try:
        yield context
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt) or Termination.asked
        reason = "interrupted" if interrupted else f"{type(error).__name__}: {error}"
        finish(context, reason)
        raise


def final_numbers(history: History) -> dict[str, Any]:
    """The last row of a history, for run.json."""
    return {key: np.asarray(value).tolist() for key, value in history.rows[-1].items()} if history.rows else {}


def finish(context: Context, exit_reason: str = "done", **facts: Any) -> None:
    """Record how a run ended."""
    if context.folder is not None:
        context.folder.record(exit_reason=exit_reason, **facts)
