"""The extra runs behind a verdict: coarser meshes, fewer tokens, ensembles of random samples."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from solver.comparison.moments import moment_gap, moments
from solver.runs.history import History
from solver.runs.recorders import distance_between
from solver.wasserstein.measure import Measure

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

    def __call__(self, snapshot: Any) -> None:
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

    def sampling_errors(self, context: Any, particles: History, judged: Sequence[int]) -> np.ndarray:
        """Sampling error of the main token system in W2 at the judged outputs (collective).

        Against half the tokens for quadrature and Sobol points. Random: root-mean-square distance between independent
        members of the ensemble over sqrt(2), since each is as far from the law, scaled by N^{-1/2} to the main number of tokens.
        """
        if self.fewer is not None:
            return distances_between(context, particles, self.fewer, judged)
        mine = {}
        for k in range(context.comm.rank, len(judged), context.comm.size):
            members = self.random.measures[judged[k]]
            mine[k] = self._independent([distance_between(context.problem, a, b, 2) for a, b in pairs(members)])
        return shared(context, mine, len(judged))

    def sampling_gaps(self, problem: Any, particles: History, judged: Sequence[int]) -> np.ndarray:
        """The same for the moments; local, the same on every rank."""
        if self.fewer is not None:
            return gaps_between(problem, particles, self.fewer, judged)
        sphere = problem.manifold.normalised
        return np.array([self._independent([moment_gap(a, b, sphere) for a, b in pairs(self.random.moments[i])])
                         for i in judged])

    def _independent(self, between: list[float]) -> float:
        return self.random_factor * float(np.sqrt(np.mean(np.square(between)) / 2))


def vary(problem: Any, section: str, **changes: Any) -> Any:
    """The same problem with other settings in one section."""
    return dataclasses.replace(problem, **{section: dataclasses.replace(getattr(problem, section), **changes)})


def shared(context: Any, mine: dict[int, float], count: int) -> np.ndarray:
    """Values worked out by different ranks, together on all of them (collective)."""
    merged = {i: value for part in context.comm.allgather(mine) for i, value in part.items()}
    return np.array([merged[i] for i in range(count)])


def distances_between(context: Any, a: History, b: History, outputs: Sequence[int]) -> np.ndarray:
    """W2 between two histories at some outputs, shared among the ranks (collective)."""
    mine = {k: distance_between(context.problem, a.measures[outputs[k]], b.measures[outputs[k]], 2)
            for k in range(context.comm.rank, len(outputs), context.comm.size)}
    return shared(context, mine, len(outputs))


def pairs(members: list[Any]) -> list[tuple[Any, Any]]:
    """All pairs of members."""
    return list(itertools.combinations(members, 2))


def gaps_between(problem: Any, a: History, b: History, outputs: Sequence[int]) -> np.ndarray:
    """Moment gaps between two histories at some outputs; local, the same on every rank."""
    d, sphere = problem.manifold.dimension, problem.manifold.normalised
    return np.array([moment_gap(moments(a.rows[i], d), moments(b.rows[i], d), sphere) for i in outputs])


def refine(context: Any, density: History, particles: History, last: int) -> Refinement:
    """Make the extra runs (collective).

    Args:
        context: the main run.
        density, particles: its histories.
        last: index of the last judged output, where the convergence curves are taken.
    """
    from solver.runs.solve import run_density, run_particles

    problem, tdim = context.problem, context.problem.manifold.intrinsic
    steps: list[str] = []

    def again(varied: Any, run: Any, label: str) -> History:
        if context.console is not None:
            context.console.print(f"[dim]{label}[/dim]")
        return run(dataclasses.replace(context, problem=varied, folder=None, to_target=context.to_target.silent()))

    def apart(a: Measure, b: Measure) -> float:
        found = distance_between(problem, a, b, 2) if context.comm.rank == 0 else None
        return context.comm.bcast(found)

    measure, tokens = density.measures[last], particles.measures[last]
    width = [(problem.manifold.volume or 1.0) / problem.density.cells]
    mesh = ([width[0] ** (1 / tdim)], [apart(measure, tokens)])
    meshes = []
    for level in range(1, MESH_LEVELS + 1):
        cells = problem.density.cells // 2 ** (tdim * level)
        if cells < FEWEST_CELLS:
            break
        meshes.append(again(vary(problem, "density", cells=cells), run_density, f"mesh error: {cells} cells"))
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
            run = again(vary(problem, "particles", count=fewer), run_particles, f"sampling error: {fewer} tokens")
            found.fewer = found.fewer or run
            tokens_curve[0].append(float(fewer))
            tokens_curve[1].append(apart(run.measures[last], measure))
        found.curves[sampling] = tokens_curve
        found.words += f", sampling error against {max(count // 2, FEWEST_TOKENS)} tokens"
        largest = max(count // 8, FEWEST_TOKENS)
    found.curves["random"] = random_curve(context, found, largest, measure, last)
    if sampling == "random":
        found.random_factor = float(np.sqrt(largest / count))
        found.words += f", sampling error from {ENSEMBLE} independent samples of {largest} tokens"
    return found


def random_curve(context: Any, found: Refinement, largest: int, measure: Measure,
                 last: int) -> tuple[list[float], list[float]]:
    """Mean W2 to the density of random ensembles of `largest` tokens, half and a quarter of them (collective)."""
    from solver.particles.solver import simulate_particles

    problem = context.problem
    sizes, values = [], []
    for count in (largest, largest // 2, largest // 4):
        if count < FEWEST_TOKENS:
            break
        if context.console is not None:
            context.console.print(f"[dim]sampling error: {ENSEMBLE} random samples of {count} tokens[/dim]")
        members = Members()
        varied = vary(problem, "particles", sampling="random", count=count, ensemble=ENSEMBLE,
                      seed=problem.particles.seed + 1)
        simulate_particles(varied, context.comm, members)
        found.random = found.random or members
        mine = {k: distance_between(problem, members.measures[last][k], measure, 2)
                for k in range(context.comm.rank, ENSEMBLE, context.comm.size)}
        sizes.append(float(count))
        values.append(float(np.mean(shared(context, mine, ENSEMBLE))))
    return sizes, values
