"""The table of docs/theory.md §3.4 from the exact densities of §3.3, and the coupling by the projection map T."""

import numpy as np
import pytest

from meshes.manifold import sphere
from solver.wasserstein.distance import distance
from solver.wasserstein.measure import Measure

TIMES = (0.0, 1.0, 2.0, 4.0)
CIRCLE_W2 = (0.906900, 0.636382, 0.413607, 0.158304)
CIRCLE_W1 = (0.785398, 0.483621, 0.259712, 0.058306)
SPHERE_W2 = (0.683667, 0.388947, 0.191253, 0.036451)


def circle_law(t: float, count: int = 20_000) -> Measure:
    """Zero temperature, V = diag(1, 0), uniform start: atoms at equal arcs with the exact masses of their cells."""
    edges = 2 * np.pi * np.arange(count + 1) / count
    # int of 1 / (2 pi (cosh t - sinh t cos 2 theta)) is atan(e^t tan theta) / (2 pi), continued past each pole
    cumulative = (np.arctan2(np.exp(t) * np.sin(edges), np.cos(edges)) % (2 * np.pi)) / (2 * np.pi)
    cumulative[-1] = 1.0
    middle = 0.5 * (edges[1:] + edges[:-1])
    return Measure(np.stack([np.cos(middle), np.sin(middle)], 1), np.diff(cumulative))


@pytest.mark.parametrize(("t", "w2", "w1"), list(zip(TIMES, CIRCLE_W2, CIRCLE_W1, strict=True)))
def test_circle_to_the_two_atoms_of_the_target(t, w2, w1):
    target = Measure([[1.0, 0.0], [-1.0, 0.0]], [0.5, 0.5])
    law = circle_law(t)
    assert distance(law, target, p=2, manifold=sphere(2)).value == pytest.approx(w2, abs=1e-6)
    assert distance(law, target, p=1, manifold=sphere(2)).value == pytest.approx(w1, abs=1e-6)


@pytest.mark.parametrize(("t", "w2"), list(zip(TIMES, SPHERE_W2, strict=True)))
def test_sphere_to_the_great_circle(t, w2):
    """V = diag(1, 1, 0): meridians are the optimal coupling, the map T; z shrinks along them."""
    nodes, weights = np.polynomial.legendre.leggauss(120)
    latitude = 0.5 * np.pi * nodes
    weights = 0.25 * np.pi * weights * np.cos(latitude)
    latitude = np.arctan2(np.sin(latitude), np.exp(t) * np.cos(latitude))
    longitude = 2 * np.pi * np.arange(16) / 16
    around = np.stack([np.cos(longitude), np.sin(longitude), 0 * longitude], 1)
    points = np.cos(latitude)[:, None, None] * around + np.sin(latitude)[:, None, None] * [0.0, 0.0, 1.0]
    law = Measure(points.reshape(-1, 3), np.repeat(weights / 16, 16))
    target = Measure(around, np.full(16, 1 / 16))

    def projection(x: np.ndarray) -> np.ndarray:
        flat = x * [1.0, 1.0, 0.0]
        return flat / np.linalg.norm(flat, axis=1)[:, None]

    found = distance(law, target, p=2, manifold=sphere(3), coupling=projection)
    assert found.value == pytest.approx(w2, abs=1e-6)
    bounded = distance(law, target, p=2, manifold=sphere(3), method="max-sliced", coupling=projection)
    assert bounded.upper == pytest.approx(w2, abs=1e-6)
    assert bounded.lower <= w2 + 1e-6


def test_a_point_without_an_image_stays_where_it_is():
    """T = Pi x/|Pi x| on E = span(1, 1): (1, -1) is sent nowhere; W1 = (pi/4 + pi/4 + pi/2)/3 to the point (1, 1)."""
    points = np.array([[1.0, 0.0], [0.0, 1.0], [2**-0.5, -2**-0.5]])

    def projection(x: np.ndarray) -> np.ndarray:
        along = x @ np.full((2, 2), 0.5)
        norm = np.linalg.norm(along, axis=1)[:, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(norm > 0, along / norm, np.nan)

    assert np.isnan(projection(points)[2]).all()
    goal = Measure(np.array([[2**-0.5, 2**-0.5]]), np.ones(1))
    found = distance(Measure(points, np.full(3, 1 / 3)), goal, p=1, manifold=sphere(2), coupling=projection)
    assert found.value == pytest.approx(np.pi / 3, abs=1e-12)


def test_measures_on_one_great_circle_of_a_sphere_are_exact_as_on_the_circle():
    rng = np.random.default_rng(3)
    frame = np.linalg.qr(rng.normal(size=(3, 3)))[0][:2]
    plane = [rng.normal(size=(n, 2)) for n in (2000, 3000)]
    plane = [x / np.linalg.norm(x, axis=1)[:, None] for x in plane]
    flat = [Measure(x, np.full(len(x), 1 / len(x))) for x in plane]
    raised = [Measure(x @ frame, np.full(len(x), 1 / len(x))) for x in plane]
    found = distance(*raised, p=2, manifold=sphere(3))
    assert found.method == "exact on the circle"
    assert found.value == pytest.approx(distance(*flat, p=2, manifold=sphere(2)).value, rel=1e-12)
