"""What is kept of a run at each output: rows of its table, atoms for the distances, pictures, tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from meshes.manifold import Manifold
from problems import Problem
from solver.particles.clusters import MergeTimes
from solver.particles.snapshot import ParticleSnapshot
from solver.runs.checkpoints import Store, on_first_rank
from solver.runs.distances import TargetDistance
from solver.runs.folder import RunFolder
from solver.runs.history import History, Picture
from solver.runs.journal import Record
from solver.runs.observers import Observer, Snapshot, Solver
from solver.runs.tables import CsvTable, Row, axis_names, diagnostics_columns, flatten_row
from solver.runs.token_file import append_tokens
from solver.runs.token_xdmf import write_token_xdmf
from solver.wasserstein.measure import Measure

if TYPE_CHECKING:
    from mpi4py import MPI

    from solver.density.snapshot import DensitySnapshot

ATOMS_ON_CURVES = 16
ATOMS_ON_SURFACES = 1
MOST_CLUSTERS = 12
# particles.xdmf is written anew at every output up to this many, later at every so many.
SHOWN_AT_ONCE = 64


# Root-mean-square distance from the centre of an interval, an equilateral triangle or a regular tetrahedron to its points,
# in units of its size^(1/dimension).
RADIUS = {1: 0.2887, 2: 0.4387, 3: 0.56}


def atom_radius(manifold: Manifold, count: int) -> float:
    """How far the mass of a cell is from the atom that stands for it, when `count` equal cells fill the manifold."""
    if manifold.volume is None or manifold.intrinsic not in RADIUS:
        return 0.0
    return RADIUS[manifold.intrinsic] * (manifold.volume / count) ** (1 / manifold.intrinsic)


S_contra = TypeVar("S_contra", bound=Snapshot, contravariant=True)


class Recorder(Observer[S_contra]):
    """Keeps the history of one solver, its journal and its table; the two solvers differ in columns and extra files.

    A run that goes on takes its earlier outputs from the journal and writes its files anew from them.

    Args:
        problem: the resolved problem.
        comm: all ranks.
        folder: where to write, or None to keep the history in memory only.
        to_target: distance to the target, or None where none is asked for.
        store: journal and checkpoints of this run, or None where it cannot go on later.
        shared: the history is to be compared with another one, output by output on all ranks, see `History`.
    """

    file_name = ""
    is_density = False

    def __init__(self, problem: Problem, comm: MPI.Comm, folder: RunFolder | None = None,
                 to_target: TargetDistance | None = None, store: Store | None = None, shared: bool = False):
        self.problem, self.comm, self.folder, self.to_target, self.store = problem, comm, folder, to_target, store
        self.history = History(problem=problem, side="density" if self.is_density else "particles", rank=comm.rank,
                               ranks=comm.size, shared=shared)
        self.dimension = problem.manifold.dimension
        self.table: CsvTable | None = None

    def begin(self, solver: Solver | None) -> None:
        """Take up what was recorded before, and start the table with it (collective)."""
        for record in self.store.earlier() if self.store is not None else ():
            self.history.restore(record)
            self.again(record)
        on_first_rank(self.comm, self.start_files)

    def again(self, record: Record) -> None:
        """An output of the journal was taken up; on every rank."""

    def start_files(self) -> None:
        """Start the files of this run with the earlier outputs (rank 0).

        Raises:
            OSError.
        """
        if self.folder is not None:
            columns = diagnostics_columns(self.dimension, density=self.is_density, own=self.problem.diagnostics.names)
            self.table = self.folder.table(self.file_name, columns, self.history.rows)
            if self.table.mended:
                self.folder.tell(f"{self.file_name} was damaged and is written again from the checkpoint")

    def keep(self, snapshot: Snapshot, measure: Measure, picture: Picture | None = None,
             more: Mapping[str, np.ndarray] | None = None, carried: Mapping[str, np.ndarray] | None = None) -> None:
        """Record one output, with its distances to the target (collective).

        Args:
            measure, picture: the law as atoms, and to be drawn. carried: what tokens carry, see `History`.
            more: what else the journal needs, so that all files can be written again.
        """
        bounds = self.to_target(measure) if self.to_target is not None else {}
        found = {f"w{p}_target": bound.value for p, bound in bounds.items()}
        row = flatten_row({"time": snapshot.time, "step": snapshot.step, **snapshot.row, **found}, self.dimension)
        self.history.keep(row, measure, picture, bounds, carried)

        def write() -> None:
            if self.store is not None:
                self.store.journal.append({**self.history.record(), **(more or {})})
            if self.table is not None:
                self.table.write(row)

        on_first_rank(self.comm, write)
        if self.folder is not None:
            self.folder.begun()


class DensityRecorder(Recorder["DensitySnapshot"]):
    """Rows of diagnostics.csv, atoms and pictures of the density."""

    file_name = "diagnostics.csv"
    is_density = True

    def output(self, snapshot: DensitySnapshot) -> None:
        """Record one output (collective)."""
        curve = self.problem.manifold.intrinsic == 1
        points, masses = snapshot.atoms(per_cell=ATOMS_ON_CURVES if curve else ATOMS_ON_SURFACES)
        measure = Measure(points, masses, atom_radius(self.problem.manifold, len(masses)))
        more = {"coefficients": snapshot.operator.gather_cells(snapshot.state)} if self.folder is not None else None
        self.keep(snapshot, measure, snapshot.plot_data(), more)


class ParticleRecorder(Recorder[ParticleSnapshot]):
    """Rows of particles.csv and clusters.csv, and the tokens themselves in particles.h5."""

    file_name = "particles.csv"

    def __init__(self, problem: Problem, comm: MPI.Comm, folder: RunFolder | None = None,
                 to_target: TargetDistance | None = None, store: Store | None = None, shared: bool = False):
        super().__init__(problem, comm, folder, to_target, store, shared)
        self.merges = MergeTimes()
        self.clusters: list[Row] = []

    def again(self, record: Record) -> None:
        if self.folder is not None and self.folder.writes:
            self.watch(ParticleSnapshot(float(record["time"]), int(record["step"]), record["points"][None], record["masses"], (),
                                        self.problem))

    def start_files(self) -> None:
        super().start_files()
        if self.folder is None:
            return
        centres = [f"centre_{a}" for a in axis_names(self.dimension)]
        self.cluster_table = self.folder.table("clusters.csv", ["time", "count", "cluster", "mass", "radius", *centres],
                                               self.clusters)
        if self.cluster_table.mended:
            self.folder.tell("clusters.csv was damaged and is written again from the checkpoint")
        self.path = self.folder.path / "particles.h5"
        self.path.unlink(missing_ok=True)
        for time, measure, carried in zip(self.history.times, self.history.measures, self.history.carried, strict=True):
            self.append(time, measure.points, measure.masses, carried)
        self.show(self.history.times)

    def output(self, snapshot: ParticleSnapshot) -> None:
        """Record one output (collective)."""
        self.keep(snapshot, Measure(snapshot.points, snapshot.masses), carried=snapshot.carried)
        if self.folder is not None:
            on_first_rank(self.comm, lambda: self.write(snapshot))

    def write(self, snapshot: ParticleSnapshot) -> None:
        """Add one output to clusters.csv and particles.h5 (rank 0)."""
        self.cluster_table.write_all(self.watch(snapshot))
        self.append(snapshot.time, snapshot.points, snapshot.masses, snapshot.carried)
        count = len(self.history.times)
        if count < SHOWN_AT_ONCE or count % SHOWN_AT_ONCE == 0:
            self.show(self.history.times)

    def close(self) -> None:
        """List the outputs that particles.xdmf does not yet show (collective)."""
        if self.folder is not None:
            on_first_rank(self.comm, lambda: self.show(self.history.times))

    def show(self, times: Sequence[float]) -> None:
        """Write particles.xdmf anew where there are outputs (rank 0).

        Raises:
            OSError.
        """
        if times:
            write_token_xdmf(self.path)

    def watch(self, snapshot: ParticleSnapshot) -> list[Row]:
        """The heaviest clusters of this output, as rows of clusters.csv."""
        found = self.merges(snapshot)
        axes = axis_names(self.dimension)
        rows: list[Row] = [
                {"time": snapshot.time, "count": found.count, "cluster": k + 1, "mass": found.masses[k], "radius": found.radii[k],
                 **{f"centre_{a}": found.centres[k][i] for i, a in enumerate(axes)}}
                for k in range(min(found.count, MOST_CLUSTERS))]
        self.clusters += rows
        return rows

    def append(self, time: float, points: np.ndarray, masses: np.ndarray, carried: Mapping[str, np.ndarray]) -> None:
        """Add one output to particles.h5 (rank 0).

        Raises:
            OSError.
        """
        append_tokens(self.path, time, points, masses, carried, self.problem.title)
