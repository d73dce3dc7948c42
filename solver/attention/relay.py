"""Attention on the sphere at low temperature in two steps: from the sources to a larger sphere, from there to the targets.

As a function of z in R^3, D(z) = int e^{<z,y>} dmu(y) solves the modified Helmholtz equation (Delta - 1) D = 0, since all |y|
= 1. Let all targets have |z| <= kappa < s. Green's representation in the ball |Z| <= s with the fundamental solution e^-R/(4
pi R), R = |z - Z|, gives D from its values and its normal derivatives on the sphere Z = s g, |g| = 1:

    D(z) = s^2 int G(R) [ <g, N(s g)> + (1 + 1/R) (s - <z,g>)/R D(s g) ] dsigma(g),   G = e^-R/(4 pi R),

where N = grad D = int e^{<z,y>} y dmu is the numerator of the mean; N(z) is the gradient of the right side. For a single
source y the integrand is a bump about a direction between z and y, as of e^{r cos} with r = s^2/(s - kappa): a quadrature of
the sphere that is exact for polynomials up to degree t has a *relative* error of e^{-t^2/(2 r)}, nearly, for every pair of z
and y, and so for every law, however unevenly its mass is spread. Some t^2/3 directions stand between m sources and n targets:
the work is that of m + n sums over a part of them, not of n sums over a part of the sources. s = 1.6 kappa makes it least.

**Error.** All D(Z) > 0, and |<g,N>| <= D. The angle between Z - z and g is at most alpha = asin(kappa/s) = 39 degrees, so that
the bracket is positive unless <g, m(Z)> < -cos alpha. Since <g, m(t g)>, the slope of log D(t g), increases with t, then D(Z)
<= W e^{-s cos alpha}, W the mass; all such directions together contribute at most (1 - cos alpha) s^2/(s - kappa) W
e^{-s cos alpha - s + kappa}, and D(z) >= W e^-kappa: for kappa >= 20 less than 1e-6 D(z). The sum thus is one of positive
terms, nearly: a relative error of delta in D(Z) and N(Z), and directions left out that hold at most delta D(z), change D(z) by
a part of 2 delta and the mean by a few delta. Both steps get a small part of the accuracy. Bounds of what is left out are as
in `solver.attention.pruned`: a leaf of directions adds no more than its sum of D(Z) times (2 + 1/R) e^-R/R at its least R. The
quadrature error is measured, not proven: `tests/attention/test_relay.py`.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from solver.attention.dense import pack
from solver.attention.expansion import needed_order
from solver.attention.kernels import LN2, lanes, library, pointer
from solver.attention.moments import Moments, unpacked
from solver.attention.pruned import GROUP, LEAF, Tree, neighbours, pruned_moments

Array = np.ndarray
# Radius of the sphere between, relative to the largest |z|.
SHELL = 1.6
# Parts of the accuracy: of each step's pruning, and of the quadrature.
STEP, QUADRATURE = 1.0 / 32.0, 1.0 / 8.0
# Radii are rounded up to powers of this, so that grids are used again.
STEPS = 2.0 ** 0.25


@dataclass
class Grid:
    """Directions on the sphere: points (k, 3), weights (k,) with sum 4 pi, the radius s, and what the two steps need of them.

    tree: over the directions. place (k,): groups of neighbours.
    """

    points: Array
    weights: Array
    radius: float
    tree: Tree
    place: Array


def grid_degree(kappa: float, accuracy: float) -> int:
    """Up to which the quadrature has to be exact: of depth x its error is e^{-x + x^2/(12 kappa) + 1} at most for large
    kappa, and some hundred times that at kappa = 22, as measured (`tests/attention/test_relay.py`)."""
    error = -math.log(max(QUADRATURE * accuracy, 1e-15))
    return needed_order(SHELL ** 2 / (SHELL - 1.0) * kappa, error + 1.0 + 130.0 / kappa + (error + 4.0) ** 2 / (10.0 * kappa))


def grid_size(kappa: float, accuracy: float) -> float:
    """About how many directions there are."""
    return 0.34 * grid_degree(_rounded(kappa), accuracy) ** 2


def _rounded(kappa: float) -> float:
    return STEPS ** math.ceil(math.log(kappa, STEPS))


@functools.lru_cache(maxsize=4)
def _grid(kappa: float, accuracy: float) -> Grid:
    """Gauss-Legendre points in the third coordinate; round the axis as many as harmonics that reach there need."""
    degree = grid_degree(kappa, accuracy)
    heights, weights = gauss_legendre(degree // 2 + 1)
    points, shares = [], []
    for height, weight in zip(heights, weights, strict=True):
        radius = math.sqrt(1.0 - height * height)
        count = min(degree + 1, math.ceil(degree * radius + 10 + 2 * degree ** (1 / 3)))
        angle = 2.0 * np.pi / count * (np.arange(count) + 0.5)
        points.append(np.column_stack([radius * np.cos(angle), radius * np.sin(angle), np.full(count, height)]))
        shares.append(np.full(count, weight * 2.0 * np.pi / count))
    every = np.vstack(points)
    every /= np.linalg.norm(every, axis=1, keepdims=True)
    return Grid(every, np.concatenate(shares), SHELL * kappa, Tree(every, 0.0), neighbours(every, GROUP))


def gauss_legendre(count: int) -> tuple[Array, Array]:
    """Nodes and weights of [-1, 1] for any `count`, to the last digits near the ends as well, where sums over poles need them."""
    x = np.cos(np.pi * (np.arange(count, dtype=np.longdouble) + 0.75) / (count + 0.5))
    for _ in range(6):
        before, now = np.ones_like(x), x
        for k in range(2, count + 1):
            before, now = now, ((2 * k - 1) * x * now - (k - 1) * before) / k
        slope = count * (x * now - before) / (x * x - 1)
        x = x - now / slope
    return x.astype(float), (2 / ((1 - x * x) * slope ** 2)).astype(float)


def relayed_moments(z: Array, place: Array, tree: Tree, kappa: float, accuracy: float, threads: int = 1, *,
                    with_second: bool = False) -> tuple[Moments, Array, int]:
    """int e^{<z_i,y>} (1, y) dmu(y), the mean up to `accuracy`; the same of y y^T (n, 3, 3), empty if not wanted; the number of
    terms.

    Args:
        z (n, 3), place (n,): targets in the groups that `neighbours(z, GROUP)` makes; local.
        tree: of the sources on the unit sphere, weighed. kappa: at least the largest |z|, and 20; the same on every rank.
    """
    ffi, lib = library()  # type: ignore[misc]
    grid = _grid(_rounded(kappa), accuracy)
    found, pairs = pruned_moments(grid.radius * grid.points, grid.place, tree, 1.0, STEP * accuracy, threads=threads)
    facing = np.einsum("ij,ij->i", grid.points, found.num) / found.den
    level = (np.log(found.den) + found.shift) / LN2 + np.log2(grid.weights * (grid.radius ** 2 / (4.0 * np.pi)))
    grid.tree.weigh(level)
    packed = pack(np.column_stack([grid.radius * grid.points, facing]), level, grid.tree.order, LEAF // lanes())
    n = len(z)
    num, den, shift, six = np.empty((n, 3)), np.empty(n), np.empty(n), np.empty((n if with_second else 0, 6))
    pairs += lib.coldflow_relay(n, pointer(z), pointer(place), grid.tree.leaves, pointer(packed), pointer(grid.tree.node),
                                grid.radius, math.log2(STEP * accuracy), pointer(num), pointer(den), pointer(shift),
                                pointer(six) if with_second else ffi.NULL, threads)
    return Moments(num, den, shift * LN2), unpacked(six, 3), pairs
