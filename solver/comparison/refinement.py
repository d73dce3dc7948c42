"""The extra runs behind a verdict: coarser meshes, fewer tokens, ensembles of random samples."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from problems import Problem, ProblemError
from solver.comparison.moments import curve_error, moment_gap, moments
from solver.comparison.variations import ENSEMBLE, FEWEST_TOKENS, Planned, mesh_runs, random_samples, token_runs, vary
from solver.particles.integrators import TABLES
from solver.particles.snapshot import ParticleSnapshot
from solver.runs.checkpoints import Store
from solver.runs.distances import distance_between
from solver.runs.history import History, Kept, owner
from solver.runs.observers import Checkpoints, Observer
from solver.runs.recorders import DensityRecorder, ParticleRecorder, Recorder
from solver.runs.solve import run_density, run_particles
from solver.runs.stop import Supervisor
from solver.wasserstein.measure import Measure

if TYPE_CHECKING:
    from mpi4py import MPI

T = TypeVar("T")
SCRAMBLES = 8  # of Sobol points: errors of one are far from normal, and may be a thousandth of those of the next
LARGEST_RANDOM = 2048
FINER = 2.0  # |u_h - u| against |u_h - u_(h/2)| if the order is one at least; less if it is higher


class Members(Observer[ParticleSnapshot]):
    """Collects the members of an ensemble at every output: measures, kept as in a shared `History`, and moments, on every rank,
    [output][member].

    Args:
        comm: all ranks. store: journal and checkpoints of this run, or None where it cannot go on later.
    """

    def __init__(self, comm: MPI.Comm, store: Store | None = None) -> None:
        self.comm, self.store = comm, store
        self.measures: Kept[list[Measure]] = Kept()
        self.moments: list[list[tuple[np.ndarray, np.ndarray]]] = []

    def begin(self, solver: object) -> None:
        for record in self.store.earlier() if self.store is not None else ():
            self.keep(record)

    def output(self, snapshot: ParticleSnapshot) -> None:
        record = {"time": np.array(snapshot.time), "members": snapshot.members, "masses": snapshot.masses,
                  "means": np.array([row["mean"] for row in snapshot.rows]),
                  "seconds": np.array([row["second"] for row in snapshot.rows])}
        self.keep(record)
        if self.store is not None:
            self.store.append(record)

    def keep(self, record: Mapping[str, np.ndarray]) -> None:
        """Add one output."""
        here = self.comm.rank in (0, owner(len(self.measures), self.comm.size))
        self.measures.append([Measure(points, record["masses"]) for points in record["members"]] if here else None)
        self.moments.append(list(zip(record["means"], record["seconds"], strict=True)))

    def everywhere(self, output: int) -> list[Measure]:
        """The members at one output, on every rank (collective)."""
        return self.comm.bcast(self.measures[output] if self.comm.rank == 0 else None)


class Extra:
    """Makes the extra runs of a verdict, each with checkpoints of its own, and goes on with those a stopped run left.

    Args:
        comm: all ranks.
        announce: told which run comes next.
        stores: gives the store of a run by its name, None: nothing is kept.
        supervisor: of the main run.
    """

    def __init__(self, comm: MPI.Comm, announce: Callable[[str], None], stores: Callable[[str], Store] | None = None,
                 supervisor: Supervisor | None = None):
        self.comm, self.announce, self.stores, self.supervisor = comm, announce, stores, supervisor

    def density(self, problem: Problem, name: str, label: str) -> History | None:
        """The density of a varied problem; None where its cells are too wide for the initial law (collective)."""
        recorder = DensityRecorder(problem, self.comm, store=self.store(name), shared=True)
        return recorder.history if self._starts(problem, run_density, recorder, label) else None

    def particles(self, problem: Problem, name: str, label: str) -> History | None:
        """The tokens of a varied problem; None where they are too few for the initial law (collective)."""
        recorder = ParticleRecorder(problem, self.comm, store=self.store(name), shared=True)
        return recorder.history if self._starts(problem, run_particles, recorder, label) else None

    def planned(self, run: Planned) -> History | None:
        """A run that was planned; None where it cannot start (collective)."""
        return (self.density if run.side == "density" else self.particles)(run.problem, run.name, run.label)

    def members(self, problem: Problem, name: str, label: str, stride: int = 1) -> Members:
        """The members of an ensemble, with fixed steps taken `stride` at once (collective)."""
        members = Members(self.comm, self.store(name))
        self._run(problem, partial(run_particles, stride=stride), members, label)
        return members

    def store(self, name: str) -> Store | None:
        """The store of one run (collective)."""
        return self.stores(name) if self.stores is not None else None

    def _starts(self, problem: Problem, run: Callable[..., None], recorder: Recorder, label: str) -> bool:
        # A checkpoint that cannot be used is refused before, where it must not be taken for this.
        try:
            self._run(problem, run, recorder, label)
        except ProblemError:
            return False  # on every rank alike
        return True

    def _run(self, problem: Problem, run: Callable[..., None], observer: Recorder | Members,
             label: str) -> None:
        store = observer.store
        if store is not None and store.finished:
            observer.begin(None)
            return
        self.announce(label)
        observers = [observer, *([Checkpoints(store)] if store is not None else [])]
        run(problem, self.comm, observers, store.restart if store is not None else None, self.supervisor)


@dataclass
class Refinement:
    """What the extra runs found.

    remeshed: density on another mesh, None where there is none to be had, and mesh_factor, what its distance to the main
    density is multiplied by to give the mesh error of the latter; coarsest: on a mesh coarser still; fewer: half the tokens;
    random: the ensemble of random or Sobol samples and random_factor, moments_factor, what scales its error to the main number
    of tokens; strides: an ensemble with the steps of the main tokens and with steps twice as long, None where they choose their
    own, and stride_factor, what scales its change to the error of the shorter ones; curves: name -> (sizes, W2 between density
    and particles at the last judged output), width for "mesh", number of tokens otherwise; words: what was run, one line.
    """

    remeshed: History | None
    mesh_factor: float = 1.0
    coarsest: History | None = None
    fewer: History | None = None
    random: Members | None = None
    random_factor: float = 1.0
    moments_factor: float = 1.0
    strides: tuple[Members, Members] | None = None
    stride_factor: float = 1.0
    curves: dict[str, tuple[list[float], list[float]]] = field(default_factory=dict)
    words: str = ""

    def sampling_errors(self, problem: Problem, comm: MPI.Comm, particles: History, judged: Sequence[int]) -> np.ndarray:
        """Sampling error of the main token system in W2 at the judged outputs (collective).

        Against half the tokens for quadrature points. Random and Sobol points: root-mean-square distance between independent
        members of the ensemble over sqrt(2), since each is as far from the law, scaled by N^{-1/2} to the main number of tokens.
        Half the Sobol points would be a part of the others, and as wrong as they are.
        """
        if self.fewer is not None:
            return distances_between(problem, comm, particles, self.fewer, judged)
        mine = {}
        for k, output in share(comm, judged):
            members = self.ensemble().measures[output]
            some = pairs(members) if len(members) <= ENSEMBLE else list(itertools.pairwise(members))
            mine[k] = self.random_factor * self._independent([distance_between(problem, a, b, 2) for a, b in some])
        return shared(comm, mine, len(judged))

    def mesh_gaps(self, problem: Problem, density: History, judged: Sequence[int]) -> np.ndarray:
        """Mesh error of the moments of the main density at the judged outputs; local, the same on every rank.

        The change to the next mesh is the error of the coarser one, if errors fall to half at least. At one output it may be
        small by chance, where both err alike: on curves it is taken as not less than the change from that mesh to the
        coarsest over the factor by which changes fall, which all judged outputs together show; and where that is less than
        two, as at walls that mass has reached, the rest of the series is added. On surfaces, where moments judge alone, the
        factor is that of the output itself, though never more than the scheme's order p + 1 has it: the error of the main
        mesh is the change over that factor less one.
        """
        if self.remeshed is None:
            raise ValueError("no other mesh was run")
        near = self.mesh_factor * gaps_between(problem, density, self.remeshed, judged)
        if self.coarsest is None:
            return near
        far = gaps_between(problem, self.remeshed, self.coarsest, judged)
        if problem.manifold.intrinsic == 1:
            return curve_error(near, far)
        order = 2.0 ** (problem.density.degree + 1)
        falls = np.clip(np.divide(far, near, out=np.full_like(far, order), where=near > 0.0), 2.0, order)
        return np.maximum(near / (falls - 1.0), far / (order * (order - 1.0)))

    def sampling_gaps(self, problem: Problem, particles: History, judged: Sequence[int]) -> np.ndarray:
        """The same for the moments; local, the same on every rank."""
        if self.fewer is not None:
            return gaps_between(problem, particles, self.fewer, judged)
        sphere = problem.manifold.normalised
        apart = [[moment_gap(a, b, sphere) for a, b in pairs(self.ensemble().moments[i])] for i in judged]
        return self.moments_factor * np.array([self._independent(gaps) for gaps in apart])

    def step_errors(self, problem: Problem, comm: MPI.Comm, judged: Sequence[int]) -> np.ndarray:
        """Error of the fixed steps of the tokens in W2 at the judged outputs, from members that differ in nothing else; zero
        where steps are chosen by their error (collective)."""
        if self.strides is None:
            return np.zeros(len(judged))
        mine = {k: self._by_stride([distance_between(problem, a, b, 2) for a, b in
                                    zip(*(run.measures[output] for run in self.strides), strict=True)])
                for k, output in share(comm, judged)}
        return shared(comm, mine, len(judged))

    def step_gaps(self, problem: Problem, judged: Sequence[int]) -> np.ndarray:
        """The same for the moments; local, the same on every rank."""
        if self.strides is None:
            return np.zeros(len(judged))
        sphere = problem.manifold.normalised
        return np.array([self._by_stride([moment_gap(a, b, sphere) for a, b in
                                          zip(*(run.moments[i] for run in self.strides), strict=True)]) for i in judged])

    def table(self) -> Iterator[dict[str, object]]:
        """Rows of convergence.csv."""
        return ({"kind": kind, "size": size, "w2_density_particles": value}
                for kind, curve in self.curves.items() for size, value in zip(*curve, strict=True))

    def ensemble(self) -> Members:
        """The random samples, without which there are fewer tokens to compare with."""
        if self.random is None:
            raise ValueError("neither fewer tokens nor random samples were run")
        return self.random

    def _by_stride(self, between: list[float]) -> float:
        return self.stride_factor * float(np.sqrt(np.mean(np.square(between))))

    def _independent(self, between: list[float]) -> float:
        return float(np.sqrt(np.mean(np.square(between)) / 2))


def share(comm: MPI.Comm, outputs: Sequence[int]) -> list[tuple[int, int]]:
    """Place and number of those of some outputs that this rank is the `owner` of."""
    return [(k, output) for k, output in enumerate(outputs) if owner(output, comm.size) == comm.rank]


def shared(comm: MPI.Comm, mine: dict[int, float], count: int) -> np.ndarray:
    """Values worked out by different ranks, together on all of them (collective)."""
    merged = {i: value for part in comm.allgather(mine) for i, value in part.items()}
    return np.array([merged[i] for i in range(count)])


def distances_between(problem: Problem, comm: MPI.Comm, a: History, b: History, outputs: Sequence[int]) -> np.ndarray:
    """W2 between two histories at some outputs, shared among the ranks (collective)."""
    mine = {k: distance_between(problem, a.measures[i], b.measures[i], 2) for k, i in share(comm, outputs)}
    return shared(comm, mine, len(outputs))


def pairs(members: list[T]) -> list[tuple[T, T]]:
    """All pairs of members."""
    return list(itertools.combinations(members, 2))


def gaps_between(problem: Problem, a: History, b: History, outputs: Sequence[int]) -> np.ndarray:
    """Moment gaps between two histories at some outputs; local, the same on every rank."""
    d, sphere = problem.manifold.dimension, problem.manifold.normalised
    return np.array([moment_gap(moments(a.rows[i], d), moments(b.rows[i], d), sphere) for i in outputs])




def refine(problem: Problem, comm: MPI.Comm, density: History, particles: History, last: int,
           announce: Callable[[str], None], stores: Callable[[str], Store] | None = None,
           supervisor: Supervisor | None = None) -> Refinement:
    """Make the extra runs (collective).

    Args:
        problem, comm: of the main run.
        density, particles: its histories.
        last: index of the last judged output, where the convergence curves are taken.
        announce: told which run comes next.
        stores, supervisor: see `Extra`.
    """
    extra = Extra(comm, announce, stores, supervisor)
    tdim = problem.manifold.intrinsic
    steps: list[str] = []

    from solver.comparison.apart import distances  # needs dolfinx, which commands without a mesh do without

    def between(a: History, b: History) -> float:
        found = distances(problem, a, b, last, (2,))[2].value if comm.rank == 0 else None
        return comm.bcast(found)

    def law(history: History) -> Measure:
        return comm.bcast(history.measures[last] if comm.rank == 0 else None)

    measure, tokens = law(density), law(particles)
    width = ((problem.manifold.volume or 1.0) / problem.density.cells) ** (1 / tdim)
    mesh = ([width], [between(density, particles)])
    meshes = []
    for level, planned in mesh_runs(problem):
        coarse = extra.planned(planned)
        if coarse is None:
            break
        meshes.append(coarse)
        mesh[0].append(width * 2.0**level)
        mesh[1].append(between(coarse, particles))
        steps.append(f"{planned.problem.density.cells}")
        factor = FINER if level < 0 else 1.0
    found = Refinement(remeshed=meshes[0] if meshes else None, curves={"mesh": mesh})
    if len(meshes) > 1:
        found.coarsest = meshes[1]
    if meshes:
        found.mesh_factor = factor
        found.words = f"mesh error against {steps[0]} cells"
    else:
        found.words = "mesh error not known, " + (
            f"with space.refine = 1 it would be: {problem.density.cells} cells are too many to cut them for it"
            if problem.space.manifold == "file" else "the mesh is too coarse to measure it")

    sampling, count = problem.particles.sampling, len(tokens.masses)
    largest = min(count, LARGEST_RANDOM)
    if sampling == "sobol":
        found.random, found.curves[sampling] = scrambles(problem, comm, measure, tokens, last, extra)
        most = len(found.random.everywhere(last)[0].masses)
        found.random_factor = float(np.sqrt(min(most / count, 1.0)))
        # Moments of an eighth of the points err more than those of all, by how much more depends on the law and the scramble.
        found.moments_factor = float(np.sqrt(min(8 * most / count, 1.0)))
        found.words += f", sampling error from {SCRAMBLES} scrambles of {most} Sobol points"
    elif sampling != "random":
        tokens_curve = ([float(count)], [between(density, particles)])
        for planned in token_runs(problem):
            run = extra.planned(planned)
            if run is None:
                break
            if run.counts[last] >= count and sampling != "adaptive":  # whose wider gaps may have as many, where the law bends
                break  # the rule has no fewer nodes: on a mesh from a file at least one for each cell
            if found.fewer is None:
                found.fewer = run
                found.words += f", {planned.label.replace(': ', ' against ')}"
            tokens_curve[0].append(float(run.counts[last]))
            tokens_curve[1].append(between(density, run))
        found.curves[sampling] = tokens_curve
    table = TABLES["euler" if problem.noise.diffusivity > 0.0 else problem.particles.integrator]
    if sampling == "adaptive" and table.error and found.fewer is not None:
        return found  # random samples say nothing of adaptive tokens, and leave the mean field
    if sampling == "sobol" or found.fewer is not None:
        largest = max(count // 8, FEWEST_TOKENS)
    varied, name, label = random_samples(problem, largest)
    members = extra.members(varied, name, f"sampling error: {label}")
    if not table.error:
        found.strides = members, extra.members(varied, f"{name}-strides", f"error of steps: {label}, steps twice as long", 2)
        found.stride_factor = 1.0 / (2.0**table.order - 1.0)
        found.words += f", error of steps against steps twice as long of {label}"
    found.curves["random"] = random_curve(problem, comm, members, measure, last, extra)
    if found.fewer is None and found.random is None:
        found.random, found.random_factor = members, float(np.sqrt(min(largest / count, 1.0)))
        found.moments_factor = found.random_factor
        found.words += f", sampling error from {ENSEMBLE} independent samples of {largest} tokens"
    return found


def scrambles(problem: Problem, comm: MPI.Comm, measure: Measure, tokens: Measure, last: int,
              extra: Extra) -> tuple[Members, tuple[list[float], list[float]]]:
    """Independent scrambles of an eighth of the Sobol points, and the distance to the density against the number of points
    (collective)."""
    count = len(tokens.masses)
    most = min(max(count // 8, FEWEST_TOKENS), LARGEST_RANDOM)
    varied = vary(problem, "particles", count=most, ensemble=SCRAMBLES, seed=problem.particles.seed + 1)
    members = extra.members(varied, f"scrambles-{most}", f"sampling error: {SCRAMBLES} scrambles of {most} Sobol points")
    everyone = [tokens, *members.everywhere(last)[:ENSEMBLE]]
    mine = {k: distance_between(problem, everyone[k], measure, 2) for k in range(comm.rank, len(everyone), comm.size)}
    apart = shared(comm, mine, len(everyone))
    return members, ([float(count), float(most)], [float(apart[0]), float(apart[1:].mean())])




def random_curve(problem: Problem, comm: MPI.Comm, members: Members, measure: Measure, last: int,
                 extra: Extra) -> tuple[list[float], list[float]]:
    """Mean W2 to the density of the random samples `members`, and of such with half and a quarter as many tokens (collective)."""
    sizes: list[float] = []
    values: list[float] = []
    largest = len(members.everywhere(last)[0].masses)
    for count in (largest, largest // 2, largest // 4):
        if count < FEWEST_TOKENS and sizes:
            break
        if sizes:
            varied, name, label = random_samples(problem, count)
            members = extra.members(varied, name, f"sampling error: {label}")
        samples = members.everywhere(last)
        mine = {k: distance_between(problem, samples[k], measure, 2) for k in range(comm.rank, ENSEMBLE, comm.size)}
        sizes.append(float(count))
        values.append(float(np.mean(shared(comm, mine, ENSEMBLE))))
    return sizes, values
