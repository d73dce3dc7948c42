"""The density as weighted points, on every rank and in one order whatever the number of ranks."""

from __future__ import annotations

import numpy as np
from mpi4py import MPI


class Gather:
    """Collects k values per owned cell from all ranks, in the order of `cell_order`; collective.

    Args:
        comm: communicator; order (owned,): rank-independent number of each owned cell, 0 .. global count - 1; width: k.
    """

    def __init__(self, comm: MPI.Comm, order: np.ndarray, width: int):
        self.comm, self.width = comm, width
        self.counts = np.array(comm.allgather(len(order)))
        everyone = np.concatenate(comm.allgather(np.asarray(order)))
        self.order = everyone
        self.identity = bool(np.all(everyone == np.arange(len(everyone))))
        self.start = int(self.counts[:comm.rank].sum())
        self._received = np.empty((len(everyone), width))
        self._layout = (self.counts * width, (np.cumsum(self.counts) - self.counts) * width)

    def __call__(self, local: np.ndarray) -> np.ndarray:
        """(owned, width) -> (cells, width) on every rank, in canonical order."""
        if self.comm.size == 1:
            received = np.asarray(local, dtype=float)
        else:
            received = self._received
            self.comm.Allgatherv(np.ascontiguousarray(local, dtype=float), (received, self._layout))
        if self.identity:
            return received.copy()
        result = np.empty_like(received)
        result[self.order] = received
        return result

    def local(self, everything: np.ndarray) -> np.ndarray:
        """The rows of this rank's owned cells out of (cells, width) in canonical order."""
        own = self.order[self.start:self.start + self.counts[self.comm.rank]]
        return np.ascontiguousarray(everything[own])
