"""A token space that its user gives by maps of points: for tokens alone, since it has no mesh."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from meshes.manifold import Manifold

Map = Callable[[np.ndarray], np.ndarray]
TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False, init=False)
class TokenSpace(Manifold):
    """A submanifold of R^d, without walls, given by its maps; all take arrays of rows and are the same on every rank.

    Args:
        dimension: d, the number of coordinates of a token.
        retract: points (n, d) near the space -> the points (n, d) of the space nearest to them; without noise any retraction
            will do.
        project: points (n, d), vectors (n, d) -> their tangent parts (n, d).
        intrinsic: dimension of the space itself; default d - 1.
        distance: x (n, d), y (n, d) -> lengths (n,) of shortest ways; default the straight distance.
        nodes: a number n -> about n points (m, d) and weights (m,) that sum to the volume: what the uniform law and
            registered laws need.
    """

    maps: dict[str, Callable[..., np.ndarray]] = field(repr=False)
    nodes: Callable[[int], tuple[np.ndarray, np.ndarray]] | None = field(repr=False)

    def __init__(self, dimension: int, *, retract: Map, project: Callable[[np.ndarray, np.ndarray], np.ndarray],
                 intrinsic: int | None = None, distance: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
                 nodes: Callable[[int], tuple[np.ndarray, np.ndarray]] | None = None):
        own = int(dimension) - 1 if intrinsic is None else int(intrinsic)
        volume = None if nodes is None else float(np.sum(nodes(1000)[1]))
        super().__init__("own", int(dimension), own, True, False, volume)
        maps: dict[str, Callable[..., np.ndarray]] = {"retract": retract, "project": project}
        object.__setattr__(self, "maps", maps if distance is None else {**maps, "distance": distance})
        object.__setattr__(self, "nodes", nodes)

    @property
    def has_distance(self) -> bool:
        """Whether lengths of shortest ways are known."""
        return "distance" in self.maps

    def project(self, points: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        points, vectors = np.asarray(points, float), np.asarray(vectors, float)
        flat = (-1, self.dimension)
        return np.asarray(self.maps["project"](points.reshape(flat), vectors.reshape(flat)), float).reshape(vectors.shape)

    def retract(self, points: np.ndarray) -> np.ndarray:
        points = np.asarray(points, float)
        return np.asarray(self.maps["retract"](points.reshape(-1, self.dimension)), float).reshape(points.shape)

    def distance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        if not self.has_distance:
            return super().distance(x, y)
        x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
        flat = (-1, self.dimension)
        return np.asarray(self.maps["distance"](x.reshape(flat), y.reshape(flat)), float).reshape(x.shape[:-1])

    def mistake(self) -> str:
        """What is wrong with the maps, in words, as far as a few points can tell; empty if nothing is."""
        if not 1 <= self.intrinsic <= self.dimension:
            return f"intrinsic must be from 1 to {self.dimension}, not {self.intrinsic}"
        generator = np.random.default_rng(0)
        raw, vectors = generator.uniform(0.1, 0.9, (2, 4, self.dimension))
        try:
            points = self.retract(raw)
            again, tangent = self.retract(points), self.project(points, vectors)
            twice, lengths = self.project(points, tangent), self.distance(points, points[::-1])
        except Exception as error:  # whatever a user's function raises
            return f"its maps raised {type(error).__name__}: {error}"
        near = self.retract(points + 1e-5 * tangent) - points - 1e-5 * tangent
        if not np.abs(again - points).max() < TOLERANCE:
            return "retract must leave points of the space where they are"
        if not np.abs(twice - tangent).max() < TOLERANCE:
            return "project must leave tangent vectors as they are"
        if not np.abs(near).max() < 1e-7:
            return "retract must leave points a small tangent step away where they are: project and retract disagree"
        return "" if np.all(lengths >= 0.0) else "distance must not be negative or NaN"
