"""What is kept of a run at each output: rows of its table, atoms for the distances, pictures, tokens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from meshes.manifold import Manifold
from problems import Problem
from solver.particles.clusters import MergeTimes
from solver.particles.snapshot import ParticleSnapshot
from solver.runs.distances import TargetDistance
from solver.runs.folder import RunFolder
from solver.runs.history import History, HistoryStore, Picture
from solver.runs.observers import Observer, Snapshot, Solver
from solver.runs.tables import CsvTable, axis_names, diagnostics_columns, flatten_row
from solver.wasserstein.measure import Measure

if TYPE_CHECKING:
    from mpi4py import MPI

    from solver.density.snapshot import DensitySnapshot

ATOMS_ON_CURVES = 16
ATOMS_ON_SURFACES = 1
MOST_CLUSTERS = 12


# Root-mean-square distance from the centre of an interval, an equilateral triangle or a regular tetrahedron to its points,
# in units of its size^(1/dimension).
RADIUS = {1: 0.2887, 2: 0.4387, 3: 0.56}


def atom_radius(manifold: Manifold, count: int) -> float:
    """How far the mass of a cell is from the atom that stands for it, when `count` equal cells fill the manifold."""
    if manifold.volume is None or manifold.intrinsic not in RADIUS:
        return 0.0
    return RADIUS[manifold.intrinsic] * (manifold.volume / count) ** (1 / manifold.intrinsic)


class Recorder(Observer):
    """Keeps the history of one solver and writes its table; the two solvers differ in columns and extra files.

    Args:
        problem: the resolved problem.
        comm: all ranks.
        folder: where to write, or None to keep the history in memory only.
        to_target: distance to the target, or None where none is asked for.
        resumed_at: depth of the checkpoint that a resumed run starts from; what was recorded up to it is kept.
    """

    file_name = ""
    is_density = False

    def __init__(self, problem: Problem, comm: MPI.Comm, folder: RunFolder | None = None,
                 to_target: TargetDistance | None = None, resumed_at: float | None = None):
        self.problem, self.comm, self.folder, self.to_target = problem, comm, folder, to_target
        self.resumed_at = resumed_at
        self.history = History()
        self.dimension = problem.manifold.dimension
        self.table: CsvTable | None = None
        self.store: HistoryStore | None = None

    def begin(self, solver: Solver) -> None:
        """Start the table; a resumed run keeps what was recorded up to the depth it starts from (collective)."""
        if self.folder is None:
            return
        if self.folder.writes:
            self.store = HistoryStore(self.folder.path / "checkpoint" / f"{Path(self.file_name).stem}.h5")
            if self.resumed_at is None:
                self.store.path.unlink(missing_ok=True)
            else:
                self.history = self.store.load(self.folder.path / self.file_name, self.resumed_at)
        self.history = self.comm.bcast(self.history)
        self.table = self.folder.table(self.file_name, diagnostics_columns(self.dimension, density=self.is_density),
                                       self.resumed_at)

    def keep(self, snapshot: Snapshot, measure: Measure, picture: Picture | None = None) -> bool:
        """Record one output, with its distances to the target; False if it was recorded before (collective)."""
        if self.history.times and snapshot.time <= self.history.times[-1]:
            return False
        bounds = self.to_target(measure) if self.to_target is not None else {}
        self.history.to_target.append(bounds)
        found = {f"w{p}_target": bound.value for p, bound in bounds.items()}
        row = flatten_row({"time": snapshot.time, "step": snapshot.step, **snapshot.row, **found}, self.dimension)
        self.history.times.append(snapshot.time)
        self.history.rows.append(row)
        self.history.measures.append(measure)
        if picture is not None:
            self.history.pictures.append(picture)
        if self.table is not None:
            self.table.write(row)
        if self.store is not None:
            self.store.append(measure, picture, snapshot.time)
        return True

    def close(self) -> None:
        """Close the files."""
        if self.table is not None:
            self.table.close()


class DensityRecorder(Recorder):
    """Rows of diagnostics.csv, atoms and pictures of the density."""

    file_name = "diagnostics.csv"
    is_density = True

    def output(self, snapshot: DensitySnapshot) -> None:
        """Record one output (collective)."""
        curve = self.problem.manifold.intrinsic == 1
        points, masses = snapshot.atoms(per_cell=ATOMS_ON_CURVES if curve else ATOMS_ON_SURFACES)
        measure = Measure(points, masses, atom_radius(self.problem.manifold, len(masses)))
        self.keep(snapshot, measure, snapshot.plot_data())


class ParticleRecorder(Recorder):
    """Rows of particles.csv and clusters.csv, and the tokens themselves in particles.h5."""

    file_name = "particles.csv"

    def begin(self, solver: Solver) -> None:
        super().begin(solver)
        self.merges = MergeTimes()
        self.path: Path | None = None
        if self.folder is None:
            return
        centres = [f"centre_{a}" for a in axis_names(self.dimension)]
        self.clusters = self.folder.table("clusters.csv", ["time", "count", "cluster", "mass", "radius", *centres],
                                          self.resumed_at)
        if not self.folder.writes:
            return
        self.path = self.folder.path / "particles.h5"
        if self.resumed_at is None:
            self.path.unlink(missing_ok=True)
        elif self.path.exists():
            # What was written after the checkpoint will be computed again.
            with h5py.File(self.path, "a") as file:
                kept = int(np.count_nonzero(file["time"][()] <= self.resumed_at))
                file["time"].resize(kept, axis=0)
                file["points"].resize(kept, axis=0)

    def output(self, snapshot: ParticleSnapshot) -> None:
        """Record one output (collective)."""
        if self.keep(snapshot, Measure(snapshot.points, snapshot.masses)) and self.path is not None:
            self.append(self.path, snapshot)
            self.watch(snapshot)

    def watch(self, snapshot: ParticleSnapshot) -> None:
        """Add the heaviest clusters of this output to clusters.csv."""
        found = self.merges(snapshot)
        axes = axis_names(self.dimension)
        for k in range(min(found.count, MOST_CLUSTERS)):
            self.clusters.write({"time": snapshot.time, "count": found.count, "cluster": k + 1, "mass": found.masses[k],
                                 "radius": found.radii[k], **{f"centre_{a}": found.centres[k][i] for i, a in enumerate(axes)}})

    def append(self, path: Path, snapshot: ParticleSnapshot) -> None:
        """Add one output to particles.h5, which is closed again at once: a killed run leaves a readable file."""
        count, dimension = snapshot.points.shape
        with h5py.File(path, "a") as file:
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
