"""Expansions of the kernel on the circle (Fourier) and the sphere (spherical harmonics): linear time, with a bound.

Write z = beta B^T x = kappa x', |x'| = 1, and let all |y| = 1. With c = cos of the angle between x' and y,

    circle:  e^{kappa c} = sum_{k in Z} I_k(kappa) e^{ika} e^{-ik phi},
    sphere:  e^{kappa c} = sum_l (2l+1) i_l(kappa) P_l(c) = sum_lm i_l(kappa) Y_lm(x') conj(Y_lm(y)),

so the sums over sources need each source once, for the coefficients, and each target once. kappa differs from target to
target unless B is orthogonal; only I_k(kappa) depends on it. The numerator's coefficients follow from the
denominator's, since multiplication by a coordinate only couples neighbouring orders.

**Bound.** Everything is relative to e^kappa, the largest possible kernel, and to the total mass W.

1. Truncation after order L. All I_k, i_l are positive and |e^{ik.}|, |P_l| <= 1, hence the tails are at most
   2 sum_{k>L} I_k e^-kappa and sum_{l>L} (2l+1) i_l e^-kappa. By Amos (Math. Comp. 28, 1974), I_{v+1}/I_v < q_v =
   kappa/(v + 1/2 + sqrt(kappa^2 + (v + 1/2)^2)), which decreases with v: the tails are below geometric series,
   2 I_L q/(1-q) and i_L q ((2L+3)/(1-q) + 2/(1-q)^2) (for i_l, v = l + 1/2).
2. The Bessel functions come from the backward recurrence started with 0, 1 at the orders M+1, M. It yields, up to one
   factor, J_k = I_k + (-1)^{k+M} I_{M+1} K_k/K_{M+1}, and K_k increases with k, so |J_k - I_k| <= I_{M+1}: in the sum at
   most (2M+1) I_{M+1}, on the sphere (M+1)^2 i_{M+1}. I_{M+1} <= J_M q/(1-q) is known from the recurrence itself.
3. The factor: the sum of all J_k stands for e^kappa = sum I_k; its error obeys the same bounds, hence twice their sum.

The kernel returns that bound for each target, from the numbers it computed, and adds rounding,

    `ROUNDING` sum_l (2l+1) i_l e^-kappa (8 + l) b_l,   b_l = min(1, a_l/sqrt(2l+1) + 4 |w|_2/W)

(circle: I_k and |c_k|), with a_l the norm of the coefficients of degree l: recurrences lose digits in proportion to the
order, and what one degree adds is at most a_l sqrt(2l+1) i_l. The second part of b_l is the noise of coefficients summed
from many sources. This part is measured, not proven: `ROUNDING` is twice the largest error seen, that of single points.

**Guard.** With |N' - N| <= E W, |D' - D| <= E W and |m| <= 1:  m' - m = (N' - N - m (D' - D))/D', hence
|m' - m| <= 2 E W/D'. Targets where 2 E W/D' exceeds the accuracy (no mass near the attended point) are left to another
method; everywhere else the bound holds. log D has the error bound E W/D' as well.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from solver.attention.kernels import library, pointer
from solver.attention.moments import Moments
from solver.attention.sources import Law

Array = np.ndarray
# Rounding errors of the sums, per order; see the module.
ROUNDING = 6e-16
# Those of nonuniform transforms, relative to those of recurrences.
ROUGH = 2.0
# Largest order by dimension. Circle: beyond, rounding alone exceeds usual accuracies. Sphere: beyond, the recurrences of
# monic polynomials would leave the range of doubles.
LARGEST_ORDER = {2: 4000, 3: 400}
# The second moments that are computed apart.
SQUARES = ((0, 1), (0, 2), (1, 1), (1, 2))
# How much deeper the backward recurrence starts than the expansion ends, for item 2 of the bound.
START_MARGIN = 16.0


@dataclass
class Expansion:
    """Coefficients of one law, ready for any number of targets.

    Attributes:
        d: 2 circle, 3 sphere. order: largest order kept. depth: -log of the relative size of what is dropped.
        mix: coefficients of the denominator and of the numerator's components.
        rough: (order + 1,) what rounding does to each order, relative to its largest possible contribution.
        squares: coefficients of the second moments 12, 13, 22, 23 on the sphere, with which `mix` has those of 11; else None.
    """

    d: int
    order: int
    depth: float
    mix: Array
    rough: Array
    squares: Array | None = None

    def __call__(self, z: Array, threads: int = 1) -> tuple[Moments, Array]:
        """Moments at targets z (n, d), and for each a bound (n,) on their errors relative to e^shift and the mass."""
        if self.d == 3:
            values, shift, error = self._on_sphere(self.mix, z, threads)
            return Moments(np.ascontiguousarray(values[:, 1:4]), np.ascontiguousarray(values[:, 0]), shift), error
        _, lib = library()  # type: ignore[misc]
        n = len(z)
        num, den, shift, error = np.empty((n, 2)), np.empty(n), np.empty(n), np.empty(n)
        lib.coldflow_circle_targets(n, pointer(z), self.order, self.depth + START_MARGIN, pointer(self.mix), pointer(self.rough),
                                    pointer(num), pointer(den), pointer(shift), pointer(error), threads)
        return Moments(num, den, shift), error

    def with_squares(self, z: Array, threads: int = 1) -> tuple[Moments, Array, Array]:
        """As by a call, and the second moments (n, 3, 3); for expansions on the sphere that were made with squares."""
        assert self.squares is not None
        values, shift, error = self._on_sphere(self.mix, z, threads)
        others, _, _ = self._on_sphere(self.squares, z, threads)
        second = np.empty((len(z), 3, 3))
        second[:, 0, 0] = values[:, 4]
        for i, (j, k) in enumerate(SQUARES):
            second[:, j, k] = second[:, k, j] = others[:, i]
        second[:, 2, 2] = values[:, 0] - second[:, 0, 0] - second[:, 1, 1]
        return Moments(np.ascontiguousarray(values[:, 1:4]), np.ascontiguousarray(values[:, 0]), shift), second, error

    def _on_sphere(self, mix: Array, z: Array, threads: int) -> tuple[Array, Array, Array]:
        """What the coefficients in `mix` (triangle, 2 k) sum to (n, k), shift and error (n,)."""
        _, lib = library()  # type: ignore[misc]
        n, fields = len(z), mix.shape[1] // 2
        values, shift, error = np.empty((n, fields)), np.empty(n), np.empty(n)
        lib.coldflow_sphere_targets(n, pointer(z), self.order, self.depth + START_MARGIN, fields, pointer(mix),
                                    pointer(self.rough), pointer(values), pointer(shift), pointer(error), threads)
        return values, shift, error


def expand(law: Law, order: int, depth: float, threads: int = 1) -> Expansion:
    """The expansion up to `order` of a law on the unit circle or sphere."""
    d = law.points.shape[1]
    return (_expand_circle if d == 2 else _expand_sphere)(law, order, depth, threads)


def _expand_circle(law: Law, order: int, depth: float, threads: int) -> Expansion:
    _, lib = library()  # type: ignore[misc]
    raw = np.empty((order + 2, 2))
    lib.coldflow_circle_sources(len(law), pointer(law.points), pointer(law.masses), order + 1, pointer(raw), threads)
    c = raw[:, 0] + 1j * raw[:, 1]
    above, below = c[1:], np.concatenate([c[1:2].conj(), c[:-2]])
    plus, minus = below + above, below - above
    mix = np.column_stack([2 * c[:-1].real, 2 * c[:-1].imag, plus.real, plus.imag, minus.imag, minus.real])
    mix[0] = [c[0].real, 0.0, c[1].real, 0.0, -c[1].imag, 0.0]
    return Expansion(2, order, depth, np.ascontiguousarray(mix), roughness(law, np.abs(c[:-1])))


def _expand_sphere(law: Law, degree: int, depth: float, threads: int) -> Expansion:
    mix, power = _couple(degree, _raw_sums(law, degree + 1, threads))
    return Expansion(3, degree, depth, mix, roughness(law, np.sqrt(power / (2.0 * np.arange(degree + 1) + 1.0))))


def expand_squares(law: Law, degree: int, depth: float, threads: int = 1) -> Expansion:
    """As `expand` on the sphere, with second moments. One pass over the sources: multiplication by a coordinate only couples
    neighbouring degrees, and so does that by a second one."""
    raw = _raw_sums(law, degree + 2, threads)
    once, _ = _couple(degree + 1, raw)
    inner = _inner(degree + 2)
    mix, power = _couple(degree, np.ascontiguousarray(raw[inner]))
    factors = _factors(degree + 1)
    # Raw sums of the law weighted by y_1 and y_2 out of its coefficients, and from these those of the products.
    first, second = (_couple(degree, np.ascontiguousarray(once[:, [k, 4 + k]] / factors))[0] for k in (1, 2))
    whole = np.column_stack([mix[:, :4], first[:, 1], mix[:, 4:], first[:, 5]])
    squares = np.column_stack([first[:, 2], first[:, 3], second[:, 2], second[:, 3],
                               first[:, 6], first[:, 7], second[:, 6], second[:, 7]])
    rough = roughness(law, np.sqrt(power / (2.0 * np.arange(degree + 1) + 1.0)))
    return Expansion(3, degree, depth, np.ascontiguousarray(whole), rough, np.ascontiguousarray(squares))


def _raw_sums(law: Law, degree: int, threads: int) -> Array:
    """(triangle, 2): sums of the law against monic Legendre polynomials."""
    _, lib = library()  # type: ignore[misc]
    raw = np.empty(((degree + 1) * (degree + 2) // 2, 2))
    lib.coldflow_sphere_sources(len(law), pointer(law.points), pointer(law.masses), degree, pointer(raw), threads)
    return raw


def _couple(degree: int, raw: Array) -> tuple[Array, Array]:
    """mix (triangle, 8) up to `degree` from raw sums up to one more, and the squared norms (degree + 1,) of its coefficients."""
    _, lib = library()  # type: ignore[misc]
    mix, power = np.empty(((degree + 1) * (degree + 2) // 2, 8)), np.zeros(degree + 1)
    lib.coldflow_sphere_couple(degree, pointer(raw), pointer(mix), pointer(power))
    return mix, power


@functools.lru_cache(maxsize=8)
def _inner(degree: int) -> Array:
    """Which entries of the triangle of `degree` are of lower degree."""
    orders = [np.arange(degree + 1 - m) < degree - m for m in range(degree + 1)]
    return np.concatenate(orders)


@functools.lru_cache(maxsize=8)
def _factors(degree: int) -> Array:
    """(triangle, 1): what makes entries of mix out of raw sums: squared norms of Legendre functions, twice those for m > 0."""
    rows, norm = [], 1.0
    for m in range(degree + 1):
        norm *= math.sqrt((2.0 * m + 1.0) / (2.0 * m)) if m else 1.0
        square = np.arange(m + 1, degree + 1.0) ** 2
        ratios = np.concatenate([[norm], np.sqrt((4.0 * square - 1.0) / (square - m * m))])
        rows.append((2.0 if m else 1.0) * np.cumprod(ratios) ** 2)
    return np.concatenate(rows)[:, None]


def roughness(law: Law, sizes: Array) -> Array:
    """(order + 1,): the rounding of each order, from the size of its coefficients relative to the largest possible."""
    noise = 4.0 * float(np.linalg.norm(law.masses))
    return ROUNDING * (8.0 + np.arange(len(sizes))) * np.minimum(1.0, sizes + noise)


def rounding(kappa: Array, law: Law, *, transformed: bool = False) -> Array:
    """What rounding will amount to for a smooth law, before its coefficients are known: those of degree above zero count some
    ten times as much as the denominator of the even law does. `transformed`: of nonuniform transforms, with less noise."""
    rougher, noise = (ROUGH, 1.5) if transformed else (1.0, 5.0)
    smooth = np.minimum(0.02, 10.0 * even_denominator(kappa, law.points.shape[1]))
    size = np.minimum(1.0, smooth + noise * float(np.linalg.norm(law.masses)))
    return rougher * ROUNDING * (8.0 + 1.3 * np.sqrt(kappa)) * size


def even_denominator(kappa: Array | float, d: int) -> Array | float:
    """About the denominator of the uniform law of circle (d = 2) or sphere (3), relative to e^kappa and the mass."""
    return 1.0 / (1.0 + 2.0 * kappa if d == 3 else 1.0 + 2.5 * kappa ** 0.5)


def needed_order(kappa: float, depth: float) -> int:
    """Smallest order k with kappa + k asinh(k/kappa) - sqrt(k^2 + kappa^2) >= depth.

    I_k e^-kappa are the probabilities of a difference of two Poisson counts of mean kappa/2; that exponent is its
    Chernoff bound: what lies beyond order k is about e^-depth.
    """
    if kappa <= 0.0:
        return 1
    k = depth / 3.0 + math.sqrt(depth * depth / 9.0 + 2.0 * depth * kappa)
    for _ in range(8):   # convex and increasing: Newton's iterates stay above the root
        slope = math.asinh(k / kappa)
        step = (kappa + k * slope - math.hypot(k, kappa) - depth) / slope
        k -= step
        if step < 0.1:
            break
    return max(1, math.ceil(k))


def depth_for(tolerance: float) -> float:
    """-log of the truncation allowed, never beyond double precision."""
    return -math.log(max(tolerance, 1e-17))
