"""Attention of laws that have gathered: expansions about cells of sources, for cells of targets, whose sizes are small
together.

Both sources y and targets z = beta B^T x lie in trees of cells (`cells.c`). For the cells S and G with centres c, z_0 write
eta = y - c, zeta = z - z_0. Then

    e^{<z,y>} = e^{<z,c>} e^{<z_0,eta>} e^{<zeta,eta>},

and where |zeta||eta| is small the last factor is a polynomial of low degree in zeta and eta: the sum over S needs each source
once for each G, for the moments sum_j w_j e^{<z_0,eta_j>} eta_j^alpha, and each target once for each S. Nothing is asked of B
or of the dimension; targets that coincide because B is singular, and sources that are duplicates, are cells of size zero,
expanded to degree zero.

**Polynomial.** On spheres eta is split along the axis c/|c| and across it, eta = (eta_n, eta_t), |eta_n| being of second
order in the size of S; in flat space there is no axis and eta_t = eta. Let |<zeta_t,eta_t>| <= rho, |zeta_n eta_n| <= tau <=
1/2, and let q_p be the Chebyshev series of e^t on [-rho, rho], cut after degree p: its coefficients are I_0 and 2 I_l(rho),
and on that interval |T_l(t/rho)| <= 1, |T_l'| <= l^2, |T_l''| <= l^2 (l^2 - 1)/3, hence

    |e^t - q_p(t)| <= 2 sum_{l>p} I_l(rho),   |e^t - q_p'(t)| <= 2/rho sum_{l>p} l^2 I_l(rho),

and the second derivative likewise. The factor used is f(zeta, eta) = sum_{k<=K} (zeta_n eta_n)^k/k! q_{p_k}(<zeta_t,eta_t>),
a polynomial in zeta. The sum over S is the denominator's part; its gradient in zeta, found along with it by Horner's scheme,
gives that of sum_j w_j e^{t_j} (y_j - c), since the gradient of e^{<zeta,eta>} is eta times it; second derivatives give
second moments. K and the p_k are the smallest for which the factor and its gradient, in units of the size of all sources, are
within an error E of e^{<zeta,eta>}.

**What that costs.** A pair of cells may have E <= epsilon e^{-rho-tau}: then every term of the sum keeps its sign and its
size up to a relative error of epsilon, whatever the masses. Or, since the error of D_S is at most E times what D_S would be
if all of S lay at c, it may have E such that this is below epsilon m_S/m times a lower bound of D for all targets of the
cell, m_S of the m sources being in S: together these errors are below epsilon D. What a cell hardly contributes thus takes
few terms. With D' = D + delta_0, N' = N + c-weighted errors + delta_1 of both kinds, |N'/D' - m| <= a few epsilon diam(supp
mu): the error is relative to what a target attends to, however thin that is.

**What is left out.** A cell S of m_S of the m sources is dropped if an upper bound of D_S is below delta m_S/m times a lower
bound of D: together less than delta D, which moves the mean by delta diam at most (see `solver.attention.pruned`). Upper
bounds are the mass of S times the largest e^{<z,y>} over the cylinder that encloses it, for a group of targets plus |zeta|
(|c - y'| + r_S) as there, and, once the moments are known, e^{<z,c>} (sum_j w_j e^{<z_0,eta_j>}) e^{rho + tau}. Lower bounds
are W_A e^{<z,mean of A>} for any cell A (Jensen), and e^{<z,c>} max_j w_j e^{<z_0,eta_j>} e^{-rho - tau}. Dropped cells are
disjoint: those dropped for a group of targets and those dropped for a target have a budget each.

**Plan.** From the two roots down, a pair of cells is dropped, expanded, or summed source by source, whichever is cheapest by a
model of the time; else the larger one is halved. The plan gives up when it costs more than another method would.

`accuracy` is shared among epsilon and the two delta, with a margin of `MARGIN`: cells of targets depend on which of them a rank
holds, and results on one and several ranks shall not differ by the whole accuracy.
"""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np

from solver.attention.kernels import LN2, library, pointer
from solver.attention.moments import Moments, unpacked

Array = np.ndarray
MARGIN = 10.0
# Below this rounding exceeds what is allowed.
FINEST = 2e-15
# Largest number of monomials, and largest degree, of a table.
MOST_MONOMIALS, HIGHEST_DEGREE = 25_000, 25


