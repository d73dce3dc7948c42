"""Limits of large beta over long depths: heat equation, backward heat equation, porous medium equation."""

from __future__ import annotations

import numpy as np
from scipy.integrate import solve_ivp

from solver.claims.case import Array, Case
from solver.claims.predictions.linear import partition


def heat_moment(case: Case, k: int) -> Array:
    """e^{gamma k^2 t/beta} m_k(0): the k-th Fourier moment under d_s f = -gamma Laplace f, t = beta s, V = gamma I
    (docs/theory.md §4.3)."""
    points, masses = case.start()
    start = float(masses @ np.cos(k * np.arctan2(points[:, 1], points[:, 0])))
    return start * np.exp(case.V[0, 0] * k**2 * case.times / case.beta)


def heat_exponent(case: Case, k: int) -> float:
    """Decay rate of mode k in the slow depth t/beta: -gamma k^2 (docs/theory.md §4.3)."""
    return -case.V[0, 0] * k**2


def collapse_depth(case: Case, deviation: float) -> float:
    """t = beta sigma^2/2, at which bumps of deviation sigma shrink to points under the backward heat equation."""
    return case.beta * deviation**2 / 2


def collapse_per_beta(case: Case, deviation: float) -> float:
    """sigma^2/2: the slope of `collapse_depth` in beta."""
    return deviation**2 / 2


def porous_moment(case: Case, k: int) -> Array:
    """k-th Fourier moment under d_s f = -gamma/2 Laplace(f^2), t = (beta/a_0) s, f the density relative to the uniform law
    (docs/theory.md §4.3), by a Fourier method with 256 points."""
    n = 256
    grid = 2 * np.pi * np.arange(n) / n
    circle = np.stack((np.cos(grid), np.sin(grid)), axis=1)
    f0 = case.problem.initial.density(circle) * 2 * np.pi
    waves = np.fft.rfftfreq(n, 1 / n)

    def slope(_: float, f: Array) -> Array:
        return case.V[0, 0] / 2 * np.fft.irfft(waves**2 * np.fft.rfft(f * f), n)

    slow = float(np.exp(-case.beta)) if case.problem.time.rescaled else 1.0
    times = case.times * (slow * partition(case)) / case.beta
    f = solve_ivp(slope, (0, times[-1]), f0, t_eval=times, method="LSODA", rtol=1e-10, atol=1e-12).y.T
    return f @ np.cos(k * grid) / n


TABLE = (heat_moment, heat_exponent, collapse_depth, collapse_per_beta, porous_moment)
