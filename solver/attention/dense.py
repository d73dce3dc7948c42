"""The compiled dense kernel: every target against every source."""

from __future__ import annotations

import numpy as np

from solver.attention.kernels import LN2, LOG2E, aligned, lanes, library, pointer
from solver.attention.moments import Moments
from solver.attention.reference import TIE

Array = np.ndarray
# Exponents (base 2) that may all be summed relative to the largest possible one without underflow.
BOUNDED_RANGE = 800.0


def pack(points: Array, log_masses: Array, order: Array | None = None, multiple: int = 1) -> Array:
    """Sources in packs of `lanes()`, (packs, d+1, lanes): coordinates and base-2 logarithms of their masses.

    points (m, d), log_masses (m,), -inf for none, order (m,) or None: which source comes at which place; the number of
    packs is rounded up to a `multiple`.
    """
    ffi, lib = library()  # type: ignore[misc]
    m, d = points.shape
    packs = -(-m // (lanes() * multiple)) * multiple
    packed = aligned(packs, d + 1, lanes())
    chosen = ffi.NULL if order is None else pointer(order)
    lib.coldflow_pack(d, m, pointer(points), pointer(log_masses), chosen, packs, pointer(packed))
    return packed


def dense_moments(z: Array, packed: Array, radius: float, log_range: tuple[float, float], threads: int = 1) -> Moments:
    """int e^{<z_i,y>} (1, y) dmu(y) by the sum over all sources, to round-off (about 1e-15 + 1e-16 |z|).

    z (n, d); packed as from `pack`; radius >= max |y|; log_range: smallest and largest base-2 log mass. Local.

    Every exponent lies within 2 |z| radius + the range of the masses of the largest possible one. Where that is
    below 800 binary orders the largest possible exponent is subtracted, and nothing can underflow; elsewhere the
    kernel keeps the running maximum over tiles of sources.
    """
    _, lib = library()  # type: ignore[misc]
    n, d = z.shape
    scaled = z * LOG2E
    reach = np.sqrt(np.einsum("ij,ij->i", scaled, scaled)) * radius
    shift = reach + log_range[1]
    num, den = np.empty((n, d)), np.empty(n)
    bounded = n == 0 or 2.0 * reach.max() + (log_range[1] - log_range[0]) < BOUNDED_RANGE
    lib.coldflow_dense(d, bounded, n, pointer(scaled), pointer(shift), len(packed), pointer(packed), pointer(num),
                       pointer(den), threads)
    return Moments(num, den, shift * LN2)


def dense_hardmax(z: Array, packed: Array, radius: float, threads: int = 1, tie: float = TIE) -> Moments:
    """Zero temperature: the mean of the maximisers of <z_i,y>, ties within `tie` |z_i| radius; see `reference_hardmax`."""
    _, lib = library()  # type: ignore[misc]
    n, d = z.shape
    num, den, level = np.empty((n, d)), np.empty(n), np.empty(n)
    lib.coldflow_hardmax(d, n, pointer(z), tie, radius, len(packed), pointer(packed), pointer(num), pointer(den),
                         pointer(level), threads)
    return Moments(num, den, level)
