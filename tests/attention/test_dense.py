"""The dense kernels against sums in extended precision, closed forms, and each other."""

import numpy as np
import pytest
from scipy.special import ive

from problems.attention import Head, Weights
from solver.attention import Attention, energy, energy_columns, log_energy
from solver.errors import RunError
from tests.attention.support import on_sphere, weights

METHODS = ["auto", "dense", "numpy", "pruned"]


def exact(beta, score, targets, sources, masses):
    """Means and log partition functions in extended precision."""
    sources, masses = sources.astype(np.longdouble), masses.astype(np.longdouble)
    exponent = np.longdouble(beta) * (targets.astype(np.longdouble) @ score.astype(np.longdouble)) @ sources.T
    with np.errstate(divide="ignore"):
        level = exponent + np.log(masses)
    top = level.max(axis=1, keepdims=True)
    terms = np.exp(level - top)
    total = terms.sum(axis=1)
    return (terms @ sources / total[:, None]).astype(float), (top[:, 0] + np.log(total)).astype(float)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("d", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("beta", [0.0, 1e-3, 1.0, 40.0, 1e3, 1e5])
def test_means_and_partition_functions(method, d, beta):
    rng = np.random.default_rng([d, int(beta)])
    targets, sources = on_sphere(rng, 41, d), rng.normal(size=(203, d))
    masses, score = rng.random(203) ** 4, rng.normal(size=(d, d))
    attention = Attention(weights(beta, d, score), method=method)
    means, logs = exact(beta, score, targets, sources, masses)
    values, log_scale = attention.field(targets, sources, masses)
    tolerance = 1e-14 * (10.0 + 10.0 * beta) + (1e-10 if method in ("auto", "pruned") else 0.0)
    np.testing.assert_allclose(values, means, rtol=0, atol=tolerance)
    assert log_scale == 0.0
    np.testing.assert_allclose(attention.log_partition(targets, sources, masses)[0], logs, rtol=1e-14, atol=tolerance)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("beta", [1.0, 1e3, 1e8])
def test_masses_over_the_whole_range_of_doubles(method, beta):
    rng = np.random.default_rng(3)
    sources = np.vstack([np.tile([1.0, 0.0, 0.0], (20, 1)), on_sphere(rng, 60)])
    masses = np.concatenate([np.full(20, 1e-300), 10.0 ** rng.uniform(-290, 0, 60)])
    targets = np.vstack([[1.0, 0.0, 0.0], on_sphere(rng, 30), [0.0, 0.0, 0.0]])
    means, _ = exact(beta, np.eye(3), targets, sources, masses)
    values, _ = Attention(weights(beta), method=method).field(targets, sources, masses)
    np.testing.assert_allclose(values, means, rtol=0, atol=1e-13 + 1e-15 * beta)


@pytest.mark.parametrize("method", METHODS)
def test_denominators_far_below_the_largest_possible_one(method):
    """All mass opposite to the target: e^{-2 beta} relative to the bound on the kernel."""
    beta, spread = 5000.0, 1e-3
    angle = np.pi + spread * np.linspace(-1, 1, 101)
    sources = np.column_stack([np.cos(angle), np.sin(angle)])
    targets, masses = np.array([[1.0, 0.0]]), np.full(101, 1 / 101)
    means, logs = exact(beta, np.eye(2), targets, sources, masses)
    attention = Attention(weights(beta, 2), method=method)
    np.testing.assert_allclose(attention.field(targets, sources, masses)[0], means, atol=1e-11)
    np.testing.assert_allclose(attention.log_partition(targets, sources, masses)[0], logs, rtol=1e-14)


@pytest.mark.parametrize("method", METHODS)
def test_uniform_law_on_the_circle(method):
    """m(x) = I_1/I_0 (beta |B^T x|) in the direction of B^T x (docs/theory.md §4.1), by a spectrally accurate rule."""
    from scipy.special import ive

    beta, score = 20.0, np.array([[0.5, 0.25], [0.5, 1.0]]).T
    angle = 2 * np.pi * np.arange(200) / 200
    sources = np.column_stack([np.cos(angle), np.sin(angle)])
    z = sources[:7] @ score
    norm = np.linalg.norm(z, axis=1, keepdims=True)
    values, _ = Attention(weights(beta, 2, score), method=method).field(sources[:7], sources, np.full(200, 1 / 200))
    np.testing.assert_allclose(values, ive(1, beta * norm) / ive(0, beta * norm) * z / norm, atol=2e-14)


@pytest.mark.parametrize("method", METHODS)
def test_zero_temperature_averages_ties_by_mass(method):
    sources = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, 1.0]])
    masses = np.array([1.0, 2.0, 0.0, 1.0])
    targets = np.array([[1.0, 0.0], [1.0, 1.0], [-1.0, 0.0], [0.0, 0.0]])
    attention = Attention(weights(np.inf, 2), method=method)
    expected = [[1.0, 0.0], [0.25, 0.75], [0.0, 1.0], [0.25, 0.75]]
    np.testing.assert_allclose(attention.field(targets, sources, masses)[0], expected, atol=1e-15)
    np.testing.assert_allclose(attention.log_partition(targets, sources, masses)[0], [1.0, 1.0, 0.0, 0.0], atol=1e-15)
    np.testing.assert_allclose(attention.full_support_field(targets)[1], [0.5 ** 0.5] * 2)


