"""The manifolds tokens live on, as maps of points: tangent projection, retraction, distance. Pure NumPy.

A manifold knows nothing of meshes. With layer normalisation tokens live on the unit sphere S^{d-1} (the
circle for d = 2); without it in flat space, all of R^d or a box whose walls no mass crosses; or on a curve,
surface or domain read from a file.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

TangentMap = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Manifold:
    """A token space in R^d. Every method takes points (n, d) and is local: nothing is communicated.

    Attributes:
        name: "circle", "sphere", "interval", "rectangle", "box", "euclidean" or "file".
        dimension: d, the number of coordinates of a token.
        intrinsic: dimension of the manifold itself, d - 1 on the sphere.
        closed: without boundary.
        normalised: True on the unit sphere, where layer normalisation keeps tokens.
        volume: length, area or volume; None where infinite or unknown.
    """

    name: str
    dimension: int
    intrinsic: int
    closed: bool
    normalised: bool
    volume: float | None

    @property
    def roughness(self) -> float:
        """How far cells are from a smooth curve or surface, on average, as a length; 0 where there are none."""
        return 0.0

    @property
    def reach(self) -> float:
        """Largest size of a coordinate: a field V x is at most about that times as fast as its rate; 1 where space has no end."""
        return 1.0

    def project(self, points: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Tangent parts (n, d) of `vectors` (n, d) at `points` (n, d); the identity in flat space."""
        return np.array(vectors, dtype=float)

    def tangents(self, points: np.ndarray) -> TangentMap:
        """`project` at fixed points (n, d): what does not depend on the vectors is worked out once."""
        return lambda vectors: self.project(points, vectors)

    def spread(self, points: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Steps (n, d) at `points` (n, d) that move isotropic random `vectors` (n, d) along the manifold."""
        return self.project(points, vectors)

    def retract(self, points: np.ndarray) -> np.ndarray:
        """The points (n, d) brought back to the manifold."""
        return np.array(points, dtype=float)

    def reflect(self, points: np.ndarray) -> np.ndarray:
        """As `retract`, but what is beyond a wall is mirrored at it: the walls of a noisy law let no mass through."""
        return self.retract(points)

    def distance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Distances (n,) of the rows of x and y (n, d), which broadcast; geodesic on the sphere."""
        return np.linalg.norm(np.asarray(x, dtype=float) - np.asarray(y, dtype=float), axis=-1)


@dataclass(frozen=True)
class Sphere(Manifold):
    """The unit sphere S^{d-1}, with `project` the P_x of docs/theory.md §1.2."""

    def project(self, points: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        radial = np.einsum("...i,...i->...", points, vectors)
        return vectors - radial[..., None] * points

    def retract(self, points: np.ndarray) -> np.ndarray:
        points = np.asarray(points, dtype=float)
        norm = np.linalg.norm(points, axis=-1, keepdims=True)
        if np.any(norm == 0.0):
            raise ZeroDivisionError("the origin has no nearest point on the sphere")
        return points / norm

    def distance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        # The arc from the half chords is accurate for near and for antipodal points, where arccos loses half the digits.
        x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        return 2.0 * np.arctan2(np.linalg.norm(x - y, axis=-1), np.linalg.norm(x + y, axis=-1))


@dataclass(frozen=True)
class Flat(Manifold):
    """R^d, or the box `bounds` (d, 2) in it; `retract` puts what has left the box back onto its wall."""

    bounds: tuple[tuple[float, float], ...] | None = None

    @property
    def reach(self) -> float:
        return 1.0 if self.bounds is None else max(abs(wall) for side in self.bounds for wall in side)

    def retract(self, points: np.ndarray) -> np.ndarray:
        if self.bounds is None:
            return np.array(points, dtype=float)
        low, high = np.array(self.bounds).T
        return np.clip(points, low, high)

    def reflect(self, points: np.ndarray) -> np.ndarray:
        if self.bounds is None:
            return np.array(points, dtype=float)
        low, high = np.array(self.bounds).T
        side = high - low
        folded = np.mod(points - low, 2 * side)
        return low + np.where(folded > side, 2 * side - folded, folded)


def sphere(dimension: int) -> Sphere:
    """The unit sphere in R^d, d = `dimension` >= 2; named "circle" for d = 2."""
    if dimension < 2:
        raise ValueError(f"a sphere needs dimension >= 2, got {dimension}")
    if dimension < 300:
        area = 2.0 * math.pi ** (dimension / 2) / math.gamma(dimension / 2)
    else:  # the gamma function overflows from 344 on, and from about 650 on the area itself is below all doubles
        area = math.exp(math.log(2.0) + dimension / 2 * math.log(math.pi) - math.lgamma(dimension / 2))
    return Sphere("circle" if dimension == 2 else "sphere", dimension, dimension - 1, True, True, area)


def flat(bounds: object = None, dimension: int | None = None) -> Flat:
    """The box with sides `bounds` (d, 2), or all of R^d if they are None and `dimension` = d is given."""
    if bounds is None:
        if dimension is None:
            raise ValueError("flat space needs bounds or a dimension")
        return Flat("euclidean", dimension, dimension, False, False, None)
    sides = tuple((float(a), float(b)) for a, b in bounds)  # type: ignore[attr-defined]
    if not sides or any(not a < b for a, b in sides):
        raise ValueError(f"bounds need a < b on every side, got {sides}")
    name = {1: "interval", 2: "rectangle"}.get(len(sides), "box")
    volume = math.prod(b - a for a, b in sides)
    return Flat(name, len(sides), len(sides), False, False, volume, sides)
