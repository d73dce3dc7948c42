"""Distances between points that the transport distances are built on: arc length on the sphere, or Euclidean.

Two ground metrics cover every space of docs/theory.md §1.2: "arc" (geodesic on the unit sphere of any dimension) and
"chord" (Euclidean: flat spaces, surfaces given as a file, and the chordal metric on the sphere).
"""

from typing import Literal, Protocol

import numpy as np
from scipy.spatial.distance import cdist

Metric = Literal["arc", "chord"]


class Space(Protocol):
    """What is needed of `meshes.manifold.Manifold`: whether its points are unit vectors."""

    @property
    def normalised(self) -> bool: ...


def ground_metric(manifold: Space, metric: str) -> Metric:
    """The ground metric of a token space.

    Args:
        manifold: where the points live.
        metric: "geodesic" (arc length on circle and sphere, Euclidean elsewhere) or "chordal" (Euclidean).

    Raises:
        ValueError: another metric.
    """
    if metric not in ("geodesic", "chordal"):
        raise ValueError(f'metric is "geodesic" or "chordal", not {metric!r}')
    return "arc" if metric == "geodesic" and manifold.normalised else "chord"


def pointwise(x: np.ndarray, y: np.ndarray, metric: Metric) -> np.ndarray:
    """Distances between paired points, (..., d) and (..., d) -> (...), broadcast.

    The arc is 2 atan2(|x-y|, |x+y|): accurate near 0 and near pi, where acos loses half the digits.
    """
    chord = np.sqrt(np.square(x - y).sum(axis=-1))
    return chord if metric == "chord" else 2.0 * np.arctan2(chord, np.sqrt(np.square(x + y).sum(axis=-1)))


def matrix(x: np.ndarray, y: np.ndarray, metric: Metric) -> np.ndarray:
    """All distances, (n, d) and (m, d) -> (n, m); same formula as `pointwise`."""
    chord = cdist(x, y)
    if metric == "chord":
        return chord
    return 2.0 * np.arctan2(chord, cdist(x, -y))


def power(distances: np.ndarray, p: float) -> np.ndarray:
    """distances**p, without `pow` where p is 1 or 2."""
    return distances if p == 1 else np.square(distances) if p == 2 else distances**p


def root_error(power_error: float, value: float, p: float) -> float:
    """The error of value = c**(1/p) that an error of c makes: linear for large c, its p-th root at c = 0."""
    if power_error <= 0.0:
        return 0.0
    linear = power_error / (p * value ** (p - 1)) if value > 0.0 else np.inf
    return float(min(power_error ** (1.0 / p), linear))
