"""Particles against the exact solutions of docs/theory.md §3 to §5."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.linalg import expm
from scipy.optimize import brentq

from meshes.manifold import sphere as sphere_manifold
from solver.wasserstein.distance import distance
from solver.wasserstein.measure import Measure
from tests.particles.support import SMOOTH_CIRCLE, SMOOTH_SPHERE, on_circle, problem, rotation, run


def unit(points):
    return points / np.linalg.norm(points, axis=-1, keepdims=True)


def test_pairing_of_three_equal_diracs():
    """§4.4: rho(s) = tanh(2s + artanh rho_0), ds = e^{-beta(1-rho)} dt, up to e^{-beta(1-rho)} ~ 1e-7 times ds."""
    beta, start, stop = 40.0, 0.5, 0.6
    s_end = (np.arctanh(stop) - np.arctanh(start)) / 2
    # t as a function of s from the closed form itself.
    t_end = quad(lambda s: np.exp(beta * (1 - np.tanh(2 * s + np.arctanh(start)))), 0, s_end, epsabs=0, epsrel=1e-13)[0]
    a = np.arccos(start) / 2
    x = run(problem(beta=beta, end=t_end), (on_circle(np.array([a, -a, np.pi])), np.ones(3) / 3))[-1].points

    def slow(t, y):  # the same pair with the denominator kept
        e = np.exp(-beta * (1 - np.tanh(2 * y + np.arctanh(start))))
        return e / (1 + e)

    s = solve_ivp(slow, (0, t_end), [0.0], method="DOP853", rtol=1e-13, atol=1e-16).y[0, -1]
    assert x[0] @ x[1] == pytest.approx(np.tanh(2 * s + np.arctanh(start)), abs=1e-8)
    assert x[0] @ x[1] == pytest.approx(stop, abs=1e-7)


def test_pairing_of_unnormalised_attention_in_rescaled_depth():
    """§4.4 without denominators: ds = (1/3) e^{-beta(1-rho)} dt, exact but for the far token, e^{-24} as heavy."""
    beta, start, stop = 16.0, 0.6, 0.8
    t_end = quad(lambda r: 3 * np.exp(beta * (1 - r)) / (2 * (1 - r * r)), start, stop, epsrel=1e-13)[0]
    a = np.arccos(start) / 2
    p = problem(beta=beta, end=t_end, attention={"normalization": "none"}, rescaled=True)
    x = run(p, (on_circle(np.array([a, -a, np.pi])), np.ones(3) / 3))[-1].points
    assert x[0] @ x[1] == pytest.approx(stop, abs=1e-8)


@pytest.mark.parametrize("beta", [0.5, 3.0, 80.0])
@pytest.mark.parametrize("d", [2, 3, 5])
def test_dirac_moves_by_v(d, beta):
    """§4.7: x' = P_x V x for any beta and B, so that x(t) = e^{tV} x_0 / |.|."""
    rng = np.random.default_rng(d)
    value, key = rng.normal(size=(d, d)), rng.normal(size=(d, d))
    x0 = unit(rng.normal(size=d))
    p = problem("sphere", dimension=d, beta=beta, end=2.0, attention={"value": value.tolist(), "key": key.tolist()})
    for copies in (1, 5):
        found = run(p, (np.tile(x0, (copies, 1)), np.full(copies, 1 / copies)))[-1].points
        assert np.abs(found - unit(expm(2 * value) @ x0)).max() < 1e-8


def test_antipodal_pair():
    """§4.7: x' = tanh(beta <x,Bx>) P_x V x; for B = I the factor is constant, otherwise one scalar equation in d = 2."""
    value, beta = np.array([[1.0, 0.4], [-0.2, 0.3]]), 0.7
    x0 = on_circle(np.array([0.8]))[0]
    p = problem(beta=beta, end=3.0, attention={"value": value.tolist()})
    found = run(p, (np.stack((x0, -x0)), np.full(2, 0.5)))[-1].points
    assert np.abs(found[0] - unit(expm(3 * np.tanh(beta) * value) @ x0)).max() < 1e-8
    assert np.abs(found[0] + found[1]).max() < 1e-12
    key = np.array([[0.9, 0.5], [0.1, -0.4]])
    p = problem(beta=beta, end=3.0, attention={"value": value.tolist(), "key": key.tolist()})

    def slow(t, y):
        x, across = np.array([np.cos(y[0]), np.sin(y[0])]), np.array([-np.sin(y[0]), np.cos(y[0])])
        return [np.tanh(beta * x @ key @ x) * (across @ value @ x)]

    angle = solve_ivp(slow, (0, 3.0), [0.8], method="DOP853", rtol=1e-12, atol=1e-13).y[0, -1]
    found = run(p, (np.stack((x0, -x0)), np.full(2, 0.5)))[-1].points
    assert np.abs(found[0] - on_circle(np.array([angle]))[0]).max() < 1e-8


