"""Nonuniform transforms on the sphere: coefficients, values, products with coordinates, and the error they state."""

import numpy as np
import pytest
from scipy.special import ive, sph_harm_y

from solver.attention import Attention
from solver.attention.ellipsoid import INTERPOLATION, Ellipsoid, nodes_needed
from solver.attention.nufft import LEAST_DEGREE, Places, fill_rows, grid_for
from solver.attention.relay import gauss_legendre
from solver.attention.sources import Sources
from solver.attention.transform import coupled, degree_for, scaled_bessel, transform
from tests.attention.support import circle, on_sphere, unit, weights

POLES = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [-1.0, -1e-17, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def harmonic(degree, order, points):
    """Y_lm of mean square one, without the sign (-1)^m."""
    theta = np.arctan2(np.hypot(points[:, 0], points[:, 1]), points[:, 2])
    return (-1) ** order * np.sqrt(4 * np.pi) * sph_harm_y(degree, order, theta, np.arctan2(points[:, 1], points[:, 0]))


def some(degree):
    """(l, m) at the corners and inside."""
    middle = degree // 2
    return [(0, 0), (1, 0), (1, 1), (2, 1), (7, 3), (middle, 0), (middle, middle), (middle, middle // 2 + 1),
            (degree, 0), (degree, degree), (degree, degree // 2), (degree - 1, degree - 2)]


@pytest.mark.parametrize("degree", [LEAST_DEGREE, 25, 26, 27, 90, 301])
def test_coefficients_of_points(degree):
    """Against the harmonics themselves: rounding, l times that of coordinates, and at l = L what the window lets alias."""
    rng = np.random.default_rng(degree)
    points = np.vstack([on_sphere(rng, 200), POLES])
    masses = rng.random(len(points))
    masses /= masses.sum()
    found = Places(points, grid_for(degree)).coefficients(masses)
    for l, m in some(degree):  # noqa: E741
        expected = np.sum(masses * harmonic(l, m, points).conj())
        aliased = np.exp(-9.0 - 34.0 * (1.0 - l / degree))
        assert abs(found[m, l] - expected) <= (1e-15 * (8 + l) + aliased) * np.sqrt(2 * l + 1), (l, m)


@pytest.mark.parametrize("degree", [LEAST_DEGREE, 25, 90, 301])
def test_values_at_points(degree):
    """The real parts of single harmonics, twice for m > 0, in each of the four functions."""
    rng = np.random.default_rng(degree)
    points = 3.0 * np.vstack([on_sphere(rng, 300), POLES])
    places = Places(points, grid_for(degree))
    for i, (l, m) in enumerate(some(degree)):  # noqa: E741
        coefficients = np.zeros((degree + 1, degree + 1, 4), dtype=complex)
        coefficients[m, l, i % 4] = 1.0 - 0.5j
        expected = np.zeros((len(points), 4))
        expected[:, i % 4] = ((2 if m else 1) * (1.0 - (0.5j if m else 0.0)) * harmonic(l, m, points / 3.0)).real
        aliased = np.exp(-9.0 - 34.0 * (1.0 - l / degree))
        fill_rows(places.grid, coefficients)
        error = np.abs(places.values()[0] - expected).max()
        assert error <= (1e-15 * (8 + l) + aliased) * 3 * np.sqrt(2 * l + 1), (l, m)


def test_products_with_coordinates():
    """What neighbours give are the coefficients of the masses times each coordinate."""
    rng = np.random.default_rng(2)
    points, masses = on_sphere(rng, 500), rng.random(500) / 500
    places = Places(points, grid_for(60))
    found = coupled(places.coefficients(masses))
    inner = slice(0, 30)   # degrees that do not alias
    for k in range(3):
        expected = places.coefficients(masses * points[:, k])
        np.testing.assert_allclose(found[inner, inner, 1 + k], expected[inner, inner], rtol=0, atol=1e-13)


@pytest.mark.parametrize("kappa", [0.01, 1.0, 30.0, 1e3, 1e4])
def test_bessel_functions(kappa):
    degree = 60
    found, lost = scaled_bessel(kappa, degree)
    expected = ive(np.arange(degree + 1) + 0.5, kappa) * np.sqrt(np.pi / (2 * kappa))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-18)
    orders = np.arange(degree + 1, degree + 2000)
    beyond = np.sum((2 * orders + 1) * ive(orders + 0.5, kappa)) * np.sqrt(np.pi / (2 * kappa))
    assert beyond <= lost <= 4 * beyond + 1e-16


@pytest.mark.parametrize("kappa", [0.3, 4.0, 25.0, 170.0, 1e3, 1e4])
def test_error_of_single_points(kappa):
    """The law that rounds worst: e^{kappa cos} within the bound, which is not a hundred times too large."""
    rng = np.random.default_rng(int(kappa))
    degree = degree_for(kappa)
    grid, largest = grid_for(degree + 2), 0.0
    for source in np.vstack([on_sphere(rng, 4), POLES]):
        across = unit(np.cross(source, on_sphere(rng, 400)))
        angle = np.minimum(np.pi, 8.0 / np.sqrt(kappa)) * rng.random((400, 1))
        targets = unit(np.cos(angle) * source + np.sin(angle) * across)
        law, _ = Sources(source[None]).split(np.ones(1))
        expansion = transform(law, Places(source[None], grid), kappa)
        moments, error = expansion(kappa * targets, Places(targets, grid))
        # |x - y|^2/2 is 1 - cos without cancellation
        exact = np.exp(-kappa * np.sum((targets - source) ** 2, axis=1) / 2.0)
        found = max(np.abs(moments.den - exact).max(), np.abs(moments.num - exact[:, None] * source).max())
        largest = max(largest, found / error[0])
        np.testing.assert_allclose(moments.shift, kappa, rtol=1e-15)
    assert 0.01 < largest <= 1.0


@pytest.mark.parametrize("kappa", [1.0, 100.0, 3000.0])
def test_even_law(kappa):
    """sinh(kappa)/kappa, and its derivative: on a quadrature that is exact for the degrees that matter."""
    count = 2 * int(np.sqrt(2 * 39 * kappa) + 13)
    nodes, gauss = gauss_legendre(count // 2)
    ring, _ = circle(count)
    around = [np.outer(np.sqrt(1 - nodes ** 2), ring[:, k]).ravel() for k in range(2)]
    points = np.column_stack([*around, np.repeat(nodes, count)])
    attention = Attention(weights(kappa), method="nufft")
    masses = np.repeat(gauss, count)
    values = attention.field(points, points, masses)[0]
    assert attention.report.method == "nufft" and attention.report.refined == 0
    level = attention.log_partition(points, points, masses / masses.sum())[0]
    np.testing.assert_allclose(values, (1 / np.tanh(kappa) - 1 / kappa) * points, rtol=0, atol=1e-11)
    np.testing.assert_allclose(level, kappa + np.log(-np.expm1(-2 * kappa) / (2 * kappa)), rtol=0, atol=1e-11)


@pytest.mark.parametrize("factor", [1.0, -1.0])
def test_targets_are_the_sources(factor):
    """In the same directions, or in the opposite ones."""
    rng = np.random.default_rng(8)
    points, masses = on_sphere(rng, 2000), rng.random(2000)
    found, expected = (Attention(weights(50.0, 3, factor * np.eye(3)), method=method).field(points, points, masses)[0]
                       for method in ("nufft", "dense"))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


def test_threads_do_not_matter():
    rng = np.random.default_rng(5)
    points, masses = on_sphere(rng, 30_000), rng.random(30_000)
    one, two = (Attention(weights(200.0), method="nufft", workers=k).field(points, points, masses)[0] for k in (1, 2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("kappa", [40.0, 300.0, 3e3])
@pytest.mark.parametrize("ratio", [1.0 + 1e-9, 1.3, 4.0])
def test_error_of_single_points_on_an_ellipsoid(kappa, ratio):
    """Norms from kappa/ratio to kappa, B without symmetry: e^{<z,y> - |z|} within the bound."""
    rng = np.random.default_rng(int(kappa))
    turn, back = (np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(2))
    score = kappa * turn @ np.diag([1.0, ratio ** -0.7, 1.0 / ratio]) @ back
    ellipsoid = Ellipsoid(score)
    grid = grid_for(degree_for(kappa, ellipsoid.least_degree) + 2)
    for source in np.vstack([on_sphere(rng, 2), POLES[:3]]):
        angle = np.minimum(np.pi, 8.0 * np.sqrt(ratio / kappa)) * rng.random((400, 1))
        toward = unit(np.cos(angle) * source + np.sin(angle) * unit(np.cross(source, on_sphere(rng, 400))))
        z = unit(toward @ ellipsoid.inverse) @ score
        law, _ = Sources(source[None]).split(np.ones(1))
        moments, error = transform(law, Places(source[None], grid), ellipsoid)(z, Places(z, grid))
        norms = np.linalg.norm(z, axis=1)
        exact = np.exp(-norms * np.sum((unit(z) - source) ** 2, axis=1) / 2.0)
        found = max(np.abs(moments.den - exact).max(), np.abs(moments.num - exact[:, None] * source).max())
        assert found <= error[0] < 1e-11


@pytest.mark.parametrize("kappa", [30.0, 1e3, 1e4])
@pytest.mark.parametrize("count", [30, 1000, 30_000])
def test_error_of_many_points(kappa, count):
    """Rounding errors of spread points add up like noise: within the bound, against the sum over pairs."""
    rng = np.random.default_rng(count)
    points, masses = on_sphere(rng, count), rng.random(count)
    score = kappa * np.linalg.qr(rng.normal(size=(3, 3)))[0] @ np.diag([1.0, 0.8, 0.6])
    for norms, z in ((kappa, kappa * on_sphere(rng, 100)), (Ellipsoid(score), on_sphere(rng, 100) @ score)):
        grid = grid_for(degree_for(kappa, norms.least_degree if isinstance(norms, Ellipsoid) else LEAST_DEGREE) + 2)
        law, _ = Sources(points).split(masses)
        moments, error = transform(law, Places(points, grid), norms)(z, Places(z, grid))
        # |z| (1 - cos) from differences, which do not cancel
        away = np.sum((unit(z)[:, None, :] - points) ** 2, axis=2) / 2.0
        kernel = np.exp(-np.linalg.norm(z, axis=1)[:, None] * away) * law.masses
        assert np.abs(moments.den - kernel.sum(axis=1)).max() <= error[0]
        assert np.abs(moments.num - kernel @ points).max() <= error[0]


def test_interpolation_points():
    """Exponentials e^{-a/kappa} over a range, relative to their value at its end: what is left is as promised, and half as many
    points leave more."""
    for ratio in (1.01, 1.5, 4.0):
        count = nodes_needed(ratio)
        at = np.cos(np.pi * (np.arange(2 * count) + 0.5) / (2 * count))
        for points, enough in ((count, True), (count // 2, False)):
            nodes = np.cos(np.pi * (np.arange(points) + 0.5) / points)
            fraction = (ratio - 1.0) / (ratio + 1.0)
            left = max(np.abs(np.exp(-a * fraction * at) - np.polynomial.chebyshev.chebval(at, np.polynomial.chebyshev.chebfit(
                nodes, np.exp(-a * fraction * nodes), points - 1))).max() * np.exp(-a) for a in np.linspace(0.0, 80.0, 60))
            assert (left < INTERPOLATION + 2e-15) == enough


def test_chosen_for_many_spread_points():
    """By cost, whether all |z| are equal or not; B need not be symmetric, but long ellipsoids are left to other methods."""
    rng = np.random.default_rng(6)
    points, masses = on_sphere(rng, 60_000), np.ones(60_000)
    turned = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    for score, chosen in ((turned, True), (turned @ np.diag([1.0, 0.9, 0.8]), True), (turned @ np.diag([1.0, 0.9, 0.1]), False)):
        attention = Attention(weights(500.0, 3, score))
        few = Attention(weights(500.0, 3, score), method="dense")
        found = attention.field(points, points, masses)[0]
        assert (attention.report.method == "nufft") == chosen
        np.testing.assert_allclose(found[::600], few.field(points[::600], points, masses)[0], rtol=0, atol=2e-10)
