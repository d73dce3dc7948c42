"""Time integrators of tokens: Runge-Kutta tables on a manifold, step-size control, Euler-Maruyama.

Every stage is brought back to the manifold before the drift sees it. That integrates the drift extended along normals,
y -> X(retract(y)), a smooth field of the ambient space whose orbits stay on the manifold, so each scheme keeps its order
(Hairer, Lubich & Wanner 2006, §IV.4).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solver.particles.drift import Drift, Walls

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """An explicit Runge-Kutta scheme.

    Attributes:
        stages: rows a_i of the coefficients, the first one empty; weights: b.
        error: b minus the embedded weights, empty for fixed steps. A last stage beyond `weights`, evaluated at the new
            point, serves as the first stage of the next step.
        order: of the weights.
        step: used where the problem gives none, in depth.
        reference: source of the scheme.
    """

    stages: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    error: tuple[float, ...]
    order: int
    step: float
    reference: str


# fmt: off
TABLES = {
    "euler":  Table(((),), (1.0,), (), 1, 0.01, "Euler, renormalised after each step"),
    "rk4":    Table(((), (1/2,), (0, 1/2), (0, 0, 1)), (1/6, 1/3, 1/3, 1/6), (), 4, 0.05, "Kutta 1901"),
    "dopri5": Table(((),
                     (1/5,),
                     (3/40,       9/40),
                     (44/45,      -56/15,      32/9),
                     (19372/6561, -25360/2187, 64448/6561, -212/729),
                     (9017/3168,  -355/33,     46732/5247, 49/176, -5103/18656)),
                    (35/384, 0.0, 500/1113, 125/192, -2187/6784, 11/84),
                    (71/57600, 0.0, -71/16695, 71/1920, -17253/339200, 22/525, -1/40), 5, 0.1,
                    "Dormand & Prince 1980"),
}
# fmt: on


# An adaptive step that falls below this fraction of the depth reached means a blow-up.
SMALLEST_STEP = 1e-13


@dataclass
class Controller:
    """PI control of the step (Hairer & Wanner 1996, §IV.2): h <- h * 0.9 err^-0.17 err_old^0.04, within [1/5, 5].

    Attributes:
        step: the step to try next. previous: error of the last accepted step.
        accepted, rejected: counts.
    """

    step: float
    previous: float = 1e-4
    accepted: int = 0
    rejected: int = 0

    def next(self, left: float) -> float:
        """The step to try where `left` is left to the next stop: two even steps rather than a long one and a stub."""
        if self.step <= left / 2:
            return self.step
        return left if self.step >= left * (1 - 1e-12) else left / 2

    def stuck(self, time: float) -> bool:
        """Whether the step has become too small to go on at depth `time`."""
        return self.step < SMALLEST_STEP * max(time, 1e-3)

    def accept(self, tried: float, error: float) -> None:
        factor = 5.0 if error == 0 else 0.9 * error**-0.17 * self.previous**0.04
        factor = min(5.0, max(0.2, factor))
        # A step cut short to land on an output says little about the step that was planned.
        self.step = max(self.step, tried * factor) if tried < self.step and factor >= 1 else tried * factor
        self.previous = max(error, 1e-4)
        self.accepted += 1

    def reject(self, tried: float, error: float) -> None:
        self.step = tried * (max(0.2, 0.9 * error**-0.2) if np.isfinite(error) and error > 1 else 0.2)
        self.rejected += 1


def step_runge_kutta(table: Table, drift: Drift, points: Array, first: Array | None, dt: float, *, places_only: bool = False):
    """One step of length dt from points (M, n, d); collective.

    Args:
        first: the drift at `points` if known from the last step, before walls; else None.
        places_only: of the new points only the places are asked for.

    Returns:
        new points, the drift there or None, and per token the size (M, n) of the local error or None.

    Raises:
        NotFiniteError: on every rank.
    """
    walls = Walls(drift.manifold, points)
    slopes = [walls.hold(drift(points) if first is None else first)]
    for stage, row in enumerate(table.stages[1:], 1):
        # log rho follows the motion and does not act on it: its rate is asked for where the scheme's sums have it.
        counts = not places_only and bool(table.weights[stage] or (table.error and table.error[stage]))
        slopes.append(walls.hold(drift(drift.retract(points + dt * _combine(row, slopes)), counts)))
    moved = points + dt * _combine(table.weights, slopes)
    new = drift.catch(drift.retract(moved))
    if not table.error or places_only:
        return new, None, None
    last = drift(new)
    # Compared after retraction: what a wall takes away, and what the sphere's normal takes away, is no error.
    embedded = drift.retract(moved - dt * _combine(table.error, [*slopes, walls.hold(last)]))
    # A token that a wall catches within the step loses its density, whatever the stages said of it.
    embedded[..., drift.manifold.dimension:] = np.where(drift.caught(new), new, embedded)[..., drift.manifold.dimension:]
    return new, last, drift.lengths(new - embedded, new)


def step_euler_maruyama(drift: Drift, points: Array, noise: Array, dt: float) -> Array:
    """x <- retract(x + X dt + P_x noise), noise (M, n, d) with variance 2 D dt: weak order 1; collective.

    The normalisation of a tangent Gaussian step supplies the curvature term of the Laplace-Beltrami operator. At the
    walls of boxes and domains the end point is mirrored (Bossy, Gobet & Talay 2004).
    """
    velocity = drift(points)
    if drift.manifold.closed:
        flat = (-1, points.shape[-1])
        noise = drift.manifold.spread(points.reshape(flat), noise.reshape(flat)).reshape(points.shape)
    return drift.reflect(points + dt * velocity + noise)


def _combine(row: tuple[float, ...], slopes: list[Array]) -> Array:
    """sum_j a_j k_j over the entries that are not zero, in order."""
    total = np.zeros_like(slopes[0])
    for a, slope in zip(row, slopes, strict=False):
        if a:
            total += a * slope
    return total
