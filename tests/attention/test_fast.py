"""Pruning and expansions against the NumPy oracle: random and adversarial laws, and what they save."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solver.attention import Attention
from tests.attention.support import LAWS, SCORES, circle, law, on_sphere, score, unit, weights

seeds = st.integers(0, 2**32 - 1)


def check(method, d, beta, law_name, score_name, seed, accuracy, largest=400):
    """The error in m stays below the accuracy and what rounding of exponents of size kappa allows."""
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(1, 60)), int(rng.integers(1, largest))
    if law_name == "extremes" and np.isinf(beta):
        law_name = "wild masses"   # hardmax adds up masses themselves, which must not underflow
    sources, masses = law(law_name, rng, m, d)
    B = score(score_name, rng, d)
    targets = on_sphere(rng, n, d) if rng.random() < 0.5 else unit(sources[rng.integers(0, m, n)]
                                                                  + rng.choice([0.0, 1e-3]) * rng.normal(size=(n, d)))
    fast = Attention(weights(beta, d, B), accuracy, method)
    oracle = Attention(weights(beta, d, B), method="numpy")
    kappa = 0.0 if np.isinf(beta) else beta * np.linalg.norm(targets @ B, axis=1)
    got, expected = fast.field(targets, sources, masses)[0], oracle.field(targets, sources, masses)[0]
    assert (np.abs(got - expected).max(axis=1) <= accuracy + 1e-14 + 2e-15 * kappa).all()
    got, expected = fast.log_partition(targets, sources, masses)[0], oracle.log_partition(targets, sources, masses)[0]
    assert (np.abs(got - expected) <= accuracy + 1e-13 + 4e-15 * kappa + 1e-15 * np.abs(expected)).all()


@settings(max_examples=900, deadline=None, derandomize=True)
@given(d=st.sampled_from([2, 3, 3, 4, 7]), exponent=st.floats(-2, 8.3), law_name=st.sampled_from(LAWS),
       score_name=st.sampled_from(SCORES), seed=seeds, accuracy=st.sampled_from([1e-6, 1e-10, 1e-13]))
def test_pruned(d, exponent, law_name, score_name, seed, accuracy):
    beta = 10.0 ** exponent if exponent <= 8 else np.inf   # a twenty-fifth of the cases at zero temperature
    check("pruned", d, beta, law_name, score_name, seed, accuracy)


@settings(max_examples=700, deadline=None, derandomize=True)
@given(exponent=st.floats(-3, 4.5), law_name=st.sampled_from(LAWS), score_name=st.sampled_from(SCORES), seed=seeds,
       accuracy=st.sampled_from([1e-6, 1e-10, 1e-13]))
def test_fourier(exponent, law_name, score_name, seed, accuracy):
    check("fourier", 2, 10.0 ** exponent, law_name, score_name, seed, accuracy)


@settings(max_examples=700, deadline=None, derandomize=True)
@given(exponent=st.floats(-3, 3), law_name=st.sampled_from(LAWS), score_name=st.sampled_from(SCORES), seed=seeds,
       accuracy=st.sampled_from([1e-6, 1e-10, 1e-13]))
def test_harmonics(exponent, law_name, score_name, seed, accuracy):
    check("harmonics", 3, 10.0 ** exponent, law_name, score_name, seed, accuracy)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(exponent=st.floats(-3, 4.2), law_name=st.sampled_from(LAWS), seed=seeds,
       score_name=st.sampled_from(("identity", "negative", "rotating")), accuracy=st.sampled_from([1e-6, 1e-10, 1e-13]))
def test_nufft(exponent, law_name, score_name, seed, accuracy):
    """Where B is singular or nearly so, targets are pruned."""
    check("nufft", 3, 10.0 ** exponent, law_name, score_name, seed, accuracy)


@pytest.mark.parametrize("law_name", LAWS)
@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("beta", [3.0, 300.0, 3e4])
def test_automatic_choice_for_many_sources(law_name, d, beta):
    check("auto", d, beta, law_name, "diagonal", 7, 1e-10, largest=40000)


@pytest.mark.parametrize("method", ["pruned", "auto"])
@pytest.mark.parametrize("d", [1, 2, 3, 5])
@pytest.mark.parametrize("beta", [0.5, 50.0, 1e6])
def test_flat_spaces(method, d, beta):
    rng = np.random.default_rng(d)
    sources, targets, masses = rng.uniform(-2, 3, (3000, d)), rng.uniform(-2, 3, (40, d)), rng.random(3000)
    B = rng.normal(size=(d, d))
    got = Attention(weights(beta, d, B), method=method).field(targets, sources, masses)[0]
    expected = Attention(weights(beta, d, B), method="numpy").field(targets, sources, masses)[0]
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-10 * 3 * d ** 0.5 + 1e-14 * beta)


@pytest.mark.parametrize("method", ["fourier", "harmonics", "nufft", "pruned"])
def test_targets_that_attend_to_nothing_in_particular(method):
    """|B^T x| = 0 gives the mean, at poles and elsewhere."""
    d = 2 if method == "fourier" else 3
    rng = np.random.default_rng(1)
    sources, masses = on_sphere(rng, 300, d), rng.random(300)
    B = np.zeros((d, d))
    B[0, 0] = 1.0
    targets = np.vstack([np.eye(d), -np.eye(d), 1e-200 * np.eye(d), np.zeros((1, d))])
    got = Attention(weights(30.0, d, B), method=method).field(targets, sources, masses)[0]
    expected = Attention(weights(30.0, d, B), method="numpy").field(targets, sources, masses)[0]
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(got[-1], masses @ sources / masses.sum(), atol=1e-14)


@pytest.mark.parametrize("method", ["pruned", "auto", "harmonics", "nufft"])
def test_no_number_is_used_before_it_is_set(method, monkeypatch):
    """New memory is full of signalling numbers here, and any use of one raises; a part of the sources has no mass."""
    rng, empty = np.random.default_rng(3), np.empty
    points, masses = on_sphere(rng, 3000), rng.random(3000) ** 8
    masses[::3] = 0.0
    expected = Attention(weights(60.0), method="dense").field(points, points, masses)[0]

    def poisoned(shape, dtype=float, **options):
        made = empty(shape, dtype, **options)
        if made.dtype == float:
            made.view(np.uint64)[...] = 0x7FF0000000000001
        return made

    monkeypatch.setattr(np, "empty", poisoned)
    with np.errstate(invalid="raise"):
        found = Attention(weights(60.0), method=method).field(points, points, masses)[0]
    assert np.abs(found - expected).max() < 1e-7


def test_two_far_clusters_with_a_mass_ratio_of_1e_30():
    """Each target attends to the cluster that wins on mass times kernel, also where that is the distant one."""
    rng = np.random.default_rng(2)
    east, north = np.array([1.0, 0, 0]), np.array([0, 0, 1.0])
    sources = unit(np.vstack([east + 1e-3 * rng.normal(size=(4000, 3)), north + 1e-3 * rng.normal(size=(4000, 3))]))
    masses = np.concatenate([np.ones(4000), np.full(4000, 1e-30)])
    angle = np.linspace(0, np.pi / 2, 500)[:, None]
    targets = np.cos(angle) * east + np.sin(angle) * north
    for beta in (20.0, 69.0, 80.0, 1e3, 1e5):
        got = Attention(weights(beta), method="auto").field(targets, sources, masses)[0]
        expected = Attention(weights(beta), method="numpy").field(targets, sources, masses)[0]
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-10 + 1e-14 * beta)


@pytest.mark.parametrize(("d", "beta"), [(2, 10.0), (2, 1e4), (3, 1.0), (3, 100.0)])
def test_uniform_law(d, beta):
    """m = A_d(beta |B^T x|) B^T x/|B^T x| (docs/theory.md §4.1) through the fast path, to near machine precision."""
    from scipy.special import ive

    if d == 2:
        sources, _ = circle(4000)
        masses = np.full(4000, 1 / 4000)
    else:
        nodes, gauss = np.polynomial.legendre.leggauss(100)
        ring, _ = circle(200)
        height = np.sqrt(1 - nodes ** 2)
        sources = np.column_stack([np.outer(height, ring[:, 0]).ravel(), np.outer(height, ring[:, 1]).ravel(),
                                   np.repeat(nodes, 200)])
        masses = np.repeat(gauss / 400, 200)
    B = np.array([[1.0, 0.2, 0.1], [0.0, 0.8, 0.3], [0.1, 0.0, 0.6]])[:d, :d]
    attention = Attention(weights(beta, d, B))
    values, _ = attention.field(sources, sources, masses)
    assert attention.report.method == ("fourier" if d == 2 else "harmonics" if beta < 10.0 else "nufft")
    assert attention.report.refined == 0
    z = sources @ B
    norm = np.linalg.norm(z, axis=1, keepdims=True)
    factor = ive(d / 2, beta * norm) / ive(d / 2 - 1, beta * norm)
    np.testing.assert_allclose(values, factor * z / norm, rtol=0, atol=5e-14)


def test_pairs_stay_near_the_ideal_cap():
    """(1 - cos r)/2 of all pairs with r^2 = 2 log(1/accuracy)/(beta |B^T x|) lie in caps that matter; at most 3 times as many."""
    rng = np.random.default_rng(4)
    sources = on_sphere(rng, 40000)
    masses, B, beta = 1 + 0.5 * sources[:, 0], np.diag([1.0, 0.8, 0.6]), 3000.0
    attention = Attention(weights(beta, 3, B), method="pruned")
    targets = sources[::10]
    attention.field(targets, sources, masses)
    reach = np.sqrt(2 * np.log(1e10) / (beta * np.linalg.norm(targets @ B, axis=1)))
    assert attention.report.pairs < 3 * 40000 * np.sum((1 - np.cos(reach)) / 2)


def test_work_grows_in_proportion_to_the_number_of_tokens():
    """Expansions have one order whatever the number of tokens, and no pairs."""
    rng = np.random.default_rng(5)
    orders = []
    for n in (2000, 20000):
        points = on_sphere(rng, n)
        attention = Attention(weights(10.0))
        attention.field(points, points, np.ones(n))
        assert attention.report.method == "harmonics"
        assert attention.report.pairs == 0
        orders.append(attention.report.order)
    assert abs(orders[0] - orders[1]) <= 1


def test_bound_attention_follows_masses_that_change():
    rng = np.random.default_rng(6)
    points = on_sphere(rng, 5000)
    for beta in (5.0, 5000.0, np.inf):
        attention = Attention(weights(beta))
        bound = attention.bind(points[:300], points)
        for masses in (np.ones(5000), rng.random(5000), (points[:, 0] > 0.5) * rng.random(5000)):
            expected = Attention(weights(beta), method="numpy").field(points[:300], points, masses)[0]
            np.testing.assert_allclose(bound.field(masses)[0], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("method", ["dense", "pruned", "auto"])
def test_rotations_and_scalings_of_the_weights(method):
    """(Q, K) -> (Q R^T, K R^T) rotates the field; Q -> cQ, beta -> beta/c changes nothing (docs/theory.md §6)."""
    from problems.attention import Head, Weights

    rng = np.random.default_rng(8)
    points, masses, beta = on_sphere(rng, 3000), rng.random(3000), 400.0
    Q, K, V = rng.normal(size=(3, 3, 3))
    R = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    base = Attention(Weights(beta, (Head(Q, K, V),)), method=method).field(points[:200], points, masses)[0]
    turned = Attention(Weights(beta, (Head(Q @ R.T, K @ R.T, R @ V @ R.T),)), method=method)
    np.testing.assert_allclose(turned.field(points[:200] @ R.T, points @ R.T, masses)[0], base @ R.T, rtol=0, atol=1e-9)
    scaled = Attention(Weights(beta / 3, (Head(3 * Q, K, V),)), method=method)
    np.testing.assert_allclose(scaled.field(points[:200], points, masses)[0], base, rtol=0, atol=1e-9)


@pytest.mark.parametrize("beta", [1.0, 100.0, 3000.0])
def test_neighbouring_targets_do_not_change_a_target(beta):
    """The share of targets that a rank holds must not matter: 1e-12."""
    rng = np.random.default_rng(9)
    points, masses = on_sphere(rng, 20000), rng.random(20000)
    attention = Attention(weights(beta), method="auto")
    whole = attention.field(points[:6000], points, masses)[0]
    parts = np.vstack([attention.field(points[a:b], points, masses)[0] for a, b in ((0, 1), (1, 777), (777, 6000))])
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("beta", [1.0, 3000.0])
def test_threads_do_not_change_the_field(beta):
    rng = np.random.default_rng(10)
    points, masses = on_sphere(rng, 30000), rng.random(30000)
    fields = [Attention(weights(beta), workers=k).field(points[:4000], points, masses)[0] for k in (1, 3)]
    np.testing.assert_array_equal(*fields)
