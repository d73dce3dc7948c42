"""Eigen-analysis of V K^T Q: every case is recognised, its limit and its rate are right."""

import numpy as np
import pytest
from scipy.linalg import expm

from solver.projection.rates import predict
from solver.projection.spectrum import analyse
from solver.projection.words import prediction_words, spectrum_words

OBLIQUE = np.array([[1.0, 0.4, -0.3, 0.2], [0.0, 1.2, 0.5, -0.1], [0.3, 0.1, 0.9, 0.6], [-0.2, 0.3, 0.1, 1.1]])


def similar(block):
    """The block in an oblique basis, so that no structure is left to see."""
    s = OBLIQUE[: len(block), : len(block)]
    return s @ block @ np.linalg.inv(s)


JORDAN2 = np.array([[2.0, 1, 0, 0], [0, 2, 0, 0], [0, 0, 1, 0], [0, 0, 0, -1]])
JORDAN3 = np.array([[2.0, 1, 0, 0], [0, 2, 1, 0], [0, 0, 2, 0], [0, 0, 0, 1]])
JORDAN2_AND_SIMPLE = np.array([[2.0, 1, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]])
ROTATION = np.array([[1.0, -2, 0, 0], [2, 1, 0, 0], [0, 0, 0.5, 0], [0, 0, 0, 0]])
TIE = np.array([[1.0, -2, 0, 0], [2, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize(("matrix", "kind", "dimension", "index"), [
    ([[1, 0.5], [0.5, 1]], "simple", 1, 1),
    (np.diag([-1.0, -2.0]), "simple", 1, 1),
    (np.diag([1.0, 1.0, 0.0]), "multiple", 2, 1),
    (2 * np.eye(3), "multiple", 3, 1),
    (similar(np.diag([2.0, 2.0, 1.0, -5.0])), "multiple", 2, 1),
    (similar(np.diag([2.0, 1.0, 1.0, -5.0])), "simple", 1, 1),
    ([[1, 1], [0, 1]], "defective", 1, 2),
    (similar(JORDAN2), "defective", 1, 2),
    (similar(JORDAN3), "defective", 1, 3),
    (similar(JORDAN2_AND_SIMPLE), "defective", 1, 2),
    ([[0, -1], [1, 0]], "complex", 2, 1),
    (similar(ROTATION), "complex", 2, 1),
    (similar(TIE), "complex", 3, 1),
    (np.zeros((2, 2)), "zero", 2, 1),
    ([[3.0]], "simple", 1, 1),
])
def test_kind(matrix, kind, dimension, index):
    found = analyse(np.array(matrix, float))
    assert (found.kind, found.dimension, found.index) == (kind, dimension, index)
    assert found.exists == (kind in ("simple", "multiple", "defective"))
    assert spectrum_words(found)


@pytest.mark.parametrize("block", [np.diag([2.0, 1, 0, -1]), np.diag([2.0, 2, 0, -1]), ROTATION, JORDAN2])
def test_spectral_projector(block):
    found = analyse(similar(block))
    pi, a = found.projector, found.matrix
    scale = np.linalg.norm(pi, 2) ** 2
    assert np.abs(pi @ pi - pi).max() < 1e-12 * scale
    assert np.abs(pi @ a - a @ pi).max() < 1e-12 * scale
    assert not np.allclose(pi, pi.T)  # oblique, as A is not normal
    expected = similar(np.diag(np.where(np.linalg.eigvals(block).real > np.linalg.eigvals(block).real.max() - 1e-9, 1.0, 0.0)))
    assert np.abs(pi - expected).max() < 1e-10


@pytest.mark.parametrize(("block", "depth", "tolerance"), [
    (np.diag([2.0, 1, 0, -1]), 40, 1e-12), (np.diag([2.0, 2, 0, -1]), 25, 1e-10), (JORDAN2, 1e4, 1e-3), (JORDAN3, 1e4, 5e-3),
    (JORDAN2_AND_SIMPLE, 1e4, 5e-3),
])
def test_limit_is_the_limit_of_the_flow(block, depth, tolerance):
    """T(x) against e^{tau A} x/|e^{tau A} x|; the defective ones converge like 1/tau only, which is part of the claim."""
    a = similar(block)
    found = analyse(a)
    x = np.random.default_rng(1).normal(size=(20, 4))
    flow = similar(expm(depth * (block - 2.0 * np.eye(4))))
    reached = x @ flow.T
    reached /= np.linalg.norm(reached, axis=1, keepdims=True)
    image = x @ found.limit.T
    image /= np.linalg.norm(image, axis=1, keepdims=True)
    assert np.abs(reached - image).max() < tolerance
    if found.index > 1:
        assert np.abs(reached - image).max() > 1e-3 * tolerance
        assert any("algebraically" in line for line in spectrum_words(found))


@pytest.mark.parametrize("gap", [1e-4, 1e-6, 1e-10])
def test_nearly_degenerate_gap_is_kept_and_said(gap):
    found = analyse(np.diag([1.0, 1.0 - gap, 0.0]))
    assert found.kind == "simple"
    assert found.narrow
    assert found.gap == pytest.approx(gap, rel=1e-4)
    assert any("nearly degenerate" in line for line in spectrum_words(found))


def test_gap_below_rounding_of_a_jordan_block_counts_as_defective():
    """[[1, 1], [0, 1 - g]] has the double eigenvalue of a matrix g^2/4 away."""
    assert analyse(np.array([[1.0, 1.0], [0.0, 1.0 - 1e-5]])).kind == "simple"
    assert analyse(np.array([[1.0, 1.0], [0.0, 1.0 - 1e-9]])).kind == "defective"


def test_complex_pair_says_that_there_is_no_limit():
    found = analyse(similar(ROTATION))
    assert found.frequency == pytest.approx(2.0)
    assert found.limit is None
    assert any("rotates" in line and "no limit" in line for line in spectrum_words(found))


def test_scaling_changes_nothing_but_the_numbers():
    a = similar(np.diag([2.0, 2.0, 1.0, -5.0]))
    for factor in (1e-8, 1e8):
        found = analyse(factor * a)
        assert found.kind == "multiple"
        assert found.gap == pytest.approx(factor, rel=1e-9)
        assert np.abs(found.projector - analyse(a).projector).max() < 1e-11


@pytest.mark.parametrize("bad", [np.ones((2, 3)), np.array([[np.nan]]), np.ones(3)])
def test_bad_matrix(bad):
    with pytest.raises(ValueError, match="square matrix"):
        analyse(bad)


def test_predictions_of_the_misaligned_circle():
    """docs/theory.md §4.8: 1/(2 g_E) = .593, the clusters end at 0 and 180 degrees."""
    value, transposed = np.diag([2.0, 1.0]), np.array([[0.5, 0.25], [0.5, 1.0]])
    found = predict(analyse(value @ transposed), value, transposed.T, 100.0)
    assert 1 / (2 * found.g_slow) == pytest.approx(0.593, abs=5e-4)
    assert found.t_star == pytest.approx(0.593 * np.log(100), abs=3e-3)
    assert np.abs(np.abs(found.terminal) - [[1, 0], [1, 0]]).max() < 1e-12
    assert "0.785398" in " ".join(prediction_words(found))


@pytest.mark.parametrize(("value", "w1", "w2"), [
    (np.diag([1.0, 0.0]), (1.0, 1.0), (0.5, 0.0)),
    (np.diag([1.0, 1.0, 0.0]), (1.0, 0.0), (1.0, 0.5)),
    (np.diag([1.0, 0.0, 0.0]), (1.0, 1.0), (0.5, 0.0)),
    (np.diag([3.0, 3.0, 3.0, 1.0]), (2.0, 0.0), (2.0, 0.0)),
])
def test_decay_exponents_for_aligned_scores(value, w1, w2):
    """docs/theory.md §3.4: e^{-g t min(1, k/p)}, times t^{1/p} when p = k."""
    found = predict(analyse(value), value, np.eye(len(value)), 50.0)
    assert (found.decay[1].rate, found.decay[1].power) == pytest.approx(w1)
    assert (found.decay[2].rate, found.decay[2].power) == pytest.approx(w2)


def test_a_symmetric_matrix_of_many_dimensions_asks_for_few_decompositions(monkeypatch):
    """Its eigenvalues move no more than it does, so that only those within rounding need to be looked at in pairs."""
    generator, asked = np.random.default_rng(0), []
    q, _ = np.linalg.qr(generator.normal(size=(40, 40)))
    values = np.concatenate([[2.0, 2.0, 2.0], np.linspace(-1.0, 1.0, 37)])
    matrix = (q * values) @ q.T
    svd = np.linalg.svd
    monkeypatch.setattr(np.linalg, "svd", lambda *given, **options: asked.append(given) or svd(*given, **options))
    found = analyse((matrix + matrix.T) / 2)
    assert (found.kind, found.dimension) == ("multiple", 3)
    assert found.gap == pytest.approx(1.0, rel=1e-10)
    assert len(asked) < 40 * 7  # of 780 pairs, at seven places each, without this


@pytest.mark.parametrize("factor", [1.0, -2.0])
def test_a_multiple_of_the_identity_moves_nothing_on_the_sphere(factor):
    found = analyse(factor * np.eye(500))
    assert (found.kind, found.leading, found.gap, found.dimension) == ("multiple", factor, np.inf, 500)
    assert found.exists and found.normal and found.kernel.shape == found.following.shape == (500, 0)
    x = np.arange(1.0, 501.0)
    assert np.array_equal(found.limit @ x, x) and found.conditioning == 1.0
    small = analyse(factor * np.eye(2) + np.array([[0.0, 1e-17], [0.0, 0.0]]))  # the same by the long way
    assert (small.kind, small.gap, small.dimension) == ("multiple", np.inf, 2)


def test_many_equal_eigenvalues_of_a_symmetric_matrix():
    """Each pair of them used to cost a singular value decomposition: minutes in a few hundred dimensions."""
    turned = np.linalg.qr(np.random.default_rng(3).normal(size=(200, 200)))[0]
    matrix = turned @ np.diag([1.0] * 60 + [0.5] * 140) @ turned.T
    found = analyse((matrix + matrix.T) / 2)
    assert (found.kind, found.dimension) == ("multiple", 60)
    assert found.leading == pytest.approx(1.0, abs=1e-12) and found.gap == pytest.approx(0.5, abs=1e-12)
    assert np.allclose(found.limit, turned[:, :60] @ turned[:, :60].T, atol=1e-11)
