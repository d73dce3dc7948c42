"""Measured Wasserstein distances, and what their curves over depth show."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.interpolate import CubicSpline

from problems import Problem, ProblemError
from problems.laws.spherical import VonMisesFisher
from solver.claims.case import Array, Run, Value
from solver.projection.target import Target, target
from solver.projection.terminal import arc_to_span
from solver.wasserstein.distance import distance
from solver.wasserstein.measure import Measure


@lru_cache(maxsize=4)
def _target(problem: Problem) -> Target:
    return target(problem)


def w_target(run: Run, p: int = 2) -> Array:
    """W_p between the law and the push-forward target T_# mu_0 (docs/theory.md §3.2)."""
    goal = _target(run.case.problem)
    measure = Measure(*goal.measure(4096))
    key = f"w{p}_target"
    if key not in run.cache:
        run.cache[key] = np.array([distance(Measure(x, m), measure, p=p, manifold=run.case.problem.manifold).value for x, m in
        run.atoms])
    return run.cache[key]


def w_arrival(run: Run, p: int = 2) -> Array:
    """W_p between the law and the push-forward of the tokens themselves, each sent where its own start goes: to two points, with
    no error of the masses that quadrature of the initial law gives these."""
    analysis = _target(run.case.problem).analysis
    if analysis is None or analysis.projector is None or analysis.dimension != 1:
        raise ProblemError("quantities.measured", "w_arrival", "needs a real and simple leading eigenvalue of A = V B^T")
    e = analysis.basis[:, 0] / np.linalg.norm(analysis.basis[:, 0])
    ahead = float(run.masses[0][run.points[0] @ analysis.projector.T @ e > 0].sum())
    goal = Measure(np.stack((e, -e)), np.array([ahead, 1 - ahead]))
    return np.array([distance(Measure(x, m), goal, p=p, manifold=run.case.problem.manifold).value for x, m in run.atoms])


def w_span(run: Run, p: int = 2) -> Array:
    """W_p to the nearest law on the leading eigenspace E of A = V B^T: (int d(x, E)^p dmu)^{1/p}."""
    analysis = _target(run.case.problem).analysis
    if analysis is None:
        raise ProblemError("quantities.measured", "w_span", "needs a leading eigenspace of A = V B^T")
    return np.array([float(m @ arc_to_span(x, analysis.basis) ** p) ** (1 / p)
                     for x, m in zip(run.points, run.masses, strict=True)])


def w2_final_dirac(run: Run) -> Array:
    """W2 to the Dirac mass at the direction of the final mean."""
    e = run.mean[-1] / np.linalg.norm(run.mean[-1])
    return np.array([float(np.sqrt(m @ np.arctan2(np.linalg.norm(x - np.outer(x @ e, e), axis=1), x @ e) ** 2)) for x, m in
    run.atoms])


def _minimum(times: Array, values: Array) -> tuple[float, float]:
    """Place and value of the least value, by a parabola in the logarithm through the three outputs around it."""
    i = int(np.nanargmin(values))
    if not 0 < i < len(values) - 1:
        return float("nan"), float("nan")
    a, b, c = np.polyfit(times[i - 1:i + 2] - times[i], np.log(values[i - 1:i + 2]), 2)
    return float(times[i] - b / (2 * a)), float(np.exp(c - b * b / (4 * a)))


def closest(run: Run, p: int = 1) -> float:
    """min over t of W_p(law, target)."""
    return _minimum(run.times, w_target(run, p))[1]


def closest_time(run: Run, p: int = 1) -> float:
    """Depth of the minimum of W_p(law, target)."""
    return _minimum(run.times, w_target(run, p))[0]


def closest_ratio(run: Run, p: int = 1) -> float:
    """min over t of W_p(law, target), over sqrt(log(beta + 1)/beta)."""
    return closest(run, p) / float(np.sqrt(np.log(run.case.beta + 1) / run.case.beta))


def departure_time(run: Run, part: float = 0.5, p: int = 2) -> float:
    """Depth after the minimum at which W_p(law, target) passes `part` of its terminal level (docs/theory.md §4.8); that of the
    minimum itself where W_p never falls below this level, which is what the depth tends to as the minimum rises to it. NaN where
    W_p does not pass it by the last output."""
    from solver.claims.predictions.cold import terminal_distance

    values, level = w_target(run, p), part * terminal_distance(run.case)
    least = int(np.nanargmin(values))
    above = np.flatnonzero(values[least:] >= level)
    if len(above) == 0:
        return float("nan")
    if above[0] == 0:
        return float(run.times[least])
    i = least + int(above[0])
    lo, hi = max(i - 2, 0), min(i + 2, len(values))
    roots = CubicSpline(run.times[lo:hi], values[lo:hi]).solve(level, extrapolate=False)
    roots = [r for r in roots if run.times[i - 1] - 1e-9 <= r <= run.times[i] + 1e-9]
    return float(roots[0]) if roots else float(np.interp(level, values[i - 1:i + 1], run.times[i - 1:i + 1]))


