"""What is kept of a run at each output: table rows, atoms for the distances, pictures, checkpoints."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np

from problems import Problem
from solver.runs.folder import RunFolder, diagnostics_columns, flatten_row
from solver.runs.history import History, HistoryStore
from solver.wasserstein.distance import distance
from solver.wasserstein.measure import Distance, Measure

ATOMS_ON_CURVES = 16
ATOMS_ON_SURFACES = 1


# Root-mean-square distance from the centre of an interval, an equilateral triangle or a regular tetrahedron to its points,
# in units of its size^(1/dimension).
RADIUS = {1: 0.2887, 2: 0.4387, 3: 0.56}


def atom_radius(manifold: Any, count: int) -> float:
    """How far the mass of a cell is from the atom that stands for it, when `count` equal cells fill the manifold."""
    if manifold.volume is None or manifold.intrinsic not in RADIUS:
        return 0.0
    return RADIUS[manifold.intrinsic] * (manifold.volume / count) ** (1 / manifold.intrinsic)


class TargetDistance:
    """W1 and W2 of a law to the push-forward target; nothing where the problem has no target.

    Args:
        problem: the problem; its target is worked out once.
        comm: all ranks; the distances are computed on rank 0 and shared (collective).
        points: how many points represent a target that is not a few atoms.
    """

    def __init__(self, problem: Problem, comm: Any, points: int = 4096):
        from solver.projection.target import target

        self.problem, self.comm = problem, comm
        self.target = target(problem)
        self.measure = Measure(*self.target.measure(points)) if self.target.exists else None
        self.terminal = dominant_directions(problem)
        self.quiet = False

    def silent(self) -> TargetDistance:
        """The same without distances, for the extra runs that only measure errors."""
        other = copy.copy(self)
        other.quiet = True
        return other

    def alone(self) -> TargetDistance:
        """The same for one rank, whose calls are not collective: for pictures."""
        from mpi4py import MPI

        other = copy.copy(self)
        other.comm = MPI.COMM_SELF
        return other

    def terminal_distance(self, law: Measure) -> float | None:
        """Mean distance int d(x, E(V)) dlaw from the dominant eigenspace of V; None where V has no real one.

        It is W1 to the nearest law on E(V). Source: theory.md §4.7.
        """
        if self.terminal is None:
            return None
        return float(law.masses @ arc_to_span(law.points, self.terminal))

    def terminal_level(self) -> float | None:
        """W2 between the target and its nearest law on E(V), the level a long run ends at; None without either."""
        if self.terminal is None or self.measure is None:
            return None
        return float(np.sqrt(self.measure.masses @ arc_to_span(self.measure.points, self.terminal) ** 2))

    def __call__(self, law: Measure) -> dict[int, Distance]:
        """{1: W1, 2: W2} with their bounds, the coupling by T among them, or {} without a target (collective)."""
        if self.measure is None or self.quiet:
            return {}
        found = None
        if self.comm.rank == 0:
            found = {p: bounded_distance(self.problem, law, self.measure, p, self.target.map) for p in (1, 2)}
        return self.comm.bcast(found)


def dominant_directions(problem: Problem) -> np.ndarray | None:
    """Orthonormal basis (d, k) of the dominant eigenspace E(V); None in flat spaces, for layers or several heads,
    and when the leading eigenvalue is complex."""
    from solver.projection.spectrum import analyse

    layers = problem.attention.layers
    if not problem.manifold.normalised or len(layers) > 1 or len(layers[0].weights.heads) > 1:
        return None
    analysis = analyse(layers[0].weights.heads[0].value)
    return np.linalg.qr(analysis.basis)[0] if analysis.exists else None


def arc_to_span(points: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Angle (n,) between unit vectors (n, d) and the span of an orthonormal basis (d, k), in [0, pi/2]."""
    inside = points @ basis
    return np.arctan2(np.linalg.norm(points - inside @ basis.T, axis=1), np.linalg.norm(inside, axis=1))


def bounded_distance(problem: Problem, a: Measure, b: Measure, p: int, coupling: Any = None) -> Distance:
    """W_p in the problem's metric with its bounds; `coupling` maps points of `a` towards `b`. Local."""
    return distance(a, b, p=p, manifold=problem.manifold, metric=problem.compare.metric, coupling=coupling)


def distance_between(problem: Problem, a: Measure, b: Measure, p: int) -> float:
    """W_p in the problem's metric; local."""
    return bounded_distance(problem, a, b, p).value


class Recorder:
    """Writes the rows of one solver as they come; the two solvers differ in columns and extra files.

    Args:
        problem: the resolved problem.
        comm: all ranks.
        folder: where to write, or None to keep the history in memory only.
        to_target: shared distance to the target.
    """

    file_name = ""
    is_density = False

    def __init__(self, problem: Problem, comm: Any, folder: RunFolder | None, to_target: TargetDistance):
        self.problem, self.comm, self.folder, self.to_target = problem, comm, folder, to_target
        self.history = History()
        self.dimension = problem.manifold.dimension
        self.table, self.store = None, None
        if folder is not None and folder.writes:
            self.store = HistoryStore(folder.path / "checkpoint" / f"{Path(self.file_name).stem}.h5")

    def open(self, resumed_at: float | None = None) -> None:
        """Start the table; a resumed run keeps what was recorded up to the depth it starts from (collective)."""
        if self.folder is None:
            return
        if self.store is not None:
            if resumed_at is None:
                self.store.path.unlink(missing_ok=True)
            else:
                self.history = self.store.load(self.folder.path / self.file_name, resumed_at)
        self.history = self.comm.bcast(self.history)
        self.table = self.folder.table(self.file_name, diagnostics_columns(self.dimension, density=self.is_density),
                                       resumed_at)

    def keep(self, snapshot: Any, measure: Measure, picture: Any = None) -> dict[str, float]:
        """Record one output; returns the distances to the target (collective)."""
        if self.history.times and snapshot.time <= self.history.times[-1]:
            return {}
        bounds = self.to_target(measure)
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
        return found

    def close(self) -> None:
        """Close the files."""
        if self.table is not None:
            self.table.close()
