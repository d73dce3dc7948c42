"""Linearly implicit steps for tokens that have gathered into few clusters.

Inside a cluster tokens contract at a rate of order one for ever, while clusters move e^{c beta} times more slowly
(docs/theory.md §4.4): explicit steps stay as short as the contraction wants. Tokens that have become one, up to a hundredth of
the tolerance, are followed as one, and those few by a Rosenbrock method with the exact Jacobian, whose steps are as long as the
slow motion allows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lu_factor, lu_solve
from scipy.spatial import cKDTree

from problems import Problem
from solver.errors import RunError
from solver.particles.drift import Drift, NotFiniteError
from solver.particles.integrators import Controller
from solver.particles.jacobian import drift_jacobian, has_jacobian
from solver.particles.layout import Layout
from solver.ranks import alone

Array = NDArray[np.float64]

# More unknowns than this make a factorisation dearer than many explicit steps.
MOST_UNKNOWNS = 360
# Tokens closer than this part of the tolerance are one.
ONE = 0.01
# Explicit steps are stable up to about 3.3/rate; where they are as long as this, stability rules them and not accuracy.
STABILITY = 2.0
CHECK_EVERY = 20

# fmt: off
# RODAS (Hairer & Wanner 1996, §IV.7): six stages, order 4 with an embedded order 3, stiffly accurate.
GAMMA = 0.25
STAGES = ((),
          (1.544,),
          (0.9466785280815826, 0.2557011698983284),
          (3.314825187068521, 2.896124015972201, 0.9986419139977817),
          (1.221224509226641, 6.019134481288629, 12.53708332932087, -0.6878860361058950),
          (1.221224509226641, 6.019134481288629, 12.53708332932087, -0.6878860361058950, 1.0))
COUPLINGS = ((),
             (-5.6688,),
             (-2.430093356833875, -0.2063599157091915),
             (-0.1073529058151375, -9.594562251023355, -20.47028614809616),
             (7.496443313967647, -10.24680431464352, -33.99990352819905, 11.70890893206160),
             (8.083246795921522, -7.981132988064893, -31.52159432874371, 16.31930543123136, -6.058818238834054))
# fmt: on


def step_rodas(rate: Callable[[Array], Array], jacobian: Array, state: Array, dt: float) -> tuple[Array, Array]:
    """One step of y' = rate(y) from `state` (n,) with d rate/dy there: the new state and the estimate of its local error."""
    factors = lu_factor(np.eye(len(state)) / (GAMMA * dt) - jacobian, check_finite=False)
    increments: list[Array] = []
    for row, couplings in zip(STAGES, COUPLINGS, strict=True):
        place = state + sum(a * u for a, u in zip(row, increments, strict=True))
        pull = sum((c / dt) * u for c, u in zip(couplings, increments, strict=True))
        increments.append(lu_solve(factors, rate(place) + pull, check_finite=False))
    return place + increments[-1], increments[-1]


@dataclass
class Groups:
    """Tokens that have become one. labels: (N,) group of each token. points: (k, d) first token of each; masses: (k,)."""

    labels: NDArray[np.int64]
    points: Array
    masses: Array

    @classmethod
    def find(cls, points: Array, masses: Array, distance: float) -> Groups | None:
        """Groups within `distance` of their first token; None if there are more than implicit steps can carry."""
        most = MOST_UNKNOWNS // points.shape[1]
        labels = np.full(len(points), -1)
        firsts: list[int] = []
        tree = cKDTree(points)
        while (left := np.flatnonzero(labels < 0)).size:
            if len(firsts) >= most:
                return None
            near = np.asarray(tree.query_ball_point(points[left[0]], distance), int)
            labels[near[labels[near] < 0]] = len(firsts)
            firsts.append(int(left[0]))
        return cls(labels, points[firsts], np.asarray(np.bincount(labels, masses), np.float64))


@dataclass
class Advance:
    """An accepted step. tokens: all of them (N, D). error: over the tolerance. again: tokens (N, d) after another length."""

    tokens: Array
    dt: float
    error: float
    again: Callable[[float], Array]


def serves(problem: Problem) -> bool:
    """Whether implicit steps can follow the tokens of a problem, once they have gathered."""
    settings = problem.particles
    return (settings.integrator == "dopri5" and settings.sampling != "adaptive" and settings.ensemble == 1
            and has_jacobian(problem))


