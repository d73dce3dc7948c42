"""The density that every token carries, against the closed forms of docs/theory.md §3.3, §5.1 and §5.4."""

import numpy as np
import pytest
from mpi4py import MPI
from scipy.integrate import solve_ivp
from scipy.special import gamma

from solver.particles.solver import ParticleSolver
from tests.particles.support import problem, run


def log_area(d):
    return np.log(2) + d / 2 * np.log(np.pi) - np.log(gamma(d / 2))


@pytest.mark.parametrize("d", [2, 3, 5])
def test_angular_central_gaussian_at_zero_temperature(d):
    """§3.3: f_t(x) = e^{-t tr V} |e^{-tV} x|^{-d}, relative to the uniform law, for a law that charges the whole sphere."""
    spectrum = np.linspace(1.0, -0.5, d)
    case = problem("sphere", dimension=d, beta=np.inf, attention={"value": np.diag(spectrum).tolist()},
                   particles={"count": 200, "sampling": "random", "rtol": 1e-10})
    solver, found = ParticleSolver(case, MPI.COMM_SELF), []
    solver.drift.full_support = True
    solver.run(found.append)
    last = found[-1]
    expected = -spectrum.sum() - d / 2 * np.log(np.sum((np.exp(-spectrum) * last.points) ** 2, axis=1)) - log_area(d)
    assert np.abs(last.log_density[0] - expected).max() < 1e-8


def kuramoto(d, value, w0, t):
    """§5.1: the parameter w at depth t, by an accurate integration of its equation."""
    def h(r):
        return r if d == 2 else (1 + r * r) / (2 * r) - (1 - r * r) ** 2 / (4 * r * r) * np.log((1 + r) / (1 - r))

    def slow(_, w):
        r = np.linalg.norm(w)
        vm = value @ (h(r) / r * w)
        return (1 + r * r) / 2 * vm - (vm @ w) * w

    return solve_ivp(slow, (0, t), w0, method="DOP853", rtol=1e-13, atol=1e-14).y[:, -1]


def kuramoto_case(d, value, w0, **particles):
    return problem("sphere", dimension=d, beta=0.0, law="poisson-kernel", attention={"value": value.tolist()},
                   initial={"components": [{"mean": w0.tolist()}]},
                   particles={"count": 128 if d == 2 else 4000, **particles})


@pytest.mark.parametrize("d", [2, 3])
def test_kuramoto(d):
    """§5.1: f_w(x) = ((1 - |w|^2)/|x - w|^2)^{d-1}; the quadrature of the start is exact to 1e-10."""
    value = np.diag([1.0, 0.6, 0.8][:d]) + 0.2 * np.eye(d, k=1)
    w0 = np.array([0.2, 0.1, -0.05][:d])
    last = run(kuramoto_case(d, value, w0, rtol=1e-9))[-1]
    w = kuramoto(d, value, w0, 1.0)
    expected = (d - 1) * (np.log(1 - w @ w) - np.log(np.sum((last.points - w) ** 2, axis=1))) - log_area(d)
    assert np.abs(last.log_density[0] - expected).max() < 1e-7
    assert last.row["entropy"] == pytest.approx(float(last.masses @ last.log_density[0]), rel=1e-14)


def test_an_error_of_the_density_counts_relative_to_its_logarithm():
    """Unless the motion depends on it, as with adaptive tokens. The kernel is (beta |B|)^{-1/2} wide."""
    point = np.array([[[1.0, 0.0, 0.0, -8.0], [0.0, 1.0, 0.0, 0.5]]])
    error = np.array([[[3e-6, 0.0, 0.0, 8e-5], [0.0, 0.0, 0.0, 1e-5]]])
    for sampling, expected in (("quadrature", [np.hypot(3e-6, 1e-6), 1e-6]), ("adaptive", [np.hypot(3e-6, 8e-6), 1e-6])):
        case = problem("sphere", dimension=3, beta=100.0, law="uniform", particles={"count": 100, "sampling": sampling})
        assert ParticleSolver(case, MPI.COMM_SELF).drift.lengths(error, point)[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("integrator", "order", "steps"), [("euler", 1, (0.01, 0.005)), ("rk4", 4, (0.1, 0.05))])
def test_density_has_the_order_of_the_integrator(integrator, order, steps):
    value, w0 = np.array([[1.5, 0.3], [-0.4, 1.0]]), np.array([0.4, 0.2])
    w, errors = kuramoto(2, value, w0, 1.0), []
    for step in steps:
        last = run(kuramoto_case(2, value, w0, integrator=integrator, step=step))[-1]
        expected = np.log(1 - w @ w) - np.log(np.sum((last.points - w) ** 2, axis=1)) - log_area(2)
        errors.append(np.abs(last.log_density[0] - expected).max())
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.25)


@pytest.mark.parametrize("d", [1, 2])
def test_gaussians_in_flat_space(d):
    """§5.4: N(alpha, Sigma) with alpha' = V (I + beta Sigma B^T) alpha, Sigma' = beta (V Sigma B^T Sigma + Sigma B Sigma V^T)."""
    value = -np.eye(d) + 0.2 * np.eye(d, k=1)
    key, alpha, sigma, beta = np.eye(d) + 0.3 * np.eye(d, k=-1), np.full(d, 0.5), 0.5 * np.eye(d), 1.0
    case = problem("euclidean", dimension=d, beta=beta, law="normal",
                   attention={"value": value.tolist(), "key": key.tolist()},
                   initial={"components": [{"mean": alpha.tolist(), "covariance": sigma.tolist()}]},
                   particles={"count": 60**d, "rtol": 1e-9})
    last = run(case)[-1]

    def slow(_, y):
        a, s = y[:d], y[d:].reshape(d, d)
        half = beta * value @ s @ key.T @ s
        return np.concatenate([value @ (a + beta * s @ key.T @ a), (half + half.T).ravel()])

    end = solve_ivp(slow, (0, 1), np.concatenate([alpha, sigma.ravel()]), method="DOP853", rtol=1e-13, atol=1e-14).y[:, -1]
    a, s = end[:d], end[d:].reshape(d, d)
    centred = last.points - a
    expected = -0.5 * np.einsum("ij,jk,ik->i", centred, np.linalg.inv(s), centred) - 0.5 * np.log(np.linalg.det(2 * np.pi * s))
    # Nodes far out in the tails carry no mass and their errors are magnified by it.
    near = np.einsum("ij,jk,ik->i", centred, np.linalg.inv(s), centred) < 25
    assert np.abs(last.log_density[0] - expected)[near].max() < 1e-6


def test_no_density_with_noise_or_point_masses():
    assert run(problem(noise=0.1, end=0.1, particles={"count": 16, "sampling": "random"}))[-1].log_density is None
    assert run(problem(end=0.1, particles={"count": 16, "density": False}))[-1].log_density is None


def test_a_wall_takes_the_density():
    """Tokens that reach a wall stand for a point mass there; all others keep their density."""
    last = run(problem("interval", bounds=[[-1, 1]], beta=1.0, end=3.0, attention={"value": [[2.0]]},
                       particles={"count": 50, "rtol": 1e-8}))[-1]
    caught = np.isnan(last.log_density[0])
    assert caught.any() and np.array_equal(caught, np.abs(last.points[:, 0]) >= 1)