def distance_at(run: Run, time: float, p: int = 1) -> float:
    """W_p(law, target) at a depth, by a cubic spline of its logarithm."""
    return float(np.exp(CubicSpline(run.times, np.log(w_target(run, p)))(time)))


def rise_after_least(run: Run, p: int = 2) -> float:
    """How much W_p(law, target) has risen from its least value to the last output, as a part of what it was at depth 0."""
    values = w_target(run, p)
    return float((values[-1] - np.nanmin(values)) / values[0])


def departure_rate(run: Run, p: int = 1) -> Value:
    """Largest d/dt log W_p(law, target) after the minimum, by differences of outputs: the constant C of e^{Ct}."""
    values = np.log(w_target(run, p))
    least = int(np.nanargmin(values))
    slopes = np.diff(values[least:]) / np.diff(run.times[least:])
    if len(slopes) < 3:
        return Value(np.nan, np.nan)
    i = int(np.argmax(slopes))
    near = slopes[max(i - 1, 0):i + 2]
    return Value(float(slopes[i]), float(np.ptp(near)))


def w1_to_cold(run: Run, p: int = 1) -> Array:
    """W_p between the law and the zero-temperature law, the same starting points carried by x' = P_x V B^T x/|B^T x|."""
    from solver.projection.cold_flow import flow

    case = run.case
    start, masses = case.start(len(run.masses[0]) if run.side == "tokens" else 4096)
    found = flow(start, case.weights, run.times)
    return np.array([distance(Measure(x, m), Measure(y, masses), p=p, manifold=case.problem.manifold).value
                     for (x, m), y in zip(run.atoms, found, strict=True)])


def w_reference(run: Run, count: int, p: int = 1) -> Array:
    """W_p between the law and `count` quadrature tokens that start from the same initial law: the mean field."""
    import dataclasses

    from solver.claims.case import Case, execute

    problem = run.case.problem
    settings = dataclasses.replace(problem.particles, count=count, sampling="quadrature")
    other = execute(Case(dataclasses.replace(problem, particles=settings)), "tokens")
    return np.array([distance(Measure(x, m), Measure(y, w), p=p, manifold=problem.manifold).value
                     for (x, m), (y, w) in zip(run.atoms, other.atoms, strict=True)])


def heat_ratio(run: Run, p: int = 1) -> float:
    """W_p to the heat flow at the last output over W_p at depth 0, on the sphere: the law against a von Mises-Fisher law with its
    Legendre moments about its mean multiplied by e^{gamma l (l+1) t/(beta b)}, V = gamma I, B = b I, gamma < 0
    (docs/theory.md §4.3), on 1024 quadrature nodes."""
    from numpy.polynomial import legendre

    law, manifold, gamma = run.case.mixture, run.case.problem.manifold, run.case.multiples[0]
    if gamma > 0 or len(law.components) > 1:
        raise ProblemError("attention.value", run.case.V.tolist(),
                           "must be a negative multiple of I, with a start of one component")
    points, masses = law.quadrature(1024)
    count, z = 24, points @ run.case.component(VonMisesFisher).mean
    moments = np.array([float(masses @ legendre.legval(z, np.eye(count)[k])) for k in range(count)])
    degrees = np.arange(count)
    area = masses / law.density(points)

    def heat(s: float) -> Measure:
        series = (2 * degrees + 1) / (4 * np.pi) * moments * np.exp(-degrees * (degrees + 1) * s)
        weights = np.maximum(legendre.legval(z, series), 0.0) * area
        return Measure(points, weights / weights.sum())

    slow = -gamma / run.case.sharpness
    first, last = (distance(Measure(*run.atoms[i]), heat(slow * run.times[i]), p=p, manifold=manifold).value for i in (0, -1))
    return last / first


TABLE = (heat_ratio, w_target, w_arrival, w_span, w2_final_dirac, closest, closest_time, closest_ratio, departure_time,
         distance_at, rise_after_least, departure_rate, w1_to_cold, w_reference)
