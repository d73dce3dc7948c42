"""The first triangles of adaptive tokens on closed surfaces and in the plane, with the exact mass of the initial law."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from meshes.simplicial import SimplicialManifold
from problems import Problem, ProblemError
from problems.laws.mixture import Mixture
from problems.laws.normal import Normal
from solver.particles.bisection import Edges, bisected
from solver.particles.density import contrast
from solver.particles.influence import exponents
from solver.particles.summands import NARROW, check_mass, summands
from solver.particles.triangulation import CHANGE, COARSE, CORNERS, WEIGHTS, Triangulation, areas, normals

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]

# Deviations of a normal law that its triangles cover in each direction.
DEVIATIONS = 8.0
LARGEST_START = 300_000
# Edges of a subdivided icosahedron are at most so much longer than its own edge over the number of parts.
UNEVEN = 1.19
LEAST_LOG = -600.0
# Triangles of more mass than this are cut until log rho changes little along their edges, however small they get.
HEAVY = 1e-8
# Part of the largest edge below which none is cut.
SHORTEST = 1e-10
# A rotation that takes the corners of the icosahedron off the directions in which tokens often rest.
TURN = np.linalg.qr(np.array([[0.71, -0.43, 0.29], [0.37, 0.83, -0.19], [-0.23, 0.31, 0.91]]))[0]


def start_triangulation(problem: Problem, largest: float, gap: float = COARSE) -> tuple[Triangulation, Array, Array]:
    """The triangles of the initial law with their tokens (N, d) and log rho (N,), with edges of at most `largest`; `gap` is that
    which the problem asks for, in widths of the kernel."""
    law, manifold, parts = problem.initial, problem.manifold, summands(problem.initial)
    scores = exponents(problem.attention)
    # At zero temperature log rho jumps where the favourite changes, and no number of tokens resolves that; on a surface from a
    # file it is that of whole triangles, and nothing is fitted to it.
    if isinstance(manifold, SimplicialManifold) or (scores is None and not manifold.normalised):
        gap = COARSE
    if isinstance(manifold, SimplicialManifold):
        points, cells = _thinned(problem, manifold, largest)
    else:
        points, cells = _icosphere(largest) if manifold.normalised else _grid(problem, largest)
    while True:
        logs = np.maximum(law.log_density(points), LEAST_LOG)
        triangulation = Triangulation(manifold, cells, _masses(problem, points, cells), contrast(problem.attention),
                                      scores, gap)
        edges = Edges(cells)
        length = manifold.distance(*points[edges.ends.T])
        wanted = triangulation._long(edges, points, logs, largest, 1.0) | _steep(triangulation, edges, logs)
        for part in parts:
            wanted |= _peaks(edges, part(points))
        marked = edges.closed(wanted & (length > SHORTEST * largest), length)
        if not marked.any() or len(points) > LARGEST_START:
            break
        points = np.concatenate([points, manifold.retract(points[edges.ends[marked]].mean(axis=1))])
        cells = bisected(cells, edges, marked, length)[0]
    check_mass(problem, float(triangulation.masses.sum()))
    triangulation.masses /= triangulation.masses.sum()
    return triangulation, points, logs


def _steep(triangulation: Triangulation, edges: Edges, logs: Array) -> NDArray[np.bool_]:
    """(E,): edges of triangles with a share of the mass, along which log rho (N,) changes much."""
    a, b = edges.ends.T
    heavy = np.zeros(len(edges.ends), bool)
    heavy[edges.of_cells[triangulation.masses > HEAVY].ravel()] = True
    return np.asarray(heavy & (np.abs(logs[a] - logs[b]) > CHANGE), bool)


def _peaks(edges: Edges, logs: Array) -> NDArray[np.bool_]:
    """(E,): edges from a maximum of a log density (N,) to where it is much less."""
    a, b = edges.ends.T
    around = np.full(len(logs), -np.inf)
    np.maximum.at(around, a, logs[b])
    np.maximum.at(around, b, logs[a])
    top = logs >= around
    return np.asarray((top[a] | top[b]) & (np.abs(logs[a] - logs[b]) > NARROW), bool)


def _masses(problem: Problem, points: Array, cells: Numbers) -> Array:
    """(c,): of the initial law in each triangle, by six points in each of its four quarters."""
    a, b, c = (points[cells[:, k]] for k in range(3))
    total, whole = np.zeros(len(cells)), areas(points, cells)
    size_of_all = 0.0
    ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
    surface = isinstance(problem.manifold, SimplicialManifold)
    if surface:
        ab, bc, ca = (problem.manifold.retract(middle) for middle in (ab, bc, ca))
    for corners in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)):
        inside = np.einsum("qk,kcd->qcd", CORNERS, np.stack(corners))
        weight = np.repeat(WEIGHTS[:, None], len(cells), axis=1) * whole / 4
        if surface:
            quarter = np.linalg.norm(np.cross(corners[1] - corners[0], corners[2] - corners[0]), axis=1) / 2
            inside = problem.manifold.retract(inside.reshape(-1, 3)).reshape(inside.shape)
            weight, size_of_all = WEIGHTS[:, None] * quarter, size_of_all + quarter.sum()
        if problem.manifold.normalised:
            # What a flat triangle covers of the sphere, seen from its centre.
            size = np.linalg.norm(inside, axis=2)
            normal = normals(points, cells)
            normal /= np.linalg.norm(normal, axis=1, keepdims=True)
            weight *= np.abs(np.einsum("qcd,cd->qc", inside, normal)) / size**3
            inside = inside / size[..., None]
        total += np.sum(weight * problem.initial.density(inside.reshape(-1, points.shape[1])).reshape(weight.shape), axis=0)
    if surface and problem.manifold.volume:  # facets between tokens are smaller than the surface they stand for
        total *= problem.manifold.volume / size_of_all
    return np.asarray(total, float)


def _thinned(problem: Problem, manifold: SimplicialManifold, largest: float) -> tuple[Array, Numbers]:
    """The triangles of a mesh file, tokens taken out where they are closer than the largest gap asks for."""
    used, numbers = np.unique(manifold.cells.vertices, return_inverse=True)
    points, cells = np.array(manifold.cells.points[used], float), numbers.reshape(-1, 3)
    first = np.maximum(problem.initial.log_density(points), LEAST_LOG)
    about = areas(points, cells) * np.exp(first[cells].mean(axis=1))  # integrated afterwards, once
    triangulation, fewer = Triangulation(manifold, cells, about, contrast(problem.attention)), True
    logs: Array | None = first
    while fewer:
        points, logs, fewer = triangulation.thinned(points, logs, largest)
    return points, triangulation.cells


def _icosphere(largest: float) -> tuple[Array, Numbers]:
    """An icosahedron whose faces are cut into n^2 triangles with edges of at most `largest`; it is its own mirror image in the
    origin, as even laws are."""
    golden = (1 + 5**0.5) / 2
    corners = np.array([[0, s, t * golden] for s in (1, -1) for t in (1, -1)], float)
    corners = np.concatenate([np.roll(corners, k, axis=1) for k in range(3)])
    edge = np.linalg.norm(corners[:, None] - corners[None], axis=2)
    near = np.abs(edge - 2.0) < 1e-9
    faces = [(i, j, k) for i in range(12) for j in range(i + 1, 12) for k in range(j + 1, 12)
             if near[i, j] and near[j, k] and near[i, k]]
    corners = corners @ TURN.T / np.sqrt(1 + golden**2)
    n = max(2, int(np.ceil(UNEVEN * np.arccos(1 / 5**0.5) / largest)))
    i, j = (part[: (n + 1) * (n + 2) // 2] for part in np.array([(i, j) for i in range(n + 1) for j in range(n + 1 - i)]).T)
    number = {(int(x), int(y)): k for k, (x, y) in enumerate(zip(i, j, strict=True))}
    small = [(number[x, y], number[x + 1, y], number[x, y + 1]) for x in range(n) for y in range(n - x)]
    small += [(number[x + 1, y], number[x + 1, y + 1], number[x, y + 1]) for x in range(n - 1) for y in range(n - 1 - x)]
    weights = np.column_stack([n - i - j, i, j]) / n
    points = np.concatenate([weights @ corners[list(face)] for face in faces])
    cells = np.concatenate([np.array(small) + k * len(weights) for k in range(len(faces))])
    _, first, inverse = np.unique(np.round(points, 9), axis=0, return_index=True, return_inverse=True)
    points, cells = points[first], inverse.ravel()[cells]
    inwards = np.einsum("ij,ij->i", normals(points, cells), points[cells].mean(axis=1)) < 0
    cells[inwards] = cells[inwards][:, ::-1]
    return points / np.linalg.norm(points, axis=1, keepdims=True), cells


def grid_parts(problem: Problem, largest: float) -> tuple[Numbers, Array, Array]:
    """Into how many squares (2,) each side of the rectangle is cut that covers a normal law, with its corners (2,), (2,)."""
    law = problem.initial
    parts_of_law = [part for part in law.components if isinstance(part, Normal)] if isinstance(law, Mixture) else []
    if not parts_of_law:
        raise ProblemError("initial.law", law.name, "for adaptive tokens in the plane must be \"normal\"")
    spread = [(part.mean, np.linalg.norm(part.factor, axis=1)) for part in parts_of_law]
    low = np.min([mean - DEVIATIONS * size for mean, size in spread], axis=0)
    high = np.max([mean + DEVIATIONS * size for mean, size in spread], axis=0)
    parts = 2 * np.ceil((high - low) / (largest / 2**0.5) / 2).astype(int)
    return np.maximum(np.minimum(parts, int(LARGEST_START**0.5)), 2), low, high


def _grid(problem: Problem, largest: float) -> tuple[Array, Numbers]:
    """Squares of the rectangle, cut in two along diagonals that alternate."""
    parts, low, high = grid_parts(problem, largest)
    x, y = (np.linspace(low[k], high[k], parts[k] + 1) for k in range(2))
    points = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
    i, j = (part.ravel() for part in np.meshgrid(np.arange(parts[0]), np.arange(parts[1]), indexing="ij"))
    a = i * (parts[1] + 1) + j
    b, c, d = a + parts[1] + 1, a + parts[1] + 2, a + 1
    even = (i + j) % 2 == 0
    cells = np.concatenate([np.where(even, [a, b, c], [a, b, d]).T, np.where(even, [a, c, d], [b, c, d]).T])
    return points, np.ascontiguousarray(cells)
