"""The divergence of the drift, against central differences of the drift itself and between methods."""

import numpy as np
import pytest

from problems.attention import Head, Weights
from solver.attention import Attention
from solver.attention.divergence import field_with_divergence, full_support_divergence
from tests.attention.support import law, on_sphere, score

METHODS = ("numpy", "dense", "pruned", "relayed", "gathered", "fourier", "harmonics", "nufft", "auto")


def two_heads(rng, beta, d, normalization="softmax"):
    heads = [Head(rng.normal(size=(d, d)) / 2, rng.normal(size=(d, d)) / 2, rng.normal(size=(d, d))) for _ in range(2)]
    return Weights(beta, tuple(heads), normalization)


def tangents(points):
    """Orthonormal tangents (n, d-1, d) at unit vectors."""
    return np.stack([np.linalg.svd(p[None])[2][1:] for p in points])


@pytest.mark.parametrize("normalization", ["softmax", "none"])
@pytest.mark.parametrize("d", [2, 3, 6])
def test_divergence_is_that_of_the_drift_on_the_sphere(d, normalization):
    """Sum over an orthonormal frame of central differences along geodesics: error h^2, here 1e-8."""
    rng = np.random.default_rng(d)
    attention = Attention(two_heads(rng, 4.0, d, normalization), method="numpy")
    targets, sources, masses = on_sphere(rng, 20, d), on_sphere(rng, 50, d), rng.random(50)

    def drift(x):
        values, log_scale = attention.field(x, sources, masses)
        values = values * np.exp(log_scale)
        return values - np.sum(values * x, axis=1, keepdims=True) * x

    h, expected = 1e-4, np.zeros(20)
    for e in np.swapaxes(tangents(targets), 0, 1):
        ahead, back = np.cos(h) * targets + np.sin(h) * e, np.cos(h) * targets - np.sin(h) * e
        # The frame vector carried along its own geodesic.
        moved_ahead, moved_back = np.cos(h) * e - np.sin(h) * targets, np.cos(h) * e + np.sin(h) * targets
        expected += (np.sum(drift(ahead) * moved_ahead, axis=1) - np.sum(drift(back) * moved_back, axis=1)) / (2 * h)
    _, divergence, log_scale = field_with_divergence(attention, targets, sources, masses, sphere=True)
    assert divergence * np.exp(log_scale) == pytest.approx(expected, rel=1e-5, abs=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("d", [1, 2, 4])
def test_divergence_is_that_of_the_drift_in_flat_space(d):
    rng = np.random.default_rng(d)
    attention = Attention(two_heads(rng, 1.5, d), method="numpy")
    targets, sources, masses = rng.normal(size=(20, d)), rng.normal(size=(50, d)), rng.random(50)
    h = 1e-5
    expected = sum((attention.field(targets + h * e, sources, masses)[0] - attention.field(targets - h * e, sources, masses)[0])
                   @ e / (2 * h) for e in np.eye(d))
    divergence = field_with_divergence(attention, targets, sources, masses, sphere=False)[1]
    assert divergence == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", ["full", "concentrated", "two clusters", "wild masses", "half empty"])
@pytest.mark.parametrize(("d", "beta"), [(2, 7.0), (2, 300.0), (3, 7.0), (3, 300.0), (5, 7.0), (5, 300.0)])
def test_all_methods_give_the_same_divergence(d, beta, name):
    """Relative to what the accuracy of each method allows: 1e-10 in second moments, times beta |B| |V|."""
    rng = np.random.default_rng(7)
    sources, masses = law(name, rng, 600, d)
    targets = np.concatenate([on_sphere(rng, 200, d), sources[:100]])
    weights = Weights(beta, (Head(np.eye(d), score("random", rng, d), rng.normal(size=(d, d))),))
    reference = field_with_divergence(Attention(weights, method="numpy"), targets, sources, masses, sphere=True)
    head = weights.heads[0]
    allowed = 4e-10 * (1 + beta * np.linalg.norm(head.score, 2)) * np.linalg.norm(head.value, 2)
    for method in METHODS[1:]:
        if (method, d) in (("fourier", 3), ("fourier", 5), ("harmonics", 2), ("harmonics", 5), ("nufft", 2), ("nufft", 5)):
            continue
        attention = Attention(weights, method=method)
        values, divergence, _ = field_with_divergence(attention, targets, sources, masses, sphere=True)
        assert np.abs(values - reference[0]).max() < allowed, method
        assert np.abs(divergence - reference[1]).max() < allowed, method
        assert np.abs(values - attention.field(targets, sources, masses)[0]).max() < allowed, method


@pytest.mark.parametrize("name", ["full", "concentrated", "half empty"])
@pytest.mark.parametrize("beta", [7.0, 300.0, 3e3])
@pytest.mark.parametrize("kind", ["identity", "negative", "rotating"])
def test_transforms_give_second_moments(beta, name, kind):
    """B orthogonal, V of no symmetry: the law weighted by y^T M y, and numerators that change with the norm of z."""
    rng = np.random.default_rng(8)
    sources, masses = law(name, rng, 600, 3)
    targets = np.concatenate([on_sphere(rng, 100, 3), sources[:100]])
    weights = Weights(beta, (Head(np.eye(3), score(kind, rng, 3), rng.normal(size=(3, 3))),))
    expected = field_with_divergence(Attention(weights, method="numpy"), targets, sources, masses, sphere=True)
    found = field_with_divergence(Attention(weights, method="nufft"), targets, sources, masses, sphere=True)
    allowed = 4e-10 * (1 + beta) * np.linalg.norm(weights.heads[0].value, 2)
    assert np.abs(found[0] - expected[0]).max() < allowed
    assert np.abs(found[1] - expected[1]).max() < allowed


def test_divergence_at_zero_temperature_is_the_limit():
    """Large beta and the uniform law of the circle: the limit with an error of order 1/beta (docs/theory.md §4.1)."""
    angle = 2 * np.pi * np.arange(20000) / 20000
    circle, rng = np.column_stack([np.cos(angle), np.sin(angle)]), np.random.default_rng(1)
    head = Head(np.eye(2), rng.normal(size=(2, 2)), rng.normal(size=(2, 2)))
    cold = full_support_divergence(Attention(Weights(np.inf, (head,))), circle[::100])
    errors = []
    for beta in (1e3, 2e3):
        found = field_with_divergence(Attention(Weights(beta, (head,))), circle[::100], circle, np.full(20000, 5e-5),
                                      sphere=True)[1]
        errors.append(np.abs(found - cold).max())
    assert errors[1] < 0.02 and np.log2(errors[0] / errors[1]) == pytest.approx(1.0, abs=0.1)


def test_no_temperature_difference_no_spread():
    """beta = 0: every token attends to the mean, and only the curvature term is left."""
    rng = np.random.default_rng(3)
    weights = Weights(0.0, (Head(np.eye(3), np.eye(3), rng.normal(size=(3, 3))),))
    x, y = on_sphere(rng, 10), on_sphere(rng, 30)
    found = field_with_divergence(Attention(weights), x, y, np.full(30, 1 / 30), sphere=True)[1]
    assert found == pytest.approx(-2 * np.einsum("ij,j->i", x, weights.heads[0].value @ y.mean(axis=0)), abs=1e-14)
