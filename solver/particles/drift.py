"""The velocity of tokens: attention to all tokens of the same member, kept on the manifold and inside its walls."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from meshes.manifold import Flat, Manifold
from problems import Problem
from solver.attention import Attention
from solver.particles.layout import Layout

Array = NDArray[np.float64]

# Beyond this norms overflow.
LARGEST = 1e150
# The logarithm of the largest velocity that is still computed with.
LARGEST_EXPONENT = 600.0


class NotFiniteError(ArithmeticError):
    """Tokens left the range of numbers; raised on every rank at once. `where` is (member, token) of the first one."""

    def __init__(self, where: tuple[int, int]):
        super().__init__(f"token {where[1]} of member {where[0]} is not finite")
        self.where = where


class Walls:
    """The tokens that start a step on a wall of a flat box, and how they move: never outwards.

    No mass crosses a wall (docs/theory.md §1.2), as in the density, whose flux through walls is zero. A token that reaches the
    wall within a step is put back onto it at the end; one that starts on it loses the outward part of its velocity for
    that step and so slides, and leaves as soon as the drift points inwards. Both are continuous in the state, which keeps
    the error estimate of adaptive steps meaningful.
    """

    def __init__(self, manifold: Manifold, points: Array):
        self.low = self.high = None
        if isinstance(manifold, Flat) and manifold.bounds is not None:
            bounds = np.array(manifold.bounds)
            low, high = points <= bounds[:, 0], points >= bounds[:, 1]
            if low.any() or high.any():
                self.low, self.high = low, high

    def hold(self, velocity: Array) -> Array:
        """`velocity` (M, n, d) without its outward part where a token stands on a wall."""
        if self.low is None:
            return velocity
        velocity = np.where(self.low, np.maximum(velocity, 0.0), velocity)
        return np.where(self.high, np.minimum(velocity, 0.0), velocity)


class Drift:
    """X[mu](x) for mu = sum_i w_i delta_{x_i}, the self term included (docs/theory.md §1.7).

    Attributes:
        calls: how often the field of all members was evaluated.
    """

    def __init__(self, problem: Problem, masses: Array, layout: Layout):
        self.manifold, self.schedule = problem.manifold, problem.attention
        self.masses, self.layout = masses, layout
        self.calls = 0
        self._attentions: dict[int, Attention] = {}
        self.select(0.0)

    def select(self, t: float) -> None:
        """Use the weights of depth t (at a switch those of the deeper layer) until told otherwise."""
        weights = self.schedule.at(t)
        if id(weights) not in self._attentions:
            self._attentions[id(weights)] = Attention(weights, accuracy=self.schedule.accuracy)
        self.weights, self.attention = weights, self._attentions[id(weights)]

    def __call__(self, points: Array) -> Array:
        """Velocities (M, n, d) of this rank's tokens at points (M, n, d); collective.

        Raises:
            NotFiniteError: on every rank, if a point of any rank is not finite.
        """
        sources = self.layout.gather(points)
        sane = np.abs(sources) < LARGEST
        if not sane.all():
            bad = np.argwhere(~sane)[0]
            raise NotFiniteError((int(bad[0]), int(bad[1])))
        self.calls += 1
        result = np.empty_like(points)
        for member in range(len(points)):
            if points.shape[1] == 0:
                continue
            values, log_scale = self.attention.field(points[member], sources[member], self.masses, sources[member])
            if self.weights.normalization == "none":
                shift = self.weights.beta if self.schedule.rescaled_time else 0.0
                # Capped where the step it leads to is caught as not finite, on every rank; an infinity would become NaN here.
                values = values * np.exp(min(log_scale - shift, LARGEST_EXPONENT))
            result[member] = self.manifold.project(points[member], values)
        return result

    def retract(self, points: Array) -> Array:
        """Points (M, n, d) brought back to the manifold; NaN where there is no way back."""
        if self.manifold.normalised:
            with np.errstate(invalid="ignore", divide="ignore"):
                return points / np.linalg.norm(points, axis=-1, keepdims=True)
        shape = points.shape
        return self.manifold.retract(points.reshape(-1, shape[-1])).reshape(shape)

    def reflect(self, points: Array) -> Array:
        """As `retract`, but what crossed a wall is mirrored: the walls of a noisy law let no mass through."""
        if self.manifold.normalised:
            return self.retract(points)
        shape = points.shape
        return self.manifold.reflect(points.reshape(-1, shape[-1])).reshape(shape)
