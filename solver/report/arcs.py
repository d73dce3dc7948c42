"""Closed curves and arcs laid out along a line: the place of every point of a mesh by the length walked to it."""

from __future__ import annotations

import numpy as np

from meshes.spaces import merge_close

NOWHERE = -1  # no cell
GAP = 0.02  # between separate curves, as a part of their whole length


def arc_length(points: np.ndarray, per_cell: int) -> np.ndarray:
    """Arc length (n,) of points on a curve, given cell by cell.

    Args:
        points: (cells * per_cell, d), the points of each cell in order from one end to the other; cells in any order and either
            direction, neighbours sharing their ends.
        per_cell: points of a cell, at least 2.

    Returns:
        Lengths from where the first cell begins, along each curve in turn.
    """
    cells = points.reshape(-1, per_cell, points.shape[1])
    steps = np.linalg.norm(np.diff(cells, axis=1), axis=2)
    inside = np.concatenate([np.zeros((len(cells), 1)), np.cumsum(steps, axis=1)], axis=1)
    tolerance = 1e-6 * max(float(steps.sum(axis=1).min()), 1e-300)
    ends = np.concatenate([cells[:, 0], cells[:, -1]])
    node = [int(n) for n in merge_close(ends, tolerance)[1]]
    ends_of = list(zip(node[: len(cells)], node[len(cells):], strict=True))
    at: dict[int, list[int]] = {}
    for cell, (a, b) in enumerate(ends_of):
        at.setdefault(a, []).append(cell)
        at.setdefault(b, []).append(cell)
    found = np.full((len(cells), per_cell), np.nan)
    done = np.zeros(len(cells), bool)
    # Open arcs from one of their ends, then closed curves from anywhere.
    starts = [node for node, around in at.items() if len(around) == 1] + [a for a, _ in ends_of]
    walked, gap = 0.0, GAP * float(inside[:, -1].sum())
    for start in starts:
        here, moved = start, False
        while (cell := next((c for c in at[here] if not done[c]), NOWHERE)) != NOWHERE:
            forward = ends_of[cell][0] == here
            found[cell] = walked + (inside[cell] if forward else inside[cell, -1] - inside[cell])
            walked += float(inside[cell, -1])
            here, moved = ends_of[cell][1 if forward else 0], True
            done[cell] = True
        walked += gap if moved else 0.0
    return found.ravel()
