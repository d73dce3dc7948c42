"""Measured curves: one number at every output."""

from __future__ import annotations

import numpy as np
from numpy.polynomial import legendre
from scipy.interpolate import CubicSpline

from problems import ProblemError
from solver.claims.case import Array, Run, Value


def fourier(x: Array, m: Array, k: int) -> float:
    """Modulus of int e^{ik theta} dmu on the circle, of points x (n, 2) and masses m (n,)."""
    phase: Array = k * np.arctan2(x[:, 1], x[:, 0])
    return float(np.hypot(m @ np.cos(phase), m @ np.sin(phase)))


def cosine(run: Run, first: int = 0, second: int = 1) -> Array:
    """<x_i, x_j> of two tokens."""
    return np.array([float(x[first] @ x[second]) for x in run.points])


def mean_length(run: Run) -> Array:
    """|int x dmu|."""
    return np.linalg.norm(run.mean, axis=1)


def resting_length(run: Run) -> Value:
    """|int x dmu| at rest: at the last output, and what the last differences of equally spaced outputs, which fall like a
    geometric series once the slowest part alone is left, still add to it; that much is the error.

    Raises:
        ProblemError: fewer than three outputs, or the last three are not equally spaced.
    """
    if len(run.times) < 3 or not np.isclose(run.times[-1] - run.times[-2], run.times[-2] - run.times[-3], rtol=1e-6):
        raise ProblemError("time.outputs", len(run.times), "must end with three equally spaced depths here")
    values = mean_length(run)
    before, last = (float(d) for d in np.diff(values[-3:]))
    if abs(last) <= 1e-12:
        return Value(values[-1], abs(last))
    if abs(last) >= abs(before):  # it does not come to rest
        return Value(values[-1], float("inf"))
    rest = last**2 / (before - last)
    return Value(values[-1] + rest, abs(rest))


def mean_entry(run: Run, entry: int = 0) -> Array:
    """One coordinate of int x dmu."""
    return run.mean[:, entry]


def second_entry(run: Run, row: int = 0, column: int = 0) -> Array:
    """One entry of int x x^T dmu."""
    return run.second[:, row, column]


def covariance_entry(run: Run, row: int = 0, column: int = 0) -> Array:
    """One entry of the covariance int x x^T dmu - mean mean^T."""
    return run.second[:, row, column] - run.mean[:, row] * run.mean[:, column]


def moment(run: Run, k: int) -> Array:
    """Real part of int e^{ik theta} dmu on the circle; int P_k(x_d) dmu on the sphere, P_k the Legendre polynomial."""
    if run.case.dimension == 2 or np.abs(run.points[0][:, 2:]).max() < 1e-12:
        return np.array([float(m @ np.cos(k * np.arctan2(x[:, 1], x[:, 0]))) for x, m in zip(run.points, run.masses,
        strict=True)])
    unit = np.eye(k + 1)[k]
    return np.array([float(m @ legendre.legval(x[:, -1], unit)) for x, m in zip(run.points, run.masses, strict=True)])


def energy(run: Run) -> Array:
    """E(mu) of docs/theory.md §1."""
    return run.row("energy").astype(float)


def energy_share(run: Run) -> Array:
    """2 beta E e^{-beta b}: the sum of the squared masses of narrow clusters, far from each other, in the plane of the first two
    axes of circle or sphere, where B = b I on it."""
    return run.row("energy").astype(float) * 2 * run.case.beta * np.exp(-run.case.beta * run.case.B[0, 0])


def angle(run: Run, token: int = 0) -> Array:
    """Angle of one token in the plane of the first two axes, continuous in depth."""
    return run.angles[:, token]


def initial_angular_velocity(run: Run, token: int = 0) -> float:
    """d/dt of the angle of a token at depth 0, by a polynomial of degree 4 through the first five outputs."""
    return float(np.polyfit(run.times[:5], run.angles[:5, token], 4)[-2])


def travelled(run: Run, token: int = 0) -> Array:
    """Arc between a token and its start."""
    return np.array([2 * np.arcsin(min(1.0, float(np.linalg.norm(x[token] - run.points[0][token])) / 2)) for x in run.points])


