"""Measured rates: slopes of logarithms over depth, with the interval of the fit."""

from __future__ import annotations

import numpy as np

from solver.claims.case import STEPS, Array, Run, Value
from solver.claims.measurements.curves import moment
from solver.sweeps.fit import FOLDS, fit

WINDOW = 3.2  # e-folds


def slope(times: Array, values: Array, start: float = 0.0, end: float = np.inf, uncertain: float = 0.0) -> Value:
    """Rate b of |y| = a e^{bt} over the outputs in [start, end], with its change from the first half of them to the second.

    Without an `end` the window is the first one over which |y| changes by a little more than three e-folds. NaN where it never
    does: no rate is claimed from less. The error is the larger of the interval of the fit and the difference of the slopes of the
    two halves: where a second, faster part dies out, the slope of the whole is off by half of that if the second half is free of
    it, and by less than the whole if it shrinks there to a third. To it comes what an error `uncertain` of |y| at both ends makes
    of the slope.
    """
    kept = (times >= start - 1e-12) & (times <= end + 1e-12) & np.isfinite(values) & (values != 0)
    t, y = times[kept], np.abs(values[kept])
    if not np.isfinite(end) and len(t):
        beyond = np.flatnonzero(np.abs(np.log(y / y[0])) > WINDOW)
        if len(beyond):
            t, y = t[:beyond[0] + 1], y[:beyond[0] + 1]
    if len(t) < 4:
        return Value(np.nan, np.nan)
    found = fit(t, y, "exponential")
    if found.refusal:
        return Value(np.nan, np.nan)
    middle = len(t) // 2
    halves = [np.polyfit(part, np.log(value), 1)[0] for part, value in
              ((t[:middle + 1], y[:middle + 1]), (t[middle:], y[middle:]))]
    ends = uncertain * (1 / y[0] + 1 / y[-1]) / (t[-1] - t[0])
    return Value(found.slope, max(found.interval, abs(halves[1] - halves[0])) + ends)


def integrated(run: Run) -> float:
    """Error of a token's place that the integration in depth leaves: small differences of places inherit it whole."""
    return STEPS * run.case.problem.particles.rtol if run.side == "tokens" else 0.0


def mode_rate(run: Run, k: int, start: float = 0.0, end: float = np.inf) -> Value:
    """Growth rate of the k-th moment (`moment`)."""
    return slope(run.times, moment(run, k), start, end, integrated(run))


def heat_rate(run: Run, k: int) -> float:
    """-log(m_k(t)/m_k(0)) beta/t at the last output: the decay rate of mode k in the slow depth s = t/beta."""
    m = moment(run, k)
    return float(-np.log(m[-1] / m[0]) * run.case.beta / run.times[-1])


def separation_rate(run: Run, first: int = 0, second: int = 1, start: float = 0.0, end: float = np.inf) -> Value:
    """Rate at which the distance of two tokens changes, negative where they approach."""
    gap = np.array([np.linalg.norm(x[first] - x[second]) for x in run.points])
    return slope(run.times, gap, start, end, integrated(run))


def lattice_size(run: Run, clusters: int, mode: int) -> Array:
    """|(1/k) sum_j e^{-2 pi i pj/k} (c_j - 2 pi j/k)| at every output, c_j the angle of the middle of tokens 2j and 2j + 1."""
    middle = np.stack(run.points)[..., :2]
    middle = middle[:, 0::2] + middle[:, 1::2]
    j = np.arange(clusters)
    shift = np.angle((middle[..., 0] + 1j * middle[..., 1]) * np.exp(-2j * np.pi * j / clusters))
    return np.asarray(np.abs(shift @ np.exp(-2j * np.pi * mode * j / clusters)) / clusters)


def lattice_rate(run: Run, clusters: int, mode: int, start: float = 0.0, end: float = np.inf) -> Value:
    """Growth rate of lattice mode p, see `lattice_size`."""
    return slope(run.times, lattice_size(run, clusters, mode), start, end, integrated(run))


def distance_rate(run: Run, p: int = 2, start: float = 0.0, end: float = np.inf) -> Value:
    """Decay rate of W_p to the push-forward target (positive where it falls)."""
    from solver.claims.measurements.transport import w_target

    found = slope(run.times, w_target(run, p), start, end)
    return Value(-found.value, found.error)


def arrival_rate(run: Run, p: int = 2, after: float = 0.0) -> Value:
    """Decay rate of `w_arrival` from where it has fallen by `after` e-folds (positive where it falls)."""
    from solver.claims.measurements.transport import w_arrival

    values = w_arrival(run, p)
    fallen = np.flatnonzero(values <= values[0] * np.exp(-after))
    if not len(fallen):
        return Value(np.nan, np.nan)
    found = slope(run.times, values, float(run.times[fallen[0]]), uncertain=integrated(run))
    return Value(-found.value, found.error)


