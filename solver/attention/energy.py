"""The energy of docs/theory.md §1.8."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from solver.attention.field import Attention

if TYPE_CHECKING:
    from mpi4py import MPI

Array = np.ndarray


def energy(attention: Attention, points: Array, masses: Array, sources: Array | None = None,
           source_masses: Array | None = None, comm: MPI.Comm | None = None) -> float:
    """E(mu) = 1/(2 beta) int int e^{beta <x,By>} dmu dmu, summed over heads; arguments as in `log_energy`.

    Returns:
        The energy, the same on every rank; infinity where it exceeds the range of doubles (beta beyond 700);
        NaN at beta = 0 and at infinite beta, where it is not defined.
    """
    return exponential(log_energy(attention, points, masses, sources, source_masses, comm))


def log_energy(attention: Attention, points: Array, masses: Array, sources: Array | None = None,
               source_masses: Array | None = None, comm: MPI.Comm | None = None) -> float:
    """The natural logarithm of the energy, which is a double for any beta.

    Args:
        points (n, d), masses (n,): this rank's share of the law. sources (m, d), source_masses (m,): the whole law;
            None: the share is the whole. comm: communicator to sum the shares over (collective), None: no sum.

    Returns:
        log E(mu), the same on every rank; NaN at beta = 0 and at infinite beta, where it is not defined.
    """
    if sources is None or source_masses is None:
        sources, source_masses = points, masses
    if not 0.0 < attention.beta < math.inf:
        return math.nan
    largest, logs = -math.inf, None
    if len(points):
        logs = attention.log_partition(points, sources, source_masses)
        largest = float(np.max(logs))
    largest = largest if comm is None else max(comm.allgather(largest))
    if not math.isfinite(largest):
        return largest
    share = 0.0 if logs is None else float(np.sum(np.exp(logs - largest) @ np.asarray(masses, dtype=float)))
    total = share if comm is None else comm.allreduce(share)
    return largest + math.log(total / (2.0 * attention.beta)) if total > 0.0 else -math.inf


def energy_columns(attention: Attention, points: Array, masses: Array, sources: Array | None = None,
                   source_masses: Array | None = None, comm: MPI.Comm | None = None) -> dict[str, float]:
    """{"energy", "log_energy"} as tables have them, arguments as in `log_energy`: the first NaN where it overflows."""
    logarithm = log_energy(attention, points, masses, sources, source_masses, comm)
    value = exponential(logarithm)
    return {"energy": value if math.isfinite(value) else math.nan, "log_energy": logarithm}


def exponential(logarithm: float) -> float:
    """e to a power, infinity where that is no double."""
    with np.errstate(over="ignore"):
        return float(np.exp(logarithm))