def cosine_at_pairing_time(run: Run, s: float, first: int = 0, second: int = 1) -> float:
    """Cosine rho of two tokens at pairing time s, ds = e^{-beta (1 - rho(t))} dt (docs/theory.md §4.4).

    s is integrated over the number of the output, by cubic splines: outputs may be far from evenly spaced. NaN beyond the last
    one, and beyond those from which on a pair that has met makes s jump.
    """
    rho, number = cosine(run, first, second), np.arange(len(run.times))
    pace = CubicSpline(number, run.times)(number, 1) * np.exp(-run.case.sharpness * (1 - rho))
    elapsed = CubicSpline(number, pace).antiderivative()(number)
    back = np.flatnonzero(np.diff(elapsed) <= 0)
    count = int(back[0]) + 1 if len(back) else len(elapsed)
    if count < 4 or s > elapsed[count - 1]:
        return float("nan")
    return float(CubicSpline(elapsed[:count], rho[:count])(s))


def clusters(run: Run, width: float = 0.0) -> Array:
    """Number of groups of tokens linked by arcs up to `width` (default a tenth of beta^{-1/2})."""
    from solver.particles.clusters import find_clusters

    reach = width or 0.1 / np.sqrt(min(max(run.case.beta, 1.0), 1e4))
    sphere = run.case.problem.manifold.normalised
    return np.array([find_clusters(x, m, reach, sphere=sphere).count for x, m in zip(run.points, run.masses, strict=True)], float)


def first_time_above(run: Run, level: float, first: int = 0, second: int = 1) -> Value:
    """Depth at which the cosine of two tokens passes a level, by a cubic spline through the outputs of artanh(rho); its error is
    the difference to the spline through every other output."""
    rho = np.arctanh(np.clip(cosine(run, first, second), -1 + 1e-15, 1 - 1e-15))

    def root(every: int) -> float:
        roots = CubicSpline(run.times[::every], rho[::every]).solve(float(np.arctanh(level)), extrapolate=False)
        return float(roots[0]) if len(roots) else float("nan")

    return Value(root(1), abs(root(1) - root(2)))


def dominant_mode(run: Run, level: float = 0.3, most: int = 24) -> float:
    """The Fourier mode that is the first to exceed `level` in modulus on the circle."""
    return _first_mode(run, level, most)[1]


def saturation_time(run: Run, level: float = 0.3, most: int = 24) -> float:
    """Depth at which the first Fourier mode exceeds `level` in modulus, by interpolation of its logarithm."""
    return _first_mode(run, level, most)[0]


def _first_mode(run: Run, level: float, most: int) -> tuple[float, float]:
    sizes = np.array([[fourier(x, m, k) for k in range(1, most + 1)] for x, m in zip(run.points, run.masses, strict=True)])
    above = np.flatnonzero((sizes >= level).any(axis=1))
    if len(above) == 0 or above[0] == 0:
        return float("nan"), float("nan")
    i = int(above[0])
    mode = int(np.argmax(sizes[i]))
    t = np.interp(np.log(level), np.log(sizes[i - 1:i + 1, mode]), run.times[i - 1:i + 1])
    return float(t), float(mode + 1)


def mass_near(run: Run, centre: list[float], radius: float) -> Array:
    """Mass within an arc `radius` of a direction."""
    c = np.asarray(centre, float) / np.linalg.norm(centre)
    return np.array([float(m[np.arccos(np.clip(x @ c, -1, 1)) <= radius].sum()) for x, m in zip(run.points, run.masses,
    strict=True)])


def mass_ahead(run: Run, row: int = 0) -> Array:
    """Mass of the half of the law whose tokens lie nearer to +e than to -e, e the leading eigenvector of A = V B^T, normalised so
    that its largest entry is positive."""
    values, vectors = np.linalg.eig(run.case.V @ run.case.B.T)
    e = np.real(vectors[:, int(np.argmax(values.real))])
    e = e * np.sign(e[np.argmax(np.abs(e))])
    return np.array([float(m[x @ e > 0].sum()) for x, m in zip(run.points, run.masses, strict=True)])


def final_energy_scaled(run: Run) -> float:
    """2 beta E at the last output."""
    return float(2 * run.case.beta * run.rows[-1]["energy"])


def merge_time(run: Run, first: int = 0, second: int = 1, level: float = 0.999) -> float:
    """As `first_time_above`, in natural logarithm: the time scale of a merge."""
    return float(np.log(first_time_above(run, level, first, second).value))


TABLE = (
    cosine, mean_length, resting_length, mean_entry, second_entry, covariance_entry, moment, energy, energy_share, angle,
    initial_angular_velocity, travelled, cosine_at_pairing_time, clusters, first_time_above, mass_near, mass_ahead,
    final_energy_scaled, merge_time, dominant_mode, saturation_time)
