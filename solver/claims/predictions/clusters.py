"""Predictions about few clusters: paths of Dirac masses, pairing, thresholds, energies of the last state."""

from __future__ import annotations

import numpy as np
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from problems.laws.spherical import WrappedNormal
from solver.claims.case import Array, Case, Value
from solver.claims.predictions.exact import TIGHT


def pairing_cosine(case: Case, s: float, first: int = 0, second: int = 1) -> float:
    """rho(s) = tanh(2 s + artanh rho_0) of the closest pair among equal Dirac masses, ds = e^{-beta (1-rho(t))} dt; for three
    equal masses at large beta (docs/theory.md §4.4)."""
    points, _ = case.start()
    return float(np.tanh(2 * s + np.arctanh(points[first] @ points[second])))


def pairing_path(case: Case, first: int = 0, second: int = 1) -> Array:
    """Cosine of the closest pair against t, as `pairing_cosine` gives it against s: rho' = 2 (1 - rho^2) e^{-beta (1 - rho)}."""
    points, _ = case.start()
    turned = np.arctanh(float(points[first] @ points[second]))

    def slope(_: float, y: Array) -> Array:  # of artanh rho, which stays of moderate size
        return 2 * np.exp(-case.beta * (1 - np.tanh(y)))

    return np.tanh(solve_ivp(slope, (0, case.times[-1]), [turned], t_eval=case.times, **TIGHT).y[0])


def dirac_path_angle(case: Case) -> Array:
    """Angle of a single narrow cluster in the plane: the direction of e^{tV} x_0 (docs/theory.md §4.7; SA, any beta and B)."""
    start = case.start()[0][0]
    x = np.array([expm(t * case.V) @ start for t in case.times])
    return np.unwrap(np.arctan2(x[:, 1], x[:, 0]))


def pair_speed(case: Case, own: float, other: float, angle: float) -> float:
    """Angular velocity of a Dirac mass m+ at x with m- at -x: (m+ e^b - m- e^-b)/(m+ e^b + m- e^-b) times that of P_x V x,
    b = beta <x, B x> (docs/theory.md §4.7)."""
    x = np.array([np.cos(angle), np.sin(angle)])
    pull = case.V @ x
    return float(np.tanh(case.beta * (x @ case.B @ x) + 0.5 * np.log(own / other)) * (x[0] * pull[1] - x[1] * pull[0]))


def pair_path_angle(case: Case) -> Array:
    """Angle of the first of an equal antipodal pair on the circle: x' = tanh(beta <x, B x>) P_x V x (docs/theory.md §4.7).
    Unequal
    pairs do not stay antipodal, so that their speed (`pair_speed`) holds at depth 0 alone."""
    start = case.start()[0][0]

    def slope(_: float, theta: Array) -> list[float]:
        return [pair_speed(case, 1.0, 1.0, float(theta[0]))]

    begin = float(np.arctan2(start[1], start[0]))
    return solve_ivp(slope, (0, case.times[-1]), [begin], t_eval=case.times, **TIGHT).y[0]


def pairing_exponent(case: Case, angle: float) -> float:
    """Growth 1 - cos(angle) in beta of the logarithm of the time in which a pair of clusters meets (docs/theory.md §4.4)."""
    return 1 - float(np.cos(angle))


def survival_beta(case: Case) -> Value:
    """beta above which the smaller of two opposite narrow bumps of deviation sigma contracts: (1 + 3 sigma^2) ln(m_1/m_2)/2, the
    masses from the initial components.

    At beta_0 = ln(m_1/m_2)/2 the linear pull of both bumps cancels. What remains of the drift at the distance x from the centre
    of the smaller one is beta (x^3 + 3 sigma^2 x)/2, which widens a normal law at the rate 3 beta sigma^2; tanh(beta - beta_0)
    balances it. The next term is 2.5 sigma^4 at masses .75 and .25 (quadrature of the drift over two normal laws); the bar is
    twice that.
    """
    weights = np.sort(case.mixture.weights)
    width = max(part.deviation for part in case.mixture.components if isinstance(part, WrappedNormal)) ** 2
    return Value(0.5 * float(np.log(weights[-1] / weights[0])) * (1 + 3 * width), 5 * width**2)


def narrow_bump_rate(case: Case) -> float:
    """Rate at which a narrow smaller bump opposite a larger one widens: -(m_2 e^beta - m_1 e^-beta)/(m_2 e^beta + m_1
    e^-beta)."""
    weights = np.sort(case.mixture.weights)
    return -float(np.tanh(case.beta - 0.5 * np.log(weights[-1] / weights[0])))


def dirac_energy_scaled(case: Case) -> float:
    """2 beta E of the Dirac mass at the top eigenvector of B: e^{beta lambda_1}."""
    return float(np.exp(case.beta * np.linalg.eigvalsh(case.B)[-1]))


def pair_energy_scaled(case: Case) -> float:
    """2 beta E of the equal antipodal pair at the eigenvector of the lowest eigenvalue of B: cosh(beta lambda_d)."""
    return float(np.cosh(case.beta * np.linalg.eigvalsh(case.B)[0]))


def uniform_energy_scaled(case: Case) -> float:
    """2 beta E of the uniform law for B = I: a_0 of `solver.claims.predictions.linear.partition`."""
    from solver.claims.predictions.linear import partition

    return partition(case)


def cluster_energy(case: Case, masses: list[float], apart: float = 1.0) -> Value:
    """E of narrow clusters, at least the angle `apart` from each other: sum of (n_q/n)^2 times e^beta/(2 beta), up to a part of
    e^{-beta (1 - cos apart)} for each neighbour."""
    m = np.asarray(masses, float) / np.sum(masses)
    energy = float(np.sum(m**2) * np.exp(case.beta) / (2 * case.beta))
    return Value(energy, energy * len(m) * float(np.exp(-case.beta * (1 - np.cos(apart)))))


def cluster_share(case: Case, masses: list[float], exchange: float = 0.0) -> Value:
    """Sum of (n_q/n)^2: `cluster_energy` times 2 beta e^{-beta}, up to twice the mass `exchange` that may have gone to another
    cluster."""
    m = np.asarray(masses, float) / np.sum(masses)
    share = float(np.sum(m**2))
    return Value(share, 2 * exchange * share)


TABLE = (
    pairing_cosine, pairing_path, dirac_path_angle, pair_speed, pair_path_angle, pairing_exponent, survival_beta,
    narrow_bump_rate, dirac_energy_scaled, pair_energy_scaled, uniform_energy_scaled, cluster_energy, cluster_share)
