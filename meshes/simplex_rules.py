"""Quadrature on the reference simplex, and points of given density in it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import roots_jacobi, roots_legendre

Scale = Callable[[np.ndarray, np.ndarray], np.ndarray]
PANEL = 8  # Gauss nodes per direction for the distribution functions of curved cells
NEWTON = 40


def conical_rule(dimension: int, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (order^dimension, dimension) and weights, summing to the volume 1/dimension!, exact to degree 2 order - 1
    (Stroud 1971)."""
    points, weights = np.ones((1, 1)), np.ones(1)
    for k in range(1, dimension + 1):
        z, w = roots_jacobi(order, k - 1, 0)
        s, w = 0.5 * (z + 1.0), w / w.sum() / k
        # A simplex is a cone over the previous one: s measures towards the new vertex.
        inner = (1.0 - s)[:, None, None] * points
        points = np.concatenate([inner.reshape(-1, k), np.repeat(s, len(points))[:, None]], axis=1)
        weights = np.outer(w, weights).ravel()
    return points[:, 1:], weights


def uniform_on_simplex(u: np.ndarray, scale: Scale | None) -> np.ndarray:
    """Reference points (n, k) of the simplex from independent uniform numbers u (n, k).

    Args:
        scale: (m,) numbers of points and (m, k) places -> (m,) density wanted there, up to a factor; None: even.
    """
    if scale is None:  # the gaps between sorted uniform numbers are uniform barycentric coordinates
        ends = np.pad(np.sort(u, axis=1), ((0, 0), (1, 1)), constant_values=((0, 0), (0.0, 1.0)))
        return np.diff(ends, axis=1)[:, 1:]
    # One coordinate after the other, each by inversion of its distribution given the earlier ones (Rosenblatt 1952), on the
    # cube that collapses onto the simplex: x_1 = c_1, x_2 = (1 - c_1) c_2, ..
    n, k = u.shape
    z, w = roots_legendre(PANEL)
    z, w = 0.5 * (z + 1.0), 0.5 * w
    cube = np.empty((n, k))
    chosen = np.arange(n)
    for a in range(k):
        later = np.stack(np.meshgrid(*[z] * (k - a), indexing="ij"), axis=-1).reshape(-1, k - a)
        places = np.concatenate([np.repeat(cube[:, None, :a], len(later), axis=1),
                                 np.broadcast_to(later, (n, *later.shape))], axis=2).reshape(-1, k)
        values = scale(np.repeat(chosen, len(later)), _collapse(places)) * _collapsed_volume(places)
        weights = np.ones(1)
        for _ in range(k - a - 1):
            weights = np.outer(weights, w).ravel()
        marginal = values.reshape(n, PANEL, -1) @ weights
        cube[:, a] = _inverse(marginal, z, u[:, a])
    return _collapse(cube)


def _collapse(cube: np.ndarray) -> np.ndarray:
    rest = np.cumprod(1.0 - cube, axis=1)
    return cube * np.column_stack([np.ones(len(cube)), rest[:, :-1]])


def _collapsed_volume(cube: np.ndarray) -> np.ndarray:
    k = cube.shape[1]
    return np.prod((1.0 - cube) ** np.arange(k - 1, -1, -1), axis=1)


def _inverse(values: np.ndarray, z: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Where the distribution with density `values` (n, m) at nodes z (m,) of [0, 1] reaches u (n,), by bisection and Newton."""
    powers = np.arange(len(z))
    coefficients = values @ np.linalg.inv(z[:, None] ** powers).T
    total = coefficients @ (1.0 / (powers + 1))
    low: np.ndarray = np.zeros(len(u))
    high: np.ndarray = np.ones(len(u))
    x: np.ndarray = u.copy()
    for _ in range(NEWTON):
        grown = x[:, None] ** powers
        excess = x * np.einsum("np,np->n", grown, coefficients / (powers + 1)) - u * total
        low, high = np.where(excess <= 0, x, low), np.where(excess >= 0, x, high)
        slope = np.einsum("np,np->n", grown, coefficients)
        with np.errstate(divide="ignore", invalid="ignore"):
            new = x - excess / slope
        inside: np.ndarray = np.where((new > low) & (new < high), new, 0.5 * (low + high))
        if np.abs(inside - x).max(initial=0.0) < 1e-14:
            return inside
        x = inside
    return x