@pytest.mark.parametrize("method", METHODS)
def test_heads_add_up_and_values_apply(method):
    rng = np.random.default_rng(5)
    heads = tuple(Head(*rng.normal(size=(3, 3, 3))) for _ in range(2))
    targets, sources, masses = on_sphere(rng, 10), on_sphere(rng, 50), rng.random(50)
    values, _ = Attention(Weights(4.0, heads), method=method).field(targets, sources, masses)
    expected = sum(exact(4.0, h.score, targets, sources, masses)[0] @ h.value.T for h in heads)
    np.testing.assert_allclose(values, expected, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("beta", [0.0, 3.0, 2000.0])
def test_unnormalised_attention_in_log_form(method, beta):
    rng = np.random.default_rng(6)
    targets, sources, masses = on_sphere(rng, 10), on_sphere(rng, 50), rng.random(50)
    values, log_scale = Attention(weights(beta, normalization="none"), method=method).field(targets, sources, masses)
    means, logs = exact(beta, np.eye(3), targets, sources, masses)
    np.testing.assert_allclose(values, means * np.exp(logs - log_scale)[:, None], atol=1e-14 * (10 + 3 * beta))
    np.testing.assert_allclose(log_scale, logs.max(), rtol=1e-14)


@pytest.mark.parametrize("method", METHODS)
def test_masses_of_both_signs(method):
    """A limited density is never negative, an unlimited one may be a little."""
    rng = np.random.default_rng(7)
    sources, masses = on_sphere(rng, 90), rng.random(90)
    masses[::9] *= -0.1
    targets = on_sphere(rng, 5)
    kernel = masses * np.exp(3.0 * targets @ sources.T)
    values, _ = Attention(weights(3.0), method=method).field(targets, sources, masses)
    np.testing.assert_allclose(values, kernel @ sources / kernel.sum(axis=1)[:, None], atol=1e-13)


@pytest.mark.parametrize("method", METHODS)
def test_energy(method):
    """docs/theory.md §5.5, circle: E(0) = 2.873674377; and infinity or NaN where there is no number."""
    angle = 2 * np.pi * np.arange(400) / 400
    points = np.column_stack([np.cos(angle), np.sin(angle)])
    masses = (1 + 0.3 * np.cos(angle) + 0.2 * np.sin(2 * angle) + 0.1 * np.cos(3 * angle)) / 400
    assert energy(Attention(weights(5.0, 2), method=method), points, masses) == pytest.approx(2.873674377, abs=5e-10)
    assert np.isnan(energy(Attention(weights(0.0, 2), method=method), points, masses))
    assert np.isnan(energy(Attention(weights(np.inf, 2), method=method), points, masses))
    assert np.isinf(energy(Attention(weights(1e4, 2), method=method), points, masses))


@pytest.mark.parametrize("method", METHODS)
def test_the_logarithm_of_the_energy_does_not_overflow(method):
    """Uniform law on the circle: E = I_0(beta)/(2 beta), here for betas on both sides of the largest double."""
    angle = 2 * np.pi * np.arange(2000) / 2000
    points, masses = np.column_stack([np.cos(angle), np.sin(angle)]), np.full(2000, 1 / 2000)
    for beta in (5.0, 300.0, 1e4):
        columns = energy_columns(Attention(weights(beta, 2), method=method), points, masses)
        exact = np.log(ive(0, beta)) + beta - np.log(2 * beta)
        assert columns["log_energy"] == pytest.approx(exact, rel=1e-9)
        assert np.isnan(columns["energy"]) if beta > 700 else columns["energy"] == pytest.approx(np.exp(exact), rel=1e-8)
    assert np.isnan(log_energy(Attention(weights(np.inf, 2), method=method), points, masses))


def test_what_is_not_finite_or_has_no_mass_is_refused():
    attention, points = Attention(weights(1.0, 2)), np.eye(2)
    for masses in ([0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0]):
        with pytest.raises(RunError):
            attention.field(points, points, np.array(masses))
    bad = np.array([[0.0, 1.0], [np.nan, 0.0]])
    with pytest.raises(RunError, match="source 1"):
        attention.field(points, bad, np.ones(2))
    with pytest.raises(RunError, match="target 1"):
        attention.field(bad, points, np.ones(2))
    with pytest.raises(ValueError, match="method"):
        Attention(weights(1.0), method="quick")


def test_no_targets():
    values, log_scale = Attention(weights(1.0)).field(np.empty((0, 3)), np.eye(3), np.ones(3))
    assert values.shape == (0, 3)
    assert log_scale == 0.0


def test_without_a_compiler_numpy_takes_over(monkeypatch):
    monkeypatch.setattr("solver.attention.field.library", lambda: None)
    attention = Attention(weights(1.0))
    assert attention.field(np.eye(3), np.eye(3), np.ones(3))[0].shape == (3, 3)
    assert attention.report.method == "numpy"


def test_a_whole_run_can_be_made_dense(monkeypatch):
    monkeypatch.setenv("COLDFLOW_ATTENTION", "dense")
    assert Attention(weights(1.0)).method == "dense"
    assert Attention(weights(1.0), method="pruned").method == "pruned"
    monkeypatch.setenv("COLDFLOW_ATTENTION", "quick")
    with pytest.raises(ValueError, match="quick"):
        Attention(weights(1.0))
