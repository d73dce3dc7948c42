"""Exact Wasserstein distances on the circle, arc-length metric.

W_1 is given by a weighted median of the difference of the distribution functions. For p > 1 the optimal
coupling is monotone on the universal cover, so that W_p^p = min over alpha of int |F^{-1}(s) - G^{-1}(s +
alpha)|^p ds, a convex and for atoms piecewise affine function of the cyclic shift alpha: bracketed by its
slopes, closed by the meeting point of the two last tangents or, between few corners, by adding up how they
change the slope (Delon, Salomon, Sobolevski, SIAM J. Appl. Math. 70, 2010; Rabin, Delon, Gousseau,
J. Math. Imaging Vis. 41, 2011).
"""

from typing import NamedTuple

import numpy as np

from solver.wasserstein.line import EXTENDED, level_round_off, levels, merge
from solver.wasserstein.metric import power, root_error

TURN = 2.0 * np.pi
COARSE = 1024
# Corners of the cost within a bracket, per atom, that take less time to look at than a few more shifts.
CORNERS = 4


class Shift(NamedTuple):
    """The cost of one cyclic shift and the ends of its subgradients."""

    alpha: np.floating
    cost: float
    slope_left: float
    slope_right: float


def wasserstein_circle(
    x: np.ndarray, a: np.ndarray, y: np.ndarray, b: np.ndarray, p: float
) -> tuple[float, float]:
    """W_p between probability measures on the circle of length 2 pi, exact for every p >= 1.

    Args:
        x, y: (n,) and (m,) angles in radians, any order and any turn.
        a, b: (n,) and (m,) positive masses; each is normalised to total 1.

    Returns:
        (distance, error), the error of round-off and of the remaining bracket on W_p^p.
    """
    x, y = np.mod(x, TURN), np.mod(y, TURN)
    ix, iy = np.argsort(x, kind="stable"), np.argsort(y, kind="stable")
    x, y, first, second = x[ix], y[iy], levels(a[ix]), levels(b[iy])
    if p == 1:
        value, gap = _median(x, first, y, second), 0.0
    else:
        cost, gap = _minimise(x, first, y, second, p)
        value = cost ** (1.0 / p)
    spread = level_round_off(len(x) + len(y)) * TURN**p
    return value, np.finfo(float).eps * TURN + root_error(spread + gap, value, p)


def _median(x: np.ndarray, first: np.ndarray, y: np.ndarray, second: np.ndarray) -> float:
    """W_1 = min over c of int |F - G - c|: c is a median of F - G weighted by arc length."""
    angles = np.concatenate([x, y])
    order = np.argsort(angles, kind="stable")
    arcs = np.diff(angles[order], append=angles[order[0]] + TURN)
    jumps = np.concatenate([np.diff(first, prepend=EXTENDED(0)), -np.diff(second, prepend=EXTENDED(0))])
    difference = np.cumsum(jumps[order]).astype(float)
    rank = np.argsort(difference, kind="stable")
    half = np.cumsum(arcs[rank])
    centre = difference[rank[min(np.searchsorted(half, 0.5 * half[-1]), len(rank) - 1)]]
    return float(arcs @ np.abs(difference - centre))


def _minimise(
    x: np.ndarray, first: np.ndarray, y: np.ndarray, second: np.ndarray, p: float
) -> tuple[float, float]:
    """The least cost over all shifts and its gap to the lower bound of the two closest tangents."""
    guess, step = EXTENDED(0), EXTENDED(0.25)
    if len(x) + len(y) > 4 * COARSE:  # a shift found on quantiles alone saves most of the work on all atoms
        s = (np.arange(COARSE) + EXTENDED(0.5)) / COARSE
        blocks = (np.arange(COARSE) + EXTENDED(1)) / COARSE
        quantiles = x[np.searchsorted(first, s)], blocks, y[np.searchsorted(second, s)], blocks
        guess = _search(*quantiles, p, guess, step)[2]
        step = EXTENDED(0.5 / COARSE)
    return _search(x, first, y, second, p, guess, step)[:2]


