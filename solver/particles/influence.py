"""How much parts of a law matter: by the mass they hold, and by what those that matter attend to there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from problems import Attention

Array = NDArray[np.float64]

# A part of more mass than this matters as much as any.
FULL = 1.0 / 300.0
# Parts that matter less than this, as a logarithm, pass on nothing that counts.
LEAST = np.log(1e-12)
# Places from which the law is looked at: the most, and their distance in widths of the kernel while there are fewer.
PLACES, APART = 1024, 0.5
ROUNDS, SETTLED, ROWS = 8, 0.1, 64


def exponents(attention: Attention) -> list[Array] | None:
    """beta B^T of every layer and head, (d, d) each; None where the weights of attention are no exp(beta <x, By>), or cold."""
    if attention.has_own_score or any(np.isinf(layer.weights.beta) for layer in attention.layers):
        return None
    return [layer.weights.beta * np.asarray(head.score.T, float) for layer in attention.layers for head in layer.weights.heads]


def log_relevance(scores: list[Array] | None, points: Array, masses: Array) -> Array:
    """(n,): logarithm, at most 0, of how much each part of a law counts.

    A part counts by its mass m, and as far as a part that counts attends to it: with the softmax weights w(x, y) of y for x, r is
    the least solution of r(y) = max(min(1, m / FULL), max_x r(x) w(x, y)). The x are the places that count most, one in
    each box of a grid.

    Args:
        scores: of `exponents`; None: everything counts.
        points: (n, d) of the parts, and masses (n,); local.
    """
    if scores is None or not len(points):
        return np.zeros(len(points))
    logs = np.log(np.maximum(masses, 1e-320))
    found = np.minimum(0.0, logs - np.log(FULL))
    boxes = _boxes(scores, points)
    for _ in range(ROUNDS):
        order = np.lexsort((-found, boxes))
        first = order[np.concatenate([[True], np.diff(boxes[order]) > 0])]
        places = first[found[first] > LEAST]
        before = found
        for matrix in scores:
            query = points[places] @ matrix.T
            for rows in np.array_split(np.arange(len(places)), max(1, len(places) // ROWS)):
                weights = query[rows] @ points.T + logs
                top = weights.max(axis=1, keepdims=True)
                weights -= top + np.log(np.exp(weights - top).sum(axis=1, keepdims=True)) - found[places[rows], None]
                found = np.maximum(found, weights.max(axis=0, initial=-np.inf))
        if np.max(found - before) < SETTLED:
            break
    return np.asarray(found, float)


def _boxes(scores: list[Array], points: Array) -> NDArray[np.int64]:
    """(n,): number of the box of each point in a grid of at most about `PLACES` boxes in use."""
    sharpest = max(float(np.linalg.norm(matrix, 2)) for matrix in scores)
    side = max(APART / np.sqrt(max(sharpest, 1.0)), 1e-3)
    while True:
        numbers = np.unique(np.floor(points / side).astype(np.int64), axis=0, return_inverse=True)[1].ravel()
        if numbers.max(initial=0) < PLACES:
            return np.asarray(numbers, np.int64)
        side *= 1.4
