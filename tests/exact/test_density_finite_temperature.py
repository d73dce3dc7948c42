"""The density at finite temperature against docs/theory.md §4.1, §4.3, §4.5, §5.5."""

import itertools

import numpy as np
import pytest
from scipy.special import iv

from problems.problem import read_problem
from solver.density import DensitySolver


def run(space, attention, initial, outputs, **density):
    """Snapshots at the depths `outputs`."""
    density = {"integrator": "ssprk104", "degree": 2, **density}
    solver = DensitySolver(read_problem({
        "space": {"manifold": space}, "attention": attention, "initial": initial,
        "time": {"end": outputs[-1], "outputs": list(outputs)}, "density": density}))
    found = []
    solver.run(found.append)
    return found


def fourier(snapshot, k):
    """int e^{ik theta} rho on the circle, by the density's own quadrature."""
    x = snapshot.operator.geometry.points
    angle = np.arctan2(x[..., 1], x[..., 0])
    return snapshot.integral(np.cos(k * angle)) + 1j * snapshot.integral(np.sin(k * angle))


def legendre(snapshot, k):
    """int P_k(z) rho on the sphere."""
    x = snapshot.operator.geometry.points
    z = x[..., 2] / np.linalg.norm(x, axis=-1)
    return snapshot.integral(np.polynomial.legendre.Legendre.basis(k)(z))


SMOOTH = {"law": "harmonics", "cos": [0.3, 0.0, 0.1], "sin": [0.0, 0.2]}
MOMENTS = {1.0: (0.1791563661 + 0.0000610765j, -0.0009219820 + 0.1659405933j),
           2.0: (0.2134619269 + 0.0015102267j, -0.0033371113 + 0.2707159569j)}


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_smooth_start_circle(degree, order_table):
    """Moments of docs/theory.md §5.5; moments converge faster than the density itself."""
    errors, cells = [], (32, 64)
    for n in cells:
        snapshots = run("circle", {"beta": 5.0}, SMOOTH, (0.0, 1.0, 2.0), cells=n, degree=degree,
                        geometry=3 if degree == 3 else 2, cfl=0.4)
        errors.append(max(abs(fourier(s, k) - MOMENTS[s.time][k - 1]) for s in snapshots[1:] for k in (1, 2)))
    order = np.log2(errors[0] / errors[1])
    order_table.add("moments of a smooth start, circle (5.5)", degree, [1 / n for n in cells], errors, [order])
    assert order >= degree + 0.9
    assert errors[-1] < {1: 3e-4, 2: 1e-6, 3: 1e-7}[degree]


def test_energy_of_smooth_start():
    """E(0) of docs/theory.md §5.5, and dE/dt = int Z |X|^2 >= 0 for V = B (docs/theory.md §1)."""
    snapshots = run("circle", {"beta": 5.0}, SMOOTH, (0.0, 0.5, 1.0, 2.0), cells=64, degree=3, geometry=3)
    energies = [s.row["energy"] for s in snapshots]
    assert energies[0] == pytest.approx(2.873674377, abs=1e-7)
    assert np.all(np.diff(energies) > 0)


def test_smooth_start_sphere():
    snapshots = run("sphere", {"beta": 5.0}, {"law": "harmonics", "legendre": [0.3, 0.4]}, (1.0, 2.0), cells=320, degree=3,
                    geometry=3)
    values = [(legendre(s, 1), legendre(s, 2)) for s in snapshots]
    assert np.allclose(values, [(0.1363661674, 0.1529009672), (0.1828320078, 0.2886569394)], atol=2e-4)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_growth_rates_circle(k):
    """Linear growth of mode k about the uniform law to 1 % (docs/theory.md §4.5), beta = 5."""
    rate = k * k * iv(k, 5.0) / (5.0 * iv(0, 5.0))
    assert rate == pytest.approx([0.17868, 0.51412, 0.68268, 0.60009][k - 1], abs=1e-5)
    cos = [0.0] * (k - 1) + [1e-4]
    start, end = run("circle", {"beta": 5.0}, {"law": "harmonics", "cos": cos}, (0.0, 0.5), cells=48)
    assert np.log(abs(fourier(end, k)) / abs(fourier(start, k))) / 0.5 == pytest.approx(rate, rel=0.01)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_growth_rates_sphere(k):
    rate = k * (k + 1) * iv(k + 0.5, 5.0) / (5.0 * iv(0.5, 5.0))
    assert rate == pytest.approx([0.32004, 0.62393, 0.67235, 0.51097][k - 1], abs=1e-5)
    c = [0.0] * (k - 1) + [1e-3]
    start, end = run("sphere", {"beta": 5.0}, {"law": "harmonics", "legendre": c}, (0.0, 0.25), cells=500)
    assert np.log(legendre(end, k) / legendre(start, k)) / 0.25 == pytest.approx(rate, rel=0.01)


