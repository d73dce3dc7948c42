"""Laws that obey equations with fewer variables: heat, backward heat and porous medium at large beta; laws about an axis."""

from __future__ import annotations

import numpy as np
from scipy.integrate import solve_ivp
from scipy.special import ive

from solver.claims.case import Array, Case
from solver.claims.predictions.linear import partition


def heat_moment(case: Case, k: int) -> Array:
    """e^{gamma k^2 t/beta} m_k(0): the k-th Fourier moment under d_s f = -gamma Laplace f, t = beta s, V = gamma I, B = b I with
    beta b for beta (docs/theory.md §4.3)."""
    points, masses = case.start()
    start = float(masses @ np.cos(k * np.arctan2(points[:, 1], points[:, 0])))
    return start * np.exp(case.multiples[0] * k**2 * case.times / case.sharpness)


def heat_exponent(case: Case, k: int) -> float:
    """Decay rate of mode k in the slow depth t/beta: -gamma k^2/b, V = gamma I, B = b I (docs/theory.md §4.3)."""
    gamma, b = case.multiples
    return -gamma * k**2 / b


def collapse_depth(case: Case, deviation: float) -> float:
    """t = beta sigma^2/2, at which bumps of deviation sigma shrink to points under the backward heat equation (beta b/gamma for
    beta where V = gamma I and B = b I on the plane of the bumps)."""
    return case.beta * collapse_per_beta(case, deviation)


def collapse_per_beta(case: Case, deviation: float) -> float:
    """sigma^2 b/(2 gamma): the slope of `collapse_depth` in beta."""
    return deviation**2 / 2 * float(case.B[0, 0] / case.V[0, 0])


def porous_moment(case: Case, k: int) -> Array:
    """k-th Fourier moment under d_s f = -gamma/2 Laplace(f^2), t = (beta/a_0) s, f the density relative to the uniform law
    (docs/theory.md §4.3), by a Fourier method with 256 points."""
    n = 256
    grid = 2 * np.pi * np.arange(n) / n
    circle = np.stack((np.cos(grid), np.sin(grid)), axis=1)
    f0 = case.problem.initial.density(circle) * 2 * np.pi
    waves = np.fft.rfftfreq(n, 1 / n)

    def slope(_: float, f: Array) -> Array:
        return case.multiples[0] / 2 * np.fft.irfft(waves**2 * np.fft.rfft(f * f), n)

    slow = float(np.exp(-case.beta)) if case.problem.time.rescaled else 1.0
    times = case.times * (slow * partition(case)) / case.sharpness
    f = solve_ivp(slope, (0, times[-1]), f0, t_eval=times, method="LSODA", rtol=1e-10, atol=1e-12).y.T
    return f @ np.cos(k * grid) / n


def concentration_rate(case: Case) -> float:
    """Mean rate over the run at which int log tan(latitude) dmu falls, for a law on the sphere that is symmetric about its third
    axis and weights that commute with rotations about it: V = [[a, -w], [w, a]] + [c], B = diag(p, p, q).

    With z = sin(latitude), r = cos(latitude) the average over azimuths leaves a law of z alone. The attended point is
    (m_r, m_z) = int (r' I_1(beta p r r'), z' I_0(beta p r r')) e^{beta q z z'} dmu / Z, and latitude' = c r m_z - a z m_r: solved
    on Gauss-Legendre nodes in the latitude. It tends to a - c, the gap, as beta grows: while the law is wider than the kernel,
    m_z = z.
    NaN for other laws and weights.
    """
    V, B, initial = case.V, case.B, case.problem.initial
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    n = int(max(96, 6 * np.sqrt(case.beta)))
    nodes, weights = np.polynomial.legendre.leggauss(2 * (n // 2))
    start = np.pi / 2 * nodes
    z, weights = np.sin(start), weights * np.cos(start)
    points = np.stack((np.sqrt(1 - z * z), np.zeros_like(z), z), axis=1)
    symmetric = case.dimension == 3 and all(np.allclose(turn @ M, M @ turn) for M in (V, B)) and np.isfinite(case.beta)
    if not symmetric or V[0, 0] <= V[2, 2] or not np.allclose(
            initial.density(points), initial.density(points @ turn.T), rtol=1e-5):
        return float("nan")
    mass = weights * initial.density(points)
    mass /= mass.sum()
    beta, a, c, p, q = case.beta, V[0, 0], V[2, 2], B[0, 0], B[2, 2]

    def slope(_: float, latitude: Array) -> Array:
        z, r = np.sin(latitude), np.cos(latitude)
        ring = beta * p * np.outer(r, r)
        top = 0.0 if case.unnormalised else beta * max(abs(p), abs(q))
        scale = np.exp(beta * q * np.outer(z, z) + np.abs(ring) - top) * mass
        around = scale * ive(0, ring)
        field = c * r * (around @ z) - a * z * ((scale * ive(1, ring)) @ r)
        return field if case.unnormalised else field / around.sum(axis=1)

    end = solve_ivp(slope, (0, case.times[-1]), start, rtol=1e-8, atol=1e-11, method="DOP853").y[:, -1]
    return float(mass @ np.log(np.abs(np.tan(start) / np.tan(end)))) / float(case.times[-1])


TABLE = (concentration_rate, heat_moment, heat_exponent, collapse_depth, collapse_per_beta, porous_moment)
