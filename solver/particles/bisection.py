"""Edges of a triangulation, and triangles cut at the middle of marked ones, the longest of each triangle first (Rivara 1984)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Edges:
    """The edges of triangles (c, 3).

    Attributes:
        ends: (E, 2) numbers of the tokens at both ends, the smaller first.
        of_cells: (c, 3) the edge opposite each corner.
    """

    def __init__(self, cells: Numbers):
        pairs = np.stack([cells[:, [1, 2]], cells[:, [2, 0]], cells[:, [0, 1]]], axis=1).reshape(-1, 2)
        pairs.sort(axis=1)
        count = int(cells.max(initial=0)) + 1
        keys, of_cells = np.unique(pairs[:, 0] * count + pairs[:, 1], return_inverse=True)
        self.ends = np.column_stack([keys // count, keys % count])
        self.of_cells = of_cells.reshape(-1, 3)

    def joined(self) -> Flags:
        """(E,): edges between two triangles."""
        return np.asarray(np.bincount(self.of_cells.ravel(), minlength=len(self.ends)) == 2, bool)

    def boundary_tokens(self, count: int) -> Flags:
        """(count,): tokens at the end of an edge of one triangle only."""
        found = np.zeros(count, bool)
        found[self.ends[~self.joined()].ravel()] = True
        return found

    def least(self, values: Numbers) -> Numbers:
        """(N,): the least of the values (N,) of a token and its neighbours."""
        found = values.copy()
        np.minimum.at(found, self.ends[:, 0], values[self.ends[:, 1]])
        np.minimum.at(found, self.ends[:, 1], values[self.ends[:, 0]])
        return found

    def longest(self, length: Array) -> Numbers:
        """(c,): which corner the longest edge of each triangle is opposite to; ties go to one edge for all."""
        rank = np.empty(len(length), np.int64)
        rank[np.argsort(length, kind="stable")] = np.arange(len(length))
        return np.argmax(rank[self.of_cells], axis=1)

    def closed(self, marked: Flags, length: Array) -> Flags:
        """(E,): marked edges and all that must be cut with them: of each triangle the longest first."""
        marked, rows = marked.copy(), np.arange(len(self.of_cells))
        longest = self.of_cells[rows, self.longest(length)]
        while True:
            needed = marked[self.of_cells].any(axis=1) & ~marked[longest]
            if not needed.any():
                return marked
            marked[longest[needed]] = True


def bisected(cells: Numbers, edges: Edges, marked: Flags, length: Array) -> tuple[Numbers, Numbers]:
    """Triangles cut at the middle of the marked edges, (E,) and closed; new tokens follow the old in the order of the edges.

    Returns:
        cells (m, 3), turning as their parents do, and parent (m,), in its order.
    """
    count = int(cells.max(initial=0)) + 1
    number = np.where(marked, count + np.cumsum(marked) - 1, -1)
    rows, top = np.arange(len(cells)), edges.longest(length)
    c, a, b = cells[rows, top], cells[rows, (top + 1) % 3], cells[rows, (top + 2) % 3]
    m = number[edges.of_cells[rows, top]]
    p, q = number[edges.of_cells[rows, (top + 1) % 3]], number[edges.of_cells[rows, (top + 2) % 3]]  # on bc, on ca
    whole = m < 0
    found = [(rows[whole], np.column_stack([c, a, b])[whole])]
    for has, keep, halves in ((q >= 0, ((a, m, c),), ((a, m, q), (q, m, c))), (p >= 0, ((m, b, c),), ((m, b, p), (m, p, c)))):
        for chosen, parts in ((~whole & ~has, keep), (~whole & has, halves)):
            found += [(rows[chosen], np.column_stack(part)[chosen]) for part in parts]
    parent, children = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.argsort(parent, kind="stable")
    return children[order], parent[order]
