"""The push-forward T_#mu_0 of an initial law under x -> Mx/|Mx|: masses of half-spaces, and densities by integrals over fibres.

The fibre of T over a direction c orthogonal to ker M is the half great sphere {cos a c + sin a w: 0 <= a < pi/2, w in ker M,
|w| = 1}. Integrating the initial density over it gives the density of c, and the linear map C = (ker M)^perp -> E carries
it to E. The integrand is smooth, so that Gauss rules doubled until they agree reach rounding accuracy.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, roots_legendre

from problems.laws.base import InitialLaw
from problems.laws.nodes import sphere_nodes

Array = NDArray[np.float64]
AGREEMENT = 1e-13
LARGEST_RULE = 2**20  # density evaluations of one refinement
FALLBACK_POINTS = 2**17


def panels(a: float, b: float, count: int, order: int = 16) -> tuple[Array, Array]:
    """Composite Gauss-Legendre on [a, b]: nodes and weights (count * order,)."""
    z, w = roots_legendre(order)
    half = (b - a) / (2 * count)
    middles = a + half * (2 * np.arange(count) + 1)
    return (middles[:, None] + half * z).ravel(), np.tile(half * w, count)


def halfspace_mass(law: InitialLaw, normal: Array) -> tuple[float, float]:
    """Mass of {x: <normal, x> > 0} under the initial law on the sphere S^{d-1}, and a bound of its error.

    Args:
        law: the initial law, of which densities are integrated and atoms counted.
        normal: (d,), not zero.

    Returns:
        mass in [0, 1] and error: rounding level on circle and sphere, for even laws in any dimension (exactly one half) and
        for laws symmetric about an axis; the spread of Sobol points otherwise.
    """
    pole = np.asarray(normal, float) / np.linalg.norm(normal)
    if law.is_atomic:
        points, masses = law.atoms()  # type: ignore[attr-defined]
        side = points @ pole
        return float(masses[side > 0].sum() + 0.5 * masses[side == 0].sum()), 0.0
    if _is_even(law):
        return 0.5, 0.0
    rule = {2: _circle_halves, 3: _sphere_halves}.get(len(pole))
    if rule is None and _axes(law):
        rule = _axial_halves
    if rule is not None:
        previous = np.array([np.inf, np.inf])
        for level in range(14):
            halves = rule(law, pole, 2**level)
            if halves is None:
                break
            change, missing = np.abs(halves - previous).max(), abs(halves.sum() - 1)
            if change + missing <= 4 * AGREEMENT:
                break
            previous = halves
        if halves is not None and change + missing < 1e-6:
            return float(halves[0] / halves.sum()), float(change + missing)
        if np.all(np.isfinite(previous)) and abs(previous.sum() - 1) < 1e-6:
            return float(previous[0] / previous.sum()), float(abs(previous.sum() - 1))
    side = law.sobol(FALLBACK_POINTS, 0) @ pole
    return float(np.mean(side > 0)), float(4 * FALLBACK_POINTS**-0.5 * np.sqrt(np.mean(side > 0) * np.mean(side < 0)))


def fibre_density(law: InitialLaw, limit: Array, basis: Array, kernel: Array) -> Callable[[Array], Array] | None:
    """The density of T_#mu_0 on the unit sphere of E with respect to its length or area.

    Args:
        law: initial law with a density, on S^{d-1}.
        limit: M (d, d), T(x) = Mx/|Mx|. basis: (d, k) orthonormal, of E = range M. kernel: (d, d-k) orthonormal, of ker M.

    Returns:
        A function of unit vectors of E given in the coordinates of `basis`, (n, k) -> (n,); None where the law has no
        density or the fibres have too many dimensions for a product rule (d - k > 4).
    """
    d, k = basis.shape
    if law.is_atomic or d - k > 4:
        return None
    if d == k:
        return lambda e: law.density(e @ basis.T)
    complement = np.linalg.svd(kernel.T)[2][d - k:].T
    inner = basis.T @ limit @ complement  # C -> E in orthonormal coordinates, (k, k)
    determinant = abs(float(np.linalg.det(inner)))

    def density(e: Array) -> Array:
        e = np.asarray(e, float)
        c = np.linalg.solve(inner, e.T).T
        c /= np.linalg.norm(c, axis=1, keepdims=True)
        jacobian = np.linalg.norm(c @ inner.T, axis=1) ** k / determinant
        return jacobian * _integrate_fibres(law, c @ complement.T, kernel, k)

    return density


def _integrate_fibres(law: InitialLaw, centres: Array, kernel: Array, k: int) -> Array:
    """int f_0(cos a c + sin a w) cos^{k-1} a sin^{d-k-1} a da dw for each centre c (n, d)."""
    result = np.zeros(len(centres))
    block = max(1, LARGEST_RULE // 4096)
    for start in range(0, len(centres), block):
        previous = np.full(len(centres[start:start + block]), np.inf)
        for level in range(8):
            points, weights = _fibre_rule(2**level, kernel, k)
            if len(points) * len(previous) > 16 * LARGEST_RULE:
                break
            x = weights[:, None, :1] * centres[None, start:start + block] + points[:, None, :]
            values = law.density(x.reshape(-1, centres.shape[1])).reshape(len(points), -1)
            current = weights[:, 1] @ values
            tolerance = 10 ** (kernel.shape[1] - 1) * AGREEMENT * max(1.0, np.abs(current).max())
            done = np.abs(current - previous).max() <= tolerance
            previous = current
            if done:
                break
        result[start:start + block] = previous
    return result


def _fibre_rule(level: int, kernel: Array, k: int) -> tuple[Array, Array]:
    """Offsets sin a w (m, d), and columns (cos a, weight) (m, 2), of a product rule on the fibre."""
    d, codimension = kernel.shape
    if codimension == 1:
        around, share = np.array([[1.0], [-1.0]]), np.ones(2)
    else:
        around, share = sphere_nodes(codimension, 2 * (8 * level) ** (codimension - 1))
    a, w = panels(0.0, np.pi / 2, level)
    w = w * np.cos(a) ** (k - 1) * np.sin(a) ** (codimension - 1)
    offsets = (np.sin(a)[:, None, None] * (around @ kernel.T)[None]).reshape(-1, d)
    columns = np.column_stack((np.repeat(np.cos(a), len(around)), np.outer(w, share).ravel()))
    return offsets, columns


def _is_even(law: InitialLaw) -> bool:
    """Whether the density is even, judged at random points."""
    x = np.random.default_rng(7).normal(size=(256, law.manifold.dimension))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    here, there = law.density(x), law.density(-x)
    return bool(np.all(np.abs(here - there) <= 1e-13 * np.abs(here).max())) and bool(here.max() > 0)


def _axes(law: InitialLaw) -> list[Array]:
    """The axes of a mixture whose components are each symmetric about one; empty otherwise."""
    axes = [getattr(c, "mean", getattr(c, "w", None)) for c in getattr(law, "components", [])]
    found = [np.asarray(a) for a in axes if a is not None and np.shape(a) == (law.manifold.dimension,)]
    return found if len(found) == len(axes) else []


def _circle_halves(law: InitialLaw, pole: Array, level: int) -> Array | None:
    if 32 * level > LARGEST_RULE // 8:
        return None
    angle, weights = panels(-np.pi / 2, np.pi / 2, 4 * level)
    across = np.array([-pole[1], pole[0]])
    x = np.cos(angle)[:, None] * pole + np.sin(angle)[:, None] * across
    return np.array([weights @ law.density(x), weights @ law.density(-x)])


def _sphere_halves(law: InitialLaw, pole: Array, level: int) -> Array | None:
    around = 64 * level
    if around * 32 * level > 4 * LARGEST_RULE:
        return None
    z, weights = panels(0.0, 1.0, 2 * level)
    frame = np.linalg.svd(pole[None])[2][1:]
    phi = 2 * np.pi * np.arange(around) / around
    circle = np.cos(phi)[:, None] * frame[0] + np.sin(phi)[:, None] * frame[1]
    x = z[:, None, None] * pole + np.sqrt(1 - z * z)[:, None, None] * circle[None]
    weights = np.repeat(weights * 2 * np.pi / around, around)
    x = x.reshape(-1, 3)
    return np.array([weights @ law.density(x), weights @ law.density(-x)])


def _axial_halves(law: InitialLaw, pole: Array, level: int) -> Array | None:
    """In d >= 4, component by component in the plane of the pole and the component's axis."""
    d = len(pole)
    if 256 * level * level > LARGEST_RULE:
        return None
    a, wa = panels(0.0, np.pi / 2, level)
    b, wb = panels(0.0, np.pi, level)
    area = 2 * np.exp((d - 2) / 2 * np.log(np.pi) - gammaln((d - 2) / 2))  # of S^{d-3}
    weights = area * np.outer(wa * np.sin(a) ** (d - 2), wb * np.sin(b) ** (d - 3)).ravel()
    halves = np.zeros(2)
    for share, component, axis in zip(law.weights, law.components, _axes(law), strict=True):  # type: ignore[attr-defined]
        across = axis - (axis @ pole) * pole
        if np.linalg.norm(across) < 1e-12:
            across = np.linalg.svd(pole[None])[2][1]
        across = across / np.linalg.norm(across)
        third = np.linalg.svd(np.stack((pole, across)))[2][2]
        ring = np.cos(b)[:, None] * across + np.sin(b)[:, None] * third
        x = (np.cos(a)[:, None, None] * pole + np.sin(a)[:, None, None] * ring[None]).reshape(-1, d)
        for side, sign in enumerate((1.0, -1.0)):
            mirrored = x if sign > 0 else x - 2 * np.outer(x @ pole, pole)
            halves[side] += share * (weights @ np.exp(component.log_density(mirrored)))
    return halves
