"""The derivative of all velocities by all tokens, for linearly implicit steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from meshes.manifold import Flat, Manifold, Sphere
from problems import Problem
from problems.attention import Weights

Array = NDArray[np.float64]


def has_jacobian(problem: Problem) -> bool:
    """Whether `drift_jacobian` knows the drift: finite temperature, on spheres and in flat space without walls, no noise, and
    nothing registered by the user in it."""
    manifold = problem.manifold
    free = isinstance(manifold, Sphere) or (isinstance(manifold, Flat) and manifold.bounds is None)
    warm = all(np.isfinite(layer.weights.beta) for layer in problem.attention.layers)
    own = problem.drift.velocity is not None or problem.attention.has_own_score
    return free and warm and not own and problem.noise.diffusivity == 0.0


def drift_jacobian(weights: Weights, manifold: Manifold, points: Array, masses: Array, shift: float = 0.0) -> Array:
    """d X(x_i)/d x_j of docs/theory.md §1.7, as a matrix (k d, k d); local.

    With p_ij the attention of token i to token j, m_i = sum_j p_ij x_j and C_i the covariance of x_j under p_i,

        d m_i/d x_j = p_ij (I + (x_j - m_i)(beta B^T x_i)^T) + delta_ij beta C_i B^T,

    and for unnormalised attention, p_ij = w_j e^{beta <x_i, B x_j>}, the same with m_i left out and second moments for C_i. On
    the sphere the drift is that of the retracted points, X(x/|x|), so that derivatives along normals vanish.

    Args:
        weights: of finite temperature. manifold: a sphere or flat space.
        points: (k, d). masses: (k,).
        shift: subtracted from the exponents of unnormalised attention, beta in rescaled depth.
    """
    k, d = points.shape
    values, result = np.zeros((k, d)), np.zeros((k, d, k, d))
    own = np.arange(k)
    for head in weights.heads:
        keys = weights.beta * points @ head.score  # beta B^T x_i
        exponents = keys @ points.T
        with np.errstate(divide="ignore"):
            exponents = exponents + np.log(masses)
        softmax = weights.normalization == "softmax"
        p = np.exp(exponents - (exponents.max(axis=1, keepdims=True) if softmax else shift))
        if softmax:
            p /= p.sum(axis=1, keepdims=True)
        mean = p @ points
        centres = mean if softmax else np.zeros_like(mean)
        part = p[:, None, :, None] * np.eye(d)[None, :, None, :]
        offsets = points[None] - centres[:, None]
        part += np.einsum("ij,ijb,ic->ibjc", p, offsets, keys)
        second = np.einsum("ij,ijb,ijc->ibc", p, offsets, offsets if softmax else np.broadcast_to(points, offsets.shape))
        part[own, :, own, :] += weights.beta * second @ head.score.T
        values += mean @ head.value.T
        result += np.einsum("ab,ibjc->iajc", head.value, part)
    if not manifold.normalised:
        return result.reshape(k * d, k * d)
    inside = np.eye(d) - points[:, :, None] * points[:, None, :]
    result = np.einsum("iab,ibjc->iajc", inside, result)
    result[own, :, own, :] -= points[:, :, None] * values[:, None, :]
    result[own, :, own, :] -= np.einsum("ia,ia->i", points, values)[:, None, None] * np.eye(d)
    return np.einsum("iajb,jbc->iajc", result, inside).reshape(k * d, k * d)
