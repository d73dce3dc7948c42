"""Sources across ranks: gathered once per stage, or passed round a ring where even the sources do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np

from solver.attention.field import Attention, sum_heads
from solver.attention.moments import Moments

Array = np.ndarray


def gather_sources(comm: Any, points: Array, masses: Array, order: Array) -> tuple[Array, Array]:
    """All sources on every rank, in an order that does not depend on the number of ranks. Collective.

    Args:
        comm: mpi4py communicator; points (n, d), masses (n,): this rank's share; order (n,): integers that are unique
            over all ranks and name a source however the sources are distributed, such as global cell numbers.

    Returns:
        points (m, d), masses (m,) of all ranks, sorted by `order`: global, bitwise the same on every rank and for
        every number of ranks.
    """
    points = np.ascontiguousarray(points, dtype=float)
    d = points.shape[1]
    if comm.size == 1:
        sorting = np.argsort(order, kind="stable")
        return points[sorting], np.ascontiguousarray(masses, dtype=float)[sorting]
    rows = np.column_stack([points, masses])
    counts = np.array(comm.allgather(len(rows)))
    everything, numbers = np.empty((counts.sum(), d + 1)), np.empty(counts.sum(), dtype=np.int64)
    comm.Allgatherv(np.ascontiguousarray(rows), (everything, counts * (d + 1)))
    comm.Allgatherv(np.ascontiguousarray(order, dtype=np.int64), (numbers, counts))
    everything = everything[np.argsort(numbers, kind="stable")]
    return np.ascontiguousarray(everything[:, :d]), np.ascontiguousarray(everything[:, d])


def ring_field(comm: Any, attention: Attention, targets: Array, points: Array, masses: Array) -> tuple[Array, float]:
    """`Attention.field` with memory of the largest share only: the shares of the law travel round the ranks. Collective.

    Args:
        targets (n, d): of this rank; points (k, d), masses (k,): this rank's share of the law, possibly empty.

    Returns:
        values (n, d) and log_scale, local to the rank, as `Attention.field` for the whole law, to round-off: the
        order of the sums depends on the number of ranks, `gather_sources` avoids that.
    """
    total: list[Moments] | None = None
    share = np.ascontiguousarray(np.column_stack([points, masses]), dtype=float)
    counts = comm.allgather(len(share))
    for step in range(comm.size):
        if len(share) and share[:, -1].any():
            bound = attention.bind(targets, share[:, :-1])
            part = bound.moments(share[:, -1])
            total = part if total is None else merge(total, part, attention)
        if step + 1 < comm.size:
            incoming = np.empty((counts[(comm.rank - step - 1) % comm.size], share.shape[1]))
            comm.Sendrecv(share, (comm.rank + 1) % comm.size, recvbuf=incoming, source=(comm.rank - 1) % comm.size)
            share = incoming
    if total is None:
        raise ValueError("the law has no mass on any rank")
    if attention.weights.normalization == "softmax":
        return sum_heads([moments.means() for moments in total], attention.values), 0.0
    log_scale = max(float(np.max(moments.log(), initial=-np.inf)) for moments in total)
    log_scale = log_scale if np.isfinite(log_scale) else 0.0
    scaled = [moments.num * np.exp(moments.shift - log_scale)[:, None] for moments in total]
    return sum_heads(scaled, attention.values), log_scale


def merge(first: list[Moments], second: list[Moments], attention: Attention) -> list[Moments]:
    """Moments of the sum of two laws, head by head; at zero temperature the maximisers of both."""
    if np.isfinite(attention.beta):
        return [a.add(b) for a, b in zip(first, second, strict=True)]
    result = []
    for a, b in zip(first, second, strict=True):
        slack = 1e-13 * np.maximum(np.abs(a.shift), np.abs(b.shift))
        top = np.maximum(a.shift, b.shift)
        own, its = a.shift >= top - slack, b.shift >= top - slack
        result.append(Moments(a.num * own[:, None] + b.num * its[:, None], a.den * own + b.den * its, top))
    return result
