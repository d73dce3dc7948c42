"""The extra runs behind a verdict: coarser meshes, fewer tokens, ensembles of random samples."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from problems import Problem
from solver.comparison.moments import moment_gap, moments
from solver.particles.snapshot import ParticleSnapshot
from solver.particles.solver import simulate_particles
from solver.runs.distances import distance_between
from solver.runs.history import History
from solver.runs.recorders import DensityRecorder, ParticleRecorder, Recorder
from solver.runs.solve import run_density, run_particles
from solver.wasserstein.measure import Measure

if TYPE_CHECKING:
    from mpi4py import MPI

T = TypeVar("T")
MESH_LEVELS = 2
TOKEN_LEVELS = 2
ENSEMBLE = 4
LARGEST_RANDOM = 2048
FEWEST_CELLS, FEWEST_TOKENS = 4, 4


class Members:
    """Collects the members of an ensemble at every output: measures and moments, [output][member]."""

    def __init__(self) -> None:
        self.measures: list[list[Measure]] = []
        self.moments: list[list[tuple[np.ndarray, np.ndarray]]] = []

    def __call__(self, snapshot: ParticleSnapshot) -> None:
        self.measures.append([Measure(points, snapshot.masses) for points in snapshot.members])
        self.moments.append([(np.asarray(row["mean"]), np.asarray(row["second"])) for row in snapshot.rows])


@dataclass
class Refinement:
    """What the extra runs found.

    coarser: density on the next coarser mesh; fewer: half the tokens; random: the ensemble of random samples and
    random_factor, what scales its error to the main number of tokens; curves: name -> (sizes, W2 between density and
    particles at the last judged output), mesh width for "mesh", number of tokens otherwise; words: what was run, one line.
    """

    coarser: History
    fewer: History | None = None
    random: Members | None = None
    random_factor: float = 1.0
    curves: dict[str, tuple[list[float], list[float]]] = field(default_factory=dict)
    words: str = ""

    def sampling_errors(self, problem: Problem, comm: MPI.Comm, particles: History, judged: Sequence[int]) -> np.ndarray:
        """Sampling error of the main token system in W2 at the judged outputs (collective).

        Against half the tokens for quadrature and Sobol points. Random: root-mean-square distance between independent
        members of the ensemble over sqrt(2), since each is as far from the law, scaled by N^{-1/2} to the main number of tokens.
        """
        if self.fewer is not None:
            return distances_between(problem, comm, particles, self.fewer, judged)
        mine = {}
        for k in range(comm.rank, len(judged), comm.size):
            members = self.random.measures[judged[k]]
            mine[k] = self._independent([distance_between(problem, a, b, 2) for a, b in pairs(members)])
        return shared(comm, mine, len(judged))

    def sampling_gaps(self, problem: Problem, particles: History, judged: Sequence[int]) -> np.ndarray:
        """The same for the moments; local, the same on every rank."""
        if self.fewer is not None:
            return gaps_between(problem, particles, self.fewer, judged)
        sphere = problem.manifold.normalised
        return np.array([self._independent([moment_gap(a, b, sphere) for a, b in pairs(self.random.moments[i])])
                         for i in judged])

    def table(self) -> Iterator[dict[str, object]]:
        """Rows of convergence.csv."""
        return ({"kind": kind, "size": size, "w2_density_particles": value}
                for kind, curve in self.curves.items() for size, value in zip(*curve, strict=True))

    def _independent(self, between: list[float]) -> float:
        return self.random_factor * float(np.sqrt(np.mean(np.square(between)) / 2))


def vary(problem: Problem, section: str, **changes: object) -> Problem:
    """The same problem with other settings in one section."""
    return dataclasses.replace(problem, **{section: dataclasses.replace(getattr(problem, section), **changes)})


def shared(comm: MPI.Comm, mine: dict[int, float], count: int) -> np.ndarray:
    """Values worked out by different ranks, together on all of them (collective)."""
    merged = {i: value for part in comm.allgather(mine) for i, value in part.items()}
    return np.array([merged[i] for i in range(count)])


def distances_between(problem: Problem, comm: MPI.Comm, a: History, b: History, outputs: Sequence[int]) -> np.ndarray:
    """W2 between two histories at some outputs, shared among the ranks (collective)."""
    mine = {k: distance_between(problem, a.measures[outputs[k]], b.measures[outputs[k]], 2)
            for k in range(comm.rank, len(outputs), comm.size)}
    return shared(comm, mine, len(outputs))


def pairs(members: list[T]) -> list[tuple[T, T]]:
    """All pairs of members."""
    return list(itertools.combinations(members, 2))


def gaps_between(problem: Problem, a: History, b: History, outputs: Sequence[int]) -> np.ndarray:
    """Moment gaps between two histories at some outputs; local, the same on every rank."""
    d, sphere = problem.manifold.dimension, problem.manifold.normalised
    return np.array([moment_gap(moments(a.rows[i], d), moments(b.rows[i], d), sphere) for i in outputs])


def refine(problem: Problem, comm: MPI.Comm, density: History, particles: History, last: int,
           announce: Callable[[str], None]) -> Refinement:
    """Make the extra runs (collective).

    Args:
        problem, comm: of the main run.
        density, particles: its histories.
        last: index of the last judged output, where the convergence curves are taken.
        announce: told which run comes next.
    """
    tdim = problem.manifold.intrinsic
    steps: list[str] = []

    def again(varied: Problem, kind: type[Recorder], run: Callable[..., None], label: str) -> History:
        announce(label)
        recorder = kind(varied, comm)
        run(varied, comm, [recorder])
        return recorder.history

    def apart(a: Measure, b: Measure) -> float:
        found = distance_between(problem, a, b, 2) if comm.rank == 0 else None
        return comm.bcast(found)

    measure, tokens = density.measures[last], particles.measures[last]
    width = [(problem.manifold.volume or 1.0) / problem.density.cells]
    mesh = ([width[0] ** (1 / tdim)], [apart(measure, tokens)])
    meshes = []
    for level in range(1, MESH_LEVELS + 1):
        cells = problem.density.cells // 2 ** (tdim * level)
        if cells < FEWEST_CELLS:
            break
        meshes.append(again(vary(problem, "density", cells=cells), DensityRecorder, run_density, f"mesh error: {cells} cells"))
        mesh[0].append(mesh[0][0] * 2**level)
        mesh[1].append(apart(meshes[-1].measures[last], tokens))
        steps.append(f"{cells}")
    found = Refinement(coarser=meshes[0] if meshes else density, curves={"mesh": mesh})
    found.words = f"mesh error against {steps[0]} cells" if steps else "mesh too coarse to measure its error"

    sampling, count = problem.particles.sampling, problem.particles.count
    largest = min(count, LARGEST_RANDOM)
    if sampling != "random":
        tokens_curve = ([float(count)], [apart(tokens, measure)])
        for level in range(1, TOKEN_LEVELS + 1):
            fewer = max(count // 2**level, FEWEST_TOKENS)
            run = again(vary(problem, "particles", count=fewer), ParticleRecorder, run_particles,
                        f"sampling error: {fewer} tokens")
            found.fewer = found.fewer or run
            tokens_curve[0].append(float(fewer))
            tokens_curve[1].append(apart(run.measures[last], measure))
        found.curves[sampling] = tokens_curve
        found.words += f", sampling error against {max(count // 2, FEWEST_TOKENS)} tokens"
        largest = max(count // 8, FEWEST_TOKENS)
    found.curves["random"] = random_curve(problem, comm, found, largest, measure, last, announce)
    if sampling == "random":
        found.random_factor = float(np.sqrt(largest / count))
        found.words += f", sampling error from {ENSEMBLE} independent samples of {largest} tokens"
    return found


def random_curve(problem: Problem, comm: MPI.Comm, found: Refinement, largest: int, measure: Measure, last: int,
                 announce: Callable[[str], None]) -> tuple[list[float], list[float]]:
    """Mean W2 to the density of random ensembles of `largest` tokens, half and a quarter of them (collective)."""
    sizes, values = [], []
    for count in (largest, largest // 2, largest // 4):
        if count < FEWEST_TOKENS:
            break
        announce(f"sampling error: {ENSEMBLE} random samples of {count} tokens")
        members = Members()
        varied = vary(problem, "particles", sampling="random", count=count, ensemble=ENSEMBLE,
                      seed=problem.particles.seed + 1)
        simulate_particles(varied, comm, members)
        found.random = found.random or members
        mine = {k: distance_between(problem, members.measures[last][k], measure, 2)
                for k in range(comm.rank, ENSEMBLE, comm.size)}
        sizes.append(float(count))
        values.append(float(np.mean(shared(comm, mine, ENSEMBLE))))
    return sizes, values
