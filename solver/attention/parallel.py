"""Sources across ranks: gathered once per stage, or passed round a ring where even the sources do not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from solver.attention.field import Attention, combine
from solver.attention.moments import Moments
from solver.attention.reference import TIE
from solver.errors import RunError

if TYPE_CHECKING:
    from mpi4py import MPI

Array = np.ndarray


def gather_sources(comm: MPI.Comm, points: Array, masses: Array, order: Array) -> tuple[Array, Array]:
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


def ring_field(comm: MPI.Comm, attention: Attention, targets: Array, points: Array, masses: Array) -> tuple[Array, float]:
    """`Attention.field` with memory of the largest share only: the shares of the law travel round the ranks. Collective.

    Args:
        targets (n, d): of this rank; points (k, d), masses (k,): this rank's share of the law, possibly empty.

    Returns:
        values (n, d) and log_scale, local to the rank, as `Attention.field` for the whole law, to round-off: the
        order of the sums depends on the number of ranks, `gather_sources` avoids that. At zero temperature shares tie
        if their largest <x,By> agree to 1e-13 of their own size.

    Raises:
        RunError: on every rank, if a number is not finite or the law has no mass.
    """
    share = np.ascontiguousarray(np.column_stack([points, masses]), dtype=float)
    healthy = bool(np.isfinite(share).all() and np.isfinite(targets).all())
    mass = float(np.maximum(share[:, -1], 0.0).sum()) if healthy else 0.0
    if comm.allreduce(int(healthy)) < comm.size:
        raise RunError("a target, source or mass of attention is not finite", place="" if healthy else f"rank {comm.rank}")
    if comm.allreduce(mass) <= 0.0:
        raise RunError("attention needs a law of positive mass, here it has none")
    counts, total = comm.allgather(len(share)), None
    for step in range(comm.size):
        # The signs apart: a share may hold one of them only.
        for sign in (1.0, -1.0):
            part = np.maximum(sign * share[:, -1], 0.0)
            if part.any() and (sign > 0.0 or np.isfinite(attention.beta)):
                total = merge(total, attention.bind(targets, share[:, :-1]).moments(part), sign, attention)
        if step + 1 < comm.size:
            incoming = np.empty((counts[(comm.rank - step - 1) % comm.size], share.shape[1]))
            comm.Sendrecv(share, (comm.rank + 1) % comm.size, recvbuf=incoming, source=(comm.rank - 1) % comm.size)
            share = incoming
    return combine(total or [], attention)


def merge(first: list[Moments] | None, second: list[Moments], sign: float, attention: Attention) -> list[Moments]:
    """Moments of mu + sign nu from those of mu (None: zero) and nu, head by head; at zero temperature the maximisers."""
    if first is None:
        return [Moments(sign * b.num, sign * b.den, b.shift) for b in second]
    if np.isfinite(attention.beta):
        return [a.add(b, sign) for a, b in zip(first, second, strict=True)]
    result = []
    for a, b in zip(first, second, strict=True):
        top = np.maximum(a.shift, b.shift)
        slack = TIE * np.maximum(np.abs(a.shift), np.abs(b.shift))
        own, its = a.shift >= top - slack, b.shift >= top - slack
        result.append(Moments(a.num * own[:, None] + b.num * its[:, None], a.den * own + b.den * its, top))
    return result