def _search(
    x: np.ndarray,
    first: np.ndarray,
    y: np.ndarray,
    second: np.ndarray,
    p: float,
    guess: np.floating,
    step: np.floating,
) -> tuple[float, float, np.floating]:
    """Cost, gap and shift of the minimum: bracketed outwards from a guess, closed by secants and tangents."""
    best = low = high = _shift(x, first, y, second, p, guess)
    settled = best.slope_left <= 0.0 <= best.slope_right
    corner = None if settled else _corner(x, first, y, second, p, best, step if best.slope_left < 0.0 else -step)
    if corner is not None:
        low = high = _shift(x, first, y, second, p, corner)
        best = min(best, low, key=lambda shift: shift.cost)
    while low.slope_right > 0.0 and low.slope_left > 0.0:
        low = _shift(x, first, y, second, p, low.alpha - step)
        best, step = min(best, low, key=lambda shift: shift.cost), 4 * step
    while high.slope_left < 0.0 and high.slope_right < 0.0:
        high = _shift(x, first, y, second, p, high.alpha + step)
        best, step = min(best, high, key=lambda shift: shift.cost), 4 * step
    floor, look = 0.0, EXTENDED(np.inf)  # a corner is looked for in brackets up to this width
    for count in range(200):
        for end in (low, high):
            if end.slope_left <= 0.0 <= end.slope_right:
                return end.cost, 0.0, end.alpha
        slope_low, slope_high, width = low.slope_right, high.slope_left, high.alpha - low.alpha
        meet = (high.cost - low.cost - slope_high * width) / (slope_low - slope_high)  # of tangents, past low
        floor = max(floor, low.cost + slope_low * float(meet))
        if best.cost - floor <= 1e-14 * best.cost or width <= 4 * np.finfo(EXTENDED).eps:
            break
        secant = -slope_low * width / (slope_high - slope_low)
        move = (secant, meet, 0.5 * width)[count % 3]
        if width <= look:
            corner, look = _corner(x, first, y, second, p, low, width), width / 8
            move = move if corner is None else corner - low.alpha
        if not 0 < move < width:
            move = 0.5 * width
        trial = _shift(x, first, y, second, p, low.alpha + move)
        best = min(best, trial, key=lambda shift: shift.cost)
        low, high = (trial, high) if trial.slope_right < 0.0 else (low, trial)
    return best.cost, max(best.cost - floor, 0.0), best.alpha


def _shift(
    x: np.ndarray, first: np.ndarray, y: np.ndarray, second: np.ndarray, p: float, alpha: np.floating
) -> Shift:
    """Cost and slopes of the coupling x(s) -> y(s + alpha), the quantile functions lifted to the line."""
    turned = second - alpha
    turns = np.ceil(turned) - 1  # each level lands in (0, 1]; there are at most two different turns
    start = int(np.searchsorted(turns, turns[0], "right")) % len(y)
    roll = np.r_[start : len(y), 0:start]
    jumps, lifted = (turned - turns)[roll], (y - TURN * turns.astype(float))[roll]
    jumps, lifted = np.append(jumps, EXTENDED(1)), np.append(lifted, lifted[0] + TURN)
    widths, i, j = merge(first, jumps)
    cost = float(widths @ power(np.abs(x[i] - lifted[j]), p))
    # As alpha grows a jump moves left and its later atom takes mass from its earlier one. Levels within
    # round-off of one another are equal, which widens the interval of subgradients at a vertex.
    jumps, wide, slack = jumps[:-1], np.append(x, x[0] + TURN), EXTENDED(level_round_off(len(x) + len(y)))
    before = wide[np.searchsorted(first, jumps - slack, "left")]
    after = wide[np.searchsorted(first, jumps + slack, "right")]

    def slope(at: np.ndarray) -> float:
        return float(np.sum(power(np.abs(at - lifted[1:]), p) - power(np.abs(at - lifted[:-1]), p)))

    return Shift(alpha, cost, slope(after), slope(before))


def _corner(
    x: np.ndarray, first: np.ndarray, y: np.ndarray, second: np.ndarray, p: float, start: Shift, way: np.floating
) -> np.floating | None:
    """Where the slope of the cost changes its sign within `way`, of either sign, of a shift; None if it does not, or if there are
    too many corners to look at.

    A corner is a shift that puts a level of one measure on a level of the other. There the atoms before and after meet crosswise,
    which costs more than straight: by as much the slope grows.
    """
    n, m = len(x), len(y)
    if n * m * abs(way) > CORNERS * (n + m):
        return None
    low, high = (start.alpha, start.alpha + way) if way > 0.0 else (start.alpha + way, start.alpha)
    turns = np.arange(np.floor(low), np.floor(high) + 3)
    all_levels = (second[None] + turns[:, None]).ravel()
    begin = np.searchsorted(all_levels, first + low, "right")
    counts = np.searchsorted(all_levels, first + high, "left") - begin
    if not 0 < (total := int(counts.sum())) <= 2 * CORNERS * (n + m):
        return None
    i = np.repeat(np.arange(n), counts)
    j = np.arange(total) + np.repeat(begin - np.cumsum(counts) + counts, counts)
    shifts = all_levels[j] - first[i]
    before, after = x[i], np.append(x, x[0] + TURN)[i + 1]
    places = np.append((y[None] + TURN * turns.astype(float)[:, None]).ravel(), y[0] + TURN * (float(turns[-1]) + 1.0))

    def cost(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return power(np.abs(a - b), p)

    grows = cost(before, places[j + 1]) + cost(after, places[j]) - cost(before, places[j]) - cost(after, places[j + 1])
    order = np.argsort(shifts, kind="stable")[:: 1 if way > 0.0 else -1]
    slopes = abs(start.slope_right if way > 0.0 else start.slope_left) - np.cumsum(grows[order])
    at = int(np.argmax(slopes <= 0.0))
    return shifts[order[at]] if slopes[at] <= 0.0 else None
