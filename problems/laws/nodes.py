"""Quadrature nodes of whole manifolds: sphere of any dimension, box, R^d; weights sum to the volume."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import roots_gegenbauer, roots_hermitenorm, roots_legendre

from meshes.manifold import Flat, Manifold
from meshes.own import TokenSpace
from meshes.simplicial import SimplicialManifold
from problems.errors import ProblemError

# Tensor rules need n ~ m^dimension nodes; beyond this intrinsic dimension m is too small to be of use.
LARGEST_DIMENSION = 5
LARGEST_RULE = 256


def manifold_nodes(manifold: Manifold, n: int) -> tuple[np.ndarray, np.ndarray]:
    """About n nodes (m, d) on the manifold and their weights (m,), which sum to its volume.

    Raises:
        ProblemError: for a space of too many dimensions, or without a rule of its own.
    """
    if isinstance(manifold, TokenSpace) and manifold.nodes is not None:
        points, weights = manifold.nodes(n)
        return np.asarray(points, float), np.asarray(weights, float)
    if manifold.intrinsic > LARGEST_DIMENSION:
        allowed = f'there is no quadrature rule in {manifold.intrinsic} dimensions; must be "sobol" or "random"'
        raise ProblemError("particles.sampling", "quadrature", allowed)
    if manifold.normalised:
        return sphere_nodes(manifold.dimension, n)
    if isinstance(manifold, Flat) and manifold.bounds is not None:
        return box_nodes(manifold.bounds, n)
    if isinstance(manifold, SimplicialManifold):
        return manifold.nodes(n)
    raise ProblemError("particles.sampling", "quadrature", 'this law has no quadrature rule here; must be "sobol" or "random"')


def sphere_nodes(dimension: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """About n nodes (m, d) on S^{d-1} and weights (m,) that sum to its area; the pole axis is the last one.

    Equispaced on the circle, at (i + 1/2) 2 pi/n, clear of the axes where unstable stationary points often
    lie; in each further dimension times Gauss nodes for the weight (1 - z^2)^{(d-3)/2}, which on the sphere
    is Gauss-Legendre.
    """
    polar = dimension - 2
    # n = circle * m^polar with circle = 2 m, so that all spacings are alike.
    m = max(1, round((n / 2) ** (1 / (dimension - 1)))) if polar else 0
    around = max(1, round(n / m**polar)) if polar else n
    angle = 2.0 * math.pi * (np.arange(around) + 0.5) / around
    points = np.column_stack([np.cos(angle), np.sin(angle)])
    weights = np.full(around, 2.0 * math.pi / around)
    for d in range(3, dimension + 1):
        z, w = roots_gegenbauer(m, (d - 2) / 2) if d > 3 else roots_legendre(m)
        radius = np.sqrt((1.0 - z) * (1.0 + z))
        points = np.column_stack([(radius[:, None, None] * points).reshape(-1, d - 1), np.repeat(z, len(points))])
        weights = np.outer(w, weights).ravel()
    return points, weights


def box_nodes(bounds: tuple[tuple[float, float], ...], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Tensor Gauss-Legendre: about n nodes (m, d) in a box, weights (m,) that sum to its volume."""
    z, w = _gauss_legendre(max(1, round(n ** (1 / len(bounds)))))
    axes = [(0.5 * (a + b) + 0.5 * (b - a) * z, 0.5 * (b - a) * w) for a, b in bounds]
    return tensor(axes)


def _gauss_legendre(m: int) -> tuple[np.ndarray, np.ndarray]:
    """About m Gauss-Legendre nodes and weights on [-1, 1], in panels once the cost of one rule, O(m^2), would be felt."""
    panels = math.ceil(m / LARGEST_RULE)
    z, w = roots_legendre(max(1, round(m / panels)))
    centres = (2.0 * np.arange(panels) + 1.0) / panels - 1.0
    return (centres[:, None] + z / panels).ravel(), np.tile(w / panels, panels)


def hermite_nodes(dimension: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Tensor Gauss-Hermite: about n nodes (m, d) and masses (m,) of the standard normal law in R^d."""
    m = max(1, round(n ** (1 / dimension)))
    z, w = roots_hermitenorm(m)
    kept = w > 0.0  # the outermost weights underflow for m of some hundreds
    return tensor([(z[kept], w[kept] / w[kept].sum())] * dimension)


def tensor(axes: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Product rule of one-dimensional (nodes, weights); the first axis varies slowest."""
    grids = np.meshgrid(*(nodes for nodes, _ in axes), indexing="ij")
    weights = axes[0][1]
    for _, more in axes[1:]:
        weights = np.outer(weights, more).ravel()
    return np.column_stack([grid.ravel() for grid in grids]), weights
