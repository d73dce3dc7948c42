"""Cell lists of the built-in token spaces: circle, sphere, interval, rectangle, box."""

from __future__ import annotations

import itertools

import numpy as np

from meshes.cells import CellList, curved


def unit(points: np.ndarray) -> np.ndarray:
    """(n, d) points moved along their rays onto the unit sphere."""
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def circle(cells: int, geometry: int) -> CellList:
    """The unit circle in R^2 as `cells` >= 3 equal arcs, counterclockwise, the first node at angle 0."""
    angles = 2 * np.pi * np.arange(cells) / cells
    return circle_through(angles, geometry)


def circle_through(angles: np.ndarray, geometry: int) -> CellList:
    """The unit circle with vertices at the increasing `angles` (n,), in radians; nodes equally spaced in arcs."""
    numbers = np.arange(len(angles))
    arcs = np.column_stack([numbers, np.roll(numbers, -1)])
    start, width = angles, (np.roll(angles, -1) - angles) % (2 * np.pi)
    steps = np.arange(1, geometry) / geometry
    inner = (start[:, None] + width[:, None] * steps).ravel()
    every = np.concatenate([angles, inner])
    nodes = len(angles) + np.arange(len(inner)).reshape(len(angles), geometry - 1)
    return CellList(np.column_stack([np.cos(every), np.sin(every)]), np.hstack([arcs, nodes]), 1, geometry)


def icosahedral_frequency(cells: int) -> int:
    """The frequency f >= 1 whose 20 f^2 triangles come closest to `cells`."""
    low = max(1, int(np.sqrt(cells / 20)))
    return min((low, low + 1), key=lambda f: abs(20 * f * f - cells))


def sphere(frequency: int, geometry: int) -> CellList:
    """The unit sphere as 20 frequency^2 triangles, oriented outwards (geodesic polyhedron of class I).

    Lattice points are weighted by sin(omega * barycentric), with omega the angle of an edge, before they are
    moved onto the sphere: on edges this spaces them equally in angle, and areas vary less than by projection.
    """
    corners, faces = _icosahedron()
    i, j = np.array([(i, j) for i in range(frequency + 1) for j in range(frequency + 1 - i)]).T
    lattice = np.column_stack([frequency - i - j, i, j]) / frequency
    omega = np.arccos(corners[faces[0, 0]] @ corners[faces[0, 1]])
    points = unit(np.einsum("kb,fbd->fkd", np.sin(omega * lattice), corners[faces]).reshape(-1, 3))
    number = {pair: n for n, pair in enumerate(zip(i.tolist(), j.tolist(), strict=True))}
    up = [(number[a, b], number[a + 1, b], number[a, b + 1])
          for a, b in number if a + b < frequency]
    down = [(number[a + 1, b], number[a + 1, b + 1], number[a, b + 1])
            for a, b in number if a + b < frequency - 1]
    local = np.array(up + down, dtype=np.int64).reshape(-1, 3)
    cells = (np.arange(20)[:, None, None] * len(lattice) + local).reshape(-1, 3)
    points, number_of = merge_close(points, 1e-3 / frequency)  # edges of the icosahedron were made per face
    return curved(CellList(points, number_of[cells], 2), geometry, unit)


def merge_close(points: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Points (m, d) left when those closer than `tolerance` are made one, and (n,) their new numbers."""
    from scipy.spatial import cKDTree

    number = np.arange(len(points))
    pairs = cKDTree(points).query_pairs(tolerance, output_type="ndarray")
    np.minimum.at(number, pairs[:, 1], pairs[:, 0])  # query_pairs sorts each pair
    kept, inverse = np.unique(number, return_inverse=True)
    return points[kept], inverse.ravel()


def _icosahedron() -> tuple[np.ndarray, np.ndarray]:
    """(12, 3) corners on the unit sphere and (20, 3) faces, counterclockwise seen from outside."""
    golden = (1 + np.sqrt(5)) / 2
    corners = unit(np.array([np.roll((0.0, s, t * golden), shift)
                             for shift in range(3) for s in (-1, 1) for t in (-1, 1)]))
    edge = np.sort(np.linalg.norm(corners[0] - corners, axis=1))[1]
    near = np.abs(np.linalg.norm(corners[:, None] - corners, axis=2) - edge) < 1e-9
    faces = [(a, b, c) if np.linalg.det(corners[[a, b, c]]) > 0 else (a, c, b)
             for a, b, c in itertools.combinations(range(12), 3) if near[a, b] and near[b, c] and near[a, c]]
    return corners, np.array(faces, dtype=np.int64)


def flat(bounds: np.ndarray, cells: int) -> CellList:
    """Interval, rectangle or box `bounds` (d, 2), d = 1 to 3, as about `cells` simplices of nearly one size.

    Rectangles are cut along alternating diagonals, boxes into six tetrahedra per brick; every cell is
    positively oriented.
    """
    bounds = np.asarray(bounds, dtype=float)
    dimension, lengths = len(bounds), bounds[:, 1] - bounds[:, 0]
    bricks = cells / (1, 2, 6)[dimension - 1]
    size = (np.prod(lengths) / bricks) ** (1 / dimension)
    counts = np.maximum(1, np.rint(lengths / size)).astype(int)
    axes = [np.linspace(low, high, n + 1) for (low, high), n in zip(bounds, counts, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, dimension)
    corner = np.indices(counts).reshape(dimension, -1).T
    strides = np.array([np.prod(counts[a + 1:] + 1) for a in range(dimension)], dtype=np.int64)
    base = corner @ strides
    if dimension == 1:
        simplices = np.column_stack([base, base + 1])
    elif dimension == 2:
        a, b, c, d = base, base + strides[0], base + strides[0] + 1, base + 1
        rising = np.stack([np.column_stack([a, b, c]), np.column_stack([a, c, d])], axis=1)
        falling = np.stack([np.column_stack([a, b, d]), np.column_stack([b, c, d])], axis=1)
        simplices = np.where((corner.sum(axis=1) % 2 == 0)[:, None, None], rising, falling).reshape(-1, 3)
    else:
        paths = []
        for path in itertools.permutations(range(3)):  # Kuhn: one tetrahedron per path from corner to corner
            offsets = np.concatenate([[0], np.cumsum(strides[list(path)])])
            odd = np.linalg.det(np.eye(3)[list(path)]) < 0
            paths.append(offsets[[0, 2, 1, 3]] if odd else offsets)
        simplices = (base[:, None, None] + np.array(paths)).reshape(-1, 4)
    return CellList(points, simplices.astype(np.int64), dimension)
