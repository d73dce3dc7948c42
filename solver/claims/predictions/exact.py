"""Exact solutions at finite beta: few tokens, normal laws, infinite temperature, uniform laws."""

from __future__ import annotations

import numpy as np
from scipy.integrate import quad, solve_ivp
from scipy.optimize import brentq
from scipy.special import ive

from problems.laws.normal import Normal
from problems.laws.spherical import PoissonKernel
from solver.claims.case import Array, Case
from solver.claims.direct import attended, drift

TIGHT = {"rtol": 1e-12, "atol": 1e-14, "method": "DOP853"}


def constant(case: Case, value: float) -> float:
    """A number that the claim states."""
    return float(value)


def equiangular_cosine(case: Case) -> Array:
    """n orthonormal tokens: rho' = 2 gamma e^{beta rho} (1 - rho) ((n-1) rho + 1)/(e^beta + (n-1) e^{beta rho}) (SA); without
    the denominator, and divided by n, for USA (docs/theory.md §5.3); V = gamma I, B = b I with beta b for beta."""
    n, beta, gamma = case.dimension, case.sharpness, case.multiples[0]

    def slope(_: float, rho: Array) -> Array:
        top = 2 * gamma * np.exp(beta * (rho - 1)) * (1 - rho) * ((n - 1) * rho + 1)
        return top * np.exp(beta) / n if case.unnormalised else top / (1 + (n - 1) * np.exp(beta * (rho - 1)))

    return solve_ivp(slope, (0, case.times[-1]), [0.0], t_eval=case.times, **TIGHT).y[0]


def equiangular_time(case: Case, level: float) -> float:
    """Depth at which the cosine of n orthonormal tokens reaches `level`: the phase curve t(beta, n), by the equation of
    `equiangular_cosine` (docs/theory.md §5.3)."""
    n, beta, gamma = case.dimension, case.sharpness, case.multiples[0]
    below = (lambda r: n * np.exp(-beta)) if case.unnormalised else (lambda r: 1 + (n - 1) * np.exp(beta * (r - 1)))
    return quad(lambda r: below(r) / (2 * gamma * np.exp(beta * (r - 1)) * (1 - r) * ((n - 1) * r + 1)),
                0, level, epsabs=0, epsrel=1e-12, limit=500)[0]


def two_dirac_slope(case: Case, rho: float, m1: float, m2: float) -> float:
    """rho' of two Dirac masses with V = gamma I, B = b I, beta b for beta (docs/theory.md §5.2)."""
    beta, gamma = case.sharpness, case.multiples[0]
    if case.unnormalised:
        return gamma * np.exp(beta * rho) * (1 - rho**2) * (m1 + m2)
    grow = np.exp(np.minimum(beta * (1 - rho), 700))
    return gamma * (1 - rho**2) * (m2 / (m1 * grow + m2) + m1 / (m2 * grow + m1))


def two_dirac_cosine(case: Case) -> Array:
    """Cosine of two Dirac masses against t, from `two_dirac_slope`."""
    points, masses = case.start()
    start = float(points[0] @ points[1])
    return solve_ivp(lambda _, r: two_dirac_slope(case, r, *masses), (0, case.times[-1]), [start], t_eval=case.times,
    **TIGHT).y[0]


def two_dirac_time(case: Case, level: float) -> float:
    """Depth at which the cosine of two Dirac masses reaches `level`."""
    points, masses = case.start()
    return quad(lambda r: 1 / two_dirac_slope(case, r, *masses), float(points[0] @ points[1]), level, epsabs=0, epsrel=1e-12,
                limit=500)[0]


def kuramoto_mean(case: Case, entry: int = -1) -> Array:
    """|m| (entry -1) or one coordinate of the mean at beta = 0, from w' = (1+|w|^2)/2 V m - <V m, w> w, m = h_d(|w|) w/|w|
    (docs/theory.md §5.1); w is the mean of the problem's Poisson kernel."""
    w0 = case.component(PoissonKernel).w

    def mean(w: Array) -> Array:
        r = float(np.linalg.norm(w))
        if case.dimension == 2 or r < 1e-9:
            return w * (1.0 if case.dimension == 2 else 4 / 3)
        h = (1 + r * r) / (2 * r) - (1 - r * r) ** 2 / (4 * r * r) * np.log((1 + r) / (1 - r))
        return h * w / r

    def slope(_: float, w: Array) -> Array:
        pull = case.V @ mean(w)
        return (1 + w @ w) / 2 * pull - (pull @ w) * w

    solved = solve_ivp(slope, (0, case.times[-1]), w0, t_eval=case.times, **TIGHT).y.T
    means = np.array([mean(w) for w in solved])
    return np.linalg.norm(means, axis=1) if entry < 0 else means[:, entry]


