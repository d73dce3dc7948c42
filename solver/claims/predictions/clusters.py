"""Predictions about few clusters: paths of Dirac masses, pairing, thresholds, energies of the last state."""

from __future__ import annotations

import numpy as np
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from scipy.optimize import brentq
from scipy.special import erfc

from problems.laws.spherical import WrappedNormal
from solver.claims.case import Array, Case, Value
from solver.claims.predictions.exact import TIGHT


def _pairing(case: Case, first: int, second: int) -> tuple[float, float, float]:
    """artanh rho_0 of two Dirac masses, and the factors m_2/m_1 + m_1/m_2 and max(m_2/m_1, m_1/m_2) of their meeting."""
    points, masses = case.start()
    ratio = float(masses[first] / masses[second])
    return float(np.arctanh(points[first] @ points[second])), ratio + 1 / ratio, max(ratio, 1 / ratio)


# The bar of the law of pairing, in parts of what the denominator of softmax attention, which it leaves out, would change.
MARGIN = 1.5


def pairing_cosine(case: Case, s: float, first: int = 0, second: int = 1) -> Value:
    """rho(s) = tanh(2 gamma s + artanh rho_0) of the closest pair among equal Dirac masses, ds = e^{-beta (1-rho(t))} dt; for
    three at large beta (docs/theory.md §4.4), V = gamma I, B = b I and beta b for beta; m_2/m_1 + m_1/m_2 for 2 where the masses
    differ. Its bar is what the denominator 1 + e^{-beta (1-rho)}, which is left out, would change."""
    start, factor, larger = _pairing(case, first, second)
    factor, beta = factor * case.multiples[0], case.sharpness

    def slope(_: float, y: Array) -> Array:  # of artanh rho, which stays of moderate size
        return np.asarray(factor / (1 + larger * np.exp(-beta * (1 - np.tanh(y)))), float)

    rho = float(np.tanh(factor * s + start))
    full = solve_ivp(slope, (0, s), [start], **TIGHT).y[0, -1]
    return Value(rho, MARGIN * abs(rho - float(np.tanh(full))))


def pairing_path(case: Case, first: int = 0, second: int = 1) -> Value:
    """Cosine of the closest pair against t, as `pairing_cosine` gives it against s: rho' = 2 (1 - rho^2) e^{-beta (1 - rho)}."""
    start, factor, larger = _pairing(case, first, second)
    factor, beta = factor * case.multiples[0], case.sharpness

    def path(denominator: float) -> Array:
        def slope(_: float, y: Array) -> Array:
            pull = np.exp(-beta * (1 - np.tanh(y)))
            return factor * pull / (1 + denominator * pull)

        return np.asarray(np.tanh(solve_ivp(slope, (0, case.times[-1]), [start], t_eval=case.times, **TIGHT).y[0]), float)

    rho = path(0.0)
    return Value(rho, MARGIN * np.abs(rho - path(larger)))


def dirac_path_angle(case: Case) -> Array:
    """Angle of a single narrow cluster in the plane: the direction of e^{tV} x_0 (docs/theory.md §4.7; SA, any beta and B)."""
    start = case.start()[0][0]
    x = np.array([expm(t * case.V) @ start for t in case.times])
    return np.unwrap(np.arctan2(x[:, 1], x[:, 0]))


def pair_speed(case: Case, token: int) -> float:
    """Angular velocity at depth 0 of a Dirac mass m+ at x with m- at -x: (m+ e^b - m- e^-b)/(m+ e^b + m- e^-b) times that of
    P_x V x, b = beta <x, B x> (docs/theory.md §4.7); x and m+ are those of `token`, the other one of two is m-."""
    points, masses = case.start()
    return _pair_speed(case, points[token], float(masses[token] / masses[1 - token]))


def _pair_speed(case: Case, x: Array, ratio: float) -> float:
    pull = case.V @ x
    return float(np.tanh(case.beta * (x @ case.B @ x) + 0.5 * np.log(ratio)) * (x[0] * pull[1] - x[1] * pull[0]))


def pair_path_angle(case: Case) -> Array:
    """Angle of the first of an equal antipodal pair on the circle: x' = tanh(beta <x, B x>) P_x V x (docs/theory.md §4.7).
    Unequal
    pairs do not stay antipodal, so that their speed (`pair_speed`) holds at depth 0 alone."""
    start = case.start()[0][0]

    def slope(_: float, theta: Array) -> list[float]:
        return [_pair_speed(case, np.array([np.cos(theta[0]), np.sin(theta[0])]), 1.0)]

    begin = float(np.arctan2(start[1], start[0]))
    return solve_ivp(slope, (0, case.times[-1]), [begin], t_eval=case.times, **TIGHT).y[0]


