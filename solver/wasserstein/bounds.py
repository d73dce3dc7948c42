"""Bounds on a transport distance that need no optimisation: projections from below, couplings from above.

A map that does not stretch distances does not stretch transport either: every projection to a line bounds W_p
from below by an exact distance on that line. Every coupling bounds it from above.
"""

import numpy as np

from solver.wasserstein.cells import cells, overlay
from solver.wasserstein.line import wasserstein_line
from solver.wasserstein.measure import Atoms
from solver.wasserstein.metric import Metric, pointwise, power
from solver.wasserstein.network import UNIT, whole_units


def directions(dimension: int, count: int, seed: int = 0) -> np.ndarray:
    """Unit vectors (count, d): the axes first, then random ones from that seed."""
    extra = np.random.default_rng(seed).normal(size=(max(count - dimension, 0), dimension))
    extra /= np.linalg.norm(extra, axis=1)[:, None]
    return np.concatenate([np.eye(dimension), extra])[:count]


def projected(a: Atoms, b: Atoms, p: float, metric: Metric, axes: np.ndarray) -> np.ndarray:
    """W_p between the images on a line, for each axis (k, d): lower bounds (k,) of W_p(a, b).

    In flat space the image of x is <x, e>, on the sphere for arcs the angle between x and e.
    """
    values = []
    for axis in axes:
        images = [
            atoms.points @ axis if metric == "chord" else pointwise(atoms.points, axis, "arc") for atoms in (a, b)
        ]
        value, error = wasserstein_line(images[0], a.masses, images[1], b.masses, p)
        values.append(max(value - error, 0.0))
    return np.array(values)


def projection_bound(a: Atoms, b: Atoms, p: float, metric: Metric, count: int = 12) -> float:
    """The largest of a few `projected` distances: along the difference of means, the axes and random directions."""
    shift = a.masses @ a.points - b.masses @ b.points
    axes = directions(a.points.shape[1], count)
    length = np.linalg.norm(shift)
    if length > 0.0:
        axes = np.concatenate([axes, shift[None] / length])
    return float(projected(a, b, p, metric, axes).max())


def coupling_bound(a: Atoms, b: Atoms, p: float, metric: Metric) -> float:
    """The cost of a coupling found by sorting: both measures laid out along one order of nested cells.

    An upper bound of W_p in O(n log n), of the right size for distant measures and a few times too large for
    close ones.
    """
    order, _ = cells(np.concatenate([a.points, b.points]))
    order_a, order_b = order[order < a.count], order[order >= a.count] - a.count
    i, j, flow = overlay(whole_units(a.masses[order_a]), whole_units(b.masses[order_b]))
    moved = pointwise(a.points[order_a[i]], b.points[order_b[j]], metric)
    return float(flow / UNIT @ power(moved, p)) ** (1.0 / p)
