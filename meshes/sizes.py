"""Cell sizes wanted at scattered places, and meshes of circle and sphere that have them up to a common factor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.spatial import cKDTree

from meshes import spaces
from meshes.cells import CellList, curved
from meshes.grading import EDGE, bisect

# Cells grow by this much for each unit of distance from a place where smaller ones are wanted.
GROWTH = 0.4
# Cells are at most so many times as wide as those of an even mesh of as many, unless they may be wider all the same.
COARSEST = 1.5
# The smallest cells are at least this part of the widest ones: every halving doubles the number of steps.
FINEST = 1e-3
# A mesh of given sizes may have so many times fewer cells than it is allowed to have.
FEWER = 8
# Places are sorted by wanted size into classes of this ratio.
CLASS = 2.0**0.5
# Largest logarithm of a factor between wanted sizes and those of cells on a circle, and how well it is found.
LOG_FACTORS, NEAR_ANGULAR = 28.0, 1e-6
# How far the number of cells may be off, as a logarithm, and attempts to come that close.
NEAR, ATTEMPTS = 0.03, 14


@dataclass(frozen=True)
class Sizes:
    """Sizes of cells, up to a common factor, at places in the token space.

    Attributes:
        points: (n, d) places. sizes: (n,) wanted there, > 0. spacings: (n,) lengths over which they change little.
        widest: no cell is wider, in units of length, where there are enough of them.
    """

    points: np.ndarray
    sizes: np.ndarray
    spacings: np.ndarray
    widest: float

    def thinned(self) -> Sizes:
        """The same with one place, that of the smallest size, in each box of half the spacing; class by class of size."""
        kept = []
        for members in self._classes():
            side = max(0.5 * float(np.quantile(self.spacings[members], 0.25)), 1e-12)
            boxes = np.floor(self.points[members] / side).astype(np.int64)
            order = np.lexsort((self.sizes[members], *boxes.T))
            boxes = boxes[order]
            first = np.concatenate([[True], (np.diff(boxes, axis=0) != 0).any(axis=1)])
            kept.append(members[order[first]])
        chosen = np.sort(np.concatenate(kept)) if kept else np.empty(0, np.int64)
        return Sizes(self.points[chosen], self.sizes[chosen], self.spacings[chosen], self.widest)

    def _classes(self) -> list[np.ndarray]:
        """Numbers of the places in each class of size, small sizes first."""
        level = np.floor(np.log(self.sizes) / np.log(CLASS)).astype(np.int64)
        order = np.argsort(level, kind="stable")
        return np.split(order, np.flatnonzero(np.diff(level[order])) + 1) if len(order) else []

    def field(self) -> Callable[[np.ndarray, float, float], np.ndarray]:
        """A function of points (n, d), a factor and a largest size: the size wanted there, (n,).

        It is the least of the largest, and of factor times the size at a place plus `GROWTH` times the distance to it; in a class
        all count as the smallest.
        """
        classes = [(float(self.sizes[members].min()), cKDTree(self.points[members])) for members in self._classes()]

        def wanted(points: np.ndarray, factor: float, largest: float) -> np.ndarray:
            found = np.full(len(points), largest)
            for size, tree in classes:
                least = max(factor * size, FINEST * largest)
                open_ones = np.flatnonzero(found > least)
                if not len(open_ones):
                    break
                reach = (float(found[open_ones].max()) - least) / GROWTH
                distance = tree.query(points[open_ones], distance_upper_bound=reach)[0]
                found[open_ones] = np.minimum(found[open_ones], least + GROWTH * distance)
            return found

        return wanted


def circle(cells: int, geometry: int, sizes: Sizes, factor: float | None = None) -> CellList:
    """The circle in `cells` arcs as long as wanted, up to a common factor; the first node at angle 0. `factor`: see `sphere`."""
    angles, counted = _counter(cells, sizes)
    if factor is not None:
        cells = round(min(max(counted(factor)[-1], cells / FEWER), cells))
    numbers = counted(_angular_factor(cells, counted))
    return spaces.circle_through(np.interp(numbers[-1] * np.arange(cells) / cells, numbers, angles), geometry)


def circle_factor(cells: int, sizes: Sizes) -> float:
    """The factor by which `circle` with so many cells has the wanted sizes."""
    return _angular_factor(cells, _counter(cells, sizes)[1])


def _counter(cells: int, sizes: Sizes) -> tuple[np.ndarray, Callable[[float], np.ndarray]]:
    """Angles (k,) from 0 to 2 pi, and a function of a factor: how many cells are wanted up to each of them."""
    field, largest = sizes.field(), max(sizes.widest, COARSEST * 2 * np.pi / cells)
    own = np.arctan2(sizes.points[:, 1], sizes.points[:, 0]) % (2 * np.pi)
    angles = np.unique(np.concatenate([np.linspace(0.0, 2 * np.pi, 1 << 14 | 1), own]))
    points = np.column_stack([np.cos(angles), np.sin(angles)])

    def counted(factor: float) -> np.ndarray:
        per_length = 1.0 / field(points, factor, largest)
        return np.concatenate([[0.0], np.cumsum(0.5 * (per_length[1:] + per_length[:-1]) * np.diff(angles))])

    return angles, counted


def _angular_factor(cells: int, counted: Callable[[float], np.ndarray]) -> float:
    """The factor for which the wanted number of cells is `cells`; the least or greatest one looked at where it is never so large,
    or never so small."""
    def excess(log_factor: float) -> float:
        return float(np.log(counted(np.exp(log_factor))[-1] / cells))

    if excess(-LOG_FACTORS) <= 0.0:
        return float(np.exp(-LOG_FACTORS))
    if excess(LOG_FACTORS) >= 0.0:
        return float(np.exp(LOG_FACTORS))
    return float(np.exp(brentq(excess, -LOG_FACTORS, LOG_FACTORS, xtol=NEAR_ANGULAR)))


def sphere(cells: int, geometry: int, sizes: Sizes, factor: float | None = None) -> CellList:
    """The sphere in about `cells` triangles as large as wanted, up to a common factor: an icosahedral mesh, bisected.

    factor: to be used if that makes no more than `cells`, and no fewer than the part `FEWER` of them; None: whichever fits.
    """
    made, base = _maker(cells, sizes)
    if factor is None:
        return curved(fitted(made, cells, base)[0], geometry, spaces.unit)
    found = made(factor)
    count = min(max(len(found.cells), cells // FEWER), cells)
    if abs(np.log(len(found.cells) / count)) > NEAR:
        found = fitted(made, count, base)[0]
    return curved(found, geometry, spaces.unit)


def sphere_factor(cells: int, sizes: Sizes) -> float:
    """The factor by which `sphere` with so many cells has the wanted sizes."""
    made, base = _maker(cells, sizes)
    return fitted(made, cells, base)[1]


def _maker(cells: int, sizes: Sizes) -> tuple[Callable[[float], CellList], CellList]:
    """A function of a factor that gives a mesh of the sphere, and what it gives for a very large one."""
    field, largest = sizes.field(), max(sizes.widest, COARSEST * np.sqrt(16 * np.pi / (np.sqrt(3) * cells)))
    base = spaces.sphere(max(1, round(EDGE / largest)), 1)

    def made(factor: float) -> CellList:
        # Bisection spreads sizes over a factor 2: centre that on the wanted size.
        return bisect(base, lambda mid: np.sqrt(2) * field(mid, factor, largest), spaces.unit)

    return made, base


def fitted(made: Callable[[float], CellList], cells: int, coarsest: CellList) -> tuple[CellList, float]:
    """What `made` makes of the factor for which it has about `cells` cells, and the factor; `coarsest` is what it makes of a very
    large one."""
    best, least, chosen = coarsest, abs(np.log(len(coarsest.cells) / cells)), np.inf
    if len(coarsest.cells) >= cells:
        return best, chosen
    logs: list[tuple[float, float]] = []  # (log of a factor, excess of cells as a logarithm)
    guess = 0.0
    for _ in range(ATTEMPTS):
        found = made(float(np.exp(guess)))
        excess = float(np.log(len(found.cells) / cells))
        if abs(excess) < least:
            best, least, chosen = found, abs(excess), float(np.exp(guess))
        if abs(excess) < NEAR:
            break
        logs.append((guess, excess))
        many, few = [p for p in logs if p[1] > 0], [p for p in logs if p[1] < 0]
        if many and few:
            (x0, y0), (x1, y1) = max(many), min(few)
            part = min(max(y0 / (y0 - y1), 0.1), 0.9)
            guess = x0 + part * (x1 - x0)
        else:  # the number of cells falls at most with the square of the factor
            guess += max(0.5 * excess, 0.3) if excess > 0 else min(0.5 * excess, -0.3)
    return best, chosen
