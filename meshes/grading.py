"""Meshes of circle and sphere with small cells near the target set E, where the law concentrates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from meshes import spaces
from meshes.cells import CellList, curved, edges_of
from meshes.errors import ProblemError

Distance = Callable[[np.ndarray], np.ndarray]
EDGE = 1.1071487177940904  # angle between neighbouring corners of the icosahedron


def size_function(distance: np.ndarray, half_width: float, ratio: float) -> np.ndarray:
    """Wanted cell size relative to the coarse one: 1 / ratio within `half_width` of E, 1 beyond twice that.

    Args:
        distance: (n,) distances to E, >= 0.
        half_width: > 0, in the same unit; ratio: coarse over fine size, >= 1.
    """
    rise = np.clip(distance / half_width - 1.0, 0.0, 1.0)
    return 1 / ratio + (1 - 1 / ratio) * rise * rise * (3 - 2 * rise)


def circle(cells: int, geometry: int, distance_to_E: Distance, half_width: float, ratio: float) -> CellList:
    """The circle in `cells` arcs whose lengths follow `size_function`; the first node at angle 0."""
    angles = np.linspace(0.0, 2 * np.pi, 1 << 16 | 1)
    midpoints = 0.5 * (angles[1:] + angles[:-1])
    distance = distance_to_E(np.column_stack([np.cos(midpoints), np.sin(midpoints)]))
    counted = np.concatenate([[0.0], np.cumsum(1 / size_function(distance, half_width, ratio))])
    wanted = counted[-1] * np.arange(cells) / cells
    return spaces.circle_through(np.interp(wanted, counted, angles), geometry)


def sphere(cells: int, geometry: int, distance_to_E: Distance, half_width: float, ratio: float) -> CellList:
    """The sphere in about `cells` triangles: an icosahedral mesh bisected until it follows `size_function`.

    The coarse size is found by iteration: the count goes with its inverse square, up to jumps.
    """
    size = np.sqrt(16 * np.pi / (np.sqrt(3) * cells))
    low, high = 0.0, np.inf  # sizes known to give too many, too few cells
    least, best = np.inf, _bisected_sphere(size, distance_to_E, half_width, ratio)
    for _ in range(12):
        made = _bisected_sphere(size, distance_to_E, half_width, ratio)
        excess = np.log(len(made.cells) / cells)
        if abs(excess) < abs(least):
            least, best = excess, made
        if abs(excess) < 0.03:
            break
        low, high = (size, high) if excess > 0 else (low, size)
        guess = size * np.exp(excess / 2)
        size = guess if low < guess < high else np.sqrt(low * high)
    return curved(best, geometry, spaces.unit)


def _bisected_sphere(coarse: float, distance_to_E: Distance, half_width: float, ratio: float) -> CellList:
    base = spaces.sphere(max(1, round(EDGE / coarse)), 1)
    upper = np.sqrt(2) * coarse  # bisection spreads sizes over a factor 2: centre that on the wanted size
    return bisect(base, lambda mid: upper * size_function(distance_to_E(mid), half_width, ratio), spaces.unit)


def bisect(cells: CellList, longest: Callable[[np.ndarray], np.ndarray], push) -> CellList:
    """Triangles of degree 1 bisected at their longest edges until no edge is longer than wanted.

    Conforming, and orientation is kept (Rivara 1984; Plaza and Carey 2000).

    Args:
        cells: triangles.
        longest: (n, gdim) midpoints of edges -> (n,) greatest length allowed there, bounded from below.
        push: moves new vertices (n, gdim) onto the manifold.
    """
    points, triangles = cells.points, cells.cells
    settled = np.empty(0, dtype=np.int64)  # edges that are short enough, by their ends
    while True:
        edges, edge_of_cell = edges_of(triangles)
        ends, name = points[edges], edges.min(axis=1) << 32 | edges.max(axis=1)
        middle, length = push(ends.mean(axis=1)), np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)
        unknown = np.flatnonzero(~np.isin(name, settled))
        marked = np.zeros(len(edges), dtype=bool)
        marked[unknown] = length[unknown] > longest(middle[unknown])
        settled = name[~marked]
        if not marked.any():
            return CellList(points, triangles, 2)
        local_longest = np.argmax(length[edge_of_cell], axis=1)
        longest_edge = edge_of_cell[np.arange(len(triangles)), local_longest]
        while True:  # a triangle is cut at its longest edge first, so that edge must be cut as well
            touched = longest_edge[marked[edge_of_cell].any(axis=1)]
            if marked[touched].all():
                break
            marked[touched] = True
        new_vertex = np.full(len(edges), -1, dtype=np.int64)
        new_vertex[marked] = len(points) + np.arange(marked.sum())
        points = np.concatenate([points, middle[marked]])
        # Turn every triangle so that its longest edge lies opposite to its first vertex.
        turn = (local_longest[:, None] + np.arange(3)) % 3
        triangles = _cut(np.take_along_axis(triangles, turn, axis=1),
                         np.take_along_axis(new_vertex[edge_of_cell], turn, axis=1))


def _cut(corner: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Children of triangles `corner` (c, 3); `middle` (c, 3) is the new vertex opposite to each corner or -1."""
    a, b, c = corner.T
    m, q, p = middle.T  # on bc, on ac, on ab

    def rows(where, *vertices):
        return np.column_stack(vertices)[where]

    whole, cut_p, cut_q = m < 0, (m >= 0) & (p >= 0), (m >= 0) & (q >= 0)
    return np.concatenate([
        corner[whole],
        rows(~whole & ~cut_p, a, b, m), rows(cut_p, a, p, m), rows(cut_p, p, b, m),
        rows(~whole & ~cut_q, a, m, c), rows(cut_q, a, m, q), rows(cut_q, m, c, q),
    ])


def check(grading: object, space: str) -> tuple[float, float]:
    """The pair (half-width, ratio) of a graded mesh.

    Raises:
        ProblemError: unless it is two numbers, 0 < half-width <= pi/2 and 1 <= ratio <= 64.
    """
    allowed = "[half-width, ratio] with 0 < half-width <= pi/2 and 1 <= ratio <= 64"
    try:
        half_width, ratio = (float(value) for value in grading)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise ProblemError("space.grading", grading, allowed) from None
    if not (0 < half_width <= np.pi / 2 and 1 <= ratio <= 64):
        raise ProblemError("space.grading", [half_width, ratio], allowed)
    if space not in ("circle", "sphere"):
        raise ProblemError("space.grading", [half_width, ratio], "only for the circle and the sphere")
    return half_width, ratio


def distance_to_subspace(basis: np.ndarray) -> Distance:
    """Geodesic distance of unit vectors (n, d) to the subspace spanned by the rows of `basis` (k, d)."""
    orthonormal = np.linalg.qr(np.atleast_2d(np.asarray(basis, dtype=float)).T)[0]

    def distance(points: np.ndarray) -> np.ndarray:
        inside = points @ orthonormal
        outside = points - inside @ orthonormal.T
        return np.arctan2(np.linalg.norm(outside, axis=1), np.linalg.norm(inside, axis=1))

    return distance
