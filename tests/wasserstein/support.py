"""Random measures, and the exact distance by a dense linear program, for the tests of transport."""

import numpy as np
import ot

from meshes.manifold import flat, sphere
from solver.wasserstein.measure import Measure

SPACES = {
    "line": flat([(-9.0, 9.0)]),
    "plane": flat([(-9.0, 9.0)] * 2),
    "circle": sphere(2),
    "sphere": sphere(3),
}


def random_points(rng: np.random.Generator, count: int, space: str, lattice: bool = False) -> np.ndarray:
    """Points (count, d); on a lattice many of them coincide or are equally far from one another."""
    manifold = SPACES[space]
    points = rng.integers(-2, 3, (count, manifold.dimension)) + 0.0 if lattice else None
    points = rng.normal(size=(count, manifold.dimension)) if points is None else points
    if manifold.normalised:
        points[:, 0] += np.abs(points).max(axis=1) == 0.0
        points /= np.linalg.norm(points, axis=1)[:, None]
    return points


def random_measure(rng: np.random.Generator, count: int, space: str, lattice: bool = False) -> Measure:
    """A probability measure; equal masses on a lattice, so that ties occur."""
    masses = np.ones(count) if lattice else rng.random(count) + 0.01
    return Measure(random_points(rng, count, space, lattice), masses / masses.sum())


def ground_costs(x: np.ndarray, y: np.ndarray, arcs: bool) -> np.ndarray:
    """Distances (n, m), by another formula than the solver's."""
    if not arcs:
        return np.linalg.norm(x[:, None] - y, axis=-1)
    cosine = x @ y.T
    return np.arctan2(np.linalg.norm(y - cosine[..., None] * x[:, None], axis=-1), cosine)


def exact_distance(a: Measure, b: Measure, p: float, arcs: bool) -> float:
    """W_p of measures of equal mass by POT's network simplex."""
    return float(ot.emd2(a.masses, b.masses, ground_costs(a.points, b.points, arcs) ** p)) ** (1 / p)
