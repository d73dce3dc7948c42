"""Sliced distances: W_p between images on lines, for any number of atoms in any dimension.

They are other distances than W_p, smaller: the largest over directions ("max-sliced") is a lower bound of it.
On the sphere the images are the angles from an axis, which keeps arcs from stretching.
"""

import numpy as np

from solver.wasserstein.bounds import coupling_bound, directions, projected
from solver.wasserstein.measure import Atoms, Distance
from solver.wasserstein.metric import Metric

DIRECTIONS = 32
ROUNDS = 40


def max_sliced(a: Atoms, b: Atoms, p: float, metric: Metric, seed: int = 0) -> Distance:
    """The max-sliced distance by search over axes, as the lower bound of W_p that it is.

    The upper bound is that of a coupling found by sorting; `error` covers the gap between the two.
    """
    shift = a.masses @ a.points - b.masses @ b.points
    axes = directions(a.points.shape[1], DIRECTIONS, seed)
    if np.linalg.norm(shift) > 0.0:
        axes = np.concatenate([axes, shift[None] / np.linalg.norm(shift)])
    values = projected(a, b, p, metric, axes)
    best, value, step = axes[np.argmax(values)], float(values.max()), 0.3
    rng = np.random.default_rng(seed)
    for _ in range(ROUNDS):  # a hill climb: any axis gives a lower bound, a better one only a sharper bound
        trial = best + step * rng.normal(size=len(best))
        trial /= np.linalg.norm(trial)
        found = float(projected(a, b, p, metric, trial[None])[0])
        best, value, step = (trial, found, 1.5 * step) if found > value else (best, value, 0.8 * step)
    upper = max(coupling_bound(a, b, p, metric), value)
    return Distance(value, upper - value, "max-sliced, a lower bound", value, upper)


def mean_sliced(a: Atoms, b: Atoms, p: float, metric: Metric, count: int = 64, seed: int = 0) -> Distance:
    """The sliced distance SW_p, the p-mean over random axes, with its bounds as an estimate of W_p.

    The method states the statistical error of the mean over axes.
    """
    rng = np.random.default_rng(seed)
    axes = rng.normal(size=(count, a.points.shape[1]))
    axes /= np.linalg.norm(axes, axis=1)[:, None]
    values = projected(a, b, p, metric, axes)
    mean = float(np.mean(values**p))
    value = mean ** (1.0 / p)
    noise = float(np.std(values**p)) / np.sqrt(count) / (p * value ** (p - 1)) if value > 0.0 else 0.0
    lower, upper = float(values.max()), coupling_bound(a, b, p, metric)
    method = f"sliced over {count} axes (+- {noise:.2g}), another distance than W_p"
    return Distance(value, max(upper - value, 0.0), method, min(lower, value), max(upper, value))
