"""The velocity of tokens: attention to all tokens of the same member, kept on the manifold and inside its walls."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from meshes.manifold import Flat, Manifold
from problems import Problem
from solver.attention import Attention
from solver.attention.divergence import field_with_divergence, full_support_divergence
from solver.errors import own_values
from solver.particles.density import kernel_width
from solver.particles.layout import Layout

Array = NDArray[np.float64]

# Beyond this norms overflow.
LARGEST = 1e150
# The logarithm of the largest velocity that is still computed with.
LARGEST_EXPONENT = 600.0
# log rho given to a token that a wall has caught: the law has a point mass there, and no density.
CAUGHT = 1e9


class NotFiniteError(ArithmeticError):
    """Tokens left the range of numbers; raised on every rank at once. `where` is (member, token) of the first one."""

    def __init__(self, where: tuple[int, int]):
        super().__init__(f"token {where[1]} of member {where[0]} is not finite")
        self.where = where


class Between(Protocol):
    """The cells between adaptive tokens, as far as the drift asks for them."""

    def sources(self, points: Array, logs: Array | None, masses: Array) -> tuple[Array, Array]: ...


class Walls:
    """The tokens that start a step on a wall of a flat box, and how they move: never outwards.

    No mass crosses a wall (docs/theory.md §1.2), as in the density, whose flux through walls is zero. A token that reaches the
    wall within a step is put back onto it at the end; one that starts on it loses the outward part of its velocity for
    that step and so slides, and leaves as soon as the drift points inwards. Both are continuous in the state, which keeps
    the error estimate of adaptive steps meaningful.
    """

    def __init__(self, manifold: Manifold, points: Array):
        self.low: NDArray[np.bool_] | None = None
        self.high: NDArray[np.bool_] | None = None
        if isinstance(manifold, Flat) and manifold.bounds is not None:
            bounds, d = np.array(manifold.bounds), manifold.dimension
            low, high = points[..., :d] <= bounds[:, 0], points[..., :d] >= bounds[:, 1]
            if low.any() or high.any():
                self.low, self.high = low, high

    def hold(self, velocity: Array) -> Array:
        """`velocity` (M, n, d) without its outward part where a token stands on a wall."""
        if self.low is None or self.high is None:
            return velocity
        velocity, d = velocity.copy(), self.low.shape[-1]
        velocity[..., :d] = np.where(self.low, np.maximum(velocity[..., :d], 0.0), velocity[..., :d])
        velocity[..., :d] = np.where(self.high, np.minimum(velocity[..., :d], 0.0), velocity[..., :d])
        return velocity


class Drift:
    """X[mu](x) for mu = sum_i w_i delta_{x_i}, the self term included (docs/theory.md §1.7).

    Where tokens carry their density the arrays have one column more, log rho at the token, whose rate is -div X
    (docs/theory.md §9.1).

    Args:
        problem, masses, layout: see `ParticleSolver`.
        carries: whether the last column of the points is log rho.
        full_support: whether at zero temperature the tokens stand for a law that charges the whole sphere, whose attended
            point is known, rather than for themselves.
        cells: of adaptive tokens, which say where the mass between tokens is; None: at the tokens.

    Attributes:
        calls: how often the field of all members was evaluated.
    """

    def __init__(self, problem: Problem, masses: Array, layout: Layout, *, carries: bool = False, full_support: bool = False,
                 cells: Between | None = None):
        self.cells = cells
        self.manifold, self.schedule, self.external = problem.manifold, problem.attention, problem.drift
        self.masses, self.layout = masses, layout
        self.carries, self.full_support = carries, full_support
        self.calls = 0
        self.width = kernel_width(problem.attention)
        self._attentions: dict[int, Attention] = {}
        self.select(0.0)

    def select(self, t: float) -> None:
        """Use the weights of depth t (at a switch those of the deeper layer) until told otherwise."""
        weights = self.schedule.at(t)
        if id(weights) not in self._attentions:
            self._attentions[id(weights)] = Attention(weights, accuracy=self.schedule.accuracy)
        self.weights, self.attention = weights, self._attentions[id(weights)]

    def __call__(self, points: Array, with_density: bool = True) -> Array:
        """Velocities (M, n, d) of this rank's tokens at points (M, n, d), with the rate of log rho as a further column where
        tokens carry it; collective. with_density: whether that rate is wanted; else it may be zero, which is cheaper.

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
        d = self.manifold.dimension
        for member in range(len(points)):
            if points.shape[1] == 0:
                continue
            places, everyone = np.ascontiguousarray(points[member, :, :d]), np.ascontiguousarray(sources[member, :, :d])
            law, masses = everyone, self.masses
            if self.cells is not None:
                logs = np.ascontiguousarray(sources[member, :, d]) if self.carries else None
                law, masses = self.cells.sources(everyone, logs, self.masses)
            values, divergence, log_scale = self._evaluate(places, everyone, law, masses, with_density)
            if self.weights.normalization == "none":
                shift = self.weights.beta if self.schedule.rescaled_time else 0.0
                # Capped where the step it leads to is caught as not finite, on every rank; an infinity would become NaN here.
                scale = np.exp(min(log_scale - shift, LARGEST_EXPONENT))
                values, divergence = values * scale, divergence * scale
            if self.external.velocity is not None:
                values, divergence = self._with_external(places, values, divergence)
            result[member, :, :d] = self.manifold.project(places, values)
            if self.carries:
                result[member, :, d] = np.where(points[member, :, d] < CAUGHT / 2, -divergence, 0.0)
        return result

    def _with_external(self, points: Array, values: Array, divergence: Array) -> tuple[Array, Array]:
        """Field (n, d) and divergence (n,) at points (n, d) with those of [drift], per unit of the run's depth."""
        velocity, known = self.external.velocity, self.external.divergence
        slow = float(np.exp(-self.weights.beta)) if self.schedule.rescaled_time else 1.0
        if velocity is not None:
            values = values + slow * own_values(velocity, points.shape, points.copy())
        if self.carries and known is not None:
            divergence = divergence + slow * own_values(known, (len(points),), points.copy())
        return values, divergence

    def _evaluate(self, points: Array, crowd: Array, law: Array, masses: Array,
                  with_density: bool) -> tuple[Array, Array, float]:
        """The field (n, d) of a law (m, d) with its masses (m,), its divergence (n,), zero unless tokens carry their density, and
        the log of their scale; `crowd`: all tokens."""
        sphere = self.manifold.normalised
        if self.full_support and np.isinf(self.weights.beta):
            values = self.attention.full_support_field(points)
            return values, full_support_divergence(self.attention, points), 0.0
        # Cells between adaptive tokens know where their mass is by log rho, which so acts on the motion itself.
        if self.carries and (with_density or self.cells is not None):
            return field_with_divergence(self.attention, points, law, masses, sphere=sphere, crowd=crowd)
        values, log_scale = self.attention.field(points, law, masses, crowd)
        return values, np.zeros(len(points)), log_scale

    def retract(self, points: Array) -> Array:
        """Points (M, n, d) brought back to the manifold; NaN where there is no way back. A column of log rho is kept."""
        if self.carries:
            d = self.manifold.dimension
            return np.concatenate([self.settle(points[..., :d]), points[..., d:]], axis=-1)
        return self.settle(points)

    def settle(self, points: Array) -> Array:
        """Points (M, n, d), without a column of log rho, brought back to the manifold; NaN where there is no way back."""
        if self.manifold.normalised:
            with np.errstate(invalid="ignore", divide="ignore"):
                return points / np.sqrt(np.einsum("...i,...i->...", points, points))[..., None]
        shape = points.shape
        return self.manifold.retract(points.reshape(-1, shape[-1])).reshape(shape)

    def lengths(self, errors: Array, points: Array) -> Array:
        """Sizes of the errors (.., d) of points (.., d), each with its column of log rho, if any.

        An error of log rho counts as the displacement that would cause it in a law as narrow as the kernel; relative to the size
        of log rho where that is above one, unless the motion depends on it.
        """
        if not self.carries:
            return np.linalg.norm(errors, axis=-1)
        d = self.manifold.dimension
        squares = np.einsum("...i,...i->...", errors[..., :d], errors[..., :d])
        logs = self.width * errors[..., d]
        if self.cells is None:
            logs = logs / np.maximum(1.0, np.abs(points[..., d]))
        return np.sqrt(squares + logs**2)

    def caught(self, points: Array) -> NDArray[np.bool_]:
        """(M, n, 1): whether a token has lost its density to a wall."""
        return points[..., -1:] > CAUGHT / 2 if self.carries else np.zeros((*points.shape[:-1], 1), bool)

    def catch(self, points: Array) -> Array:
        """Points (M, n, d + 1) of which those on a wall have lost their density; as they are where nothing is carried."""
        if not self.carries or not isinstance(self.manifold, Flat) or self.manifold.bounds is None:
            return points
        d, (low, high) = self.manifold.dimension, np.array(self.manifold.bounds).T
        caught = np.any((points[..., :d] <= low) | (points[..., :d] >= high), axis=-1)
        if caught.any():
            points = points.copy()
            points[caught, d] = CAUGHT
        return points

    def reflect(self, points: Array) -> Array:
        """As `retract`, but what crossed a wall is mirrored: the walls of a noisy law let no mass through."""
        if self.manifold.normalised:
            return self.retract(points)
        shape = points.shape
        return self.manifold.reflect(points.reshape(-1, shape[-1])).reshape(shape)
