"""Where tokens can carry the density of their law, and the length on which it varies."""

from __future__ import annotations

import numpy as np

from meshes.manifold import Flat
from problems import Attention, Problem

# Widths of kernels beyond which nothing follows them: the whole space, and zero temperature.
WIDEST, NARROWEST = 1.0, 0.01


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


def kernel_width(attention: Attention) -> float:
    """(beta |B|)^{-1/2} of the narrowest kernel of all layers and heads, within [0.01, 1]."""
    sharpest = max(layer.weights.beta * max(float(np.linalg.norm(head.score, 2)) for head in layer.weights.heads)
                   for layer in attention.layers)
    return float(np.clip(1.0 / np.sqrt(max(sharpest, 1e-300)), NARROWEST, WIDEST))
