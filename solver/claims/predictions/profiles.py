"""Predicted profiles: densities around the circle at the last output, relative to the uniform law, for figures."""

from __future__ import annotations

import numpy as np
from scipy.integrate import solve_ivp

from solver.claims.case import Array, Case
from solver.claims.measurements.profiles import density_around, grid
from solver.claims.predictions.linear import partition

WAVES = 256


def initial_profile(case: Case, count: int = 180) -> Array:
    """The law at depth 0."""
    return density_around(*case.start(4096), count)


def cold_profile(case: Case, count: int = 180) -> Array:
    """The law that the zero-temperature flow x' = P_x V B^T x/|B^T x| makes of the start (docs/theory.md §3.1)."""
    from solver.projection.cold_flow import flow

    points, masses = case.start(4096)
    return density_around(flow(points, case.weights, case.times)[-1], masses, count)


def heat_profile(case: Case, count: int = 180) -> Array:
    """The start with its k-th Fourier mode multiplied by e^{gamma k^2 t/beta}, V = gamma I, B = b I with beta b for beta
    (docs/theory.md §4.3): the backward heat equation for gamma = 1, whose modes beyond 24 are left out."""
    points, masses = case.start(4096)
    gamma, k = case.multiples[0], np.arange(1, 25)
    phase = np.exp(-1j * np.outer(k, np.arctan2(points[:, 1], points[:, 0]))) @ masses
    grown = phase * np.exp(gamma * k**2 * case.times[-1] / case.sharpness)
    return np.asarray(1 + 2 * np.real(np.exp(1j * np.outer(grid(count), k)) @ grown))


def porous_profile(case: Case, count: int = 180) -> Array:
    """d_s f = -gamma/2 Laplace(f^2), t = (beta/a_0) s (docs/theory.md §4.3), by a Fourier method with 256 points."""
    angles = grid(WAVES)
    start = case.problem.initial.density(np.stack((np.cos(angles), np.sin(angles)), axis=1)) * 2 * np.pi
    waves = np.fft.rfftfreq(WAVES, 1 / WAVES)

    def slope(_: float, f: Array) -> Array:
        return case.multiples[0] / 2 * np.fft.irfft(waves**2 * np.fft.rfft(f * f), WAVES)

    slow = float(np.exp(-case.beta)) if case.problem.time.rescaled else 1.0
    end = float(case.times[-1]) * slow * partition(case) / case.sharpness
    f = solve_ivp(slope, (0, end), start, method="LSODA", rtol=1e-9, atol=1e-11).y[:, -1]
    return np.interp(grid(count), angles, f, period=2 * np.pi)


TABLE = (initial_profile, cold_profile, heat_profile, porous_profile)
