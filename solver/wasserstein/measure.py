"""What transport distances take and give: measures made of atoms, and distances with their bounds."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from solver.wasserstein.metric import Space

SPHERE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Measure:
    """A positive measure made of atoms: the whole of it, not one rank's share.

    Attributes:
        points: (n, d) coordinates; (n,) is taken as (n, 1). On the sphere unit vectors.
        masses: (n,) non-negative.
        resolution: scalar or (n,): root-mean-square distance from each atom to the mass that it stands for, 0
            for true atoms. For an interval of length h it is h / sqrt(12), for a flat triangle of sides a, b,
            c sqrt((a^2 + b^2 + c^2) / 36). It widens the error and the bounds of a distance.

    Raises:
        ValueError: shapes that do not match, values that are not finite, a negative mass, no mass at all.
    """

    points: np.ndarray
    masses: np.ndarray
    resolution: float | np.ndarray = 0.0

    def __repr__(self) -> str:
        count, dimension = self.points.shape
        return f"<Measure of {count} weighted points in {dimension} coordinates, mass {self.masses.sum():.6g}>"

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
            finite = np.isfinite(values)
            if not finite.all():
                place = np.unravel_index(int(np.argmin(finite)), values.shape)
                raise ValueError(f"{name} hold {values[place]} at index {', '.join(map(str, place))}")
        for name, values in (("mass", masses), ("resolution", np.atleast_1d(resolution))):
            if (values < 0.0).any():
                worst = int(np.argmin(values))
                raise ValueError(f"negative {name} {values[worst]:.6g} at index {worst}")
        if not masses.sum() > 0.0:
            raise ValueError("the measure has no mass")
        for name, values in (("points", points), ("masses", masses), ("resolution", resolution)):
            object.__setattr__(self, name, values)

    @cached_property
    def total(self) -> float:
        """The total mass, rounded once: the same for every order of the atoms, as distances near zero need."""
        return math.fsum(self.masses)

    @property
    def spread(self) -> float:
        """Bound on W_p, p <= 2, between the normalised atoms and what they stand for."""
        return float(np.sqrt(np.sum(self.masses * np.square(self.resolution)) / self.total))

    def atoms(self, manifold: Space) -> "Atoms":
        """The atoms that carry mass, exactly on the sphere if that is the space, as a probability measure."""
        kept = self.masses > 0.0
        points, masses = self.points[kept], self.masses[kept]
        if manifold.normalised:
            norms = np.linalg.norm(points, axis=1)
            worst = int(np.argmax(np.abs(norms - 1.0)))
            if abs(norms[worst] - 1.0) > SPHERE_TOLERANCE:
                at = int(np.flatnonzero(kept)[worst])
                raise ValueError(f"point {at} is not on the unit sphere: its norm is {norms[worst]:.6g}")
            points = points / norms[:, None]
        return Atoms(points, masses / self.total)


class Atoms(NamedTuple):
    """A probability measure: points (n, d), positive masses (n,) of total 1. What the algorithms work on."""

    points: np.ndarray
    masses: np.ndarray

    @property
    def count(self) -> int:  # type: ignore[override]  # instead of the count of equal entries that every tuple has
        """Number of atoms."""
        return len(self.masses)


@dataclass(frozen=True)
class Distance:
    """A transport distance.

    Attributes:
        value: the distance between the two sets of atoms, by `method`.
        error: estimate of |value - true distance|: round-off, tolerance of the method, compression, and the
            resolution of the atoms.
        method: how it was computed, in words.
        lower, upper: bounds on the distance of what the atoms stand for, lower <= value <= upper. They are
            theorems for p <= 2; with resolution and p > 2 they are estimates.
    """

    value: float
    error: float
    method: str
    lower: float
    upper: float

    def __post_init__(self) -> None:
        for name in ("value", "error", "lower", "upper"):
            object.__setattr__(self, name, float(getattr(self, name)))

    def __float__(self) -> float:
        return self.value

    def below(self, upper: float) -> "Distance":
        """The distance with one more upper bound."""
        upper = max(upper, self.lower)
        if upper >= self.upper:
            return self
        value = min(self.value, upper)
        return Distance(value, min(self.error, max(upper - value, value - self.lower)), self.method, self.lower, upper)

    def widened(self, scale: float, spread: float) -> "Distance":
        """The distance in units of `scale`, for measures known up to W_p distances that add to `spread`."""
        low, high = scale * max(self.lower - spread, 0.0), scale * (self.upper + spread)
        return Distance(scale * self.value, scale * (self.error + spread), self.method, low, high)


def exactly(value: float, error: float, method: str) -> Distance:
    """A distance known but for round-off."""
    return Distance(value, error, method, max(value - error, 0.0), value + error)
