"""Nested cells of weighted points: what coarse-to-fine transport, compression and quick couplings are built on."""

import numpy as np

from solver.wasserstein.measure import Atoms
from solver.wasserstein.metric import Metric, pointwise, power


def cells(points: np.ndarray, largest: int = 1) -> tuple[np.ndarray, list[np.ndarray]]:
    """Nested cells by halving along the longest side at the median, until none holds more than `largest` points.

    Args:
        points: (n, d).

    Returns:
        (order, starts): the points sorted so that every cell is a stretch of them, and for each level, coarse
        to fine, the places (k + 1,) where its cells begin, closed by n.
    """
    n = len(points)
    order, starts, levels = np.arange(n), np.array([0, n]), [np.array([0, n])]
    while np.diff(starts).max() > largest:
        cell = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        placed = points[order]
        side = np.maximum.reduceat(placed, starts[:-1]) - np.minimum.reduceat(placed, starts[:-1])
        along = placed[np.arange(n), np.argmax(side, axis=1)[cell]]
        order = order[np.lexsort((along, cell))]
        starts = np.union1d(starts, (starts[:-1] + starts[1:] + 1) // 2)
        levels.append(starts)
    return order, levels


def representatives(atoms: Atoms, starts: np.ndarray, metric: Metric) -> Atoms:
    """The centre of mass of each stretch of atoms, brought back to the sphere for arcs, with the mass of all."""
    masses = np.add.reduceat(atoms.masses, starts[:-1])
    centres = np.add.reduceat(atoms.points * atoms.masses[:, None], starts[:-1]) / masses[:, None]
    if metric == "arc":
        norms = np.linalg.norm(centres, axis=1)
        lost = norms < 1e-3  # cells as wide as the sphere have no direction: any of their points will do
        centres[lost], norms[lost] = atoms.points[starts[:-1][lost]], 1.0
        centres /= norms[:, None]
    return Atoms(centres, masses)


def compress(atoms: Atoms, limit: int, p: float, metric: Metric) -> tuple[Atoms, float]:
    """The measure on at most `limit` representatives, and a bound on the W_p distance between the two."""
    if atoms.count <= limit:
        return atoms, 0.0
    order, levels = cells(atoms.points, -(-atoms.count // limit))
    starts = next(level for level in reversed(levels) if len(level) - 1 <= limit)
    placed = Atoms(atoms.points[order], atoms.masses[order])
    coarse = representatives(placed, starts, metric)
    moved = pointwise(placed.points, np.repeat(coarse.points, np.diff(starts), axis=0), metric)
    return coarse, float(placed.masses @ power(moved, p)) ** (1.0 / p)


def overlay(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two rows of blocks of equal total length, whole numbers: the pairs (i, j) of blocks that share a stretch, and
    its length. Read as masses it is the north-west corner coupling, whose support is a forest."""
    ends = [np.cumsum(row) for row in (first, second)]
    cuts = np.union1d(*ends)
    lengths = np.diff(cuts, prepend=0)
    cuts, lengths = cuts[lengths > 0], lengths[lengths > 0]
    i, j = (np.searchsorted(row, cuts, "left") for row in ends)
    return i, j, lengths
