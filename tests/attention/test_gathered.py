"""Expansions about cells against the NumPy oracle: random and adversarial laws, and what they save."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solver.attention import Attention
from solver.attention.gathered import Cells, Plan, monomials
from solver.attention.head import DENSE_PAIR
from solver.attention.reference import reference_moments
from tests.attention.support import LAWS, SCORES, law, on_sphere, score, unit, weights

ACCURACIES = (1e-4, 1e-7, 1e-10, 1e-12)


def gathered(z, points, masses, accuracy, *, axis, dear=1.0, threads=1):
    """Moments by the plan; `dear`: how much dearer than it is a pair is taken to be, which makes expansions of small cells."""
    targets, sources = Cells(z), Cells(points, axis)
    with np.errstate(divide="ignore"):
        sources.weigh(np.log2(masses) - np.log2(masses.sum()))
    return Plan(targets, sources, accuracy, dear * DENSE_PAIR.get(points.shape[1], 2.0)).moments(threads)


@settings(max_examples=3000, deadline=None, derandomize=True)
@given(d=st.sampled_from([1, 2, 2, 3, 3, 4, 8]), flat=st.booleans(), exponent=st.floats(-2, 8), law_name=st.sampled_from(LAWS),
       score_name=st.sampled_from(SCORES), seed=st.integers(0, 2**32 - 1), accuracy=st.sampled_from(ACCURACIES),
       dear=st.sampled_from([1.0, 30.0, 1e3, 1e5]))
def test_bound(d, flat, exponent, law_name, score_name, seed, accuracy, dear):
    """The mean is within `accuracy`, of the size of the support, of the oracle's, whatever the law, the weights, the plan."""
    rng = np.random.default_rng(seed)
    n, m, beta = int(rng.integers(1, 60)), int(rng.integers(1, 300)), 10.0 ** exponent
    points, masses = law(law_name, rng, m, max(d, 2))
    points = points[:, :d]
    if flat:
        points = points * 10.0 ** rng.uniform(-1, 1) + rng.normal(size=d)
    near = points[rng.integers(0, m, n)] + rng.choice([0.0, 1e-6, 1e-2]) * rng.normal(size=(n, d))
    z = beta * (near if rng.random() < 0.7 else rng.normal(size=(n, d))) @ score(score_name, rng, d)
    got, _ = gathered(z, points, masses, accuracy, axis=not flat and d > 1, dear=dear)
    expected = reference_moments(z, points, masses)
    radius = np.linalg.norm(points, axis=1).max()
    rounding = 1e-14 + 4e-15 * np.linalg.norm(z, axis=1) * radius
    error = np.linalg.norm(got.means() - expected.means(), axis=1)
    assert (error <= radius * (accuracy + rounding)).all()
    difference = got.log() - expected.log() + np.log(masses.sum())
    assert (np.abs(difference) <= accuracy + rounding + 1e-15 * np.abs(expected.log()) + 1e-12).all()


@pytest.mark.parametrize("q", [1, 2, 3, 7])
def test_tables_of_monomials(q):
    """Products along the tables are the powers they stand for, and (x.y)^k is the sum with multinomial coefficients."""
    degree, (start, parent, variable, many) = monomials(q)
    x, y = np.random.default_rng(0).uniform(-1, 1, (2, q))
    values = []
    for point in (x, y):
        value = np.ones(start[-1])
        for a in range(1, start[-1]):
            value[a] = value[parent[a]] * point[variable[a]]
        values.append(value)
    for k in range(degree + 1):
        part = slice(start[k], start[k + 1])
        np.testing.assert_allclose(np.sum(many[part] * values[0][part] * values[1][part]), (x @ y) ** k, rtol=1e-11, atol=1e-15)


def clusters(rng, n, d, count, width, sphere=True):
    centres = on_sphere(rng, count, d)
    points = centres[rng.integers(0, count, n)] + width * rng.normal(size=(n, d))
    return unit(points) if sphere else points


@pytest.mark.parametrize(("d", "sphere", "count", "beta"), [
    (2, True, 2, 1e4), (3, True, 8, 100.0), (3, False, 2, 100.0), (3, False, 1, 10.0), (8, True, 2, 100.0), (5, False, 8, 1e3)])
def test_gathered_laws_are_chosen_and_right(d, sphere, count, beta):
    """Laws in clusters take terms in proportion to the tokens: far fewer than pairs; and keep the accuracy."""
    rng = np.random.default_rng(d)
    points = clusters(rng, 20_000, d, count, 1e-3, sphere)
    attention = Attention(weights(beta, d, np.diag(np.linspace(1, 0.6, d))))
    masses = rng.random(len(points))
    values = attention.field(points, points, masses)[0]
    assert attention.report.method == "gathered"
    assert attention.report.pairs < 0.1 * len(points) ** 2
    expected = Attention(attention.weights, method="dense").field(points[:100], points, masses)[0]
    np.testing.assert_allclose(values[:100], expected, rtol=0, atol=1e-10)


def test_duplicates_are_merged():
    """Equal sources are one cell of size zero, equal targets another: for each of five places a few terms, not 4000 pairs."""
    rng = np.random.default_rng(3)
    points = np.repeat(on_sphere(rng, 5), 4000, axis=0)
    attention = Attention(weights(300.0), method="gathered")
    attention.field(points, points, rng.random(len(points)))
    assert attention.report.pairs <= 5 * 5 * len(points)


def test_a_thin_wake_steers_a_target_to_relative_accuracy():
    """A target whose attended region holds 1e-200 of the mass, nearly, keeps its accuracy."""
    rng = np.random.default_rng(4)
    heavy = clusters(rng, 3000, 3, 1, 1e-2)
    dust = unit(np.array([0.0, 0.0, 1.0]) + 0.05 * rng.normal(size=(3000, 3)))
    points = np.vstack([heavy, dust])
    masses = np.concatenate([np.ones(3000), np.full(3000, 1e-200)])
    targets = unit(np.array([0.0, 0.0, 1.0]) + 0.1 * rng.normal(size=(500, 3)))
    got, _ = gathered(3000.0 * targets, points, masses, 1e-10, axis=True, dear=100.0)
    expected = reference_moments(3000.0 * targets, points, masses)
    np.testing.assert_allclose(got.means(), expected.means(), rtol=0, atol=1e-10)


def test_threads_do_not_change_the_moments():
    rng = np.random.default_rng(5)
    points = clusters(rng, 20_000, 3, 3, 0.05)
    one, two = (gathered(200.0 * points, points, np.ones(len(points)), 1e-10, axis=True, threads=k)[0] for k in (1, 3))
    np.testing.assert_array_equal(one.num, two.num)
    np.testing.assert_array_equal(one.shift, two.shift)