def test_two_equal_diracs():
    """§5.2: SA, beta = 4, rho from 0 to .999 takes t = 10.83120701."""
    p = problem(beta=4.0, end=10.83120701)
    x = run(p, (np.eye(2), np.full(2, 0.5)))[-1].points
    assert x[0] @ x[1] == pytest.approx(0.999, abs=1e-8)


@pytest.mark.parametrize("normalization", ["softmax", "none"])
@pytest.mark.parametrize("d", [2, 3])
def test_two_unequal_diracs(d, normalization):
    """§5.2 with masses .3 and .7 and any frame."""
    beta, m1, m2 = 2.5, 0.3, 0.7

    def slow(t, rho):
        if normalization == "none":
            return np.exp(beta * rho) * (1 - rho**2)
        e = np.exp(beta * (1 - rho))
        return (1 - rho**2) * (m2 / (m1 * e + m2) + m1 / (m2 * e + m1))

    expected = solve_ivp(slow, (0, 1.2), [0.1], method="DOP853", rtol=1e-12, atol=1e-13).y[0, -1]
    start = np.zeros((2, d))
    start[0, 0], start[1, :2] = 1.0, (0.1, np.sqrt(0.99))
    start = start @ rotation(d, 4).T
    p = problem("sphere", dimension=d, beta=beta, end=1.2, attention={"normalization": normalization})
    x = run(p, (start, np.array([m1, m2])))[-1].points
    assert x[0] @ x[1] == pytest.approx(expected, abs=1e-8)


def test_equiangular_tokens():
    """§5.3: 32 orthonormal tokens in R^32, beta = 5, rho from 0 to .999 take t = 9.5443."""
    n, beta = 32, 5.0

    def slowness(r):
        return (np.exp(beta) + (n - 1) * np.exp(beta * r)) / (2 * np.exp(beta * r) * (1 - r) * ((n - 1) * r + 1))

    t_end = sum(quad(slowness, a, b, epsabs=0, epsrel=1e-13)[0] for a, b in ((0, 0.1), (0.1, 0.9), (0.9, 0.99), (0.99, 0.999)))
    assert t_end == pytest.approx(9.5443, abs=1e-4)
    x = run(problem("sphere", dimension=n, beta=beta, end=t_end), (np.eye(n), np.full(n, 1 / n)))[-1].points
    cosines = (x @ x.T)[np.triu_indices(n, 1)]
    assert cosines == pytest.approx(np.full(len(cosines), 0.999), abs=1e-8)


def test_gaussian_on_the_line_without_layer_normalisation():
    """§5.4: beta = 1, v = -1, b = 1, alpha_0 = Sigma_0 = .5: at t = 2 alpha = .0390679311, Sigma = 1/6."""
    p = problem("euclidean", dimension=1, beta=1.0, end=2.0, attention={"value": [[-1.0]]}, law="normal",
                initial={"components": [{"mean": [0.5], "covariance": 0.5}]}, particles={"count": 40, "rtol": 1e-10})
    row = run(p)[-1].row
    assert row["mean"][0] == pytest.approx(0.0390679311, abs=1e-9)
    assert row["second"][0, 0] - row["mean"][0] ** 2 == pytest.approx(1 / 6, abs=1e-8)


