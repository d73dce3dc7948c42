"""Wasserstein distances between measures on the token space: density, particles, weighted points, push-forward target.

    W_p(a, b) = ( min over couplings pi of  int d(x, y)^p dpi(x, y) )^(1/p)

with d the arc length on circle and sphere, or the Euclidean distance. Every distance comes with the method that gave it, an
error estimate and bounds on either side, so that no number stands alone. All functions are serial: their measures are
whole (global) and every rank that calls them gets the same answer.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .wasserstein_circle import wasserstein_circle
from .wasserstein_general import wasserstein_general
from .wasserstein_line import wasserstein_line
from .wasserstein_metric import Metric, Space, ground_metric, matrix, power, root_error
from .wasserstein_semidiscrete import distinct, transport_to_pair

MASS_TOLERANCE = 1e-9
SPHERE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Measure:
    """A positive measure made of atoms: the whole of it, not one rank's share.

    Attributes:
        points: (n, d) coordinates; (n,) is taken as (n, 1). On the sphere unit vectors.
        masses: (n,) non-negative, in any order.
        resolution: scalar or (n,): root-mean-square distance from each atom to the mass that it stands for, 0 for true
            atoms. For an interval of length h it is h / sqrt(12), for a flat triangle of sides a, b, c
            sqrt((a^2 + b^2 + c^2) / 36). It widens the bounds of a distance, see `Distance`.

    Raises:
        ValueError: shapes that do not match, values that are not finite, a negative mass, no mass at all.
    """

    points: np.ndarray
    masses: np.ndarray
    resolution: float | np.ndarray = 0.0

    def __post_init__(self) -> None:
        points = np.asarray(self.points, dtype=float)
        points = points[:, None] if points.ndim == 1 else points
        masses = np.asarray(self.masses, dtype=float)
        resolution = np.asarray(self.resolution, dtype=float)
        if points.ndim != 2 or masses.shape != points.shape[:1]:
            raise ValueError(f"points (n, d) and masses (n,) do not match: {points.shape} and {masses.shape}")
        if resolution.shape not in ((), masses.shape):
            raise ValueError(f"resolution is a scalar or {masses.shape}, not {resolution.shape}")
        for name, values in (("points", points), ("masses", masses), ("resolution", resolution)):
            if not np.isfinite(values).all():
                raise ValueError(f"{name} hold a value that is not finite, at index {int(np.argmin(np.isfinite(values)))}")
        for name, values in (("mass", masses), ("resolution", np.atleast_1d(resolution))):
            if (values < 0.0).any():
                worst = int(np.argmin(values))
                raise ValueError(f"negative {name} {values[worst]:.6g} at index {worst}")
        if not masses.sum() > 0.0:
            raise ValueError("the measure has no mass")
        for name, values in (("points", points), ("masses", masses), ("resolution", resolution)):
            object.__setattr__(self, name, values)

    @property
    def total(self) -> float:
        """The total mass."""
        return float(self.masses.sum())

    def atomisation(self, p: float) -> float:
        """How far in W_p the atoms are from the measure they stand for, per unit of mass; a bound for p <= 2."""
        weights = self.masses / self.total
        return float(np.sqrt(np.sum(weights * np.square(self.resolution))))


@dataclass(frozen=True)
class Distance:
    """A transport distance.

    Attributes:
        value: the distance between the two sets of atoms, by `method`.
        error: estimate of |value - true distance|: round-off, tolerance of the method, compression, resolution of the atoms.
        method: how it was computed, in words.
        lower, upper: bounds on the distance between the two sets of atoms widened by the resolution of both measures
            (a theorem for p <= 2), lower <= value <= upper.
    """

    value: float
    error: float
    method: str
    lower: float
    upper: float

    def __float__(self) -> float:
        return self.value


def distance(
    a: Measure, b: Measure, *, p: float = 2, manifold: Space, metric: Literal["geodesic", "chordal"] = "geodesic"
) -> Distance:
    """The Wasserstein distance W_p(a, b).

    Exact on the line and on the circle (any number of atoms, sorting), exact to one or two atoms in any space, exact by
    network simplex for small measures, otherwise bounded from both sides.

    Args:
        a, b: measures with the same total mass to 1e-9; for a total other than 1 the value is that of the normalised
            measures times total**(1/p).
        p: the exponent, p >= 1.
        manifold: the token space; only `manifold.normalised` (unit vectors) is used.
        metric: "geodesic" or "chordal", see `wasserstein_metric.ground_metric`.

    Raises:
        ValueError: p < 1, an unknown metric, dimensions or masses that differ, points off the sphere.
    """
    ground = ground_metric(manifold, metric)
    if not p >= 1 or not np.isfinite(p):
        raise ValueError(f"the exponent p is at least 1 and finite, not {p}")
    if a.points.shape[1] != b.points.shape[1]:
        raise ValueError(f"measures in different dimensions: {a.points.shape[1]} and {b.points.shape[1]}")
    if abs(a.total - b.total) > MASS_TOLERANCE * max(a.total, b.total):
        raise ValueError(f"measures of different mass: {a.total:.17g} and {b.total:.17g}")
    (x, u), (y, v) = (_probability(measure, manifold) for measure in (a, b))
    value, error, method, lower, upper = _dispatch(x, u, y, v, p, ground)
    scale = (0.5 * (a.total + b.total)) ** (1.0 / p)
    spread = a.atomisation(p) + b.atomisation(p)
    low, high = max(lower - spread, 0.0), upper + spread
    return Distance(*(float(scale * n) for n in (value, error + spread)), method, float(scale * low), float(scale * high))


def _probability(measure: Measure, manifold: Space) -> tuple[np.ndarray, np.ndarray]:
    """The atoms that carry mass, (n, d), exactly on the sphere if that is the space, and their masses (n,), total 1."""
    kept = measure.masses > 0.0
    points, masses = measure.points[kept], measure.masses[kept]
    if manifold.normalised:
        norms = np.linalg.norm(points, axis=1)
        worst = int(np.argmax(np.abs(norms - 1.0)))
        if abs(norms[worst] - 1.0) > SPHERE_TOLERANCE:
            raise ValueError(f"point {worst} is not on the unit sphere: its norm is {norms[worst]:.6g}")
        points = points / norms[:, None]
    return points, masses / masses.sum()


def _dispatch(
    x: np.ndarray, u: np.ndarray, y: np.ndarray, v: np.ndarray, p: float, ground: Metric
) -> tuple[float, float, str, float, float]:
    """Value, error, method, lower and upper bound for probability measures, by the best method for their space."""
    flat = _flatten(x, y, ground)
    if flat is not None:
        solve = wasserstein_circle if ground == "arc" else wasserstein_line
        value, error = solve(flat[0], u, flat[1], v, p)
        method = "exact on the circle" if ground == "arc" else "exact on the line"
        return value, error, method, value - error, value + error
    for (points, masses), (others, other_masses) in (((x, u), (y, v)), ((y, v), (x, u))):
        found = distinct(others)
        if found is not None:
            targets = np.bincount(found[1], weights=other_masses)
            cost = transport_to_pair(masses, power(matrix(points, found[0], ground), p), targets)
            value = cost ** (1.0 / p)
            reach = max(np.abs(points).max(), np.abs(others).max())
            error = root_error(np.finfo(float).eps * np.sqrt(len(points)) * (4.0 * reach) ** p, value, p)
            return value, error, "exact, one or two atoms", value - error, value + error
    return wasserstein_general(x, u, y, v, p, ground)


def _flatten(x: np.ndarray, y: np.ndarray, ground: Metric) -> tuple[np.ndarray, np.ndarray] | None:
    """Coordinates (n,) and (m,) that keep all distances, if both measures lie on one line, or on one great circle."""
    if ground == "arc" and x.shape[1] == 2:
        return np.arctan2(x[:, 1], x[:, 0]), np.arctan2(y[:, 1], y[:, 0])
    if ground == "chord" and x.shape[1] == 1:
        return x[:, 0], y[:, 0]
    both = np.concatenate([x, y])
    rank = 2 if ground == "arc" else 1
    if ground == "chord":
        both = both - both[0]
    axes = np.linalg.eigh(both.T @ both)[1][:, ::-1][:, :rank]
    flat = both @ axes
    if np.abs(both - flat @ axes.T).max() > 1e-14 * max(1.0, np.abs(both).max()):
        return None
    flat = flat[:, 0] if rank == 1 else np.arctan2(flat[:, 1], flat[:, 0])
    return flat[: len(x)], flat[len(x) :]