class StiffSteps:
    """Implicit steps of gathered tokens; everything is the same on every rank, each of which does all of it.

    Args:
        problem: of the run, one that this `serves`.
        tolerance: of the local error of each token.
        carries: whether tokens carry log rho, as their last column.

    Attributes:
        active: whether implicit steps are taken; until then the explicit ones are looked at now and then.
    """

    def __init__(self, problem: Problem, tolerance: float, carries: bool):
        self.problem, self.tolerance, self.carries = problem, tolerance, carries
        self.active = False

    def due(self, step: int) -> bool:
        """Whether `advance` is to be asked after so many steps."""
        return self.active or step % CHECK_EVERY == CHECK_EVERY - 1

    def advance(self, control: Controller, tokens: Array, masses: Array, time: float, step: int, left: float) -> Advance | None:
        """One step, of the length that the error allows; None where explicit steps are as good.

        Args:
            control: of the step. tokens: (N, D), of masses (N,), at depth `time`, after `step` steps. left: to the next stop.

        Raises:
            RunError: the step has become too small.
        """
        d = self.problem.manifold.dimension
        groups = Groups.find(np.ascontiguousarray(tokens[:, :d]), masses, ONE * self.tolerance)
        if groups is None:
            self.active = False
        elif not self.active:
            self.active = control.step * self._rate(groups, time) > STABILITY
        if groups is None or not self.active:
            return None
        scale = np.maximum(1.0, np.linalg.norm(tokens[:, :d], axis=1))

        def again(dt: float) -> Array:
            return np.ascontiguousarray((self._step(tokens, groups, time, dt)[0] if dt > 0.0 else tokens)[:, :d])

        while True:
            dt = control.next(left)
            try:
                new, sizes = self._step(tokens, groups, time, dt)
                error = float(np.max(sizes / scale)) / self.tolerance
            except NotFiniteError:
                error = np.inf
            if error <= 1.0:
                control.accept(dt, error)
                return Advance(new, dt, error, again)
            control.reject(dt, error)
            if control.stuck(time):
                raise RunError(f"the implicit step fell to {control.step:.3g}: the drift is not resolved to particles.rtol = "
                               f"{self.tolerance:g}", step=step, time=time)

    def _rate(self, groups: Groups, time: float) -> float:
        """The fastest rate at which tokens approach or leave each other, per unit of depth."""
        return float(np.abs(np.linalg.eigvals(self._jacobian(groups, time))).max())

    def _step(self, everything: Array, groups: Groups, time: float, dt: float) -> tuple[Array, Array]:
        """All tokens (N, D) after one step of length dt, and the size (N,) of the error of each.

        Raises:
            NotFiniteError: on every rank.
        """
        d, k = self.problem.manifold.dimension, len(groups.points)
        first = np.unique(groups.labels, return_index=True)[1]
        drift = Drift(self.problem, groups.masses, Layout(alone(), k), carries=self.carries)
        drift.select(time)
        start, columns = everything[first], everything.shape[1]

        def rate(state: Array) -> Array:
            return drift(drift.retract(state.reshape(1, k, columns))).ravel()

        jacobian = np.zeros((k, columns, k, columns))
        jacobian[:, :d, :, :d] = self._jacobian(groups, time).reshape(k, d, k, d)
        if self.carries:
            jacobian[:, d, :, :d] = density_rows(rate, start)
        size = k * columns
        new, error = step_rodas(rate, jacobian.reshape(size, size), start.ravel(), dt)
        moved = drift.retract(new.reshape(1, k, columns))[0] - start
        later = everything + moved[groups.labels]
        return drift.retract(later[None])[0], drift.lengths(error.reshape(k, columns)[groups.labels], later)

    def _jacobian(self, groups: Groups, time: float) -> Array:
        schedule = self.problem.attention
        weights = schedule.at(time)
        shift = weights.beta if schedule.rescaled_time else 0.0
        return drift_jacobian(weights, self.problem.manifold, groups.points, groups.masses, shift)


def density_rows(rate: Callable[[Array], Array], start: Array, width: float = 1e-6) -> Array:
    """(k, k, d): how the rate of log rho, the last column of `rate`, depends on the places `start` (k, d + 1), by differences."""
    k, columns = start.shape
    rows = np.empty((k, k, columns - 1))
    for j in range(k):
        for a in range(columns - 1):
            ends = []
            for sign in (-1.0, 1.0):
                place = start.copy()
                place[j, a] += sign * width
                ends.append(rate(place.ravel()).reshape(k, columns)[:, -1])
            rows[:, j, a] = (ends[1] - ends[0]) / (2 * width)
    return rows
