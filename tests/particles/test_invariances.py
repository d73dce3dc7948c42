"""What docs/theory.md §6 demands of every code path, here of particles."""

import numpy as np
import pytest

from tests.particles.support import SMOOTH_CIRCLE, on_circle, problem, rotation, run

VALUE = np.array([[1.2, 0.5, 0.0], [-0.3, 0.8, 0.2], [0.1, 0.0, 0.5]])
KEY = np.array([[1.0, 0.2, 0.0], [0.0, 0.7, 0.4], [0.3, 0.0, 1.0]])


def tokens(n, d, seed=3):
    x = np.random.default_rng(seed).normal(size=(n, d))
    w = np.random.default_rng(seed + 1).random(n) + 0.1
    return x / np.linalg.norm(x, axis=1, keepdims=True), w / w.sum()


@pytest.mark.parametrize("beta", [0.0, 2.0, 60.0])
@pytest.mark.parametrize("normalization", ["softmax", "none"])
def test_rotations(beta, normalization):
    """(Q, K, V) -> (Q R^T, K R^T, R V R^T) rotates the solution."""
    if normalization == "none" and beta > 10:
        beta = 4.0
    r = rotation(3, 8)
    x, w = tokens(30, 3)
    extra = {"normalization": normalization}
    straight = {"value": VALUE.tolist(), "key": KEY.tolist(), **extra}
    turning = {"value": (r @ VALUE @ r.T).tolist(), "key": (KEY @ r.T).tolist(), "query": r.T.tolist(), **extra}
    plain = run(problem("sphere", beta=beta, attention=straight), (x, w))[-1].points
    turned = run(problem("sphere", beta=beta, attention=turning), (x @ r.T, w))[-1].points
    assert np.abs(turned - plain @ r.T).max() < 1e-8


def test_scale_of_queries_is_scale_of_beta():
    x, w = tokens(30, 3)
    plain = run(problem("sphere", beta=6.0, attention={"value": VALUE.tolist(), "key": KEY.tolist()}), (x, w))[-1].points
    scaled = run(problem("sphere", beta=2.0, attention={"value": VALUE.tolist(), "key": KEY.tolist(),
                                                        "query": (3 * np.eye(3)).tolist()}), (x, w))[-1].points
    assert np.abs(scaled - plain).max() < 1e-10


def test_even_laws_stay_even():
    x, w = tokens(20, 3)
    p = problem("sphere", beta=8.0, attention={"value": VALUE.tolist(), "key": KEY.tolist()})
    found = run(p, (np.concatenate((x, -x)), np.concatenate((w, w)) / 2))[-1]
    assert np.abs(found.points[:20] + found.points[20:]).max() < 1e-9


def test_uniform_law_is_stationary_when_v_b_is_a_multiple_of_the_identity():
    for p in (problem(beta=9.0, particles={"count": 128}), problem("sphere", beta=3.0, end=0.5, particles={"count": 800})):
        found = run(p)
        assert np.abs(found[-1].points - found[0].points).max() < 1e-9


@pytest.mark.parametrize("d", [2, 3, 8])
@pytest.mark.parametrize("beta", [1.0, 25.0])
def test_hemispheres_are_invariant(d, beta):
    """V = B = I: tokens in an open hemisphere stay there, and the smallest cosine with its pole never falls."""
    x, w = tokens(25, d, seed=d)
    pole = np.eye(d)[0]
    x[:, 0] = np.abs(x[:, 0]) + 0.05
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    lowest = [s.points @ pole for s in run(problem("sphere", dimension=d, beta=beta, end=3.0, outputs=13), (x, w))]
    lowest = [s.min() for s in lowest]
    assert np.all(np.diff(lowest) > -1e-10)


def test_splitting_a_token_changes_nothing():
    x, w = tokens(12, 3)
    p = problem("sphere", beta=7.0, attention={"value": VALUE.tolist()})
    whole = run(p, (x, w))[-1].points
    split = run(p, (np.concatenate((x, x[:4])), np.concatenate((w[:4] * 0.3, w[4:], w[:4] * 0.7))))[-1].points
    assert np.abs(split[:12] - whole).max() < 1e-10
    assert np.abs(split[12:] - whole[:4]).max() < 1e-10


def test_order_of_tokens_does_not_matter():
    x, w = tokens(40, 3)
    mixed = np.random.default_rng(0).permutation(40)
    p = problem("sphere", beta=7.0, attention={"value": VALUE.tolist()})
    assert np.abs(run(p, (x[mixed], w[mixed]))[-1].points - run(p, (x, w))[-1].points[mixed]).max() < 1e-10


def test_energy_grows_at_the_rate_of_theory():
    """V = B = I, SA: dE/dt = int Z |X|^2 dmu (docs/theory.md §1), by a centred difference."""
    from mpi4py import MPI

    from solver.particles.solver import ParticleSolver

    h, beta = 1e-3, 4.0
    p = problem(beta=beta, end=2 * h, outputs=[0.0, h, 2 * h], particles={"count": 64, "rtol": 1e-13}, **SMOOTH_CIRCLE)
    solver = ParticleSolver(p, MPI.COMM_SELF)
    rates = []

    def watch(s):
        x, w = s.points, s.masses
        z = np.exp(beta * x @ x.T) @ w
        velocity = solver.drift(solver.points)[0, :, :2]
        rates.append((s.row["energy"], w @ (z * np.sum(velocity**2, axis=1))))

    solver.run(watch)
    assert (rates[2][0] - rates[0][0]) / (2 * h) == pytest.approx(rates[1][1], rel=1e-6)


def test_any_dimension():
    """d = 2 on "circle" and "sphere" agree, and a law in R^d embedded in R^{d+3} moves the same."""
    x, w = tokens(15, 2)
    circle = run(problem(beta=5.0), (x, w))[-1].points
    assert np.array_equal(circle, run(problem("sphere", dimension=2, beta=5.0), (x, w))[-1].points)
    wide = run(problem("sphere", dimension=5, beta=5.0), (np.pad(x, ((0, 0), (0, 3))), w))[-1].points
    assert np.abs(wide[:, :2] - circle).max() < 1e-12
    assert np.abs(wide[:, 2:]).max() == 0


def test_unnormalised_depth_rescales():
    """dt = e^{-beta} ds: depth s = e^beta t reaches the same law."""
    x, beta = on_circle(np.array([0.1, 1.0, 2.0, 4.0])), 3.0
    w = np.full(4, 0.25)
    plain = run(problem(beta=beta, end=0.2, attention={"normalization": "none"}), (x, w))[-1].points
    slow = run(problem(beta=beta, end=0.2 * np.exp(beta), attention={"normalization": "none"}, rescaled=True), (x, w))[-1].points
    assert np.abs(plain - slow).max() < 1e-9