def test_unnormalised_growth_rate():
    """USA: the rate is that of SA times a_0 (docs/theory.md §4.5), and rescaled time divides it by e^beta."""
    a0 = iv(0, 3.0)
    rate = 4 * iv(2, 3.0) / (3.0 * iv(0, 3.0)) * a0
    start, end = run("circle", {"beta": 3.0, "normalization": "none"}, {"law": "harmonics", "cos": [0.0, 1e-4]}, (0.0, 0.1),
                     cells=48)
    assert np.log(abs(fourier(end, 2)) / abs(fourier(start, 2))) / 0.1 == pytest.approx(rate, rel=0.01)
    problem = read_problem({
        "space": {"manifold": "circle"}, "attention": {"beta": 3.0, "normalization": "none"},
        "initial": {"law": "harmonics", "cos": [0.0, 1e-4]}, "density": {"cells": 48, "degree": 2, "integrator": "ssprk104"},
        "time": {"end": 0.1 * np.exp(3.0), "outputs": [0.1 * np.exp(3.0)], "rescaled": True}})
    found = []
    DensitySolver(problem).run(found.append)
    assert fourier(found[0], 2) == pytest.approx(fourier(end, 2), rel=1e-6)


def test_forward_heat_limit_order(order_table):
    """V = -I, t = beta s: the heat equation up to O(1/beta) (docs/theory.md §4.3)."""
    s, errors, betas = 0.2, [], (20.0, 40.0, 80.0)
    for beta in betas:
        end = run("circle", {"beta": beta, "value": [[-1.0, 0.0], [0.0, -1.0]]}, {"law": "harmonics", "cos": [0.4, 0.3]},
                  (beta * s,), cells=64, integrator="ssprk33")[0]
        errors.append(abs(fourier(end, 2) - 0.15 * np.exp(-4 * s)))
    orders = [np.log2(a / b) for a, b in itertools.pairwise(errors)]
    order_table.add("forward heat limit, order in 1/beta (4.3)", 1, [1 / beta for beta in betas], errors, orders)
    assert orders[-1] == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize(("space", "beta"), [("circle", 0.0), ("circle", 7.0), ("sphere", 7.0)])
def test_uniform_is_stationary(space, beta):
    """The uniform law stays when V B^T is a multiple of I (docs/theory.md §6), here up to the quadrature of the mesh."""
    end = run(space, {"beta": beta}, {"law": "uniform"}, (1.0,), cells=80, degree=2)[0]
    area = 2 * np.pi if space == "circle" else 4 * np.pi
    assert end.l2_distance(lambda x: np.full(len(x), 1 / area)) < (1e-6 if space == "circle" else 2e-3)


@pytest.mark.parametrize("space", ["circle", "sphere"])
def test_uniform_drift_factor(space):
    """X = A_d(beta |B^T x|) X_0(x) on the uniform law (docs/theory.md §4.1)."""
    V = np.diag([1.0, 0.4, -0.2][: 2 if space == "circle" else 3])
    cells = 64 if space == "circle" else 500
    start = run(space, {"beta": 6.0, "value": V.tolist()}, {"law": "uniform"}, (0.0,), cells=cells, degree=3, geometry=3)[0]
    velocity = start.operator.velocity
    X = velocity(0.0, start.state)
    factor = iv(1, 6.0) / iv(0, 6.0) if space == "circle" else 1 / np.tanh(6.0) - 1 / 6.0
    assert np.allclose(X, factor * velocity.tangent(velocity.nodes @ V), atol=1e-8 if space == "circle" else 1e-6)
