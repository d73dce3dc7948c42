"""Transport distances of small measures against POT's network simplex, and against closed forms."""

from types import SimpleNamespace

import numpy as np
import ot
import pytest

from solver.wasserstein import Measure, distance

SPHERE, FLAT = SimpleNamespace(normalised=True), SimpleNamespace(normalised=False)
SPACES = {"line": (FLAT, 1), "plane": (FLAT, 2), "circle": (SPHERE, 2), "sphere": (SPHERE, 3)}


def random_measure(rng: np.random.Generator, space: str) -> Measure:
    """One to twelve atoms; in a third of the cases on a lattice with equal masses, so that ties occur."""
    manifold, d = SPACES[space]
    n = int(rng.integers(1, 13))
    lattice = rng.random() < 1 / 3
    points = rng.integers(-2, 3, (n, d)) + 0.0 if lattice else rng.normal(size=(n, d))
    if manifold.normalised:
        points[:, 0] += 0.5 * (np.abs(points).max(axis=1) == 0)
        points /= np.linalg.norm(points, axis=1)[:, None]
    masses = np.ones(n) if lattice else rng.random(n) + 0.01
    return Measure(points, masses / masses.sum())


def exact(a: Measure, b: Measure, space: str, p: float) -> float:
    if SPACES[space][0].normalised:
        cosine = a.points @ b.points.T
        sine = np.linalg.norm(b.points - cosine[..., None] * a.points[:, None], axis=-1)
        costs = np.arctan2(sine, cosine)
    else:
        costs = np.linalg.norm(a.points[:, None] - b.points, axis=-1)
    return ot.emd2(a.masses, b.masses, costs**p) ** (1 / p)


@pytest.mark.parametrize("space", SPACES)
def test_random_small_cases_equal_network_simplex(space):
    rng = np.random.default_rng(7)
    for case in range(70):
        a, b, p = random_measure(rng, space), random_measure(rng, space), (1, 2, 1.5, 3)[case % 4]
        found = distance(a, b, p=p, manifold=SPACES[space][0])
        assert found.value == pytest.approx(exact(a, b, space, p), abs=1e-9), (case, p, found)
        assert found.lower <= found.value <= found.upper
