"""Growth rates about uniform laws and lattices, and thresholds of noise."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaln, ive

from solver.claims.case import Array, Case


def partition(case: Case) -> float:
    """a_0 = Gamma(d/2) (2/beta)^{d/2-1} I_{d/2-1}(beta), the denominator under the uniform law (docs/theory.md §4.5); here and
    below V = gamma I and B = b I, and beta b stands for beta."""
    d, beta = case.dimension, case.sharpness
    return float(np.exp(gammaln(d / 2) + (d / 2 - 1) * np.log(2 / beta) + beta) * ive(d / 2 - 1, beta))


def uniform_rate(case: Case, k: int) -> float:
    """Growth rate of degree-k harmonics about the uniform law: gamma k (k+d-2) I_{k+d/2-1}(beta)/(beta I_{d/2-1}(beta)), times
    a_0
    for USA, less k (k+d-2) D with noise (docs/theory.md §4.5, §5.6)."""
    d, beta = case.dimension, case.sharpness
    rate = case.multiples[0] * k * (k + d - 2) * float(ive(k + d / 2 - 1, beta) / ive(d / 2 - 1, beta)) / beta
    rate = rate * partition(case) if case.unnormalised else rate
    return rate - k * (k + d - 2) * case.problem.noise.diffusivity


def fastest_mode(case: Case) -> float:
    """The k that maximises `uniform_rate`."""
    return float(1 + int(np.argmax([uniform_rate(case, k) for k in range(1, 4 + int(4 * np.sqrt(case.sharpness + 1)))])))


def fastest_rate(case: Case) -> float:
    """The largest `uniform_rate`."""
    return uniform_rate(case, int(fastest_mode(case)))


def inverse_fastest_rate(case: Case) -> float:
    """One over `fastest_rate`: the slope of the saturation time in ln(1/noise)."""
    return 1 / fastest_rate(case)


def _first_passages(case: Case, noise: float, level: float = 0.3) -> tuple[Array, Array, Array]:
    """Depths t (T,), modes k (K,), and the probability (K, T) that mode k has reached `level` by t, in the linear theory of
    docs/theory.md §4.5, out of independent normal displacements of deviation noise * 2 pi/N of N equally spaced tokens on the
    circle.

    Mode k starts at the modulus k (2 pi noise/N) N^{-1/2} |xi_k|, the |xi_k|^2 independent and exponential with mean 1, and grows
    at `uniform_rate`: the probability is exp(-(level/(start e^{rate t}))^2).
    """
    count = len(case.start()[0])
    k = np.asarray(np.arange(1.0, 2 * fastest_mode(case) + 4), np.float64)
    rates = np.array([uniform_rate(case, int(mode)) for mode in k])
    starts = k * (2 * np.pi * noise / count) / np.sqrt(count)
    middle = float(np.log(level / starts.min()) / rates.max())
    t = np.asarray(np.linspace(0.2 * middle, 3 * middle, 20001), np.float64)
    return t, k, np.exp(-np.exp(np.minimum(2 * (np.log(level / starts)[:, None] - rates[:, None] * t), 700.0)))


def expected_waves(case: Case, noise: float) -> float:
    """Expected number of the Fourier mode that is the first to reach .3 out of weak noise, in the linear theory with the random
    amplitudes that the modes start from. As noise -> 0 it tends to `fastest_mode`, slowly: by a power of noise whose exponent
    is the relative gap of the rates."""
    _, k, reached = _first_passages(case, noise)
    others = np.array([np.prod(np.delete(1 - reached, i, axis=0), axis=0) for i in range(len(k))])
    first = np.sum((others[:, 1:] + others[:, :-1]) / 2 * np.diff(reached, axis=1), axis=1)
    return float(k @ first / first.sum())


def expected_saturation_slope(case: Case, low: float, high: float) -> float:
    """Slope in ln(1/noise), between the noises `low` and `high`, of the expected depth at which the first mode reaches .3, in the
    linear theory; it tends to `inverse_fastest_rate` as noise -> 0."""
    depths = []
    for noise in (low, high):
        t, _, reached = _first_passages(case, noise)
        waiting = np.prod(1 - reached, axis=0)
        depths.append(t[0] + float(np.sum((waiting[1:] + waiting[:-1]) / 2 * np.diff(t))))
    return (depths[0] - depths[1]) / float(np.log(high / low))


def lattice_force(case: Case, x: Array) -> Array:
    """g(x) = (cos x - b sin^2 x) e^{b cos x}, b = beta times the factor of I in B."""
    b = case.sharpness
    return (np.cos(x) - b * np.sin(x) ** 2) * np.exp(b * np.cos(x))


def _lattice_scale(case: Case, clusters: int) -> float:
    angles = 2 * np.pi * np.arange(clusters) / clusters
    return 1.0 if case.unnormalised else float(np.mean(np.exp(case.sharpness * np.cos(angles))))


def lattice_contraction(case: Case, clusters: int) -> float:
    """Rate at which two tokens of one of k equal clusters separate: -(1/k) sum_j g(2 pi j/k), over Z for SA; V = I, and g as in
    `lattice_force`."""
    angles = 2 * np.pi * np.arange(clusters) / clusters
    return -float(np.mean(lattice_force(case, angles))) / _lattice_scale(case, clusters) * case.multiples[0]


def lattice_growth(case: Case, clusters: int, mode: int) -> float:
    """Growth rate of lattice mode p: -(1/k) sum_j g(2 pi j/k) (1 - cos(2 pi p j/k)), over Z for SA."""
    angles = 2 * np.pi * np.arange(clusters) / clusters
    pull = float(np.mean(lattice_force(case, angles) * (1 - np.cos(mode * angles))))
    return -pull / _lattice_scale(case, clusters) * case.multiples[0]


def critical_diffusivity(case: Case) -> float:
    """D_c = 1/kappa_c = gamma a_1(beta)/beta, a_1 = Gamma(d/2) (2/beta)^{d/2-1} I_{d/2}(beta), at which USA noise makes the
    uniform law stable (docs/theory.md §5.6)."""
    d, beta = case.dimension, case.sharpness
    return case.multiples[0] * float(np.exp(gammaln(d / 2) + (d / 2 - 1) * np.log(2 / beta) + beta) * ive(d / 2, beta)) / beta


def stationary_moment(case: Case) -> float:
    """|int x dmu| of the stationary bump rho ~ exp((kappa/beta) int e^{beta <x,y>} rho(y)) on the circle (docs/theory.md §5.6),
    by
    fixed-point iteration from a concentrated law on 512 equispaced points; kappa/beta -> kappa cos at beta = 0."""
    beta, kappa = case.sharpness, case.multiples[0] / case.problem.noise.diffusivity
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
    q = float(ive(2, case.sharpness) / ive(1, case.sharpness))
    return 2 * (1 - q) / (1 - 2 * q)


def continuous_up_to(case: Case) -> float:
    """beta at which the transition stops being continuous: I_{d/2+1}/I_{d/2} = 1/d."""
    d = case.dimension
    return float(brentq(lambda b: ive(d / 2 + 1, b) / ive(d / 2, b) - 1 / d, 1e-6, 100))


TABLE = (uniform_rate, fastest_mode, expected_waves, expected_saturation_slope, fastest_rate, inverse_fastest_rate,
         lattice_contraction, lattice_growth, critical_diffusivity, stationary_moment, bifurcation_slope, continuous_up_to)