def span_rate(run: Run, p: int = 1, start: float = 0.0, end: float = np.inf) -> Value:
    """Decay rate of W_p to the nearest law on the leading invariant subspace of A (positive where it falls)."""
    from solver.claims.measurements.transport import w_span

    found = slope(run.times, w_span(run, p), start, end)
    return Value(-found.value, found.error)


def tangent_fall(run: Run) -> float:
    """Mean rate at which int log R dmu falls from depth 0 to the last output, R(x) = |(I - Pi) x|/|Pi x| the tangent of the
    distance to the leading invariant subspace of A = V B^T, Pi its spectral projector (docs/theory.md §3.5); NaN below three
    e-folds, or where a token lies on the subspace."""
    from solver.projection.spectrum import analyse

    projector = analyse(run.case.V @ run.case.B.T).projector
    logs = []
    for x, m in ((run.points[i], run.masses[i]) for i in (0, -1)):
        inside = x @ projector.T
        outside = np.linalg.norm(x - inside, axis=1)
        if not outside.all():
            return float("nan")
        logs.append(float(m @ np.log(outside / np.linalg.norm(inside, axis=1))))
    return float((logs[0] - logs[1]) / run.times[-1]) if logs[0] - logs[1] >= FOLDS else float("nan")


def dirac_rate(run: Run, start: float = 0.0, end: float = np.inf) -> Value:
    """Decay rate of W2 to the Dirac mass at the direction of the final mean."""
    from solver.claims.measurements.transport import w2_final_dirac

    found = slope(run.times, w2_final_dirac(run), start, end)
    return Value(-found.value, found.error)


def variance_rate(run: Run, entry: int, start: float = 0.0, end: float = np.inf) -> Value:
    """Decay rate of int x_i^2 dmu (positive where it falls)."""
    found = slope(run.times, run.second[:, entry, entry], start, end)
    return Value(-found.value, found.error)


def rotation_frequency(run: Run, start: float = 0.0) -> Value:
    """Angular velocity of the mean in the plane of the first two axes, fitted by a line from depth `start` on."""
    angles = np.unwrap(np.arctan2(run.mean[:, 1], run.mean[:, 0]))
    kept = run.times >= start
    found = fit(run.times[kept], angles[kept], "line")
    return Value(found.slope, found.interval)


def initial_moment_rate(run: Run, k: int) -> float:
    """d/dt of log moment k at depth 0, by a polynomial of degree 4 through the first five outputs."""
    values = np.log(np.abs(moment(run, k)[:5]))
    return float(np.polyfit(run.times[:5], values, 4)[-2])


def initial_mode_slope(run: Run, k: int) -> float:
    """(log m_k(t) - log m_k(0))/t at the last output, for perturbations that stay small: a rate without a claim to three
    e-folds, which
    may be zero."""
    m = moment(run, k)
    return float(np.log(m[-1] / m[0]) / run.times[-1])


def lattice_speed(run: Run, clusters: int, mode: int, until: float = 4.0) -> float:
    """As `lattice_rate`, from depth 0 to `until` alone: a rate that may be zero."""
    size = lattice_size(run, clusters, mode)
    i = int(np.argmin(np.abs(run.times - until)))
    return float(np.log(size[i] / size[0]) / run.times[i])


def bump_rate(run: Run, centre: list[float], radius: float, end: float) -> float:
    """Mean rate up to depth `end` at which the spread of the mass that starts within `radius` of a direction changes: tokens
    only."""
    c = np.asarray(centre, float) / np.linalg.norm(centre)
    chosen = np.arccos(np.clip(run.points[0] @ c, -1, 1)) <= radius
    m = run.masses[0][chosen] / run.masses[0][chosen].sum()
    i = int(np.argmin(np.abs(run.times - end)))
    spread = [float(m @ np.arccos(np.clip(x[chosen] @ c, -1, 1)) ** 2) for x in (run.points[0], run.points[i])]
    return float(np.log(spread[1] / spread[0]) / 2 / run.times[i])


def algebraic_exponent(run: Run, p: int = 1, start: float = 1.0) -> Value:
    """Exponent b of W_p(law, target) ~ t^b over the outputs from `start` on; NaN over less than a decade."""
    from solver.claims.measurements.transport import w_target

    kept = run.times >= start
    found = fit(run.times[kept], w_target(run, p)[kept], "power")
    return Value(np.nan, np.nan) if found.refusal else Value(found.slope, found.interval)


def blow_up_time(run: Run, entry: int = 0) -> float:
    """Depth at which 1/variance reaches zero, by extrapolating a line through the last two outputs."""
    variance = run.second[:, entry, entry] - run.mean[:, entry] ** 2
    t, y = run.times[-2:], 1 / variance[-2:]
    return float(t[1] - y[1] * (t[1] - t[0]) / (y[1] - y[0]))


TABLE = (mode_rate, heat_rate, separation_rate, lattice_rate, distance_rate, arrival_rate, span_rate, tangent_fall, dirac_rate,
         variance_rate, rotation_frequency,
         initial_moment_rate, initial_mode_slope, lattice_speed, bump_rate, algebraic_exponent, blow_up_time)
