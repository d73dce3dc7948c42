"""The energy of docs/theory.md §1.8."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from solver.attention.field import Attention

Array = np.ndarray


def energy(attention: Attention, points: Array, masses: Array, sources: Array | None = None,
           source_masses: Array | None = None, comm: Any = None) -> float:
    """E(mu) = 1/(2 beta) int int e^{beta <x,By>} dmu dmu, summed over heads.

    Args:
        points (n, d), masses (n,): this rank's share of the law. sources (m, d), source_masses (m,): the whole law;
            None: the share is the whole. comm: communicator to sum the shares over (collective), None: no sum.

    Returns:
        The energy, the same on every rank; infinity where it exceeds the range of doubles (beta beyond 700);
        NaN at beta = 0 and at infinite beta, where it is not defined.
    """
    sources, source_masses = (points, masses) if sources is None else (sources, source_masses)
    if not 0.0 < attention.beta < math.inf:
        return math.nan
    share = 0.0
    if len(points):
        logs = attention.log_partition(points, sources, source_masses)
        with np.errstate(over="ignore"):
            share = float(np.sum(np.exp(logs) @ np.asarray(masses, dtype=float)))
    return (share if comm is None else comm.allreduce(share)) / (2.0 * attention.beta)