def pairing_exponent(case: Case, angle: float) -> float:
    """Growth b (1 - cos(angle)) in beta of the logarithm of the time in which a pair of clusters meets, B = b I on their plane
    (docs/theory.md §4.4)."""
    return float(case.B[0, 0]) * (1 - float(np.cos(angle)))


def survival_beta(case: Case) -> Value:
    """beta above which the smaller of two opposite narrow bumps of deviation sigma contracts: (1 + 3 sigma^2) ln(m_1/m_2)/(2 b),
    B = b I, the masses from the initial components.

    At beta_0 = ln(m_1/m_2)/2 the linear pull of both bumps cancels. What remains of the drift at the distance x from the centre
    of the smaller one is beta (x^3 + 3 sigma^2 x)/2, which widens a normal law at the rate 3 beta sigma^2; tanh(beta - beta_0)
    balances it. The next term is 2.5 sigma^4 at masses .75 and .25 (quadrature of the drift over two normal laws); the bar is
    twice that.
    """
    weights = np.sort(case.mixture.weights)
    width = max(part.deviation for part in case.mixture.components if isinstance(part, WrappedNormal)) ** 2
    return Value(0.5 * float(np.log(weights[-1] / weights[0])) * (1 + 3 * width) / case.multiples[1],
                 5 * width**2 / case.multiples[1])


def surviving_mass(case: Case) -> Value:
    """Mass of the smaller of two opposite bumps on the circle above the threshold of `survival_beta`. What lies beyond
    x^2 = 2 tanh(beta - beta_0)/beta - 3 sigma^2 from its centre, where the drift of that docstring turns outwards, may be lost at
    first: that part of a normal law is the bar; beta b for beta."""
    weights, b = np.sort(case.mixture.weights), case.sharpness
    width = max(part.deviation for part in case.mixture.components if isinstance(part, WrappedNormal))
    mass = float(weights[0] / weights.sum())
    turn = 2 * np.tanh(b - 0.5 * np.log(weights[-1] / weights[0])) / b - 3 * width**2
    return Value(mass, mass * float(erfc(np.sqrt(max(turn, 0.0) / 2) / width)))


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


def plateau_energy(case: Case, first: int = 0, second: int = 1) -> Value:
    """`cluster_energy` of the starting tokens, two of them merged and in their middle; far apart from each other."""
    points, masses = case.start()
    rest = [i for i in range(len(masses)) if i not in (first, second)]
    middle = points[first] + points[second]
    places = np.vstack([middle / np.linalg.norm(middle), points[rest]])
    cosines = (places @ places.T)[~np.eye(len(places), dtype=bool)]
    return cluster_energy(case, [float(masses[first] + masses[second]), *map(float, masses[rest])],
                          float(np.arccos(np.clip(cosines.max(), -1.0, 1.0))))


def lattice_threshold(case: Case, clusters: int, mode: int) -> float:
    """beta at which lattice mode p of k equal clusters is neutral, B = b I: where `lattice_growth` vanishes, NaN where it does
    not. For three clusters and b = -1 it is 2/3."""
    sign = float(np.sign(case.multiples[1]))
    angles = 2 * np.pi * np.arange(clusters) / clusters

    def pull(beta: float) -> float:
        b = sign * beta
        force = (np.cos(angles) - b * np.sin(angles) ** 2) * np.exp(b * (np.cos(angles) - 1))
        return float(np.mean(force * (1 - np.cos(mode * angles))))

    grid = np.linspace(1e-3, 20.0, 400)
    values = np.array([pull(float(beta)) for beta in grid])
    change = np.flatnonzero(values[1:] * values[:-1] < 0)
    if not len(change):
        return float("nan")
    found = float(brentq(pull, grid[change[0]], grid[change[0] + 1], xtol=1e-14))
    return found / abs(case.multiples[1])


def cluster_share(case: Case, masses: list[float], exchange: float = 0.0) -> Value:
    """Sum of (n_q/n)^2: `cluster_energy` times 2 beta e^{-beta}, up to twice the mass `exchange` that may have gone to another
    cluster."""
    m = np.asarray(masses, float) / np.sum(masses)
    share = float(np.sum(m**2))
    return Value(share, 2 * exchange * share)


TABLE = (
    pairing_cosine, pairing_path, plateau_energy, lattice_threshold,
    dirac_path_angle, pair_speed, pair_path_angle, pairing_exponent, survival_beta, surviving_mass,
    narrow_bump_rate, dirac_energy_scaled, pair_energy_scaled, uniform_energy_scaled, cluster_energy, cluster_share)
