"""The law attended to: static points, changing masses, and the forms the kernels want them in."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from solver.attention.dense import pack
from solver.errors import RunError

Array = np.ndarray


class Sources:
    """Points (m, d) of the law, with what depends on them alone. The same on every rank after a gather.

    Raises `RunError` if a coordinate is not finite.
    """

    def __init__(self, points: Array):
        self.points = np.ascontiguousarray(points, dtype=float)
        if self.points.ndim != 2:
            raise ValueError(f"sources have shape {self.points.shape}, not (m, d)")
        norms = np.sqrt(np.einsum("ij,ij->i", self.points, self.points))
        self.radius = float(norms.max(initial=0.0))
        if not np.isfinite(self.radius):
            raise RunError("a source of attention is not finite", place=f"source {int(np.argmin(np.isfinite(norms)))}")
        # How far the points are from the unit sphere; the harmonic expansions need them on it.
        self.sphere_error = float(max(abs(self.radius - 1.0), abs(norms.min(initial=self.radius) - 1.0)))

    def split(self, masses: Array) -> tuple[Law, Law | None]:
        """The positive and the negative part of the law with these masses (m,).

        Raises `RunError` if a mass is not finite or none is positive.
        """
        masses = np.ascontiguousarray(masses, dtype=float)
        if masses.shape != (len(self.points),):
            raise ValueError(f"masses have shape {masses.shape}, not {(len(self.points),)}")
        smallest, total = float(masses.min(initial=0.0)), float(masses.sum())
        if not np.isfinite(total):
            raise RunError("a mass of the law attended to is not finite",
                           place=f"source {int(np.argmin(np.isfinite(masses)))}")
        if masses.max(initial=0.0) <= 0.0:
            raise RunError("attention needs a law of positive mass, here it has none")
        return Law(self, masses, 1.0), Law(self, masses, -1.0) if smallest < 0.0 else None


class Law:
    """The positive (sign = 1) or negative (-1) part of a law on `sources`; sources without mass are left out.

    Attributes:
        sources: the static part; rows (k,) or None: which of its points carry mass, None for all.
        kept (k,): the masses. total: their sum; masses (k,): relative to it; log_masses (k,): base-2 logarithms of
            those, right also where they underflow.
        log_range: smallest and largest of them.
    """

    def __init__(self, sources: Sources, masses: Array, sign: float):
        self.sources, self.sign = sources, sign
        kept = masses if sign > 0.0 else -masses
        self.rows: Array | None = None
        if kept.min() <= 0.0:
            self.rows = np.flatnonzero(kept > 0.0)
            kept = kept[self.rows]
        self.kept, self.total = kept, float(kept.sum())
        self.masses = kept / self.total
        self.log_masses = np.log2(self.masses) if self.masses.min() > 0.0 else np.log2(kept) - np.log2(self.total)
        self.log_range = float(self.log_masses.min()), float(self.log_masses.max())

    @cached_property
    def points(self) -> Array:
        """(k, d): the points that carry mass."""
        points = self.sources.points
        return points if self.rows is None else np.ascontiguousarray(points[self.rows])

    @cached_property
    def full_log_masses(self) -> Array:
        """(m,): base-2 logarithms of the masses of all points of the sources, -inf for those without."""
        return self._of_all(self.log_masses, -np.inf)

    @cached_property
    def full_masses(self) -> Array:
        """(m,): masses of all points of the sources, relative to the total."""
        return self._of_all(self.masses, 0.0)

    def _of_all(self, kept: Array, without: float) -> Array:
        """(m,): what the kept points have (k,), with a number for those without mass."""
        if self.rows is None:
            return kept
        full = np.full(len(self.sources.points), without)
        full[self.rows] = kept
        return full

    @cached_property
    def packed(self) -> Array:
        return pack(self.points, self.log_masses)

    def __len__(self) -> int:
        return len(self.log_masses)
