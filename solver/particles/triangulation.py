"""Adaptive tokens on closed surfaces and in the plane: corners of triangles that the flow carries (docs/theory.md §9.2).

Triangles keep their mass exactly. Within one, log rho is taken as linear, fixed by its three corners up to the mass. Where an
edge stretches beyond what the kernel resolves its triangles are cut at its middle, the mass by the areas and log rho of both
parts; log rho at the new token comes from a quadratic fit around both ends, an error of third order in the gap. Where tokens
gather a token is moved onto its nearest neighbour, and the mass of the triangles around it dealt to those that are left.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from meshes.manifold import Manifold
from meshes.simplicial import SimplicialManifold
from solver.particles.bisection import Edges, bisected
from solver.particles.density import negligible_mass
from solver.particles.flips import flipped
from solver.particles.influence import log_relevance
from solver.particles.quadratic_fit import bends

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]

# Edges are cut beyond this part of the largest one allowed, once any exceeds it; tokens are merged over edges below MERGE,
# if the edges that come of it stay below LONGEST_MERGED.
SPLIT, MERGE, LONGEST_MERGED = 0.9, 0.35, 0.85
# Change of log rho along an edge beyond which it is cut, along an edge that is merged, and along those that come of it; times
# r^-ORDER where the law counts for the part r. At gaps below COARSE widths of the kernel these lengths shrink with the gap to the
# power FINER: then the fits of log rho, of third order in them, err with the square of the gap, as straight triangles do. Not
# where triangles hold so little that no number shows it, less than LIGHT (to the power ORDER again).
CHANGE, MERGED_CHANGE, ORDER = 2.0, 0.7, 0.25
COARSE, FINER, LIGHT = 1.2, 2.0 / 3.0, 1e-7
# How far log rho at the middle of such edges may be from the mean of both ends.
BEND, MERGED_BEND = 0.15, 0.05
# Edges below this part of the largest are not cut for their log rho, and below that part merged whatever it is: what is narrower
# than that in a cluster no kernel sees.
NEGLIGIBLE, TINY = 2e-3, 1e-3
# Normals of merged triangles must not turn by more than this cosine says.
FLAT = 0.2
# Rounds of merging in one change; tokens that may be taken out before a change for their sake alone.
ROUNDS, SPARE = 8, 0.1
# Part of the tokens that a round must take out for another to follow at once.
WORTH = 0.003
# Rounds of flips before each of them.
FLIPS = 4
FEWEST = 20

# Six points of degree four on the triangle (Dunavant 1985), barycentric.
_A, _B = 0.445948490915965, 0.091576213509771
CORNERS = np.array([[1 - 2 * _A, _A, _A], [_A, 1 - 2 * _A, _A], [_A, _A, 1 - 2 * _A],
                    [1 - 2 * _B, _B, _B], [_B, 1 - 2 * _B, _B], [_B, _B, 1 - 2 * _B]])
WEIGHTS = np.repeat([0.223381589678011, 0.109951743655322], 3)


class Triangulation:
    """The triangles between tokens of a surface.

    Args:
        manifold: the sphere, a closed surface from a file, or the plane without walls.
        cells: (c, 3) numbers of the tokens at the corners, all turning the same way.
        masses: (c,) of the triangles.
        contrast: beta |B|, see `solver.particles.density.negligible_mass`.
        scores: beta B^T of all heads, see `solver.particles.influence.exponents`.
        gap: the largest gap in widths of the kernel, which says how well log rho is to be resolved.
    """

    def __init__(self, manifold: Manifold, cells: Numbers, masses: Array, contrast: float = np.inf,
                 scores: list[Array] | None = None, gap: float = COARSE):
        self.manifold, self.cells, self.masses, self.contrast, self.scores = manifold, cells, masses, contrast, scores
        self.gap = gap
        # (N, 2): by how much more or less log rho may change, and bend, around each token than CHANGE and BEND say.
        self._leeway: Array = self._finer(int(cells.max(initial=-1)) + 1)

    def restored(self, cells: Numbers, masses: Array) -> Triangulation:
        """The triangles of a checkpoint."""
        return Triangulation(self.manifold, cells, masses, self.contrast, self.scores, self.gap)

    def gaps(self, points: Array) -> Array:
        """(c,): longest edge of each triangle."""
        corners = points[self.cells]
        return np.max([self.manifold.distance(corners[:, k], corners[:, k - 1]) for k in range(3)], axis=0)

    def largest(self, points: Array) -> float:
        """Length of the longest edge of a triangle that matters."""
        return float(np.max(self.gaps(points), where=self._matters(points), initial=0.0))

    def token_masses(self, points: Array, logs: Array | None) -> Array:
        """(N,): the mass of each token: a triangle deals its mass to its corners such that linear functions are integrated
        exactly against rho, as its corners say it."""
        shares = self._corner_shares(points, logs) * self.masses[:, None]
        return np.asarray(np.bincount(self.cells.ravel(), shares.ravel(), len(points)), float)

    def sources(self, points: Array, logs: Array | None, masses: Array) -> tuple[Array, Array]:
        """The law as points and masses for sums over it, of fourth order in the gap.

        The corners of a triangle carry a quarter of its mass, its centre of mass the rest: the second moments of the corners
        are four times those of the triangle.
        """
        shares = self._corner_shares(points, logs)
        centres = self.manifold.retract(np.einsum("ck,ckd->cd", shares, points[self.cells]))
        return np.concatenate([points, centres]), np.concatenate([0.25 * masses, 0.75 * self.masses])

    def _corner_shares(self, points: Array, logs: Array | None) -> Array:
        """(c, 3): barycentric coordinates of the centre of mass of each triangle."""
        return corner_shares(self._known(points, logs)[self.cells])

    def adapt(self, points: Array, logs: Array | None, largest: float, most: int) -> tuple[Array, Array | None, bool]:
        """Tokens added and taken out where needed; changes triangles and masses. Arguments and result as for a `Chain`."""
        edges = Edges(self.cells)
        known = self._known(points, logs)
        self._weigh(points)
        wanted = self._long(edges, points, known, largest, 1.0)
        candidates = np.unique(edges.ends[self._short(edges, points, known, largest)])
        if not wanted.any() and len(candidates) < SPARE * len(points):
            return points, logs, False
        changed = wanted.any()
        for _ in range(ROUNDS):
            before = len(points)
            points, logs, fewer = self.thinned(points, logs, largest)
            changed |= fewer
            if before - len(points) <= WORTH * before:
                break
        if wanted.any():
            points, logs = self._refine(points, logs, largest, most)
        return points, logs, bool(changed)

    def thinned(self, points: Array, logs: Array | None, largest: float) -> tuple[Array, Array | None, bool]:
        """One round of flips and of tokens taken out where they are close; changes triangles and masses. Returns the tokens left,
        their log rho, and whether they are fewer."""
        self._flip(points, logs)
        return self._merge(points, logs, largest)

    def _weigh(self, points: Array) -> None:
        """Work out how much the law counts around each token."""
        counts = log_relevance(self.scores, self.manifold.retract(points[self.cells].mean(axis=1)), self.masses)
        around = self._largest_around(counts, len(points))
        self._leeway = np.exp(-ORDER * np.maximum(around, -100.0))[:, None] * self._finer(len(points))

    def _finer(self, count: int) -> Array:
        """(N, 2): the parts of CHANGE and BEND that the gap leaves."""
        masses = np.log(np.maximum(self._largest_around(self.masses, count), 1e-300))
        shorter = np.minimum(FINER * np.log(self.gap / COARSE) - ORDER * np.minimum(masses - np.log(LIGHT), 0.0), 0.0)
        return np.asarray(np.exp(shorter[:, None] * [1.0, 2.0]), float)

    def _largest_around(self, values: Array, count: int) -> Array:
        """(N,): the largest of the values (c,) of the triangles around each token."""
        around = np.full(count, -np.inf)
        np.maximum.at(around, self.cells.ravel(), np.repeat(values, 3))
        return around

    def _flip(self, points: Array, logs: Array | None) -> None:
        """Edges turned to the other diagonal where that makes triangles rounder; each pair shares its mass anew."""
        known = self._known(points, logs)
        for _ in range(FLIPS):
            pairs, new = flipped(points, self.cells)
            if not len(pairs):
                return
            cells, masses = self.cells.copy(), self.masses.copy()
            cells[pairs] = new
            group = np.repeat(np.arange(len(pairs)), 2)
            part = self._shares(points, known, new.reshape(-1, 3), group, len(pairs), Edges(cells))
            masses[pairs] = (masses[pairs].sum(axis=1)[group] * part).reshape(-1, 2)
            self.cells, self.masses = cells, masses

    def _matters(self, points: Array) -> Flags:
        """(c,): triangles whose mass can be felt anywhere."""
        return self.masses > negligible_mass(self.contrast, points)

    def _known(self, points: Array, logs: Array | None) -> Array:
        """(N,): log rho of the tokens, from the triangles around them where they do not carry it."""
        if logs is not None:
            return logs
        flat, count = self.cells.ravel(), len(points)
        mass = np.bincount(flat, np.repeat(self.masses, 3), count)
        room = np.bincount(flat, np.repeat(areas(points, self.cells), 3), count)
        return np.asarray(np.log(np.maximum(mass, 1e-300)) - np.log(np.maximum(room, 1e-300)), float)

    def _long(self, edges: Edges, points: Array, known: Array, largest: float, part: float) -> Flags:
        """(E,): edges to cut, of triangles that matter."""
        a, b = edges.ends.T
        length = self.manifold.distance(points[a], points[b])
        leeway = self._between(a, b)
        steep = np.abs(known[a] - known[b]) > CHANGE * leeway[:, 0]
        steep |= self._bend(edges, points, known) > BEND * leeway[:, 1]
        steep &= length > NEGLIGIBLE * largest
        felt = np.zeros(len(edges.ends), bool)
        felt[edges.of_cells[self._matters(points)].ravel()] = True
        return ((length > part * largest) | steep) & felt

    def _bend(self, edges: Edges, points: Array, known: Array) -> Array:
        """(E,): how far log rho at the middle of each edge is from the mean of both ends; zero where tokens do not carry it."""
        if isinstance(self.manifold, SimplicialManifold):
            return np.zeros(len(edges.ends))
        return np.abs(bends(self.manifold, points, known, edges.ends, *edges.ends.T))

    def _between(self, a: Numbers, b: Numbers) -> Array:
        """(k, 2): the leeway along edges from tokens a to b."""
        return np.minimum(self._leeway[a], self._leeway[b])

    def _refine(self, points: Array, logs: Array | None, largest: float, most: int) -> tuple[Array, Array | None]:
        """Edges cut until none is too long."""
        part = SPLIT
        for _ in range(40):
            edges, known = Edges(self.cells), self._known(points, logs)
            marked = self._long(edges, points, known, largest, part)
            length = self.manifold.distance(*points[edges.ends.T])
            closed = edges.closed(marked, length)
            while np.count_nonzero(closed) > most - len(points) and marked.any():
                # Only the longest, as far as there is room.
                keep = np.argsort(-np.where(marked, length, 0.0), kind="stable")[: np.count_nonzero(marked) // 2]
                marked = np.zeros_like(marked)
                marked[keep] = True
                closed = edges.closed(marked, length)
            if not closed.any():
                break
            points, logs = self._cut(edges, closed, length, points, logs, known)
            part = 1.0
        return points, logs

    def _cut(self, edges: Edges, marked: Flags, length: Array, points: Array, logs: Array | None,
             known: Array) -> tuple[Array, Array | None]:
        """Marked edges, (E,) and closed, cut at their middle."""
        a, b = edges.ends[marked].T
        middle = self.manifold.retract(0.5 * (points[a] + points[b]))
        value = 0.5 * (known[a] + known[b]) - bends(self.manifold, points, known, edges.ends, a, b)
        if logs is not None:
            logs = np.concatenate([logs, value])
        points, known = np.concatenate([points, middle]), np.concatenate([known, value])
        self._leeway = np.concatenate([self._leeway, self._between(a, b)])
        cells, parent = bisected(self.cells, edges, marked, length)
        cut = np.bincount(parent)[parent] > 1
        part = np.ones(len(cells))
        part[cut] = self._shares(points, known, cells[cut], parent[cut], len(self.cells), Edges(cells))
        self.masses, self.cells = self.masses[parent] * part, cells
        return points, logs

    def _shares(self, points: Array, known: Array, cells: Numbers, group: Numbers, groups: int, whole: Edges) -> Array:
        """(c,): which part of its group's mass each triangle holds, by area and by log rho at its corners and, from quadratic
        fits over the edges of the `whole` triangulation, within."""
        own = Edges(cells)
        bend = bends(self.manifold, points, known, whole.ends, *own.ends.T)
        # The mean of a quadratic is that of the middles of the edges.
        values = known[cells] - bend[own.of_cells].mean(axis=1)[:, None]
        top = np.full(groups, -np.inf)
        np.maximum.at(top, group, values.max(axis=1))
        density = np.exp(np.maximum((values - top[group][:, None]) @ CORNERS.T, -700.0)) @ WEIGHTS
        part = np.maximum(areas(points, cells, sphere=self.manifold.normalised), 1e-280) * density
        return np.asarray(part / np.bincount(group, part, groups)[group], float)

    def _short(self, edges: Edges, points: Array, known: Array, largest: float) -> Flags:
        """(E,): edges over which a token may be merged."""
        a, b = edges.ends.T
        length = self.manifold.distance(points[a], points[b])
        leeway = self._between(a, b)
        alike = np.abs(known[a] - known[b]) < MERGED_CHANGE * leeway[:, 0]
        alike &= self._bend(edges, points, known) < MERGED_BEND * leeway[:, 1]
        return np.asarray(((length < MERGE * largest) & alike) | (length < TINY * largest), bool)

    def _merge(self, points: Array, logs: Array | None, largest: float) -> tuple[Array, Array | None, bool]:
        """One round of merging: tokens moved onto a neighbour, no two of them near each other."""
        edges, known, count = Edges(self.cells), self._known(points, logs), len(points)
        length = self.manifold.distance(*points[edges.ends.T])
        short = np.flatnonzero(self._short(edges, points, known, largest) & edges.joined())
        if not len(short) or count <= FEWEST:
            return points, logs, False
        # Each token may go to its nearest neighbour; those at a boundary stay.
        source = np.concatenate([edges.ends[short, 0], edges.ends[short, 1]])
        goal = np.concatenate([edges.ends[short, 1], edges.ends[short, 0]])
        far = np.concatenate([length[short]] * 2)
        inner = ~edges.boundary_tokens(count)[source]
        order = np.lexsort((goal[inner], far[inner], source[inner]))
        source, goal, far = source[inner][order], goal[inner][order], far[inner][order]
        first = np.concatenate([[True], np.diff(source) > 0]) if len(source) else np.zeros(0, bool)
        source, goal, far = source[first], goal[first], far[first]
        allowed = self._allowed(edges, points, known, source, goal, far, largest)
        source, goal, far = source[allowed], goal[allowed], far[allowed]
        if not len(source):
            return points, logs, False
        rank = np.full(count, count, np.int64)
        rank[source[np.lexsort((source, far))]] = np.arange(len(source))
        near = edges.least(edges.least(rank))  # no two with a neighbour in common
        chosen = rank[source] <= near[source]
        source, goal = source[chosen], goal[chosen]
        onto = np.arange(count)
        onto[source] = goal
        group = np.full(count, -1, np.int64)
        group[source] = np.arange(len(source))
        touched = group[self.cells].max(axis=1)
        moved = onto[self.cells]
        alive = (moved[:, 0] != moved[:, 1]) & (moved[:, 1] != moved[:, 2]) & (moved[:, 2] != moved[:, 0])
        masses, star = self.masses.copy(), touched >= 0
        total = np.bincount(touched[star], self.masses[star], len(source))
        left = star & alive
        masses[left] = total[touched[left]] * self._shares(points, known, moved[left], touched[left], len(source),
                                                                 edges)
        kept = np.ones(count, bool)
        kept[source] = False
        self.cells, self.masses, self._leeway = (np.cumsum(kept) - 1)[moved[alive]], masses[alive], self._leeway[kept]
        return points[kept], None if logs is None else logs[kept], True

    def _allowed(self, edges: Edges, points: Array, known: Array, source: Numbers, goal: Numbers, far: Array,
                 largest: float) -> Flags:
        """(k,): whether a token may go onto its goal: no triangle turns over, no edge gets long or steep, and the surface stays
        one."""
        count = len(points)
        place = np.full(count, -1, np.int64)
        place[source] = np.arange(len(source))
        bad = np.zeros(len(source), bool)
        common = np.zeros(len(source), np.int64)
        tiny = far < TINY * largest
        curved = self._bend(edges, points, known) / np.maximum(self.manifold.distance(*points[edges.ends.T]), 1e-300) ** 2
        most = np.zeros(count)
        np.maximum.at(most, edges.ends[:, 0], curved)
        np.maximum.at(most, edges.ends[:, 1], curved)
        before = normals(points, self.cells)
        for k in range(3):
            own = place[self.cells[:, k]]
            rows = np.flatnonzero(own >= 0)
            own = own[rows]
            cells, target = self.cells[rows], goal[own]
            dying = (cells == target[:, None]).any(axis=1)
            common += np.bincount(own[dying], minlength=len(source))
            rows, own, target, cells = rows[~dying], own[~dying], target[~dying], cells[~dying].copy()
            cells[:, k] = target
            after = normals(points, cells)
            size = np.linalg.norm(after, axis=1) * np.linalg.norm(before[rows], axis=1)
            turned = np.einsum("ij,ij->i", after, before[rows]) < FLAT * size
            long, steep = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
            for j in (k - 1, k - 2):
                reach = self.manifold.distance(points[target], points[cells[:, j]])
                old = self.manifold.distance(points[source[own]], points[cells[:, j]])
                long |= (reach > LONGEST_MERGED * largest) & (reach > old)
                leeway = self._between(target, cells[:, j])
                steep |= np.abs(known[target] - known[cells[:, j]]) > CHANGE * leeway[:, 0]
                steep |= most[target] * reach**2 > BEND * leeway[:, 1]
            bad[own[long | ((turned | steep) & ~tiny[own])]] = True
        return ~bad & (common == 2) & self._linked(source, goal, count)

    def _linked(self, source: Numbers, goal: Numbers, count: int) -> Flags:
        """(k,): whether two tokens have two neighbours in common and no more."""
        from scipy.sparse import coo_matrix

        ends = Edges(self.cells).ends
        both = np.concatenate([ends, ends[:, ::-1]])
        near = coo_matrix((np.ones(len(both)), both.T), shape=(count, count)).tocsr()
        return np.asarray(near[source].multiply(near[goal]).sum(axis=1)).ravel() == 2.0


def corner_shares(logs: Array) -> Array:
    """(c, 3): barycentric coordinates of the centres of mass of triangles with log rho (c, 3) at their corners, linear within."""
    values = logs @ CORNERS.T
    density = np.exp(values - values.max(axis=1, keepdims=True)) * WEIGHTS  # only inside is a steep one not all zero
    shares = density @ CORNERS
    return np.asarray(shares / shares.sum(axis=1, keepdims=True), float)


def normals(points: Array, cells: Numbers) -> Array:
    """(c, 3): normals of triangles (c, 3) of points (n, 2 or 3), twice the area long."""
    x = points if points.shape[1] == 3 else np.pad(points, ((0, 0), (0, 1)))
    return np.asarray(np.cross(x[cells[:, 1]] - x[cells[:, 0]], x[cells[:, 2]] - x[cells[:, 0]]), float)


def areas(points: Array, cells: Numbers, *, sphere: bool = False) -> Array:
    """(c,): areas of flat triangles, or of triangles of great circles (Eriksson 1990)."""
    normal = normals(points, cells)
    if not sphere:
        return np.asarray(0.5 * np.linalg.norm(normal, axis=1), float)
    a, b, c = (points[cells[:, k]] for k in range(3))
    around = 1.0 + np.einsum("ij,ij->i", a, b) + np.einsum("ij,ij->i", b, c) + np.einsum("ij,ij->i", c, a)
    return np.asarray(2.0 * np.arctan2(np.abs(np.einsum("ij,ij->i", a, normal)), around), float)
