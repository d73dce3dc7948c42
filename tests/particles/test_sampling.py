"""How well tokens stand for the initial law, and for the law at later depth."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import chi2

from solver.particles.sampling import initial_tokens
from tests.particles.support import SMOOTH_CIRCLE, SMOOTH_SPHERE, problem, run


@pytest.mark.parametrize("sampling", ["random", "sobol", "quadrature"])
def test_members_have_their_own_seeds_and_share_masses(sampling):
    p = problem(particles={"count": 64, "ensemble": 3, "sampling": sampling, "seed": 11}, **SMOOTH_CIRCLE)
    points, masses = initial_tokens(p)
    assert points.shape == (3, 64, 2)
    assert masses.sum() == pytest.approx(1.0, abs=1e-15)
    later, _ = initial_tokens(problem(particles={"count": 64, "sampling": sampling, "seed": 12}, **SMOOTH_CIRCLE))
    assert np.array_equal(points[1], later[0])
    assert np.array_equal(points[0], points[1]) == (sampling == "quadrature")


def moments(p):
    """First two circular moments (M, 2) of every member at the end."""
    last = run(p)[-1]
    z = last.members @ np.array([1, 1j])
    return np.stack((z @ last.masses, z**2 @ last.masses), axis=1)


def test_random_sampling_errs_like_one_over_root_n():
    """Mean square errors over 60 members at N and 4N differ by a factor 4.

    With 60 members and one real moment each, the ratio of mean squares is F(60, 60) distributed about 4: outside
    [4/2.36, 4*2.36] with probability 0.001. The seeds are fixed, so the test itself never flickers.
    """
    exact = moments(problem(beta=5.0, end=0.5, particles={"count": 96}, **SMOOTH_CIRCLE))[0]
    errors = []
    for count in (64, 256):
        p = problem(beta=5.0, end=0.5, particles={"count": count, "sampling": "random", "ensemble": 60, "rtol": 1e-6, "seed": 5},
                    **SMOOTH_CIRCLE)
        errors.append(np.mean((moments(p)[:, 0] - exact[0]).real ** 2))
    assert 4 / 2.36 < errors[0] / errors[1] < 4 * 2.36


def test_random_sampling_has_the_predicted_variance_at_the_start():
    """sum (x_bar - m)^2 N / var is chi-squared over independent members: two-sided at 1e-3."""
    count, members = 50, 200
    p = problem(end=0.0, outputs=[0.0], particles={"count": count, "sampling": "random", "ensemble": members}, **SMOOTH_CIRCLE)
    points, masses = initial_tokens(p)
    means = points[..., 0] @ masses  # E cos = .15, E cos^2 = 1/2 + (second cosine coefficient = 0)/4
    statistic = np.sum((means - 0.15) ** 2) * count / (0.5 - 0.15**2)
    low, high = chi2.ppf([0.0005, 0.9995], members)
    assert low < statistic < high


def test_sobol_beats_random():
    exact = moments(problem(beta=5.0, end=0.5, particles={"count": 96}, **SMOOTH_CIRCLE))[0]
    p = problem(beta=5.0, end=0.5, particles={"count": 256, "sampling": "sobol", "ensemble": 8, "rtol": 1e-6}, **SMOOTH_CIRCLE)
    assert np.abs(moments(p) - exact).max() < 0.1 * 256**-0.5


def test_quadrature_converges_exponentially_on_the_circle():
    exact = moments(problem(beta=5.0, end=1.0, particles={"count": 160}, **SMOOTH_CIRCLE))[0]
    errors = [np.abs(moments(problem(beta=5.0, end=1.0, particles={"count": n}, **SMOOTH_CIRCLE))[0] - exact).max()
              for n in (16, 32, 48, 64, 80)]
    assert errors[-1] < 1e-9
    # Every 16 further nodes win at least a factor 10, until the tolerance of the time steps is reached.
    for before, after in pairwise(errors):
        assert after < max(before / 10, 1e-9)


def test_quadrature_converges_exponentially_on_the_sphere():
    def mean(n):
        p = problem("sphere", beta=4.0, end=0.5, particles={"count": n, "rtol": 1e-10}, **SMOOTH_SPHERE)
        return run(p)[-1].row["mean"][2]

    exact = mean(1800)
    errors = [abs(mean(2 * m * m) - exact) for m in (6, 10, 14)]
    assert errors[1] < errors[0] / 10
    assert errors[2] < errors[1] / 10