def normal_law(case: Case, entry: int = 0, column: int = -1) -> Array:
    """Mean (column -1) or covariance entry of a normal law in R^d: alpha' = V (I + beta S B^T) alpha,
    S' = beta (V S B^T S + S B S V^T) (docs/theory.md §5.4)."""
    d, beta, V, B = case.dimension, case.beta, case.V, case.B
    component = case.component(Normal)
    covariance = component.factor @ component.factor.T

    def slope(_: float, state: Array) -> Array:
        alpha, S = state[:d], state[d:].reshape(d, d)
        return np.concatenate((V @ (alpha + beta * S @ B.T @ alpha), (beta * (V @ S @ B.T @ S + S @ B @ S @ V.T)).ravel()))

    y0 = np.concatenate((component.mean, covariance.ravel()))
    y = solve_ivp(slope, (0, case.times[-1]), y0, t_eval=case.times, **TIGHT).y
    return y[entry] if column < 0 else y[d + entry * d + column]


def normal_blow_up(case: Case) -> float:
    """Depth 1/(2 beta v b S_0) at which the variance of a normal law on the line is infinite (docs/theory.md §5.4)."""
    covariance = float(case.component(Normal).factor[0, 0]) ** 2
    return 1 / (2 * case.beta * case.V[0, 0] * case.B[0, 0] * covariance)


def bessel_ratio(case: Case, probe: int = 0) -> float:
    """A_d(beta |B^T x|), A_2 = I_1/I_0, A_3(k) = coth k - 1/k, A_d = I_{d/2}/I_{d/2-1} (docs/theory.md §4.1)."""
    from solver.claims.measurements.fields import probes

    x = probes(case.dimension)[probe]
    kappa, d = case.beta * float(np.linalg.norm(x @ case.B)), case.dimension
    return float(ive(d / 2, kappa) / ive(d / 2 - 1, kappa)) if kappa else 0.0


def energy_dissipation(case: Case) -> float:
    """dE/dt at depth 0 for V = +-B symmetric: +-int Z |X|^2 dmu (SA), +-int |X|^2 dmu (USA), Z the denominator (docs/theory.md
    §1)."""
    x, m = case.start(case.problem.particles.count)
    speed = drift(case, x, x, m)
    _, log_z = attended(case, x, x, m)
    weight = np.ones(len(m)) if case.unnormalised else np.exp(log_z)
    sign = 1.0 if np.allclose(case.V, case.B) else -1.0
    return float(sign * m @ (weight * np.sum(speed**2, axis=1)))


def reference_cosine(case: Case, first: int = 0, second: int = 1) -> Array:
    """Cosine of two tokens by DOP853 at a relative tolerance of 1e-12 on the all-pairs field of `solver.claims.direct`."""
    points, masses = case.start()
    shape = points.shape

    def slope(_: float, flat: Array) -> Array:
        x = flat.reshape(shape)
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        return drift(case, x, x, masses).ravel()

    y = solve_ivp(slope, (0, case.times[-1]), points.ravel(), t_eval=case.times, rtol=1e-11, atol=1e-12, method="DOP853").y
    x = y.T.reshape(-1, *shape)
    x = x / np.linalg.norm(x, axis=2, keepdims=True)
    return np.einsum("td,td->t", x[:, first], x[:, second])


def reference_time(case: Case, level: float, first: int = 0, second: int = 1) -> float:
    """Depth at which the cosine of two tokens passes a level, by the reference integrator of `reference_cosine`."""
    points, masses = case.start()
    shape = points.shape

    def unit(flat: Array) -> Array:
        x = flat.reshape(shape)
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    def reached(_: float, flat: Array) -> float:
        x = unit(flat)
        return float(x[first] @ x[second]) - level

    reached.terminal = True  # type: ignore[attr-defined]
    found = solve_ivp(lambda _, y: drift(case, unit(y), unit(y), masses).ravel(), (0, case.times[-1]), points.ravel(),
    events=reached,
                      rtol=1e-10, atol=1e-12, method="DOP853")
    return float(found.t_events[0][0]) if len(found.t_events[0]) else float("nan")


def crossover_depth(case: Case) -> float:
    """d at which, for V = B = diag(-1, d), a Dirac mass at e_2 and the equal pair at +-e_1 have the same energy: ln(cosh
    beta)/beta."""
    return float(brentq(lambda d: np.exp(case.beta * d) - np.cosh(case.beta), -1, 1, xtol=1e-14))


TABLE = (constant, equiangular_cosine, equiangular_time, two_dirac_cosine, two_dirac_time, kuramoto_mean, normal_law,
normal_blow_up,
         bessel_ratio, energy_dissipation, reference_cosine, reference_time, crossover_depth)
