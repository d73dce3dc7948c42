"""The expansion in spherical harmonics of many points for targets of one |z|, or on an ellipsoid, by nonuniform transforms.

If B is a multiple of an orthogonal matrix, kappa = |z| is the same for all targets, and what they ask for are the values of four
functions on the sphere, with the coefficients i_l(kappa) c_lm (`solver.attention.expansion`). For other invertible B and |x| = 1
they are four functions of the direction of z still (`solver.attention.ellipsoid`). Either way `solver.attention.nufft` leads from
sources to c_lm and from rows of a grid to the targets, at a cost per point that does not depend on the degree L.

**Error.** What is cut off is bounded as in `solver.attention.expansion`, with the same Bessel functions, and is about e^-`DEPTH`;
aliasing is worst at the degree L, where i_l is no larger than that. Rounding is that of coordinates (l times their own, as in
recurrences), of windows and of sums. For coefficients of some size it has the form it has there, and `ROUGH` times its size. What
many points add, each with its own rounding errors, are sums of terms w_j e^{<z,y_j> - kappa} of random signs, the squares of
which sum up to |w|_2^2 sum_l (2l+1) (i_l e^-kappa)^2 for spread points; those that crowd have coefficients of some size. These
parts are measured, not proven: twice the largest error seen, that of single points (`tests/attention/test_nufft.py`).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from solver.attention.ellipsoid import DEPTH, INTERPOLATION, Ellipsoid, ellipsoid_rows
from solver.attention.expansion import ROUGH, ROUNDING, START_MARGIN, needed_order
from solver.attention.moments import Moments
from solver.attention.nufft import LARGEST_DEGREE, LEAST_DEGREE, Places, fill_rows
from solver.attention.sources import Law

Array = np.ndarray


def degree_for(kappa: float, least: int = LEAST_DEGREE) -> int | None:
    """Of the expansion for |z| <= kappa, and `least` at least; None if it is beyond those that grids are made for."""
    degree = max(LEAST_DEGREE, least, needed_order(kappa, DEPTH))
    return degree if degree < LARGEST_DEGREE else None


@dataclass
class Transform:
    """An expansion by transforms, of one law.

    Attributes:
        order: largest degree kept.
        coefficients: of the denominator and the numerator's components, with the Bessel functions if all targets have one |z|.
        error: bound on the errors of moments relative to e^|z| and the mass, but for frequencies beyond the grid's.
        ellipsoid: that targets lie on, if they have several |z|.
        second: coefficients of int y^T M y e^{<z,y>} dmu(y) and of the numerator's derivatives in |z|, if wanted.
    """

    order: int
    coefficients: Array
    error: float
    ellipsoid: Ellipsoid | None = None
    second: Array | None = None

    def __call__(self, z: Array, targets: Places) -> tuple[Moments, Array]:
        """Moments at targets z (n, 3), which are sorted in `targets`, and for each a bound (n,) on errors relative to e^shift and
        the mass."""
        if self.ellipsoid is None:
            fill_rows(targets.grid, self.coefficients, targets.threads)
        else:
            ellipsoid_rows(self.coefficients, self.ellipsoid, targets.grid, targets.threads)
        values, tail = targets.values()
        norms = np.sqrt(np.einsum("ij,ij->i", z, z))
        return (Moments(np.ascontiguousarray(values[:, 1:]), np.ascontiguousarray(values[:, 0]), norms),
                np.full(len(z), self.error + tail))

    def quadratic(self, z: Array, targets: Places, turned: Array) -> Array:
        """int (y^T M y - <z,y> <a,y>) e^{<z,y> - |z|} dmu(y) (n,), vectors a in `turned` (n, 3), for |z| all the same."""
        assert self.second is not None
        fill_rows(targets.grid, self.second, targets.threads)
        values, _ = targets.values()
        norms = np.sqrt(np.einsum("ij,ij->i", z, z))
        return values[:, 0] - norms * np.einsum("ij,ij->i", values[:, 1:], turned)


def transform(law: Law, sources: Places, norms: float | Ellipsoid, matrix: Array | None = None) -> Transform:
    """The expansion of a law, of two degrees less than the grid that its sources are sorted on, for targets of one norm or on an
    ellipsoid; with second moments for M = matrix (3, 3), if targets have one norm."""
    degree = sources.grid.degree - 2
    products = coupled(sources.coefficients(law.full_masses))   # up to one degree more
    few = np.ascontiguousarray(products[:-1, :-1])
    power = 2.0 * np.sum(np.abs(few[..., 0]) ** 2, axis=0) - np.abs(few[0, :, 0]) ** 2
    orders = 2.0 * np.arange(degree + 1) + 1.0
    sizes = np.sqrt(power / orders)
    second = None
    if isinstance(norms, Ellipsoid):
        several = [scaled_bessel(kappa, degree) for kappa in norms.samples()]
        bessel, lost = np.max([values for values, _ in several], axis=0), max(lost for _, lost in several)
        lost += INTERPOLATION * float(np.sum(orders * bessel * np.minimum(1.0, sizes)))
        coefficients, ellipsoid = few, norms
    else:
        bessel, lost = scaled_bessel(norms, degree)
        coefficients, ellipsoid = _on_grid(few * bessel[:, None], degree + 2), None
        if matrix is not None:
            second = _on_grid(_second(products, matrix, norms), degree + 2)
    return Transform(degree, coefficients, lost + _rounding(law, bessel, sizes), ellipsoid, second)


def _on_grid(coefficients: Array, degree: int) -> Array:
    """With zeros up to a degree, (degree + 1 orders, degree + 1 degrees, 4)."""
    more = degree + 1 - len(coefficients)
    return np.pad(coefficients, ((0, more), (0, more), (0, 0)))


def _second(products: Array, matrix: Array, kappa: float) -> Array:
    """(L orders, L degrees, 4), Bessel functions included: the law times y^T matrix y; and the numerators' with
    (2l+1) di_l/dkappa = l i_{l-1} + (l+1) i_{l+1}; from `coupled` coefficients (L + 1 orders, L + 1 degrees, 4)."""
    bessel, _ = scaled_bessel(kappa, len(products) - 1)
    orders = np.arange(len(products) - 1)
    slope = (orders * np.append(0.0, bessel[:-2]) + (orders + 1.0) * bessel[1:]) / (2.0 * orders + 1.0)
    twice = np.sum([coupled(products[..., 1:] @ matrix[:, k])[..., 1 + k] for k in range(3)], axis=0)
    return np.concatenate([(twice * bessel[:-1])[..., None], products[:-1, :-1, 1:] * slope[:, None]], axis=-1)


def _rounding(law: Law, bessel: Array, sizes: Array) -> float:
    """What rounding adds to sums relative to e^kappa and the mass, from i_l e^-kappa and sizes of coefficients (degree + 1,)."""
    orders = np.arange(len(bessel))
    each = bessel * (8.0 + orders)
    smooth = np.sum((2.0 * orders + 1.0) * each * np.minimum(1.0, sizes))
    noise = 4.0 * np.linalg.norm(law.masses) * np.sqrt(np.sum((2.0 * orders + 1.0) * each ** 2))
    return float(ROUGH * ROUNDING * (smooth + noise))


def scaled_bessel(kappa: float, degree: int) -> tuple[Array, float]:
    """i_l(kappa) e^-kappa (degree + 1,), by backward recurrence, and a bound on what that and cutting off there lose, of all
    sums: items 1 to 3 of `solver.attention.expansion`."""
    start = max(degree, needed_order(kappa, DEPTH + START_MARGIN)) + 2
    values, above, now = np.zeros(start + 1), 0.0, 1.0
    for order in range(start, -1, -1):
        values[order] = now
        above, now = now, above + (2.0 * order + 1.0) / kappa * now
        if now > 1e280:   # only ratios matter
            values[order:] /= now
            above, now = above / now, 1.0
    orders = 2.0 * np.arange(start + 1) + 1.0
    values /= orders @ values
    q = kappa / (start + 1.0 + math.hypot(kappa, start + 1.0))
    left = values[-1] * q / (1.0 - q)
    lost = ((start + 1.0) ** 2 + (2.0 * start + 3.0) / (1.0 - q) + 2.0 / (1.0 - q) ** 2) * left
    return values[:degree + 1], 2.0 * (lost + float(orders[degree + 1:] @ values[degree + 1:]))


def coupled(c: Array) -> Array:
    """(L orders, L degrees, 4): coefficients of a law and of that law times each coordinate, from c (L + 1 orders m, L + 1
    degrees l), with the factors C, D and E of `sphere.c`: multiplication by a coordinate couples neighbours only."""
    level, rising, falling = _neighbours(len(c))
    out = np.zeros((len(c) - 1, len(c) - 1, 4), dtype=complex)
    minus = rising[1:, 1:] * c[1:, 1:]   # of y_1 - i y_2
    minus[:, 1:] -= falling[:-1, 1:-1] * c[1:, :-2]
    plus = minus.conj()                  # of y_1 + i y_2, at m = 0
    plus[1:] = -falling[:-2, 1:] * c[:-2, 1:]
    plus[1:, 1:] += rising[1:-1, 1:-1] * c[:-2, :-2]
    out[..., 0] = c[:-1, :-1]
    out[..., 1] = 0.5 * (plus + minus)
    out[..., 2] = -0.5j * (plus - minus)
    out[..., 3] = level[:-1, 1:] * c[:-1, 1:]
    out[:, 1:, 3] += level[:-1, 1:-1] * c[:-1, :-2]
    out *= np.triu(np.ones(out.shape[:2]))[..., None]
    return out


@functools.lru_cache(maxsize=2)
def _neighbours(top: int) -> tuple[Array, Array, Array]:
    """The factors C, D and E (top orders, top degrees), zero for l < m."""
    order, degree = np.ogrid[:top, :top]
    square = np.where(degree > 0, 4.0 * degree * degree - 1.0, 1.0)
    products = degree ** 2 - order ** 2, (degree + order) * (degree + order - 1), (degree - order) * (degree - order - 1)
    level, rising, falling = (np.sqrt(np.triu(product) / square) for product in products)
    return level, rising, falling
