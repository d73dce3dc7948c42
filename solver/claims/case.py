"""What predictions and measurements see: the problem with its starting tokens, and a finished run of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from problems import Problem, ProblemError
from problems.attention import Weights
from problems.laws.mixture import Component, Mixture
from solver.errors import need_density
from solver.ranks import alone

if TYPE_CHECKING:
    from solver.density.snapshot import DensitySnapshot
    from solver.particles.snapshot import ParticleSnapshot

Array = NDArray[np.float64]
C = TypeVar("C", bound=Component)
# Local errors that add up over a run, in tolerances of its time integrator.
STEPS = 10.0


class Value(NamedTuple):
    """A number, or an array of them over the outputs, with its own error bar (of a fit, or of an asymptotic formula)."""

    value: float | Array
    error: float | Array = 0.0


# What a measurement or prediction answers with.
Measured = Value | Array | float


@dataclass(frozen=True, eq=False)
class Case:
    """One cell of a claim, before anything is run.

    Attributes:
        problem: the resolved problem.
        tokens: points (N, d) and masses (N,) of the tokens at depth 0 where the claim names a start, else None.
        variables: the names of the sweep with their values in this cell.
        charges: whether tokens stand for a law that charges the whole sphere, which matters at zero temperature: they attend to
            all of it then, not to each other alone.
    """

    problem: Problem
    tokens: tuple[Array, Array] | None = None
    variables: Mapping[str, object] = field(default_factory=dict)
    charges: bool = False

    @property
    def weights(self) -> Weights:
        return self.problem.attention.layers[0].weights

    @property
    def beta(self) -> float:
        return float(self.weights.beta)

    @property
    def V(self) -> Array:  # noqa: N802
        """Value matrix (d, d) of the first head."""
        return np.asarray(self.weights.heads[0].value, float)

    @property
    def B(self) -> Array:  # noqa: N802
        """Score matrix B = Q^T K, (d, d), of the first head."""
        return np.asarray(self.weights.heads[0].score, float)

    @property
    def multiples(self) -> tuple[float, float]:
        """(gamma, b) of weights V = gamma I and B = b I.

        Raises:
            ProblemError: other weights, or several heads: the prediction that asks is not derived for them.
        """
        one = np.eye(self.dimension)
        gamma, b = float(self.V[0, 0]), float(self.B[0, 0])
        for name, found, factor in (("value", self.V, gamma), ("query", self.B, b)):
            if len(self.weights.heads) > 1 or not np.allclose(found, factor * one, rtol=1e-12, atol=1e-12):
                raise ProblemError(f"attention.{name}", found.tolist(), "must make V and K^T Q multiples of I here")
        return gamma, b

    @property
    def sharpness(self) -> float:
        """beta b for B = b I, the inverse temperature that such weights amount to. Raises as `multiples`."""
        return self.beta * self.multiples[1]

    @property
    def dimension(self) -> int:
        """d, the number of coordinates of a token."""
        return self.problem.manifold.dimension

    @property
    def unnormalised(self) -> bool:
        """Whether attention is not divided by its partition function (USA)."""
        return self.weights.normalization == "none"

    @cached_property
    def times(self) -> Array:
        """(T,) output depths."""
        return np.asarray(self.problem.time.outputs, float)

    @property
    def mixture(self) -> Mixture:
        """The initial law, for predictions about laws made of components."""
        law = self.problem.initial
        if not isinstance(law, Mixture):
            raise ProblemError("initial.law", law.name, "the prediction needs a law made of components")
        return law

    def component(self, kind: type[C]) -> C:
        """The first component of the initial law, of the kind that a prediction is about."""
        found = self.mixture.components[0]
        if not isinstance(found, kind):
            raise ProblemError("initial.law", self.mixture.name, f"the prediction needs a law of the kind {kind.__name__}")
        return found

    def start(self, count: int = 2048) -> tuple[Array, Array]:
        """The law at depth 0 as weighted points, (n, d) and (n,): the named start, else quadrature nodes of the initial law."""
        return self.tokens if self.tokens is not None else self.problem.initial.quadrature(count)


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run of a case, as density or as tokens.

    Attributes:
        case: what was run. side: "density" or "tokens".
        times: (T,) output depths that were reached.
        points: for each output the law's points (n, d), quadrature points for a density; masses: their masses (n,).
        atoms: for each output the points and masses that distances use.
        rows: for each output {"mass", "energy", "mean" (d,), "second" (d, d), ..}.
        cache: curves that several measurements need.
    """

    case: Case
    side: str
    times: Array
    points: list[Array]
    masses: list[Array]
    atoms: list[tuple[Array, Array]]
    rows: list[Mapping[str, float | Array]]
    cache: dict[str, Array] = field(default_factory=dict)

    def row(self, name: str) -> Array:
        """One diagnostic at every output, (T, ..)."""
        return np.array([row[name] for row in self.rows])

    @property
    def mean(self) -> Array:
        """(T, d) mean of the law, int x dmu."""
        return self.row("mean")

    @property
    def second(self) -> Array:
        """(T, d, d) second moment of the law, int x x^T dmu."""
        return self.row("second")

    @property
    def angles(self) -> Array:
        """(T, N) angles of tokens on the circle, continuous in depth."""
        stacked = np.stack(self.points)
        return np.unwrap(np.arctan2(stacked[..., 1], stacked[..., 0]), axis=0)


def execute(case: Case, side: str) -> Run:
    """Run a case on this process alone, in memory.

    Args:
        side: "tokens" or "density".

    Raises:
        ProblemError, RunError: as the solvers do.
    """
    times: list[float] = []
    points: list[Array] = []
    masses: list[Array] = []
    atoms: list[tuple[Array, Array]] = []
    rows: list[Mapping[str, float | Array]] = []

    def keep(snapshot: DensitySnapshot | ParticleSnapshot, x: Array, m: Array, law: tuple[Array, Array]) -> None:
        times.append(snapshot.time)
        points.append(x)
        masses.append(m)
        atoms.append(law)
        rows.append(snapshot.row)

    if side == "density":
        need_density()
        from solver.density import DensitySolver

        def output(snapshot: DensitySnapshot) -> None:
            velocity = snapshot.operator.velocity
            curve = case.problem.manifold.intrinsic == 1
            keep(snapshot, velocity.sources, velocity.masses(snapshot.state), snapshot.atoms(per_cell=16 if curve else 1))

        DensitySolver(case.problem, alone()).run(output)
    else:
        from solver.particles.solver import ParticleSolver

        def watch(snapshot: ParticleSnapshot) -> None:
            keep(snapshot, snapshot.points, snapshot.masses, (snapshot.points, snapshot.masses))

        ParticleSolver(case.problem, alone(), tokens=case.tokens, full_support=case.charges).run(watch)
    return Run(case, side, np.array(times), points, masses, atoms, rows)
