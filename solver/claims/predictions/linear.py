"""Growth rates about uniform laws and lattices, and thresholds of noise."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaln, ive

from solver.claims.case import Array, Case


def partition(case: Case) -> float:
    """a_0 = Gamma(d/2) (2/beta)^{d/2-1} I_{d/2-1}(beta), the denominator under the uniform law (docs/theory.md §4.5)."""
    d, beta = case.dimension, case.beta
    return float(np.exp(gammaln(d / 2) + (d / 2 - 1) * np.log(2 / beta) + beta) * ive(d / 2 - 1, beta))


def uniform_rate(case: Case, k: int) -> float:
    """Growth rate of degree-k harmonics about the uniform law: gamma k (k+d-2) I_{k+d/2-1}(beta)/(beta I_{d/2-1}(beta)), times
    a_0
    for USA, less k (k+d-2) D with noise (docs/theory.md §4.5, §5.6); V = gamma I, B = I."""
    d, beta = case.dimension, case.beta
    rate = case.V[0, 0] * k * (k + d - 2) * float(ive(k + d / 2 - 1, beta) / ive(d / 2 - 1, beta)) / beta
    rate = rate * partition(case) if case.unnormalised else rate
    return rate - k * (k + d - 2) * case.problem.noise.diffusivity


def fastest_mode(case: Case) -> float:
    """The k that maximises `uniform_rate`."""
    return float(1 + int(np.argmax([uniform_rate(case, k) for k in range(1, 4 + int(4 * np.sqrt(case.beta + 1)))])))


def fastest_rate(case: Case) -> float:
    """The largest `uniform_rate`."""
    return uniform_rate(case, int(fastest_mode(case)))


def inverse_fastest_rate(case: Case) -> float:
    """One over `fastest_rate`: the slope of the saturation time in ln(1/noise)."""
    return 1 / fastest_rate(case)


def lattice_force(case: Case, x: Array) -> Array:
    """g(x) = (cos x - b sin^2 x) e^{b cos x}, b = beta B_11 (the score of a unit vector with itself)."""
    b = case.beta * case.B[0, 0]
    return (np.cos(x) - b * np.sin(x) ** 2) * np.exp(b * np.cos(x))


def _lattice_scale(case: Case, clusters: int) -> float:
    angles = 2 * np.pi * np.arange(clusters) / clusters
    return 1.0 if case.unnormalised else float(np.mean(np.exp(case.beta * case.B[0, 0] * np.cos(angles))))


def lattice_contraction(case: Case, clusters: int) -> float:
    """Rate at which two tokens of one of k equal clusters separate: -(1/k) sum_j g(2 pi j/k), over Z for SA; V = I, and g as in
    `lattice_force`."""
    angles = 2 * np.pi * np.arange(clusters) / clusters
    return -float(np.mean(lattice_force(case, angles))) / _lattice_scale(case, clusters) * case.V[0, 0]


def lattice_growth(case: Case, clusters: int, mode: int) -> float:
    """Growth rate of lattice mode p: -(1/k) sum_j g(2 pi j/k) (1 - cos(2 pi p j/k)), over Z for SA."""
    angles = 2 * np.pi * np.arange(clusters) / clusters
    pull = float(np.mean(lattice_force(case, angles) * (1 - np.cos(mode * angles))))
    return -pull / _lattice_scale(case, clusters) * case.V[0, 0]


def critical_diffusivity(case: Case) -> float:
    """D_c = 1/kappa_c = a_1(beta)/beta, a_1 = Gamma(d/2) (2/beta)^{d/2-1} I_{d/2}(beta), at which USA noise makes the uniform law
    stable (docs/theory.md §5.6)."""
    d, beta = case.dimension, case.beta
    return float(np.exp(gammaln(d / 2) + (d / 2 - 1) * np.log(2 / beta) + beta) * ive(d / 2, beta)) / beta


def stationary_moment(case: Case) -> float:
    """|int x dmu| of the stationary bump rho ~ exp((kappa/beta) int e^{beta <x,y>} rho(y)) on the circle (docs/theory.md §5.6),
    by
    fixed-point iteration from a concentrated law on 512 equispaced points; kappa/beta -> kappa cos at beta = 0."""
    beta, kappa = case.beta, 1 / case.problem.noise.diffusivity
    grid = 2 * np.pi * np.arange(512) / 512
    cosine = np.cos(grid[:, None] - grid[None, :])
    kernel = cosine * kappa if beta == 0 else np.exp(beta * cosine) * kappa / beta
    rho = np.exp(3 * np.cos(grid))
    for _ in range(20000):
        exponent = kernel @ (rho / rho.sum())
        new = np.exp(exponent - exponent.max())
        if np.abs(new - rho).max() < 1e-14:
            break
        rho = new
    return float(abs(np.sum(rho * np.cos(grid)) / rho.sum()))


def bifurcation_slope(case: Case) -> float:
    """Limit of r_1^2/(kappa/kappa_c - 1) at the onset of the bump on the circle: 2 (1-q)/(1-2q), q = I_2(beta)/I_1(beta)."""
    q = float(ive(2, case.beta) / ive(1, case.beta))
    return 2 * (1 - q) / (1 - 2 * q)


def continuous_up_to(case: Case) -> float:
    """beta at which the transition stops being continuous: I_{d/2+1}/I_{d/2} = 1/d."""
    d = case.dimension
    return float(brentq(lambda b: ive(d / 2 + 1, b) / ive(d / 2, b) - 1 / d, 1e-6, 100))


TABLE = (uniform_rate, fastest_mode, fastest_rate, inverse_fastest_rate, lattice_contraction, lattice_growth,
critical_diffusivity,
         stationary_moment, bifurcation_slope, continuous_up_to)
