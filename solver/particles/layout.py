"""Which rank follows which tokens, and all tokens on every rank in one order that no rank count changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mpi4py import MPI

Array = NDArray[np.float64]

# Tokens are dealt in whole blocks, so that a kernel working on blocks of targets meets the same blocks on any rank count.
BLOCK = 64


class Layout:
    """N tokens in contiguous runs of whole blocks, one run per rank.

    Attributes:
        comm: the ranks.
        count: N, the number of tokens on all ranks.
        start, stop: the half-open range of tokens this rank follows; may be empty.
    """

    def __init__(self, comm: MPI.Comm, count: int):
        self.comm, self.count = comm, count
        blocks = -(-count // BLOCK)
        edges = np.minimum(BLOCK * (blocks * np.arange(comm.size + 1) // comm.size), count)
        self.counts = np.diff(edges)
        self.start, self.stop = int(edges[comm.rank]), int(edges[comm.rank + 1])

    def local(self, values: Array) -> Array:
        """This rank's part (M, n, d) of values (M, N, d) known on every rank."""
        return np.ascontiguousarray(values[:, self.start : self.stop])

    def gather(self, local: Array) -> Array:
        """All tokens (M, N, d) on every rank from the local parts (M, n, d); collective."""
        if self.comm.size == 1:
            return local
        members, _, d = local.shape
        width = members * d
        received = np.empty((self.count, members, d))
        sent = np.ascontiguousarray(local.transpose(1, 0, 2))
        self.comm.Allgatherv(sent, [received, (self.counts * width).tolist()])
        return np.ascontiguousarray(received.transpose(1, 0, 2))

    def largest(self, value: float) -> float:
        """The maximum over the ranks, NaN if any is NaN; collective."""
        if self.comm.size == 1:
            return value
        values = np.empty(self.comm.size)
        self.comm.Allgather(np.array([value]), values)
        return float(np.max(values))
