"""When tokens have come to rest, and when they never will: runs to `time.end = "stationary"`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from problems.attention import spectral_norm
from solver.errors import RunError
from solver.particles.drift import Drift
from solver.particles.layout import Layout

Array = NDArray[np.float64]

STANDSTILL = 1e-9  # speed that counts as none, relative to the largest one
PROBE = 1e-3  # length of the steps by which speeds are measured
SHARE = 0.1  # of the way made in a step: its error may be no larger, or else tokens would hover about their place of rest
FARTHEST = 300.0  # way of a token, in units of its norm where that is above one: fifty times around the circle
MOST_STEPS = 100_000


def strength(drift: Drift) -> float:
    """Largest speed that the weights of this depth can give to a token of norm one where attention is normalised; local."""
    return float(sum(spectral_norm(head.value) for head in drift.weights.heads))


def largest_speed(drift: Drift, layout: Layout, points: Array, slope: Array) -> float:
    """Largest speed of a token, relative to its norm where that is above one; collective.

    Measured by a short step that is brought back to the manifold: what pushes against a wall moves nothing.

    Args:
        points: (M, n, d) or with the column of log rho, of this rank. slope: the drift there.
    """
    d = drift.manifold.dimension
    places, velocity = np.ascontiguousarray(points[..., :d]), slope[..., :d]
    size = np.linalg.norm(velocity, axis=-1, keepdims=True)
    step = PROBE / np.maximum(size, 1.0)
    moved = drift.settle(places + step * velocity) - places
    speed = np.linalg.norm(moved, axis=-1, keepdims=True) / step
    if not drift.manifold.normalised:
        speed = speed / np.maximum(1.0, np.linalg.norm(places, axis=-1, keepdims=True))
    return layout.largest(float(np.max(speed, initial=0.0)))


@dataclass
class Rest:
    """How near to rest tokens are; the same on every rank.

    Attributes:
        speed: largest speed now. fastest: largest one seen. travelled: integral of the largest speed over depth. steps: taken.
    """

    speed: float = np.inf
    fastest: float = 0.0
    travelled: float = 0.0
    steps: float = 0.0

    def reached(self, drift: Drift, layout: Layout, points: Array, slope: Array, dt: float, step: int, time: float) -> bool:
        """Whether nothing moves any more, after a step of length dt; collective.

        Args:
            points, slope: see `largest_speed`. step, time: so far, for the message.

        Raises:
            RunError: tokens move on and on, or relax too slowly.
        """
        speed, most = largest_speed(drift, layout, points, slope), strength(drift)
        self.travelled += dt * min(speed, self.speed)
        self.speed, self.fastest, self.steps = speed, max(self.fastest, speed), self.steps + (dt > 0.0)
        if speed <= STANDSTILL * max(most, self.fastest):
            return True
        if self.travelled > FARTHEST or self.steps >= MOST_STEPS:
            raise RunError(f"the tokens do not come to rest: after a way of {self.travelled:.4g} times their distance from the "
                           f"origin, in {self.steps:.0f} steps, they still move with speed {speed:.3g}", step=step, time=time)
        return False

    def tolerance(self, usual: float, dt: float) -> float:
        """Largest local error of a step of length dt: near rest tokens move less than the usual tolerance."""
        return min(usual, SHARE * dt * max(self.speed, STANDSTILL * self.fastest)) or usual
