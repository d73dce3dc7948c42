"""Functions on the sphere from points to harmonic coefficients and back: nonuniform fast Fourier transforms.

A function of degree L is a trigonometric polynomial of degree L in both angles, theta continued beyond pi by f(-theta, phi) =
f(theta, phi + pi): the double Fourier sphere. So

    masses -> grid of both angles -> Fourier coefficients -> rows of theta -> coefficients of Legendre functions, and
    rows of theta -> Fourier coefficients -> grid -> values at points:

a cost per point that does not depend on L. The window that leads from points to the grid and back is in `nufft.c`, the rows are
in `legendre.c`. The grid has `FINER` times the nodes that degree L needs. Grids alias: to a coefficient of frequency k comes a
part of those whose frequencies differ from k by the number of nodes, which the window damps: e^-9 of the first of these at k = L,
e^-26 at L/2.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import scipy.fft

from solver.attention.kernels import library, pointer

Array = np.ndarray
# Nodes of the window in each angle, as in nufft.c; its shape: of e^{-SHAPE} at its ends.
SPAN, SHAPE = 16, 39.0
# Nodes relative to the 2 L + 1 that a degree needs.
FINER = 1.25
# Rows or orders that are transformed together.
PIECE = 32
# What lies beyond the frequencies kept, relative to the root mean square sum of the last twentieth of them.
TAIL = 16.0
# Below, windows would reach round the grid more than once; beyond, the grid takes more than 200 MB.
LEAST_DEGREE, LARGEST_DEGREE = 24, 1400


@dataclass
class Grid:
    """Nodes of both angles for functions up to a degree, and room for what lives on them, which is dear to allocate.

    Attributes:
        size: nodes in either angle, even. half: rows of theta from pole to pole that are enough for the degree, less one; even.
        factor (degree + 1,): 1/(what the window multiplies frequency k by).
        rows (4, degree + 1, half + 1): Fourier coefficients in phi of four functions, of m >= 0, along each row.
        nodes (size/2 + SPAN, size + SPAN, 4): the values of these, with margins. Both are written over by every use.
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


def fill_rows(grid: Grid, coefficients: Array, threads: int = 1) -> None:
    """Four functions on `grid.rows` from their coefficients (degree + 1 orders m >= 0, degree + 1 degrees l >= m, 4)."""
    _, lib = library()  # type: ignore[misc]
    lib.coldflow_legendre_synthesis(grid.degree, grid.half, pointer(coefficients.view(float)), pointer(grid.rows.view(float)),
                                    threads)


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
        waves = scipy.fft.rfft(raw[:, margin:size + margin], workers=threads)
        data = np.empty((degree + 1, 4, half // 2 + 1))
        for orders in _pieces(degree + 1):
            circle = np.zeros((len(orders), size), dtype=complex)
            some = waves[:, orders[0]:orders[-1] + 1].T * grid.factor[orders][:, None]
            circle[:, :size // 2 + margin] = some[:, margin:]
            circle[:, size - margin:] += some[:, :margin]
            fine = scipy.fft.fft(circle, workers=threads, overwrite_x=True)
            few = np.zeros((len(orders), 2 * half), dtype=complex)
            few[:, :degree + 1] = fine[:, :degree + 1] * grid.factor
            few[:, -degree:] = fine[:, -degree:] * grid.factor[:0:-1]
            rows = scipy.fft.ifft(few, workers=threads, overwrite_x=True)
            rows[:, 1:half] += _signs(orders) * rows[:, :half:-1]
            north, south = rows[:, :half // 2 + 1], rows[:, half:half // 2 - 1:-1]
            even, odd = north + south, north - south
            even[:, -1] = north[:, -1]   # the equator is one row, not two
            data[orders] = np.stack([even.real, even.imag, odd.real, odd.imag], axis=1)
        found = np.empty((degree + 1, degree + 1), dtype=complex)
        lib.coldflow_legendre_analysis(degree, half, pointer(data), pointer(found.view(float)), threads)
        return found

    def values(self) -> tuple[Array, float]:
        """(n, 4): the four real functions in `grid.rows` at the points, and what frequencies beyond the grid's may have added."""
        _, lib = library()  # type: ignore[misc]
        grid, threads, margin = self.grid, self.threads, SPAN // 2
        size, degree, half, nodes = grid.size, grid.degree, grid.half, grid.nodes
        last = degree - degree // 20
        beyond, factor = np.zeros(4), grid.factor * (size / (2.0 * half))
        waves = np.empty((size // 2 + SPAN, degree + 1, 4), dtype=complex)
        for orders in _pieces(degree + 1):
            whole = np.empty((4, len(orders), 2 * half), dtype=complex)
            whole[..., :half + 1] = grid.rows[:, orders]
            whole[..., half + 1:] = _signs(orders) * whole[..., half - 1:0:-1]
            few = scipy.fft.fft(whole, workers=threads, overwrite_x=True)
            for part in few[:, orders >= last], few[..., last:-last]:
                beyond += np.einsum("fmk,fmk->f", part.real, part.real) + np.einsum("fmk,fmk->f", part.imag, part.imag)
            circle = np.zeros((4, len(orders), size), dtype=complex)
            circle[..., :degree + 1] = few[..., :degree + 1] * factor
            circle[..., -degree:] = few[..., -degree:] * factor[:0:-1]
            fine = scipy.fft.ifft(circle, workers=threads, overwrite_x=True)
            many = (grid.factor[orders] * size)[:, None]
            waves[margin:, orders] = fine[..., :size // 2 + margin].transpose(2, 1, 0) * many
            waves[:margin, orders] = fine[..., size - margin:].transpose(2, 1, 0) * many
        for rows in _pieces(len(waves)):
            nodes[rows, margin:size + margin] = scipy.fft.irfft(waves[rows[0]:rows[-1] + 1], size, axis=1, workers=threads)
        nodes[:, :margin] = nodes[:, size:size + margin]
        nodes[:, size + margin:] = nodes[:, margin:SPAN]
        found = np.empty((len(self.order), 4))
        lib.coldflow_nufft_interpolate(len(found), pointer(self.place), pointer(self.order), size, SHAPE, pointer(nodes),
                                       pointer(found), threads)
        return found, TAIL * float(np.sqrt(beyond.max())) / (2.0 * half)


def _pieces(count: int) -> list[Array]:
    """0 .. count - 1 in pieces that fit into caches with what belongs to them."""
    return np.array_split(np.arange(count), max(1, count // PIECE))


def _signs(orders: Array) -> Array:
    """(orders, 1): (-1)^m, what functions of order m are multiplied by where theta changes its sign."""
    return 1.0 - 2.0 * (orders % 2)[:, None]
