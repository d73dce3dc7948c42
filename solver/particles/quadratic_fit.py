"""How far log rho at the middle of an edge is below the mean of its ends, from quadratic fits around both."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from meshes.manifold import Manifold
from meshes.simplicial import SimplicialManifold

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]

# Neighbours of a token are fitted by 2 slopes and 3 curvatures; this part of the normal matrix keeps few of them solvable.
DAMPING = 1e-6
# No middle is further from the mean of its ends than this.
LARGEST = 0.5


def bends(manifold: Manifold, points: Array, values: Array, ends: Numbers, a: Numbers, b: Numbers) -> Array:
    """(k,): mean of the values at both ends of edges (a, b) less the value at their middle: e^T H e / 8, H the mean curvature of
    the values (N,) at both ends, from their neighbours along all edges `ends` (E, 2); local."""
    needed = np.zeros(len(points), bool)
    needed[a] = needed[b] = True
    both = np.concatenate([ends, ends[:, ::-1]])
    both = both[needed[both[:, 0]]]
    both = both[np.argsort(both[:, 0], kind="stable")]
    centre, number = np.unique(both[:, 0], return_inverse=True)
    frame = _frames(manifold, points[centre])
    step = np.einsum("nij,nj->ni", frame[number], points[both[:, 1]] - points[both[:, 0]])
    size = np.sqrt(np.bincount(number, np.einsum("ij,ij->i", step, step)) / np.bincount(number))
    size = np.maximum(size, 1e-300)
    u, v = (step / size[number][:, None]).T
    rows = np.stack([u, v, 0.5 * u * u, u * v, 0.5 * v * v], axis=1)
    rise = values[both[:, 1]] - values[both[:, 0]]
    starts = np.searchsorted(number, np.arange(len(centre)))
    normal = np.add.reduceat(rows[:, :, None] * rows[:, None, :], starts, axis=0)
    right = np.add.reduceat(rows * rise[:, None], starts, axis=0)
    normal += (DAMPING * np.trace(normal, axis1=1, axis2=2)[:, None, None] + 1e-30) * np.eye(5)  # all in one place at a wall
    fit = np.linalg.solve(normal, right[..., None])[..., 0]
    place = np.full(len(points), -1)
    place[centre] = np.arange(len(centre))
    found = np.zeros(len(a))
    for here, there in ((a, b), (b, a)):
        k = place[here]
        x, y = (np.einsum("nij,nj->ni", frame[k], points[there] - points[here]) / size[k][:, None]).T
        found += 0.5 * (fit[k, 2] * x * x + 2 * fit[k, 3] * x * y + fit[k, 4] * y * y) / 8
    return np.clip(found, -LARGEST, LARGEST)


def _frames(manifold: Manifold, points: Array) -> Array:
    """(n, 2, d): two orthonormal tangents at each point."""
    if points.shape[1] == 2:
        return np.broadcast_to(np.eye(2), (len(points), 2, 2))
    normal = manifold.directions(points) if isinstance(manifold, SimplicialManifold) else points
    helper = np.eye(3)[np.argmin(np.abs(normal), axis=1)]
    first = np.cross(normal, helper)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    return np.stack([first, np.cross(normal, first)], axis=1)
