"""Transport distances against POT's network simplex on random measures, small and large."""

import numpy as np
import pytest

import solver.wasserstein.circle
from meshes.manifold import sphere
from solver.wasserstein.distance import distance
from solver.wasserstein.general import multiscale
from solver.wasserstein.measure import Measure
from tests.wasserstein.support import SPACES, exact_distance, random_measure


@pytest.mark.parametrize("space", SPACES)
def test_small_measures_equal_the_linear_program(space):
    rng = np.random.default_rng(7)
    manifold = SPACES[space]
    for case in range(80):
        p, lattice = (1, 2, 1.5, 3)[case % 4], case % 3 == 0
        a, b = (random_measure(rng, int(rng.integers(1, 13)), space, lattice) for _ in range(2))
        found = distance(a, b, p=p, manifold=manifold)
        exact = exact_distance(a, b, p, manifold.normalised)
        assert found.value == pytest.approx(exact, abs=1e-9), (case, found)
        assert found.lower <= found.value <= found.upper
        assert found.value == pytest.approx(exact, abs=found.error + 1e-12)


@pytest.mark.parametrize("space", ["circle", "sphere"])
def test_chordal_metric_equals_the_linear_program(space):
    rng = np.random.default_rng(8)
    for case in range(20):
        a, b = (random_measure(rng, int(rng.integers(1, 13)), space) for _ in range(2))
        p = 1 + case % 2
        found = distance(a, b, p=p, manifold=SPACES[space], metric="chordal")
        assert found.value == pytest.approx(exact_distance(a, b, p, False), abs=1e-9)
        assert found.value <= distance(a, b, p=p, manifold=SPACES[space]).value + 1e-12


@pytest.mark.parametrize("p", [1, 2, 1.5, 3])
def test_circle_with_many_atoms_and_unequal_masses(p):
    rng = np.random.default_rng(9)
    for _ in range(6):
        a, b = (random_measure(rng, int(rng.integers(50, 300)), "circle") for _ in range(2))
        found = distance(a, b, p=p, manifold=SPACES["circle"])
        assert found.value == pytest.approx(exact_distance(a, b, p, True), abs=1e-9)


@pytest.mark.parametrize("p", [1.5, 2, 3])
def test_the_corner_of_the_cost_on_the_circle_is_where_its_slope_changes_sign(p, monkeypatch):
    """Found among all corners of a bracket at once: no gap is left, no other shift costs less, and shifts are fewer."""
    circle, rng, tried = solver.wasserstein.circle, np.random.default_rng(12), []
    shift = circle._shift
    monkeypatch.setattr(circle, "_shift", lambda *given: tried.append(1) or shift(*given))
    for _ in range(5):
        x, y = np.sort(rng.random(700) ** 3 * 6.0), np.sort(rng.normal(size=500) % (2 * np.pi))
        first, second = circle.levels(rng.random(700)), circle.levels(rng.random(500))
        monkeypatch.setattr(circle, "CORNERS", 4)
        tried.clear()
        cost, gap, alpha = circle._search(x, first, y, second, p, 0.0 * first[0], first[0] * 0 + 0.25)
        found = len(tried)
        assert gap == 0.0
        beside = [shift(x, first, y, second, p, alpha + step).cost for step in (-1e-3, -1e-6, 1e-6, 1e-3)]
        assert min(beside) >= cost * (1 - 1e-15)
        monkeypatch.setattr(circle, "CORNERS", 0)
        tried.clear()
        assert circle._search(x, first, y, second, p, 0.0 * first[0], first[0] * 0 + 0.25)[0] == pytest.approx(cost, rel=1e-13)
        assert found < len(tried)


def test_circle_search_on_quantiles_first_changes_nothing(monkeypatch):
    rng = np.random.default_rng(10)
    a, b = (random_measure(rng, 3000, "circle") for _ in range(2))
    plain = distance(a, b, p=2, manifold=SPACES["circle"]).value
    monkeypatch.setattr(solver.wasserstein.circle, "COARSE", 64)
    assert distance(a, b, p=2, manifold=SPACES["circle"]).value == pytest.approx(plain, rel=1e-13)


@pytest.mark.parametrize("d", [2, 3, 6])
@pytest.mark.parametrize("p", [1, 2])
def test_two_atoms_are_exact_in_any_dimension(d, p):
    rng = np.random.default_rng(11)
    points = rng.normal(size=(202, d))
    points /= np.linalg.norm(points, axis=1)[:, None]
    masses = rng.random(200)
    a, b = Measure(points[:200], masses / masses.sum()), Measure(points[200:], [0.3, 0.7])
    for first, second in ((a, b), (b, a)):
        found = distance(first, second, p=p, manifold=sphere(d))
        assert found.value == pytest.approx(exact_distance(a, b, p, True), abs=1e-10)


@pytest.mark.parametrize("space", ["plane", "sphere"])
@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("lattice", [False, True])
def test_multiscale_equals_the_linear_program(space, p, lattice):
    """Three levels, unequal sizes; on a lattice nearly every basis is degenerate."""
    rng = np.random.default_rng(12)
    manifold = SPACES[space]
    a, b = random_measure(rng, 900, space, lattice), random_measure(rng, 500, space, lattice)
    ground = "arc" if manifold.normalised else "chord"
    found = multiscale(a.atoms(manifold), b.atoms(manifold), p, ground, gap=0.0)
    exact = exact_distance(a, b, p, manifold.normalised)
    assert found.value == pytest.approx(exact, abs=1e-9)
    assert found.lower == pytest.approx(exact, abs=1e-9)
    assert found.lower <= found.value <= found.upper
