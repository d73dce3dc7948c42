"""The first intervals of adaptive tokens on a curve, with the exact mass of the initial law."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from meshes.manifold import Flat
from meshes.simplicial import SimplicialManifold
from problems import Problem, ProblemError
from problems.laws.mixture import Mixture
from problems.laws.normal import Normal
from solver.particles.chain import HALF_WEIGHTS, HALVES, Chain
from solver.particles.density import contrast
from solver.particles.summands import NARROW, check_mass, summands

Array = NDArray[np.float64]

# Deviations of a normal law that its chain covers in each direction.
DEVIATIONS = 8.5
LARGEST_START = 100_000
OFFSET = (3.0 - np.sqrt(5.0)) / 2.0
# Parts of the whole length that are not cut for a peak, nor for the bends of log rho.
SHORTEST = 1e-13


def start_chain(problem: Problem, largest: float) -> tuple[Chain, Array, Array]:
    """The chain of the initial law with its tokens (N, d) and log rho (N,); intervals get the exact mass of the law.

    Raises:
        ProblemError: a space or law that a chain does not cover.
    """
    law, manifold, parts = problem.initial, problem.manifold, summands(problem.initial)
    at, low, high, closed = _parameter(problem)
    count = 2 * (min(max(16, int(np.ceil((high - low) / largest))), LARGEST_START) // 2 + 1)
    # Even, so that even laws stay even, and off every simple fraction of the curve, where stationary points often lie.
    places: Array = (low + (high - low) * (np.arange(count) + OFFSET) / count if closed
                     else np.asarray(np.linspace(low, high, count + 1), np.float64))
    while True:
        ends = np.append(places[1:], places[0] + high - low) if closed else places[1:]
        starts = places[:len(ends)]
        inside = starts[:, None] + np.outer(ends - starts, HALVES)
        density = law.density(at(inside.ravel())).reshape(inside.shape)
        masses = (ends - starts) * (density @ HALF_WEIGHTS)
        points = at(places)
        logs = np.maximum(law.log_density(points), -600.0)
        chain = Chain(manifold, closed, masses, contrast(problem.attention))
        profile, gaps, _ = chain._profile(points, logs)
        rough = chain._too_long(gaps, profile, largest, 0.0) & chain._matters(points)
        within = np.column_stack([starts, inside, ends])
        for part in parts:
            rough |= _peaks(part(at(within.ravel())).reshape(within.shape), closed)
        rough &= ends - starts > SHORTEST * (high - low)
        if not rough.any() or len(places) > LARGEST_START:
            break
        places = np.sort(np.concatenate([places, 0.5 * (starts + ends)[rough]]))
    check_mass(problem, float(masses.sum()))
    chain.masses = masses / masses.sum()
    return chain, points, logs


def _peaks(logs: Array, closed: bool) -> NDArray[np.bool_]:
    """(c,): intervals with a maximum of a log density that changes much within them, from its values (c, k) there, both ends
    among them."""
    top, low = logs.max(axis=1), logs.min(axis=1)
    around = np.concatenate([top[-1:], top, top[:1]]) if closed else np.concatenate([[-np.inf], top, [-np.inf]])
    return (top >= np.maximum(around[:-2], around[2:])) & (top > low + NARROW)


def _parameter(problem: Problem) -> tuple[Callable[[Array], Array], float, float, bool]:
    """The curve by its length: places (n,) -> points (n, d), the range of places, and whether it is closed."""
    manifold, law = problem.manifold, problem.initial
    if manifold.normalised:
        return lambda s: np.column_stack([np.cos(s), np.sin(s)]), 0.0, 2 * np.pi, True
    if isinstance(manifold, SimplicialManifold):
        return _along(manifold)
    if isinstance(manifold, Flat) and manifold.bounds is not None:
        low, high = manifold.bounds[0]
    else:
        parts = [part for part in law.components if isinstance(part, Normal)] if isinstance(law, Mixture) else []
        spread = [(float(part.mean[0]), float(part.factor[0, 0])) for part in parts]
        low = min(mean - DEVIATIONS * size for mean, size in spread)
        high = max(mean + DEVIATIONS * size for mean, size in spread)
    return lambda s: np.asarray(s)[:, None], low, high, False


def _along(manifold: SimplicialManifold) -> tuple[Callable[[Array], Array], float, float, bool]:
    """A curve from a file, its cells in the order in which they join."""
    ends = [(int(a), int(b)) for a, b in manifold.cells.cells[:, :2]]
    at: dict[int, list[int]] = {}
    for cell, pair in enumerate(ends):
        for vertex in pair:
            at.setdefault(vertex, []).append(cell)
    loose = [vertex for vertex, cells in at.items() if len(cells) == 1]
    vertex, order, backwards = (loose[0] if loose else ends[0][0]), [], []
    cell = at[vertex][0] if loose else 0
    while True:
        order.append(cell)
        backwards.append(ends[cell][1] == vertex)
        vertex = ends[cell][0] if backwards[-1] else ends[cell][1]
        onwards = [other for other in at[vertex] if other != cell]
        if not onwards or onwards[0] == order[0]:
            break
        cell = onwards[0]
    if len(order) < len(ends):
        raise ProblemError("particles.sampling", "adaptive", "for a curve in one piece")
    length = np.concatenate([[0.0], np.cumsum(manifold.measures[order])])
    total, cells, flipped = float(length[-1]), np.array(order), np.array(backwards)

    def place(s: Array) -> Array:
        wrapped = np.clip(s, 0.0, total) if loose else np.mod(s, total)
        k = np.clip(np.searchsorted(length, wrapped, side="right") - 1, 0, len(cells) - 1)
        xi = (wrapped - length[k]) / (length[k + 1] - length[k])
        return manifold.maps.value(cells[k], np.where(flipped[k], 1.0 - xi, xi)[:, None])

    return place, 0.0, total, not loose
