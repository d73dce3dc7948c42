"""Attention by way of a larger sphere: the quadrature, thin wakes, and the bound on random laws."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from solver.attention import Attention
from solver.attention.pruned import GROUP, Tree, neighbours
from solver.attention.reference import reference_moments
from solver.attention.relay import QUADRATURE, relayed_moments
from tests.attention.support import LAWS, SCORES, law, on_sphere, score, unit, weights


def relayed(z, points, masses, accuracy, kappa=None):
    tree = Tree(points, 1e-15)
    with np.errstate(divide="ignore"):
        tree.weigh(np.log2(masses / masses.sum()))
    kappa = np.linalg.norm(z, axis=1).max() if kappa is None else kappa
    return relayed_moments(np.ascontiguousarray(z), neighbours(z, GROUP), tree, kappa, accuracy)[0]


def test_second_moments():
    """Against the sum over all pairs."""
    rng = np.random.default_rng(3)
    points, z, masses = on_sphere(rng, 500), 80.0 * on_sphere(rng, 60) * rng.uniform(0.2, 1.0, (60, 1)), rng.random(500)
    tree = Tree(points, 1e-15)
    tree.weigh(np.log2(masses))
    moments, second, _ = relayed_moments(z, neighbours(z, GROUP), tree, 80.0, 1e-10, with_second=True)
    weight = masses * np.exp(z @ points.T - (z @ points.T).max(axis=1, keepdims=True))
    expected = np.einsum("nm,mi,mj->nij", weight, points, points) / weight.sum(axis=1)[:, None, None]
    np.testing.assert_allclose(second / moments.den[:, None, None], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("accuracy", [1e-6, 1e-10, 1e-12])
@pytest.mark.parametrize("kappa", [20.0, 22.46, 31.6, 60.0, 300.0])
def test_quadrature_is_exact_for_each_source_alone(kappa, accuracy):
    """One source, targets at all angles and of all sizes: e^{<z,y>} to a relative error, though it falls to e^{-2 kappa}."""
    rng = np.random.default_rng(int(kappa))
    for source in on_sphere(rng, 4):
        angle = np.linspace(0.0, np.pi, 80)
        across = unit(np.cross(source, on_sphere(rng, 80)))
        z = kappa * rng.choice([1.0, 0.6, 0.2], (80, 1)) * (np.cos(angle)[:, None] * source + np.sin(angle)[:, None] * across)
        found = relayed(z, source[None], np.ones(1), accuracy, kappa)
        allowed = QUADRATURE * accuracy + 1e-14 + 8e-15 * kappa   # exponents are as large as 2 kappa
        np.testing.assert_allclose(found.means(), np.broadcast_to(source, z.shape), rtol=0, atol=2 * allowed)
        np.testing.assert_allclose(found.log(), z @ source, rtol=0, atol=allowed)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(exponent=st.floats(0, 3), law_name=st.sampled_from(LAWS), score_name=st.sampled_from(SCORES),
       seed=st.integers(0, 2**32 - 1), accuracy=st.sampled_from([1e-6, 1e-10]))
@example(exponent=1.3515625, law_name="full", score_name="identity", seed=0, accuracy=1e-10)
@example(exponent=1.3515625, law_name="full", score_name="identity", seed=3, accuracy=1e-10)
@example(exponent=1.3515625, law_name="concentrated", score_name="identity", seed=3, accuracy=1e-10)
def test_bound(exponent, law_name, score_name, seed, accuracy):
    """As for the other methods; what cannot be relayed is pruned."""
    rng = np.random.default_rng(seed)
    n, m, beta = int(rng.integers(1, 60)), int(rng.integers(1, 400)), 10.0 ** exponent
    sources, masses = law(law_name, rng, m, 3)
    B = score(score_name, rng, 3)
    targets = on_sphere(rng, n)
    fast, oracle = Attention(weights(beta, 3, B), accuracy, "relayed"), Attention(weights(beta, 3, B), method="numpy")
    kappa = beta * np.linalg.norm(targets @ B, axis=1)
    error = np.abs(fast.field(targets, sources, masses)[0] - oracle.field(targets, sources, masses)[0]).max(axis=1)
    assert (error <= accuracy + 1e-14 + 8e-15 * kappa).all()


def test_a_thin_wake_between_clusters():
    """Densities that fall from 50 to 1e-35 over the sphere: the mean that each target attends to, to 1e-10."""
    rng = np.random.default_rng(1)
    points = on_sphere(rng, 20_000)
    masses = np.exp(-80.0 * (1.0 - np.abs(points[:, 0])))
    targets = on_sphere(rng, 300)
    z = 60.0 * targets * rng.uniform(0.4, 1.0, (300, 1))
    found, expected = relayed(z, points, masses, 1e-10), reference_moments(z, points, masses)
    np.testing.assert_allclose(found.means(), expected.means(), rtol=0, atol=1e-10)


def test_many_targets_take_few_terms():
    rng = np.random.default_rng(2)
    points = on_sphere(rng, 60_000)
    attention = Attention(weights(300.0), method="relayed")
    attention.field(points, points, np.ones(len(points)))
    assert attention.report.method == "relayed"
    assert attention.report.pairs < 2500 * len(points)