def test_gaussian_in_the_plane_without_layer_normalisation():
    """§5.4: alpha' = V(I + beta Sigma B^T) alpha, Sigma' = beta (V Sigma B^T Sigma + Sigma B Sigma V^T)."""
    beta, value = 0.4, np.array([[-1.0, 0.5], [-0.3, -0.6]])
    score, mean, covariance = np.array([[1.0, 0.3], [-0.2, 0.8]]), np.array([0.4, -0.7]), np.array([[0.5, 0.1], [0.1, 0.3]])

    def moments(t, y):
        alpha, sigma = y[:2], y[2:].reshape(2, 2)
        drift = beta * value @ sigma @ score.T @ sigma
        return np.concatenate((value @ (np.eye(2) + beta * sigma @ score.T) @ alpha, (drift + drift.T).ravel()))

    y = solve_ivp(moments, (0, 1.0), np.concatenate((mean, covariance.ravel())), method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    p = problem("euclidean", dimension=2, beta=beta, attention={"value": value.tolist(), "key": score.tolist()}, law="normal",
                initial={"components": [{"mean": mean.tolist(), "covariance": covariance.tolist()}]}, particles={"count": 400})
    row = run(p)[-1].row
    assert row["mean"] == pytest.approx(y[:2], abs=1e-8)
    assert row["second"] - np.outer(row["mean"], row["mean"]) == pytest.approx(y[2:].reshape(2, 2), abs=1e-8)


def test_smooth_start_on_the_circle():
    """§5.5: moments of the law at t = 1, 2 and the energy at the start."""
    found = run(problem(beta=5.0, end=2.0, outputs=3, particles={"count": 128}, **SMOOTH_CIRCLE))
    assert found[0].row["energy"] == pytest.approx(2.873674377, abs=2e-9)
    for snapshot, m1, m2 in ((found[1], 0.1791563661 + 0.0000610765j, -0.0009219820 + 0.1659405933j),
                             (found[2], 0.2134619269 + 0.0015102267j, -0.0033371113 + 0.2707159569j)):
        z = snapshot.points @ [1, 1j]
        assert snapshot.masses @ z == pytest.approx(m1, abs=1e-9)
        assert snapshot.masses @ z**2 == pytest.approx(m2, abs=1e-9)


def test_smooth_start_on_the_sphere():
    """§5.5: <P_1>, <P_2> at t = 1, 2."""
    found = run(problem("sphere", beta=5.0, end=2.0, outputs=3, particles={"count": 1250, "rtol": 1e-9}, **SMOOTH_SPHERE))
    for snapshot, p1, p2 in ((found[1], 0.1363661674, 0.1529009672), (found[2], 0.1828320078, 0.2886569394)):
        z = snapshot.points[:, 2]
        assert snapshot.masses @ z == pytest.approx(p1, abs=1e-8)
        assert snapshot.masses @ (1.5 * z**2 - 0.5) == pytest.approx(p2, abs=1e-8)


@pytest.mark.parametrize(("space", "times", "expected"), [
    ("circle", (2.0, 4.0), (0.4851827523, 0.8334562386)),
    ("sphere", (1.0, 2.0), (0.4747500789, 0.7347273790)),
])
def test_invariant_family_at_beta_zero(space, times, expected):
    """§5.1: |m|(t) of the family f_w; on the circle R_0 = |m_0| = .2, on the sphere w_0 = .2."""
    d = 2 if space == "circle" else 3
    mean = [0.2] + [0.0] * (d - 1)
    p = problem(space, beta=0.0, end=times[-1], outputs=[0.0, *times], law="poisson-kernel",
                initial={"components": [{"mean": mean}]}, particles={"count": 100 if d == 2 else 1200, "rtol": 1e-10})
    found = run(p)
    for snapshot, radius in zip(found[1:], expected, strict=True):
        size = np.linalg.norm(snapshot.row["mean"])
        # Sphere: R is the length of the mean h_3(|w|); see the circle for the same family.
        assert size == pytest.approx(radius, abs=1e-8)


@pytest.mark.parametrize(("d", "beta"), [(2, 0.5), (2, 30.0), (3, 2.0), (3, 30.0)])
def test_uniform_drift_factor(d, beta):
    """§4.1: X = A_d(beta |B^T x|) X_0(x) for the uniform law, to round-off of the quadrature."""
    from mpi4py import MPI
    from scipy.special import ive

    from solver.particles.solver import ParticleSolver

    rng = np.random.default_rng(d)
    value, key = rng.normal(size=(d, d)), rng.normal(size=(d, d))
    p = problem("sphere", dimension=d, beta=beta, attention={"value": value.tolist(), "key": key.tolist()},
                particles={"count": 300 if d == 2 else 20000})
    solver = ParticleSolver(p, MPI.COMM_SELF)
    chosen = slice(None, None, 37)
    found = solver.drift(solver.points)[0][chosen, :d]
    x = solver.points[0][chosen, :d]
    pull = x @ key
    size = np.linalg.norm(pull, axis=1, keepdims=True)
    kappa = beta * size
    factor = ive(1, kappa) / ive(0, kappa) if d == 2 else 1 / np.tanh(kappa) - 1 / kappa
    expected = factor * p.manifold.project(x, pull / size @ value.T)
    assert np.abs(found - expected).max() < 1e-10


def test_distances_of_the_zero_temperature_table():
    """§3.4: all three columns, tokens at quadrature nodes, hard attention, B = I."""
    table = {0: (0.906900, 0.785398, 0.683667), 1: (0.636382, 0.483621, 0.388947), 2: (0.413607, 0.259712, 0.191253),
             4: (0.158304, 0.058306, 0.036451)}
    # The four quadrants mirror each other, and every token attends to itself: a quarter of 9600 nodes stands for all.
    # (The arc to E has a kink of slope e^t across ker Pi, which equispaced nodes integrate to order N^-2.)
    quarter = on_circle(np.pi / 2 * (np.arange(2400) + 0.5) / 2400)
    circle = run(problem(beta=np.inf, end=4.0, outputs=[0.0, 1.0, 2.0, 4.0], attention={"value": [[1.0, 0], [0, 0]]},
                         particles={"rtol": 1e-6}), (quarter, np.full(2400, 1 / 2400)))
    # Every meridian does the same, so that three of them carry a fine rule in latitude.
    z, w = np.polynomial.legendre.leggauss(900)
    meridians = on_circle(2 * np.pi * np.arange(3) / 3)
    nodes = np.concatenate([np.column_stack((np.sqrt(1 - z * z)[:, None] * m, z)) for m in meridians])
    sphere = run(problem("sphere", beta=np.inf, end=4.0, outputs=[0.0, 1.0, 2.0, 4.0], particles={"rtol": 1e-6},
                         attention={"value": np.diag([1.0, 1, 0]).tolist()}), (nodes, np.tile(w / 6, 3)))
    for on_line, on_plane in zip(circle, sphere, strict=True):
        w2, w1, plane = table[round(on_line.time)]
        mirrored = np.concatenate([on_line.points * signs for signs in ([1, 1], [-1, 1], [-1, -1], [1, -1])])
        law = Measure(mirrored, np.tile(on_line.masses / 4, 4))
        goal = Measure(np.array([[1.0, 0], [-1, 0]]), np.full(2, 0.5))
        assert distance(law, goal, p=1, manifold=sphere_manifold(2)).value == pytest.approx(w1, abs=1e-5)
        assert distance(law, goal, p=2, manifold=sphere_manifold(2)).value == pytest.approx(w2, abs=1e-5)
        latitude = np.arcsin(np.abs(on_plane.points[:, 2]))
        assert np.sqrt(on_plane.masses @ latitude**2) == pytest.approx(plane, abs=1e-5)


def test_zero_temperature_orbit_for_orthogonal_scores():
    """§3.1 with B a rotation whose image stays among the tokens: tau = t, x(t) = e^{tA} x_0 / |.| for the first depth."""
    # With B = I every token attends to itself, whatever V.
    value = np.array([[1.0, -2.0], [0.5, 0.3]])
    p = problem(beta=np.inf, end=1.5, attention={"value": value.tolist()}, particles={"count": 50})
    found = run(p)
    expected = unit(found[0].points @ expm(1.5 * value).T)
    assert np.abs(found[-1].points - expected).max() < 1e-8


def test_minimum_distance_of_the_misaligned_circle_at_low_cost():
    """§4.8 at zero temperature has no closed form in time, but R(x) of §3.5 falls at least at the rate (l1-l2)/|B^T x|."""
    value, transposed = np.diag([2.0, 1.0]), np.array([[0.5, 0.25], [0.5, 1.0]])
    p = problem(beta=400.0, end=1.0, outputs=11, attention={"value": value.tolist(), "key": transposed.T.tolist()},
                particles={"count": 512, "rtol": 1e-7})
    e, other = np.array([1.0, 1.0]) / np.sqrt(2), np.array([1.0, -1.0]) / np.sqrt(2)
    found = run(p)
    ratios = [np.abs(s.points @ other) / np.abs(s.points @ e) for s in found]
    slow = 1.0 / np.linalg.svd(transposed, compute_uv=False)[0]  # (l1 - l2) / max |B^T x|
    for before, after in pairwise(ratios):
        assert np.all(after[before > 0.5] < before[before > 0.5] * np.exp(-0.1 * slow) * 1.02)


def test_linear_growth_about_the_uniform_law():
    """§4.5: on the circle mode k grows at the rate k^2 I_k(beta)/(beta I_0(beta)); beta = 5: .17868 .51412 .68268 .60009."""
    for k, rate in zip((1, 2, 3, 4), (0.17868, 0.51412, 0.68268, 0.60009), strict=True):
        p = problem(beta=5.0, end=0.2, law="harmonics", initial={"cos": [0.0] * (k - 1) + [1e-5]}, particles={"count": 64})
        found = run(p)
        modes = [s.masses @ (s.points @ [1, 1j]) ** k for s in found]
        assert np.log(abs(modes[1]) / abs(modes[0])) / 0.2 == pytest.approx(rate, abs=2e-5)


def test_root_of_the_pairing_time_is_where_the_closed_form_says():
    """§5.2 USA: rho' = e^{beta rho}(1 - rho^2) inverted for the time to reach rho = .5."""
    beta = 1.5
    t_half = quad(lambda r: np.exp(-beta * r) / (1 - r * r), -0.5, 0.5, epsrel=1e-13)[0]
    angle = np.arccos(-0.5)

    def rho(t):
        p = problem(beta=beta, end=t, attention={"normalization": "none"})
        x = run(p, (on_circle(np.array([0.0, angle])), np.full(2, 0.5)))[-1].points
        return x[0] @ x[1] - 0.5

    assert brentq(rho, 0.5 * t_half, 1.5 * t_half, xtol=1e-10) == pytest.approx(t_half, abs=1e-8)
