"""The relative entropy of the density that tokens carry and of that on a mesh."""

import numpy as np
import pytest

from solver.comparison.relative_entropy import relative_entropy


def normal_quadrature(points=40):
    """Gauss-Hermite points and weights of the standard normal law, and the logarithm of its density there."""
    x, w = np.polynomial.hermite_e.hermegauss(points)
    return x, w / w.sum(), -0.5 * x**2 - 0.5 * np.log(2.0 * np.pi)


@pytest.mark.parametrize("mean", [0.0, 1e-3, 0.05, 0.3])
def test_two_normal_laws(mean):
    """KL(N(0,1), N(a,1)) = a^2/2."""
    x, masses, logs = normal_quadrature()
    other = np.exp(-0.5 * (x - mean) ** 2) / np.sqrt(2.0 * np.pi)
    kl, l1 = relative_entropy(logs, masses, other)
    assert kl == pytest.approx(mean**2 / 2, rel=1e-4, abs=1e-15)
    assert l1 == pytest.approx(mean * np.sqrt(2.0 / np.pi), rel=0.05, abs=1e-14)


def test_a_token_on_a_steep_flank_counts_by_its_mass():
    """A triangle of mass 1e-9 whose token lies where log rho has fallen by 19 more than between: the mass of the mesh there is no
    1e-9 e^19 = .18."""
    _, masses, logs = normal_quadrature()
    exact = np.exp(logs)
    kl, l1 = relative_entropy(np.append(logs, logs.min() - 19.0), np.append(masses, 1e-9), np.append(exact, exact.min()))
    assert 0.0 <= kl + 2e-8 < 4e-8 and l1 < 4e-8


def test_what_is_not_known_of_much_mass_gives_nothing():
    logs, masses = np.array([0.0, np.nan]), np.array([0.9, 0.1])
    assert np.isnan(relative_entropy(logs, masses, np.ones(2))).all()