class Cells:
    """A tree over points (n, d), n > 0, halved where it is asked for; `axis`: they lie on the unit sphere. Local.

    Attributes:
        count, d: n and d. across: directions in which a cell extends.
    """

    def __init__(self, points: Array, axis: bool = False):
        ffi, lib = library()  # type: ignore[misc]
        points = np.ascontiguousarray(points, dtype=float)
        self.count, self.d = points.shape
        self.axis = axis and self.d > 1
        self.across = self.d - self.axis
        made = lib.coldflow_cells(self.d, self.axis, self.count, pointer(points))
        self.handle = ffi.gc(made, lib.coldflow_cells_free)  # type: ignore[arg-type]

    def weigh(self, log_masses: Array) -> None:
        """Put base-2 log masses (n,) on the points, -inf for none."""
        _, lib = library()  # type: ignore[misc]
        lib.coldflow_cells_weigh(self.handle, pointer(np.ascontiguousarray(log_masses)))


class Plan:
    """How every cell of targets takes every cell of sources; valid until masses change.

    Attributes:
        cost: nanoseconds expected on one core; infinite if the plan was given up.
    """

    def __init__(self, targets: Cells, sources: Cells, accuracy: float, dense_pair: float, limit: float = math.inf,
                 order: int = 1):
        ffi, lib = library()  # type: ignore[misc]
        self.targets, self.sources = targets, sources
        self.tables = monomials(sources.across)
        degree, arrays = self.tables
        tolerance = max(accuracy / 4.0 / MARGIN, FINEST)
        drop = math.log2(max(accuracy / 8.0 / MARGIN, FINEST))
        cost = ffi.new("double *")
        handle = lib.coldflow_plan(targets.handle, sources.handle, order, degree, *map(pointer, arrays), tolerance, drop,
                                   min(limit, 1e300), dense_pair, cost)
        self.handle = None if handle == ffi.NULL else ffi.gc(handle, lib.coldflow_plan_free)  # type: ignore[arg-type]
        self.cost = math.inf if self.handle is None else float(cost[0])

    def moments(self, threads: int = 1) -> tuple[Moments, float]:
        """int e^{<z_i,y>} (1, y) dmu(y) at all targets, and the number of terms summed. Once only."""
        ffi, lib = library()  # type: ignore[misc]
        n, d = self.targets.count, self.targets.d
        num, den, shift = np.empty((n, d)), np.empty(n), np.empty(n)
        terms = lib.coldflow_gathered(self.handle, pointer(num), pointer(den), pointer(shift), ffi.NULL, threads)
        return Moments(num, den, shift * LN2), terms

    def second_moments(self, threads: int = 1) -> tuple[Moments, Array, float]:
        """As `moments`, with int e^{<z_i,y>} y y^T dmu(y) (n, d, d) on the same scale; for plans of order 2. Once only."""
        _, lib = library()  # type: ignore[misc]
        n, d = self.targets.count, self.targets.d
        num, den, shift = np.empty((n, d)), np.empty(n), np.empty(n)
        packed = np.empty((n, d * (d + 1) // 2))
        terms = lib.coldflow_gathered(self.handle, pointer(num), pointer(den), pointer(shift), pointer(packed), threads)
        return Moments(num, den, shift * LN2), unpacked(packed, d), terms


@functools.cache
def monomials(q: int) -> tuple[int, tuple[Array, ...]]:
    """The monomials of q variables in order of their degree: the largest degree, and

    start (degree + 2,): first of each degree; parent, variable: each is its parent times one variable; many: |alpha|!/alpha!, the
    multinomial coefficients.
    """
    degree = HIGHEST_DEGREE
    while degree > 1 and math.comb(q + degree, q) > MOST_MONOMIALS:
        degree -= 1
    chosen: list[tuple[int, ...]] = []
    start = [0]
    for k in range(degree + 1):
        chosen.extend(itertools.combinations_with_replacement(range(q), k))
        start.append(len(chosen))
    number = {alpha: i for i, alpha in enumerate(chosen)}
    parent = [number[alpha[:-1]] for alpha in chosen]
    variable = [alpha[-1] if alpha else 0 for alpha in chosen]
    many = [math.factorial(len(alpha)) / math.prod(math.factorial(alpha.count(i)) for i in set(alpha)) for alpha in chosen]
    return degree, (np.array(start), np.array(parent), np.array(variable), np.array(many))

