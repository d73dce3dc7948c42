"""Exact Wasserstein distances on the line: the monotone coupling, by merging two quantile functions.

Cumulative masses are added in extended precision: an error e of a level costs e**(1/p) of a small distance.
"""

import numpy as np

from solver.wasserstein.metric import power, root_error

EXTENDED = np.longdouble
_EPS = float(np.finfo(EXTENDED).eps)


def levels(masses: np.ndarray) -> np.ndarray:
    """Cumulative masses over their total, (n,) extended precision, the last one exactly 1."""
    sums = np.cumsum(masses, dtype=EXTENDED)
    sums /= sums[-1]
    return sums


def merge(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The common refinement of two sets of levels, (n,) and (m,), both ending at 1.

    Returns:
        (widths, i, j), each (n + m,): on the k-th piece of [0, 1], of that width, atom i[k] of the first
        measure meets atom j[k] of the second. Pieces no wider than the round-off of the levels get width 0.
    """
    n, m = len(first), len(second)
    both = np.concatenate([first, second])
    order = np.argsort(both, kind="stable")  # merges two sorted runs: linear
    widths = np.diff(both[order], prepend=EXTENDED(0.0)).astype(float)
    widths[widths <= level_round_off(n + m)] = 0.0
    passed = np.cumsum(order < n)
    i = np.empty(n + m, dtype=np.intp)
    i[0], i[1:] = 0, np.minimum(passed[:-1], n - 1)
    j = np.minimum(np.arange(n + m) - i, m - 1)
    return widths, i, j


def level_round_off(count: int) -> float:
    """Typical round-off of the levels of a measure of that many atoms."""
    return 4.0 * _EPS * float(np.sqrt(count))


def wasserstein_line(
    x: np.ndarray, a: np.ndarray, y: np.ndarray, b: np.ndarray, p: float
) -> tuple[float, float]:
    """W_p between probability measures on the line, exact for every p >= 1.

    Args:
        x, y: (n,) and (m,) positions, any order.
        a, b: (n,) and (m,) positive masses; each is normalised to total 1.

    Returns:
        (distance, round-off error). Cost O((n+m) log(n+m)), sorting.
    """
    ix, iy = np.argsort(x, kind="stable"), np.argsort(y, kind="stable")
    x, y = x[ix], y[iy]
    widths, i, j = merge(levels(a[ix]), levels(b[iy]))
    value = float(widths @ power(np.abs(x[i] - y[j]), p)) ** (1.0 / p)
    span = max(x[-1], y[-1]) - min(x[0], y[0])
    coordinate = np.finfo(float).eps * max(abs(x[0]), abs(x[-1]), abs(y[0]), abs(y[-1]))
    return value, coordinate + root_error(level_round_off(len(x) + len(y)) * span**p, value, p)
