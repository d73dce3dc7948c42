"""Noise: counter-based Gaussians, and Euler-Maruyama on circle, sphere and box."""

import numpy as np
import pytest
from scipy.stats import kstest

from solver.particles.noise import standard_normal
from tests.particles.support import problem, run


@pytest.mark.parametrize("d", [1, 2, 3, 5, 9])
def test_numbers_depend_on_token_and_step_alone(d):
    whole = standard_normal(42, 7, 0, 100, d)
    parts = [standard_normal(42, 7, a, b, d) for a, b in ((0, 13), (13, 64), (64, 64), (64, 100))]
    assert np.array_equal(np.concatenate(parts), whole)
    assert not np.any(standard_normal(42, 8, 0, 100, d) == whole)
    assert not np.any(standard_normal(43, 7, 0, 100, d) == whole)


def test_numbers_are_normal_and_independent():
    """Kolmogorov-Smirnov and correlations at a level of 1e-3; the seed is fixed."""
    draws = np.concatenate([standard_normal(1, step, 0, 5000, 3) for step in range(4)])
    assert kstest(draws.ravel(), "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(draws.T) - np.eye(3)).max() < 3.3 / np.sqrt(len(draws))


@pytest.mark.parametrize(("d", "name"), [(2, "circle"), (3, "sphere"), (5, "sphere")])
def test_free_diffusion_decays_at_the_rate_of_the_laplacian(d, name):
    """V = 0: <x_0, x(t)> has mean e^{-(d-1) D t}; 4 standard deviations and the step's own error, a false alarm in 16000."""
    diffusivity, t, n = 0.3, 0.5, 20000
    p = problem(name, dimension=d, beta=0.0, end=t, noise=diffusivity, attention={"value": np.zeros((d, d)).tolist()},
                particles={"step": 0.005, "seed": 3})
    x0 = np.tile(np.eye(d)[0], (n, 1))
    last = run(p, (x0, np.full(n, 1 / n)))[-1].points
    cosines = last[:, 0]
    rate = (d - 1) * diffusivity
    assert cosines.mean() == pytest.approx(np.exp(-rate * t), abs=4 * cosines.std() / np.sqrt(n) + rate * 0.005)
    assert np.abs(np.linalg.norm(last, axis=1) - 1).max() < 1e-14


def test_weak_order_one_on_the_sphere():
    """The mean of one retracted step against e^{-2 D h}: the error is of order h^2, by exact averages over the step."""
    # E 1/sqrt(1 + s R^2), R^2 ~ chi^2_2, s = 2 D h: int_0^inf e^{-r/2}/2 (1 + s r)^{-1/2} dr.
    x, w = np.polynomial.laguerre.laggauss(60)

    def error(h, diffusivity=0.3):
        s = 2 * diffusivity * h
        return abs(w @ (1 + 2 * s * x) ** -0.5 - np.exp(-2 * diffusivity * h))

    assert np.log2(error(0.02) / error(0.01)) == pytest.approx(2, abs=0.1)


def test_noisy_stationary_law_of_unnormalised_attention():
    """§5.6: circle, (beta, kappa) = (1, 2.5): first moment r_1 = .7815843072, within sampling and step error."""
    p = problem(beta=1.0, end=8.0, outputs=33, noise=1 / 2.5, attention={"normalization": "none"}, law="von-mises-fisher",
                initial={"components": [{"mean": [1.0, 0.0], "concentration": 3.0}]},
                particles={"count": 500, "step": 0.04, "seed": 1, "sampling": "sobol"})
    late = [np.linalg.norm(s.row["mean"]) for s in run(p) if s.time > 3]
    # Some twenty correlated snapshots of 500 tokens: the standard error is about .02/sqrt(5).
    assert np.mean(late) == pytest.approx(0.7815843072, abs=0.03)


def test_walls_reflect_noise():
    """V = 0 in a box: the uniform law stays uniform, no token gathers at a wall (Kolmogorov-Smirnov at 1e-3)."""
    p = problem("interval", bounds=[[0.0, 2.0]], beta=0.0, end=1.0, noise=0.5, attention={"value": [[0.0]]},
                particles={"count": 4000, "step": 0.02, "sampling": "random", "seed": 2})
    x = run(p)[-1].points[:, 0]
    assert kstest(x / 2, "uniform").pvalue > 1e-3


def test_members_are_independent_and_reproducible():
    p = problem(beta=2.0, end=0.2, noise=0.1, particles={"count": 32, "ensemble": 3, "step": 0.02, "seed": 9})
    a, b = run(p)[-1], run(p)[-1]
    assert np.array_equal(a.members, b.members)
    assert np.abs(a.members[0] - a.members[1]).min() > 0
    alone = run(problem(beta=2.0, end=0.2, noise=0.1, particles={"count": 32, "step": 0.02, "seed": 10}))[-1]
    assert np.abs(alone.points - a.members[1]).max() < 1e-14
