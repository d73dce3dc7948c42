"""Laws fitted to two columns: power, exponential or line, with interval, range and residuals.

A power law needs a decade of the abscissa and an exponential three e-folds of the ordinate; a fit over less is
returned with the reason why it claims nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from problems import ProblemError

Array = NDArray[np.float64]
KINDS = {"power": "y = a x^b", "exponential": "y = a e^(b x)", "line": "y = a + b x"}
CONFIDENCE = 0.95
DECADE = 10.0
FOLDS = 3.0
# Where a limit is approached like a power below the first number, its error is so many times larger.
SLOWEST, SLOW = 0.55, 4.0


@dataclass(frozen=True)
class Fit:
    """A fitted law.

    Attributes:
        kind: "power", "exponential" or "line".
        slope: exponent b, rate b, or slope b. interval: half width of its 95 % confidence interval (Student's t).
        intercept: a. points: number of points.
        low, high: range of x. spread: range of y as a ratio (power, exponential).
        residual: largest relative deviation from the law (absolute for a line).
        refusal: why the fit does not support its law; empty if it does.
    """

    kind: str
    slope: float
    interval: float
    intercept: float
    points: int
    low: float
    high: float
    spread: float
    residual: float
    refusal: str

    def __call__(self, x: Array) -> Array:
        """The law at x."""
        x = np.asarray(x, float)
        if self.kind == "power":
            return self.intercept * x**self.slope
        return self.intercept * np.exp(self.slope * x) if self.kind == "exponential" else self.intercept + self.slope * x

    @property
    def words(self) -> str:
        law = {"power": f"y = {self.intercept:.4g} x^b", "exponential": f"y = {self.intercept:.4g} e^(b x)",
               "line": f"y = {self.intercept:.4g} + b x"}[self.kind]
        text = (f"{law}, b = {self.slope:.6g} +- {self.interval:.2g} (95 %), {self.points} points, x from {self.low:.4g} to "
                f"{self.high:.4g}, largest residual {self.residual:.2g}")
        return text + (f"; {self.refusal}" if self.refusal else "")


def fit(x: Array, y: Array, kind: str) -> Fit:
    """Least squares for the law `kind`, in logarithms where it has them.

    Args:
        x, y: (n,), n >= 3; pairs that are not finite, or not positive where a logarithm is taken, are left out.
        kind: a name of `KINDS`.

    Raises:
        ProblemError: an unknown law, or fewer than three usable points.
    """
    if kind not in KINDS:
        raise ProblemError("--fit", kind, "must be one of " + ", ".join(KINDS))
    x, y = np.asarray(x, float), np.asarray(y, float)
    kept = np.isfinite(x) & np.isfinite(y)
    if kind != "line":
        kept &= (y > 0) & ((x > 0) | (kind == "exponential"))
    x, y = x[kept], y[kept]
    if len(x) < 3 or np.ptp(x) == 0:
        raise ProblemError("--fit", kind, f"needs at least three points with different x; {len(np.unique(x))} are usable")
    u = np.log(x) if kind == "power" else x
    v = y if kind == "line" else np.log(y)
    found = stats.linregress(u, v)
    interval = float(stats.t.ppf(0.5 + CONFIDENCE / 2, len(x) - 2) * found.stderr)
    model = found.intercept + found.slope * u
    residual = float(np.abs(v - model).max() if kind == "line" else np.abs(np.expm1(v - model)).max())
    spread = float(y.max() / y.min()) if y.min() > 0 else np.inf
    refusal = ""
    if kind == "power" and x.max() / x.min() < DECADE * (1 - 1e-9):
        refusal = f"no power law is claimed from less than a decade (x spans a factor {x.max() / x.min():.3g})"
    if kind == "exponential" and np.log(spread) < FOLDS * (1 - 1e-9):
        refusal = f"no rate is claimed from less than three e-folds (y spans {np.log(spread):.2g})"
    start = float(found.intercept) if kind == "line" else float(np.exp(found.intercept))
    return Fit(kind, float(found.slope), interval, start, len(x), float(x.min()), float(x.max()), spread, residual, refusal)


def crossing(x: Array, y: Array, level: float = 0.0) -> tuple[float, float]:
    """Where y(x) passes a level, and half the distance of the two samples around it times its curvature error.

    Args: x ascending (n,), y (n,).

    Returns:
        The zero of the interpolating line and an error: the change when a parabola through the nearest third point is
        used instead. (nan, nan) where y does not pass the level.
    """
    order = np.argsort(x)
    x, y = np.asarray(x, float)[order], np.asarray(y, float)[order] - level
    change = np.flatnonzero(np.sign(y[:-1]) * np.sign(y[1:]) <= 0)
    if len(change) == 0:
        return float("nan"), float("nan")
    i = int(change[0])
    linear = x[i] - y[i] * (x[i + 1] - x[i]) / (y[i + 1] - y[i]) if y[i + 1] != y[i] else x[i]
    third = [j for j in (i - 1, i + 2) if 0 <= j < len(x)]
    if not third:
        return float(linear), float(abs(x[i + 1] - x[i]) / 2)
    best, roots = third[int(np.argmin([abs(x[j] - linear) for j in third]))], []
    coefficients = np.polyfit(x[[i, i + 1, best]], y[[i, i + 1, best]], 2)
    roots = [r.real for r in np.roots(coefficients) if abs(r.imag) < 1e-12 and x[i] <= r.real <= x[i + 1]]
    curved = roots[0] if roots else linear
    return float(curved), float(abs(curved - linear))


def limit(x: Array, y: Array) -> tuple[float, float]:
    """y as x tends to 0, by polynomial extrapolation through the smallest |x|, with an error.

    The polynomial has degree min(n - 1, 3). The error is the largest change when its degree is one lower, when it is a polynomial
    in |x|^{1/2} instead, and when L + C |x|^p is put through the three smallest |x|: where convergence is not polynomial, a
    polynomial of any degree is off by much more than its last change. Four times that where p is hardly more than 1/2, since
    what falls like 1/log |x| looks so.
    """
    order = np.argsort(np.abs(x))
    x, y = np.abs(np.asarray(x, float)[order]), np.asarray(y, float)[order]
    if len(x) < 3:
        return float("nan"), float("nan")
    degree = min(len(x) - 1, 3)

    def at_zero(count: int, power: int, u: Array = x) -> float:
        return float(np.polyfit(u[:count], y[:count], power)[-1])

    best = at_zero(degree + 1, degree)
    exponent, free = power_limit(x[:3], y[:3])
    changes = np.abs(best - np.array([at_zero(degree, degree - 1), at_zero(degree + 1, degree, np.sqrt(x)), free]))
    return best, max(float(np.nanmax(changes)) * (SLOW if exponent < SLOWEST else 1.0), 1e-14 * abs(best))


def power_limit(x: Array, y: Array) -> tuple[float, float]:
    """Exponent p and L of L + C x^p through three points, x > 0 ascending; (nan, nan) where there is no such law.

    p is sought between .001 and 12.
    """
    if x[0] <= 0 or len(np.unique(x)) < 3 or (y[2] - y[1]) * (y[1] - y[0]) <= 0:
        return float("nan"), float("nan")
    u, ratio = x / x[2], (y[2] - y[1]) / (y[1] - y[0])

    def off(p: float) -> float:
        return float((u[2]**p - u[1]**p) / (u[1]**p - u[0]**p) - ratio)

    low, high = 1e-3, 12.0
    if off(low) * off(high) > 0:
        return float("nan"), float("nan")
    p = float(optimize.brentq(off, low, high))
    return p, float(y[0] - (y[1] - y[0]) / (u[1]**p - u[0]**p) * u[0]**p)
