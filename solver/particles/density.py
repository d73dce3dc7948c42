"""Where tokens can carry the density of their law, and the length on which it varies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from meshes.manifold import Flat
from problems import Attention, Problem
from problems.attention import spectral_norm

Array = NDArray[np.float64]

# Widths of kernels beyond which nothing follows them: the whole space, and zero temperature.
WIDEST, NARROWEST = 1.0, 0.01
# Logarithms: of a mass that rounding would lose many times over, and of the least that is kept apart from zero.
DIGITS, SMALLEST = 40.0, -600.0


def carries_density(problem: Problem) -> bool:
    """Whether every token can know the density of the law at its own place, and is asked to (docs/theory.md §9.1).

    It needs a law with a density, a drift without noise, and a space in which the divergence is known: spheres and flat
    space, for the score <Qx, Ky>, and with an external drift whose divergence is given. At zero temperature the divergence is
    that of a law which charges the whole sphere.
    """
    law, manifold = problem.initial, problem.manifold
    if problem.attention.has_own_score or (problem.drift.velocity is not None and problem.drift.divergence is None):
        return False
    if not problem.particles.density or law.is_atomic or problem.noise.diffusivity > 0.0:
        return False
    if not (manifold.normalised or isinstance(manifold, Flat)):
        return False
    cold = any(np.isinf(layer.weights.beta) for layer in problem.attention.layers)
    return not cold or (manifold.normalised and has_full_support(problem))


def has_full_support(problem: Problem) -> bool:
    """Whether the initial law charges the whole sphere: all laws of the sphere do but point masses and harmonics with zeros."""
    law = problem.initial
    if law.is_atomic or not problem.manifold.normalised:
        return False
    if law.name != "harmonics":
        return True
    from problems.laws.nodes import manifold_nodes

    return bool(np.all(law.density(manifold_nodes(problem.manifold, 4096)[0]) > 0.0))


def contrast(attention: Attention, cold: bool = True) -> float:
    """beta |B| of the sharpest layer and head; infinite with a registered score and, unless `cold` layers are left out, at zero
    temperature."""
    if attention.has_own_score:
        return np.inf
    return max((layer.weights.beta * max(spectral_norm(head.score) for head in layer.weights.heads)
                for layer in attention.layers if cold or np.isfinite(layer.weights.beta)), default=0.0)


def negligible_mass(sharpness: float, points: Array) -> float:
    """The mass that no token attends to, wherever both are: e^{-2 beta |B| |x|^2} of the whole, times what rounding leaves.

    The softmax weight of a source of mass m is at most m e^{beta |B| r^2}, that of the whole law at least e^{-beta |B| r^2}, for
    points (n, d) within r of the origin.
    """
    reach = float(np.einsum("ij,ij->i", points, points).max(initial=1e-300))
    return float(np.exp(max(-2.0 * sharpness * reach - DIGITS, SMALLEST)))


def kernel_width(attention: Attention, cold: bool = True) -> float:
    """(beta |B|)^{-1/2} of the narrowest kernel of all layers and heads, without `cold` of those at finite beta; in [0.01, 1]."""
    return float(np.clip(1.0 / np.sqrt(max(contrast(attention, cold), 1e-300)), NARROWEST, WIDEST))
