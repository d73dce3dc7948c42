"""How small the cells of a density must be wherever the law will be: from a first run of adaptive tokens.

Linear functions on a cell of size h miss log rho by lambda h^2 / 8, lambda the largest curvature of log rho. The mean of the
squared error under rho is least, for a given number of cells in m dimensions, where rho lambda^2 h^(4+m) is the same everywhere.
Adaptive tokens carry log rho along the flow, and know where the law gathers before any mesh does.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from meshes.sizes import Sizes, circle_factor, sphere_factor
from problems import Problem, ProblemError, dumps
from problems.attention import spectral_norm
from problems.diagnostics import Diagnostics
from problems.schedule import equally_spaced
from problems.sections import Compare, Density, Particles
from problems.space import LAW
from solver.particles.bisection import Edges
from solver.particles.density import carries_density, kernel_width
from solver.particles.influence import FULL, exponents, log_relevance
from solver.particles.quadratic_fit import bends
from solver.particles.snapshot import ParticleSnapshot
from solver.particles.solver import ParticleSolver

if TYPE_CHECKING:
    from mpi4py import MPI

# Of the first run: gap by dimension, in widths of the kernel, tolerance, least number of tokens.
GAP, RTOL, COUNT = {1: 0.2, 2: 1.2}, 1e-4, {1: 512, 2: 256}
# It is looked at so many times in the depth in which a token can move by one; bounds on how often.
LOOKS, FEWEST, MOST = 5.0, 33, 513
# Widest cells, in widths of the kernel.
WIDEST = {1: 0.25, 2: 0.85}
# Problems whose sizes are remembered.
REMEMBERED = 8
# A new mesh is made where the law has become narrower or wider by this factor since the last one, as the tokens at this quantile
# say. Widths beyond so many factors above the narrowest count as one, so a law that only narrows has no more meshes than that.
NARROWER, MOST_STAGES, NARROW = 2.0, 9, 0.02
# Sizes beyond this, where log rho is flat or the law next to nothing, say nothing.
LARGEST = 1e6


def first_run(problem: Problem) -> Problem:
    """The problem of the first run: adaptive tokens, at many outputs.

    Raises:
        ProblemError: tokens do not carry their density there.
    """
    m, time = problem.manifold.intrinsic, problem.time
    end = float(time.end)
    speed = max(sum(spectral_norm(head.value) for head in layer.weights.heads) for layer in problem.attention.layers)
    looks = int(np.clip(np.ceil(LOOKS * speed * end), FEWEST - 1, MOST - 1)) + 1
    found = dataclasses.replace(
        problem, space=dataclasses.replace(problem.space, grading=None), density=Density(), compare=Compare(),
        diagnostics=Diagnostics(), time=dataclasses.replace(time, outputs=equally_spaced(end, looks)),
        particles=Particles(sampling="adaptive", gap=GAP[m], rtol=RTOL, count=COUNT[m]))
    if not carries_density(found):
        raise ProblemError("space.grading", LAW, "only where tokens know their density: at zero temperature for initial laws "
                           "that charge the whole sphere")
    return found


class SizesAt(NamedTuple):
    """What tokens ask for at one output: its depth, places (n, d), sizes wanted there (n,) up to a common factor, and lengths
    over which they change little (n,); in single precision, as a run folder keeps them."""

    time: float
    points: np.ndarray
    sizes: np.ndarray
    spacings: np.ndarray

    @property
    def narrow(self) -> float:
        """The size that the tokens which ask for the smallest ones ask for; infinite where any will do."""
        return float(np.quantile(self.sizes, NARROW)) if len(self.sizes) else np.inf


class Stage(NamedTuple):
    """A stretch of depth with one mesh: where it ends, and the sizes of its cells."""

    end: float
    sizes: Sizes


class Foresight:
    """What the first run found: where the law will be narrow, and when.

    Args:
        problem: whose density is to be solved. outputs: what its tokens ask for, from the start to the end.
    """

    def __init__(self, problem: Problem, outputs: Sequence[SizesAt]):
        self.outputs = tuple(outputs)
        self.dimension = problem.manifold.dimension
        self._factors: dict[int, float] = {}
        self.widest = WIDEST[problem.manifold.intrinsic] * kernel_width(problem.attention)

    @cached_property
    def stages(self) -> list[Stage]:
        """Stretches of depth, each with a mesh of its own: a new one where the law has become narrower or wider by `NARROWER`,
        counted from its narrowest."""
        narrow = np.array([output.narrow for output in self.outputs])
        known = np.flatnonzero(np.isfinite(narrow))
        if not len(known):
            return [self.whole()]
        # Where the law is flat any size will do, also that of the next output where it is not.
        after = known[np.minimum(np.searchsorted(known, np.arange(len(narrow))), len(known) - 1)]
        level = np.minimum(np.log(narrow[after] / narrow[known].min()) / np.log(NARROWER), MOST_STAGES - 1.0)
        first, found = 0, []
        for i in range(1, len(level)):
            if abs(level[i] - level[first]) >= 1.0 - 1e-9 and i < len(level) - 1:
                found.append(self._stage(first, i))
                first = i
        return [*found, self._stage(first, len(level) - 1)]

    @property
    def narrowest(self) -> int:
        """Number of the stage that asks for the smallest cells."""
        least = [float(np.min(stage.sizes.sizes, initial=np.inf)) for stage in self.stages]
        return least.index(min(least))

    def factor(self, cells: int) -> float:
        """What sizes are multiplied by so that the mesh at the narrowest has about so many cells: with the same factor at all
        depths log rho is as accurate at all of them, on fewer cells where the law is wide. Local."""
        if cells not in self._factors:
            sizes = self.stages[self.narrowest].sizes
            self._factors[cells] = (circle_factor if self.dimension == 2 else sphere_factor)(cells, sizes)
        return self._factors[cells]

    def whole(self) -> Stage:
        """One mesh for all depths."""
        return self._stage(0, len(self.outputs) - 1)

    def _stage(self, first: int, last: int) -> Stage:
        parts = self.outputs[first : last + 1]
        points, sizes, spacings = (np.concatenate([np.asarray(part[k], float) for part in parts]) for k in (1, 2, 3))
        return Stage(parts[-1].time, Sizes(points.reshape(-1, self.dimension), sizes, spacings, self.widest).thinned())


def wanted(snapshot: ParticleSnapshot) -> SizesAt:
    """What adaptive tokens ask for at one output, without places where any size will do; local."""
    points, cells = snapshot.points, snapshot.cells
    if cells is None or snapshot.log_density is None:
        raise ValueError("sizes are those of adaptive tokens that carry their density")
    manifold, logs, m = snapshot.problem.manifold, snapshot.log_density[0], snapshot.problem.manifold.intrinsic
    ends = Edges(cells).ends if m == 2 else np.asarray(cells)
    length = np.maximum(manifold.distance(*points[ends.T]), 1e-300)
    number, count = ends.ravel(), len(points)
    spacings = np.full(count, np.inf)
    np.minimum.at(spacings, number, np.repeat(length, 2))
    curved = np.zeros(count)
    if m == 2:
        by_edge = 8.0 * np.abs(bends(manifold, points, logs, ends, *ends.T)) / length**2
        np.maximum.at(curved, number, np.repeat(by_edge, 2))
    else:
        # Each token has one edge that ends and one that begins at it: the change of slope over their mean length.
        slope = (logs[ends[:, 1]] - logs[ends[:, 0]]) / length
        rise, room, edges = np.zeros(count), np.zeros(count), np.bincount(number, minlength=count)
        np.add.at(rise, ends[:, 0], slope)
        np.add.at(rise, ends[:, 1], -slope)
        np.add.at(room, number, np.repeat(length, 2))
        inner = edges == 2
        curved[inner] = np.abs(rise[inner]) * 2.0 / room[inner]
    # What is attended to from where the law is counts as if it had the mass for that.
    masses = np.maximum(snapshot.masses, 1e-320)
    counts_for = log_relevance(exponents(snapshot.problem.attention), points, masses)
    logs = logs + np.maximum(counts_for - np.minimum(np.log(masses / FULL), 0.0), 0.0)
    with np.errstate(divide="ignore", over="ignore"):
        sizes = np.exp(-logs / (4 + m)) * curved ** (-2.0 / (4 + m))
    counts = np.isfinite(sizes) & (sizes > 0.0) & (sizes < LARGEST) & np.isfinite(spacings)
    return SizesAt(snapshot.time, *(part[counts].astype(np.float32) for part in (points, sizes, spacings)))


_known: OrderedDict[str, Foresight] = OrderedDict()


def remember(problem: Problem, found: Foresight) -> None:
    """Let this process know the foresight of a problem, and of the same one with other cells, steps or tokens."""
    _known[dumps(first_run(problem))] = found
    while len(_known) > REMEMBERED:
        _known.popitem(last=False)


def forget() -> None:
    """Let this process know no foresight."""
    _known.clear()


def known(problem: Problem) -> Foresight | None:
    """The foresight of a problem, if this process has it."""
    return _known.get(dumps(first_run(problem)))


def foresight(problem: Problem, comm: MPI.Comm) -> Foresight:
    """The foresight of a problem, by a first run where it is not known yet (collective).

    Raises:
        ProblemError: there are no adaptive tokens here; RunError.
    """
    found = known(problem)
    if found is None:
        outputs: list[SizesAt] = []
        ParticleSolver(first_run(problem), comm).run(lambda snapshot: outputs.append(wanted(snapshot)))
        found = Foresight(problem, outputs)
        remember(problem, found)
    return found
