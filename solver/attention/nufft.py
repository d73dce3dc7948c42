"""The expansion in spherical harmonics of many points for targets of one |z|, by nonuniform fast Fourier transforms.

If B is a multiple of an orthogonal matrix, kappa = |z| is the same for all targets, and what they ask for are the values of four
functions on the sphere, with the coefficients i_l(kappa) c_lm (`solver.attention.expansion`). A function of degree L is a
trigonometric polynomial of degree L in both angles, theta continued beyond pi by f(-theta, phi) = f(theta, phi + pi): the double
Fourier sphere. So

    masses -> grid of both angles -> Fourier coefficients -> rows of theta -> coefficients of Legendre functions, and
    coefficients -> rows of theta -> Fourier coefficients -> grid -> targets:

a cost per point that does not depend on L, and 2 L^3 multiplications for the rows. The window that leads from points to the grid
and back is in `nufft.c`, the rows are in `legendre.c`. The grid has `FINER` times the nodes that degree L + 1 needs.

**Error.** What is cut off is bounded as in `solver.attention.expansion`, with the same Bessel functions. Grids alias: to a
coefficient of frequency k <= L comes a part of those whose frequencies differ from k by the number of nodes, which the window
damps. Largest is the part of the first of these at k = L, e^-9 of it, where i_l is e^-`LEAST_DEPTH`; at k = L/2 it is e^-26, and
i_l e^-10. Rounding is that of coordinates (k times their own, as in recurrences), of windows and of sums. It has the form it has
there, and `ROUGH` times its size. These parts are measured, not proven: twice the largest error seen, that of single points
(`tests/attention/test_nufft.py`).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import scipy.fft

from solver.attention.expansion import START_MARGIN, needed_order, roughness
from solver.attention.kernels import library, pointer
from solver.attention.moments import Moments
from solver.attention.sources import Law

Array = np.ndarray
# Nodes of the window in each angle, as in nufft.c; its shape: of e^{-SHAPE} at its ends.
SPAN, SHAPE = 16, 39.0
# Nodes relative to the 2 L + 1 that a degree needs.
FINER = 1.25
# Rounding errors relative to those of recurrences.
ROUGH = 2.0
# Cutting off more would leave coefficients that aliasing spoils.
LEAST_DEPTH = 39.0
# Below, windows would reach round the grid more than once; beyond, the grid takes more than 200 MB.
LEAST_DEGREE, LARGEST_DEGREE = 24, 1400
# Norms of targets that differ by no more than this, relatively, are one: what that changes is below rounding as bounded here.
SAME_NORM = 4e-15


@dataclass
class Grid:
    """Nodes of both angles for functions up to a degree, and room for what lives on them, which is dear to allocate.

    Attributes:
        size: nodes in either angle, even. half: rows of theta from pole to pole that are enough for the degree, less one; even.
        factor (degree + 1,): 1/(what the window multiplies frequency k by).
        nodes (size/2 + SPAN, size + SPAN, 4), rows (4, degree + 1, half + 1): written over by every use.
    """

    degree: int
    size: int
    half: int
    factor: Array
    nodes: Array
    rows: Array


@functools.lru_cache(maxsize=2)
def grid_for(degree: int) -> Grid:
    """The grid for functions up to `degree`."""
    half = 2 * scipy.fft.next_fast_len(degree // 2 + 1)
    size = 4 * scipy.fft.next_fast_len(math.ceil(FINER * (degree + 1) / 2), real=True)
    x, weight = np.polynomial.legendre.leggauss(4 * SPAN)
    window = weight * np.exp(SHAPE * (np.sqrt(1.0 - x * x) - 1.0))
    wave = np.cos(np.outer(np.arange(degree + 1) * (np.pi * SPAN / size), x)) @ window * (SPAN / 2.0)
    return Grid(degree, size, half, 1.0 / wave, np.empty((size // 2 + SPAN, size + SPAN, 4)),
                np.empty((4, degree + 1, half + 1), dtype=complex))


class Places:
    """Points (n, 3) of the sphere, of any length, sorted on a grid; local."""

    def __init__(self, points: Array, grid: Grid, threads: int = 1):
        _, lib = library()  # type: ignore[misc]
        n = len(points)
        self.grid, self.threads = grid, threads
        self.place, self.order = np.empty((n, 2)), np.empty(n, dtype=np.int64)
        self.first = np.empty(grid.size // 2 + 2, dtype=np.int64)
        lib.coldflow_nufft_sort(n, pointer(points), grid.size, pointer(self.place), pointer(self.order), pointer(self.first),
                                threads)

    def coefficients(self, masses: Array) -> Array:
        """c (degree + 1 orders m, degree + 1 degrees l), zero for l < m: sums of masses (n,) times conj(Y_lm)."""
        _, lib = library()  # type: ignore[misc]
        grid, threads, margin = self.grid, self.threads, SPAN // 2
        size, degree, half = grid.size, grid.degree, grid.half
        raw = grid.nodes.reshape(-1)[:(size // 2 + SPAN) * (size + SPAN)].reshape(-1, size + SPAN)
        lib.coldflow_nufft_spread(len(masses), pointer(self.place), pointer(self.order), pointer(self.first), pointer(masses),
                                  size, SHAPE, pointer(raw), threads)
        raw[:, size:size + margin] += raw[:, :margin]
        raw[:, margin:SPAN] += raw[:, size + margin:]
        waves = scipy.fft.rfft(raw[:, margin:size + margin], workers=threads)[:, :degree + 1] * grid.factor
        circle = np.zeros((degree + 1, size), dtype=complex)
        circle[:, :size // 2 + margin] = waves[margin:].T
        circle[:, size - margin:] += waves[:margin].T
        fine = scipy.fft.fft(circle, workers=threads, overwrite_x=True)
        few = np.zeros((degree + 1, 2 * half), dtype=complex)
        few[:, :degree + 1] = fine[:, :degree + 1] * grid.factor
        few[:, -degree:] = fine[:, -degree:] * grid.factor[:0:-1]
        rows = scipy.fft.ifft(few, workers=threads, overwrite_x=True)
        folded = rows[:, :half + 1].copy()
        folded[:, 1:half] += self._signs * rows[:, :half:-1]
        north, south = folded[:, :half // 2 + 1], folded[:, :half // 2 - 1:-1].copy()
        south[:, -1] = 0.0   # the equator is one row, not two
        even, odd = north + south, north - south
        data = np.stack([even.real, even.imag, odd.real, odd.imag], axis=1)
        found = np.empty((degree + 1, degree + 1), dtype=complex)
        lib.coldflow_legendre_analysis(degree, half, pointer(data), pointer(found.view(float)), threads)
        return found

    def values(self, coefficients: Array) -> Array:
        """(n, 4): four real functions at the points, from coefficients (degree + 1 orders m >= 0, degree + 1 degrees, 4)."""
        _, lib = library()  # type: ignore[misc]
        grid, threads, margin = self.grid, self.threads, SPAN // 2
        size, degree, half, nodes = grid.size, grid.degree, grid.half, grid.nodes
        lib.coldflow_legendre_synthesis(degree, half, pointer(coefficients.view(float)), pointer(grid.rows.view(float)), threads)
        factor = grid.factor * (size / (2.0 * half))
        whole, circle = np.empty((degree + 1, 2 * half), dtype=complex), np.empty((degree + 1, size), dtype=complex)
        for field, rows in enumerate(grid.rows):
            whole[:, :half + 1] = rows
            whole[:, half + 1:] = self._signs * rows[:, half - 1:0:-1]
            few = scipy.fft.fft(whole, workers=threads, overwrite_x=True)
            circle[:, :degree + 1] = few[:, :degree + 1] * factor
            circle[:, degree + 1:-degree] = 0.0
            circle[:, -degree:] = few[:, -degree:] * factor[:0:-1]
            fine = scipy.fft.ifft(circle, workers=threads, overwrite_x=True)
            waves = np.concatenate([fine[:, size - margin:], fine[:, :size // 2 + margin]], axis=1).T * (grid.factor * size)
            nodes[:, margin:size + margin, field] = scipy.fft.irfft(waves, size, workers=threads, overwrite_x=True)
        nodes[:, :margin] = nodes[:, size:size + margin]
        nodes[:, size + margin:] = nodes[:, margin:SPAN]
        found = np.empty((len(self.order), 4))
        lib.coldflow_nufft_interpolate(len(found), pointer(self.place), pointer(self.order), size, SHAPE, pointer(nodes),
                                       pointer(found), threads)
        return found

    @property
    def _signs(self) -> Array:
        """(degree + 1, 1): (-1)^m, what functions of order m are multiplied by where theta changes its sign."""
        return 1.0 - 2.0 * (np.arange(self.grid.degree + 1) % 2)[:, None]


@dataclass
class Transform:
    """An expansion by transforms, of one law, ready for the targets that are sorted in `targets`.

    Attributes:
        order: largest degree kept. coefficients: of the denominator and the numerator's components.
        error: bound on the errors of moments relative to e^kappa and the mass.
    """

    order: int
    coefficients: Array
    error: float

    def __call__(self, z: Array, targets: Places) -> tuple[Moments, Array]:
        """Moments at targets z (n, 3) of one norm, and for each the bound (n,) on errors relative to e^shift and the mass."""
        values = targets.values(self.coefficients)
        norms = np.sqrt(np.einsum("ij,ij->i", z, z))
        return (Moments(np.ascontiguousarray(values[:, 1:]), np.ascontiguousarray(values[:, 0]), norms),
                np.full(len(z), self.error))


def transform(law: Law, sources: Places, kappa: float) -> Transform:
    """The expansion of a law for |z| = kappa, of one degree less than the grid that its sources are sorted on."""
    degree = sources.grid.degree - 1
    c = sources.coefficients(law.full_masses)
    bessel, lost = scaled_bessel(kappa, degree)
    coefficients = np.zeros((degree + 2, degree + 2, 4), dtype=complex)
    np.multiply(coupled(c), bessel[:, None], out=coefficients[:-1, :-1])
    power = 2.0 * np.sum(np.abs(c[:-1, :-1]) ** 2, axis=0) - np.abs(c[0, :-1]) ** 2
    orders = 2.0 * np.arange(degree + 1) + 1.0
    rough = ROUGH * roughness(law, np.sqrt(power / orders))
    return Transform(degree, coefficients, lost + float(np.sum(orders * bessel * rough)))


def scaled_bessel(kappa: float, degree: int) -> tuple[Array, float]:
    """i_l(kappa) e^-kappa (degree + 1,), by backward recurrence, and a bound on what that and cutting off there lose, of all
    sums: items 1 to 3 of `solver.attention.expansion`."""
    start = max(degree, needed_order(kappa, LEAST_DEPTH + START_MARGIN)) + 2
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
    top = len(c)
    order, degree = np.mgrid[:top, :top].astype(float)
    inside = degree >= order
    square = np.where(degree > 0.0, 4.0 * degree * degree - 1.0, 1.0)
    level = np.sqrt(np.where(inside, (degree * degree - order * order) / square, 0.0))
    rising = np.sqrt(np.where(inside, np.maximum((degree + order) * (degree + order - 1.0), 0.0) / square, 0.0))
    falling = np.sqrt(np.where(inside, np.maximum((degree - order) * (degree - order - 1.0), 0.0) / square, 0.0))
    out = np.zeros((top - 1, top - 1, 4), dtype=complex)
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
    out[~inside[:-1, :-1]] = 0.0
    return out
