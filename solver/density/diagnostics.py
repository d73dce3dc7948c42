"""The numbers of one row of diagnostics.csv."""

from __future__ import annotations

import math

import numpy as np

from solver.attention import Attention, energy_columns
from solver.density.operator import DensityOperator
from solver.errors import own_columns

# Numbers by name; "mean" (d,) and "second" (d, d) are arrays.
Row = dict[str, float | np.ndarray]


def diagnostics(operator: DensityOperator, state: np.ndarray, time: float) -> Row:
    """mass, minimum, maximum, energy, log_energy, entropy, mean (d,), second (d, d) of the density; collective, the same on
    every rank.

    Moments, entropy int rho log rho and energy (docs/theory.md §1.8) use the density's own quadrature, its points moved onto the
    manifold; sums run over all cells in canonical order on every rank, so that they do not depend on the number of ranks. The
    extremes are those at the limiter's points.
    """
    velocity = operator.velocity
    masses, points = velocity.masses(state), velocity.sources
    _, low, high, _ = operator.transport.limit(np.array(state), scale=False)
    _, low, high = operator.extremes(0.0, low, high)
    density = masses / velocity.volumes
    positive = density > 0.0
    attention = Attention(operator.problem.attention.at(time), accuracy=operator.problem.attention.accuracy)
    share = slice(operator.comm.rank, None, operator.comm.size)
    return {
        "mass": math.fsum(masses),
        "minimum": low,
        "maximum": high,
        **energy_columns(attention, points[share], masses[share], points, masses, operator.comm),
        "entropy": float(np.sum(masses[positive] * np.log(density[positive]))),
        "mean": masses @ points,
        "second": np.einsum("m,mi,mj->ij", masses, points, points, optimize=True),
        **own_columns(operator.problem, points, masses),
    }
