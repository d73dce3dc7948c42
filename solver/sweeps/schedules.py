"""Depths at which runs of claims give output, and rates that set them: functions of formulas."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Matrix = list[list[float]]


def pairing_times(beta: float, angle: float, s: float, count: float, speed: float = 2.0) -> list[float]:
    """Depths t(s) = int_0^s e^{beta (1 - rho)} ds, rho = tanh(speed s + artanh cos(angle)), for `count` even values of s from 0
    to `s`: the outputs that resolve the pairing of two clusters, whose pace changes by many powers of ten (docs/theory.md §4.4).
    `speed` is m_2/m_1 + m_1/m_2, 2 for equal masses."""
    each = max(1, 6400 // (int(count) - 1))
    fine = np.linspace(0.0, s, each * (int(count) - 1) + 1)
    pace = np.exp(beta * (1 - np.tanh(speed * fine + np.arctanh(np.cos(angle)))))
    steps = np.concatenate(([0.0], np.cumsum((pace[1:] + pace[:-1]) / 2 * np.diff(fine))))
    return [float(t) for t in steps[::each]]


def log_outputs(low: float, high: float, count: float) -> list[float]:
    """0, and `count` numbers from low to high in equal ratios: depths on a logarithmic axis."""
    return [0.0, *(float(v) for v in np.geomspace(low, high, int(count)))]


def meeting_times(pace: Callable[[Array], Array], cosine: float, count: int, end: float = 0.9999) -> list[float]:
    """Depths at which a cosine that grows at the rate pace(rho) from `cosine` to `end` has `count` equally spaced values of its
    artanh: they resolve its rise wherever that is. By Gauss-Legendre quadrature between them, to rounding."""
    if not pace(np.array([(cosine + end) / 2]))[0] > 0:
        raise ValueError("tokens that do not attract each other do not meet")
    u = np.linspace(np.arctanh(cosine), np.arctanh(end), count)
    nodes, weights = np.polynomial.legendre.leggauss(12)
    half = (u[1] - u[0]) / 2
    rho = np.tanh((u[1:] + u[:-1])[:, None] / 2 + half * nodes)
    with np.errstate(over="ignore", divide="ignore"):
        depths = np.cumsum(((1 - rho**2) / pace(rho)) @ weights * half)
    if not np.isfinite(depths).all():
        raise ValueError("the tokens meet beyond the largest number")
    return [0.0, *depths.tolist()]


def orthonormal_times(beta: float, n: float, count: float, gamma: float = 1.0, normalization: str = "softmax") -> list[float]:
    """`meeting_times` of n orthonormal tokens, V = gamma I, beta b for beta where B = b I (docs/theory.md §5.3)."""
    def pace(rho: Array) -> Array:
        below = n * np.exp(-beta) if normalization == "none" else 1 + (n - 1) * np.exp(beta * (rho - 1))
        return np.asarray(2 * gamma * np.exp(beta * (rho - 1)) * (1 - rho) * ((n - 1) * rho + 1) / below, np.float64)

    return meeting_times(pace, 0.0, int(count))


def two_dirac_times(beta: float, cosine: float, masses: Sequence[float], count: float, gamma: float = 1.0,
                    normalization: str = "softmax") -> list[float]:
    """`meeting_times` of two Dirac masses, V = gamma I, beta b for beta where B = b I (docs/theory.md §5.2)."""
    if len(masses) != 2:
        raise ValueError(f"needs two masses, not {len(masses)}")
    first, second = (float(m) / float(sum(masses)) for m in masses)

    def pace(rho: Array) -> Array:
        apart = np.exp(beta * (1 - rho))
        weighed = second / (first * apart + second) + first / (second * apart + first)
        pull = np.exp(beta * rho) if normalization == "none" else weighed
        return np.asarray(gamma * (1 - rho**2) * pull, np.float64)

    return meeting_times(pace, cosine, int(count))


def cold_pace(value: Matrix, query: Matrix, key: Matrix) -> float:
    """Largest rate, in absolute value, at which neighbours on the circle approach or part along the zero-temperature flow
    x' = P_x V B^T x/|B^T x| (docs/theory.md §3.1), among 720 places: depths in units of its inverse suit all weights, also those
    that turn for ever."""
    v, bt = np.asarray(value, float), np.asarray(key, float).T @ np.asarray(query, float)
    angle = 2 * np.pi * np.arange(720) / 720
    x, across = (np.stack((np.cos(angle + turn), np.sin(angle + turn))) for turn in (0.0, np.pi / 2))
    attended = bt @ x
    speed = np.sum(across * (v @ (attended / np.linalg.norm(attended, axis=0))), axis=0)
    steep = (np.roll(speed, -1) - np.roll(speed, 1)) / (angle[2] - angle[0])
    return float(np.abs(steep).max())


def approach_rate(value: Matrix, query: Matrix | None = None, key: Matrix | None = None) -> float:
    """g/|K^T Q e|, the rate at which cold tokens approach the leading eigenvectors e of V K^T Q, |e| = 1, g the gap of the real
    parts of its spectrum (docs/theory.md §3.4): depths in units of its inverse suit all weights. Where several eigenvalues lead,
    the slowest e of their space counts. Without Q and K these are I.

    Raises:
        ValueError: all eigenvalues have the same real part.
    """
    return _gap_rate(value, query, key, following=False)


def leaving_rate(value: Matrix, query: Matrix, key: Matrix) -> float:
    """g/|B^T r|, the rate at which the mass near the exceptional set of the projection map leaves it at zero temperature, g the
    gap of the real parts of the spectrum of A = V B^T = V K^T Q, r the unit eigenvector that follows the leading ones; where
    several follow, the slowest of their space (docs/theory.md §3.4).

    Raises:
        ValueError: all eigenvalues have the same real part.
    """
    return _gap_rate(value, query, key, following=True)


def _gap_rate(value: Matrix, query: Matrix | None, key: Matrix | None, *, following: bool) -> float:
    """g over the largest |K^T Q x| of unit vectors x in the span of the leading eigenvectors, or of those that follow them."""
    one = np.eye(len(value))
    score = (one if key is None else np.asarray(key, float)).T @ (one if query is None else np.asarray(query, float))
    numbers, vectors = np.linalg.eig(np.asarray(value, float) @ score)
    real, small = numbers.real, 1e-9 * np.abs(numbers).max()
    leading = real > real.max() - small
    if leading.all():
        done = "left" if following else "approached"
        raise ValueError(f"all eigenvalues of V K^T Q have the same real part, nothing is {done}")
    second = real[~leading].max()
    chosen = vectors[:, ~leading & (real > second - small) if following else leading]
    space = np.linalg.svd(np.hstack((chosen.real, chosen.imag)))[0][:, :chosen.shape[1]]
    return float(real.max() - second) / float(np.linalg.norm(score @ space, 2))


def lattice_pace(beta: float, clusters: float, mode: float = 0, normalization: str = "softmax") -> float:
    """Modulus of the growth rate of lattice mode p of k equal clusters equally spaced on the circle, with p = 0 that of the
    distance of two tokens of one cluster: |(1/k) sum_j g(2 pi j/k) (1 - cos(2 pi p j/k))|, without the bracket for p = 0,
    g(x) = (cos x - beta sin^2 x) e^{beta cos x}, over (1/k) sum_j e^{beta cos(2 pi j/k)} for softmax (arXiv 2410.23228);
    V = I, and beta b for beta where B = b I."""
    x = 2 * np.pi * np.arange(int(clusters)) / int(clusters)
    pull = (np.cos(x) - beta * np.sin(x) ** 2) * np.exp(beta * (np.cos(x) - 1))
    rate = abs(float(np.mean(pull * (1 - np.cos(mode * x) if mode else 1.0))))
    return rate * float(np.exp(beta)) if normalization == "none" else rate / float(np.mean(np.exp(beta * (np.cos(x) - 1))))
