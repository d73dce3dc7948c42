"""What nonuniform transforms ask of rows of a grid where |z| is not the same for all targets: they lie on an ellipsoid.

z = B^T x with |x| = 1, beta included in B, has the direction u = z/|z| and the norm kappa(u) = 1/|B^{-T} u|, a smooth
function on the sphere if B is invertible. So are e^{-kappa(u)} times the moments at kappa(u) u, and they need no more Fourier
coefficients than those of one |z| as large as the largest. Their values at the nodes of a grid that is just fine enough come
from rows again, along which kappa varies: as a function of 1/kappa, in which i_l(kappa) e^-kappa is nearly an exponential, they
are interpolated between some Chebyshev points of each row's own range. With 1/kappa = c (1 + r x), |x| <= 1, the Chebyshev
coefficients of e^{-a/kappa} are 2 e^{-ac} I_k(a c r), at most some h^k sqrt(2/(pi k)) for every a > 0, h = r/(1 + sqrt(1 - r^2)),
and interpolation in Q points errs by twice the sum of those from Q on.

kappa(u) has singularities at complex angles, atanh(1/ratio) from the real ones at the nearest, if `ratio` is that of the largest
norm and the least. So the grid needs degrees of some DEPTH/atanh(1/ratio), also where the norms themselves need less.

From there on these functions are treated like the four of one |z| (`solver.attention.transform`). What frequencies beyond the
grid's would have added is estimated from the last ones kept.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.fft

from solver.attention.expansion import START_MARGIN, needed_order
from solver.attention.kernels import lanes, library, pointer
from solver.attention.nufft import Grid

Array = np.ndarray
# -log of what expansions by transforms leave out.
DEPTH = 37.0
# What interpolation may leave of the largest part that a degree can have.
INTERPOLATION = 1e-14
# Vectors of rows that advance together, as in circle.c.
WIDTH = 4


class Ellipsoid:
    """The norms kappa(u) of targets in the direction u: z = x score with |x| = 1.

    Attributes:
        least, most: of all norms.

    Raises:
        np.linalg.LinAlgError: score is singular.
    """

    def __init__(self, score: Array):
        self.inverse = np.linalg.inv(score)
        values = np.linalg.svd(score, compute_uv=False)
        self.least, self.most = float(values[-1]), float(values[0])

    def norms(self, directions: Array) -> Array:
        """(...,) from directions (..., 3)."""
        x = directions @ self.inverse
        return 1.0 / np.sqrt(np.einsum("...i,...i->...", x, x))

    @property
    def least_degree(self) -> int:
        """What the grid needs to follow the norms."""
        return math.ceil(DEPTH / math.atanh(self.least / self.most)) if self.least < self.most else 1

    def samples(self) -> Array:
        """Some norms, the least and the largest among them."""
        return np.geomspace(self.least, self.most, 9)


def nodes_needed(ratio: float) -> int:
    """How many interpolation points 1/kappa needs where its largest value is `ratio` times its least."""
    fraction, count = (ratio - 1.0) / (ratio + 1.0), 1
    rate = max(fraction / (1.0 + math.sqrt(1.0 - fraction * fraction)), 1e-17)
    while 4.0 * rate ** count > INTERPOLATION * (1.0 - rate) * math.sqrt(2.0 * math.pi * count):
        count += 1
    return count


def ellipsoid_rows(coefficients: Array, ellipsoid: Ellipsoid, grid: Grid, threads: int = 1) -> None:
    """Fill `grid.rows` from coefficients (L + 1 orders, L + 1 degrees, 4) of the law and the law times each coordinate, without
    Bessel functions."""
    equator, block = grid.half // 2, WIDTH * lanes()
    for first in reversed(range(0, equator + 1, block)):   # the largest arrays first: later ones find room in freed memory
        _fill(coefficients, ellipsoid, grid, np.arange(first, min(first + block, equator + 1)), threads)


def _fill(coefficients: Array, ellipsoid: Ellipsoid, grid: Grid, rows: Array, threads: int) -> None:
    """The same of consecutive rows in the northern half, and of those as far from the other pole."""
    _, lib = library()  # type: ignore[misc]
    degree, around = len(coefficients) - 1, 2 * grid.half
    kappa = _norms_on(ellipsoid, rows * (np.pi / grid.half), around)
    inverse = 1.0 / kappa
    low, high = inverse.min(axis=(0, 2)), inverse.max(axis=(0, 2))
    count = nodes_needed(float((high / low).max()))
    middle, half = 0.5 * (high + low)[:, None], np.maximum(0.5 * (high - low), 1e-12 * high)[:, None]
    at = np.pi * (np.arange(count) + 0.5) / count
    points = np.ascontiguousarray(1.0 / (middle + half * np.cos(at)))
    last = np.array([min(degree, needed_order(kappa, DEPTH)) for kappa in points.max(axis=0)])
    top = max(int(last.max()), needed_order(float(points.max()), DEPTH + START_MARGIN)) + 2
    found = np.empty((2, len(rows), count, 4, degree + 1), dtype=complex)
    lib.coldflow_legendre_scaled(degree, grid.half, int(rows[0]), len(rows), count, pointer(points), pointer(last), top,
                                 pointer(coefficients.view(float)), pointer(found.view(float)), threads)
    values = scipy.fft.irfft(found, around, workers=threads)
    weights = _lagrange((inverse - middle) / half, at)
    waves = scipy.fft.rfft(np.einsum("scqn,scqfn->fscn", weights, values), workers=threads)[..., :grid.degree + 1]
    grid.rows[:, :, rows] = waves[:, 0].transpose(0, 2, 1)
    grid.rows[:, :, grid.half - rows] = waves[:, 1].transpose(0, 2, 1)


def _norms_on(ellipsoid: Ellipsoid, theta: Array, around: int) -> Array:
    """kappa (2, rows, around) at equispaced azimuths of the rows at theta (rows,), and of those at pi - theta."""
    phi = 2.0 * np.pi / around * np.arange(around)
    across, along = np.sin(theta)[:, None], np.broadcast_to(np.cos(theta)[:, None], (len(theta), around))
    directions = np.stack([across * np.cos(phi), across * np.sin(phi), along], axis=-1)
    return np.stack([ellipsoid.norms(directions), ellipsoid.norms(directions * [1.0, 1.0, -1.0])])


def _lagrange(x: Array, at: Array) -> Array:
    """(2, rows, points, around): weights of the values at Chebyshev points cos(at) for x (2, rows, around) within [-1, 1]."""
    signs = np.sin(at) * (-1.0) ** np.arange(len(at))
    distance = x[:, :, None, :] - np.cos(at)[:, None]
    distance[distance == 0.0] = 1e-300
    weights = signs[:, None] / distance
    return weights / weights.sum(axis=2, keepdims=True)
