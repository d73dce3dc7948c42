"""Measured: the closest approach to the target in the scaling of low temperature, and what the papers' bound needs."""

from __future__ import annotations

import numpy as np

from solver.claims.case import Run
from solver.claims.measurements.transport import closest, closest_time, w_target


def closest_scaled(run: Run, p: int = 1) -> float:
    """beta min_t W_p(law, target)."""
    return run.case.beta * closest(run, p)


def closest_delay(run: Run, p: int = 1) -> float:
    """t_min - log(beta)/c, t_min the depth of the least W_p, c its decay rate at zero temperature (docs/theory.md §3.4)."""
    from solver.claims.predictions.cold import target_rate

    return closest_time(run, p) - float(np.log(run.case.beta)) / target_rate(run.case, 1)


def bound_growth(run: Run) -> float:
    """The least C >= 0 with W_1(t) <= c_0 (sqrt(log(beta + 1)/beta) e^{Ct} + e^{-ct}) at every output (docs/theory.md §2.1).

    c is the decay rate at zero temperature and c_0 the least constant that zero temperature itself needs.
    """
    from solver.claims.predictions.approach import cold_bound_constant
    from solver.claims.predictions.cold import target_rate

    beta, rate = run.case.beta, target_rate(run.case, 1)
    small = float(np.sqrt(np.log(beta + 1) / beta))
    rest = w_target(run, 1) / cold_bound_constant(run.case) - np.exp(-rate * run.times)
    needed = [np.log(r / small) / t for r, t in zip(rest, run.times, strict=True) if t > 0 and r > small]
    return max([0.0, *map(float, needed)])


def cold_ratio(run: Run, time: float, p: int = 1) -> float:
    """W_p(law, target) at an output over that of the zero-temperature flow at the same depth."""
    from solver.claims.predictions.approach import cold_arcs

    i = int(np.argmin(np.abs(run.times - time)))
    arcs, masses = cold_arcs(run.case, float(run.times[i]))
    return float(w_target(run, p)[i] / (masses @ arcs**p) ** (1 / p))


def law_dimension(run: Run) -> int:
    """Number of dimensions that the last law fills: eigenvalues of its second moment above 1e-3."""
    return int(np.sum(np.linalg.eigvalsh(run.second[-1]) > 1e-3))


TABLE = (closest_scaled, closest_delay, bound_growth, cold_ratio, law_dimension)
