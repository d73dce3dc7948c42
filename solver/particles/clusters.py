"""Clusters of tokens: groups linked by short distances (single linkage), and when they merge."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from problems import Problem

Array = NDArray[np.float64]

# Pairs of points compared at once.
CHUNK = 2_000_000


@dataclass(frozen=True)
class Clusters:
    """Groups of tokens, by falling mass.

    Attributes:
        labels: (N,) number of the cluster of each token.
        masses: (c,) masses. centres: (c, d) centres of mass, on the sphere where tokens are.
        radii: (c,) largest distance of a member from the centre, geodesic on the sphere.
        threshold: the linking distance.
    """

    labels: NDArray[np.int64]
    masses: Array
    centres: Array
    radii: Array
    threshold: float

    @property
    def count(self) -> int:
        return len(self.masses)


def find_clusters(points: Array, masses: Array, threshold: float, *, sphere: bool) -> Clusters:
    """Two tokens share a cluster if a chain of tokens leads from one to the other in hops of at most `threshold`; local.

    Args:
        points: (N, d). masses: (N,) positive.
        threshold: linking distance, geodesic in radians if `sphere`, else Euclidean.
        sphere: whether the points are unit vectors.

    Exact. Points of one grid cell of diameter below the threshold are linked outright, and only neighbouring cells are
    compared, so the cost stays near N log N however dense a cluster is.
    """
    points, masses = np.asarray(points, float), np.asarray(masses, float)
    reach = 2 * np.sin(min(threshold, np.pi) / 2) if sphere else threshold
    labels = _linked(points, reach)
    count = labels.max() + 1
    total = np.bincount(labels, masses, count)
    order = np.argsort(-total, kind="stable")
    rank = np.empty(count, int)
    rank[order] = np.arange(count)
    labels, total = rank[labels], total[order]
    centres = np.stack([np.bincount(labels, masses * x, count) for x in points.T], axis=1) / total[:, None]
    if sphere:
        norm = np.linalg.norm(centres, axis=1, keepdims=True)
        # A cluster as large as the sphere has no centre; its first token stands in.
        first = np.array([np.argmax(labels == c) for c in np.flatnonzero(norm[:, 0] < 1e-12)], int)
        centres = np.divide(centres, norm, out=centres, where=norm > 0)
        centres[norm[:, 0] < 1e-12] = points[first]
        difference, total_sum = points - centres[labels], points + centres[labels]
        distance = 2 * np.arctan2(np.linalg.norm(difference, axis=1), np.linalg.norm(total_sum, axis=1))
    else:
        distance = np.linalg.norm(points - centres[labels], axis=1)
    radii = np.zeros(count)
    np.maximum.at(radii, labels, distance)
    return Clusters(labels, np.asarray(total, np.float64), centres, radii, threshold)


def _linked(points: Array, reach: float) -> NDArray[np.int64]:
    """Component of each point (N,) in the graph of distances up to `reach`."""
    d = points.shape[1]
    side = reach / np.sqrt(d) * (1 - 1e-12)
    if not side > 0:
        return np.unique(points, axis=0, return_inverse=True)[1].reshape(-1)
    boxes = np.floor(points / side)
    order = np.lexsort(boxes.T)
    first = np.append(True, (np.diff(boxes[order], axis=0) != 0).any(axis=1))
    cell = np.empty(len(points), int)
    cell[order] = np.cumsum(first) - 1
    starts = np.append(np.flatnonzero(first), len(points))
    m, sizes = len(starts) - 1, np.diff(starts)
    # Cells have diameter `reach`: linked ones have their centres of gravity within three times that.
    centres = np.stack([np.bincount(cell, x, m) / sizes for x in points.T], axis=1)
    pairs = cKDTree(centres).query_pairs(3 * reach, output_type="ndarray")
    if len(pairs) == 0:
        return cell
    # Most links are seen by one point of each cell, that nearest to its centre; cells in boxes too far apart need no look at all.
    distance = np.linalg.norm(centres[pairs[:, 0]] - centres[pairs[:, 1]], axis=1)
    middle = points[_nearest(points, cell, order, starts, centres)]
    near = np.linalg.norm(middle[pairs[:, 0]] - middle[pairs[:, 1]], axis=1) <= reach
    edges = pairs[near]
    labels = _components(edges, m)
    apart = labels[pairs[:, 0]] != labels[pairs[:, 1]]
    pairs, distance = pairs[apart], distance[apart]
    lower, upper = (extreme.reduceat(points[order], starts[:-1]) for extreme in (np.minimum, np.maximum))
    gap = np.maximum(np.maximum(lower[pairs[:, 0]] - upper[pairs[:, 1]], lower[pairs[:, 1]] - upper[pairs[:, 0]]), 0.0)
    within = np.linalg.norm(gap, axis=1) <= reach
    pairs, distance = pairs[within], distance[within]
    pairs = pairs[np.argsort(distance, kind="stable")]
    while len(pairs):
        pairs = pairs[labels[pairs[:, 0]] != labels[pairs[:, 1]]]
        if len(pairs) == 0:
            break
        work = np.cumsum(sizes[pairs[:, 0]] * sizes[pairs[:, 1]])
        take = max(1, int(np.searchsorted(work, CHUNK)))
        now, pairs = pairs[:take], pairs[take:]
        joined = _touching(points, order, starts, sizes, now, reach)
        edges = np.concatenate((edges, now[joined]))
        labels = _components(edges, m)
    return np.unique(labels[cell], return_inverse=True)[1].reshape(-1)


def _components(edges: NDArray, m: int) -> NDArray:
    """Component (m,) of each of m nodes in a graph with these edges (e, 2)."""
    graph = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(m, m))
    return connected_components(graph, directed=False)[1]


def _nearest(points: Array, cell: NDArray, order: NDArray, starts: NDArray, centres: Array) -> NDArray:
    """The number of the point of each cell (m,) that is nearest to its centre of gravity."""
    square = np.sum((points - centres[cell]) ** 2, axis=1)[order]
    least = np.minimum.reduceat(square, starts[:-1])[cell[order]]
    found = np.flatnonzero(square == least)
    return order[found[np.searchsorted(found, starts[:-1])]]


def _touching(points: Array, order: NDArray, starts: NDArray, sizes: NDArray, pairs: NDArray, reach: float) -> NDArray:
    """Which pairs of cells (p, 2) hold two points within reach of each other."""
    a, b = pairs.T
    if len(pairs) == 1 and sizes[a[0]] * sizes[b[0]] > CHUNK:
        first, second = (points[order[starts[c]:starts[c + 1]]] for c in (a[0], b[0]))
        return np.array([np.isfinite(cKDTree(first).query(second, distance_upper_bound=reach * (1 + 1e-15))[0]).any()])
    counts = sizes[a] * sizes[b]
    which = np.repeat(np.arange(len(pairs)), counts)
    offset = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    i = order[starts[a[which]] + offset // sizes[b[which]]]
    j = order[starts[b[which]] + offset % sizes[b[which]]]
    near = np.sum((points[i] - points[j]) ** 2, axis=1) <= reach * reach
    return np.bincount(which[near], minlength=len(pairs)) > 0


def linking_distance(problem: Problem, t: float) -> float:
    """Clusters at depth t are linked by distances up to this one: `particles.link`, or a tenth of the kernel's width
    beta^{-1/2}, for beta from 1 to 1e4."""
    if problem.particles.link is not None:
        return problem.particles.link
    return float(0.1 / np.sqrt(min(max(problem.attention.at(t).beta, 1.0), 1e4)))


def merged(before: Clusters, now: Clusters) -> list[list[int]]:
    """For each cluster of now that several whole clusters of before have become: their numbers. Same tokens in both."""
    many = int(before.labels.max()) + 1
    mine, its = np.divmod(np.unique(now.labels.astype(np.int64) * many + before.labels), many)
    # Parents that live on elsewhere were cut up, not merged.
    whole = np.bincount(its)[its] == 1
    mine, its = mine[whole], its[whole]
    starts = np.flatnonzero(np.diff(mine, prepend=-1))
    sizes = np.diff(starts, append=len(mine))
    return [its[start:start + size].tolist() for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True)]


@dataclass
class MergeTimes:
    """Watches clusters from snapshot to snapshot.

    Attributes:
        threshold: linking distance, None for the snapshot's own choice.
        history: (time, number of clusters) of every snapshot seen.
        merges: (earlier, later, members): between these depths clusters became one; `members` are the masses that
            joined, falling.
    """

    threshold: float | None = None
    history: list[tuple[float, int]] = field(default_factory=list)
    merges: list[tuple[float, float, tuple[float, ...]]] = field(default_factory=list)
    _last: Clusters | None = None

    def __call__(self, snapshot) -> Clusters:
        """Take the next snapshot (anything with `time` and `clusters(threshold)`); returns its clusters."""
        found = snapshot.clusters(self.threshold)
        # Tokens that come and go have no cluster of their own before: merges are dated for lasting tokens only.
        if self._last is not None and len(self._last.labels) == len(found.labels):
            for whole in merged(self._last, found):
                masses = tuple(sorted((float(self._last.masses[p]) for p in whole), reverse=True))
                self.merges.append((self.history[-1][0], snapshot.time, masses))
        self.history.append((snapshot.time, found.count))
        self._last = found
        return found
