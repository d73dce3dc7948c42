"""Which expansion of the kernel serves a head, if any: summed point by point (circle, sphere) or by transforms (sphere).

Laws are not assumed smooth: before an expansion is made, its denominators are probed. Times are in nanoseconds on one core with
vectors of eight numbers; where they have four, a sum over pairs takes nearly twice as long, and so do transforms.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from solver.attention.dense import dense_moments
from solver.attention.ellipsoid import Ellipsoid, nodes_needed
from solver.attention.expansion import (
    LARGEST_ORDER,
    Expansion,
    depth_for,
    even_denominator,
    expand,
    expand_squares,
    needed_order,
    rounding,
)
from solver.attention.kernels import lanes
from solver.attention.moments import Moments
from solver.attention.nufft import Grid, Places, grid_for
from solver.attention.settings import Settings
from solver.attention.sources import Law, Sources
from solver.attention.transform import Transform, degree_for, transform

Array = np.ndarray
# How much more vectors of four numbers instead of eight cost an expansion than a sum over pairs: it has no room in registers.
NARROW_EXPANSION = 1.6
# Sources that stand for targets when the denominators of an expansion are probed.
PROBES = 16
# No expansion if more of the probes than this would have to be summed after all.
LARGEST_REFINED = 0.3
# Norms of targets that differ by no more than this, relatively, are one, or as on an ellipsoid: rounding changes more.
SAME_NORM = 4e-15
# Ellipsoids that are longer, or have smaller norms, are left to other methods.
LARGEST_RATIO, LEAST_NORM = 5.0, 10.0
# Expansions see the points moved onto the unit sphere, which must not matter.
SPHERE_TOLERANCE = 1e-12


class Expanded:
    """Expansions for fixed targets z (n, d), fixed sources and changing masses; local.

    Args:
        crowd (N, d): z of the targets of all ranks, for which is chosen. score (d, d): z = x score for a point x.
        kappa: the largest |z| of the crowd.
    """

    def __init__(self, z: Array, crowd: Array, score: Array, sources: Sources, kappa: float, settings: Settings):
        self.z, self.crowd, self.score, self.sources, self.kappa, self.settings = z, crowd, score, sources, kappa, settings

    def make(self, law: Law, alternative: float, *, matrix: Array | None = None) -> Expansion | Transform | None:
        """The expansion of the law, if one exists, is expected to be accurate enough, and is faster than another method that
        takes `alternative` nanoseconds; on the sphere with second moments, as y^T matrix (3, 3) y asks for, if that is given."""
        d, accuracy, method = self.z.shape[1], self.settings.accuracy, self.settings.method
        forced = method != "auto"
        if d not in (2, 3) or self.kappa * self.sources.sphere_error > SPHERE_TOLERANCE * (1 + self.kappa):
            return None
        squares = matrix is not None
        transforms = method in ("auto", "nufft") and self.can_transform and not (squares and self._ellipsoid is not None)
        # First with the tolerance of a denominator like the uniform law's: no probing where that is already too slow.
        expected = self.direct_time(needed_order(self.kappa, self._usual_depth), law)
        if not forced and min(expected, self.transform_time(law) if transforms else np.inf) > alternative:
            return None
        least, refined = float(np.exp(-2.0 * self.kappa)), 0.0
        if least < 1e-3:
            probed = self._probe(law)
            enough = probed > 2.0 * rounding(self.probe_norms, law, transformed=transforms) / accuracy
            refined = 1.0 - np.count_nonzero(enough) / len(probed)
            if not forced and refined > LARGEST_REFINED:
                return None
            usual = float(np.exp(-self._usual_depth)) * 40.0 / accuracy
            least = max(least, float(probed[enough].min())) if enough.any() else usual
        depth = depth_for(accuracy * least / 40.0)
        order = needed_order(self.kappa, depth)
        direct = self.direct_time(order, law) if order <= LARGEST_ORDER[d] and method != "nufft" else np.inf
        transformed = self.transform_time(law) if transforms else np.inf
        if min(direct, transformed) > (np.finfo(float).max if forced else (1.0 - refined) * alternative):
            return None
        if transformed < direct:
            return transform(law, self._source_places, self._ellipsoid or self.kappa, matrix)
        return (expand_squares if squares and d == 3 else expand)(law, order, depth, self.settings.workers_for(len(law) * order))

    def moments(self, expansion: Expansion | Transform) -> tuple[Moments, Array]:
        """At all targets, and for each a bound (n,) on their errors relative to e^shift and the mass."""
        if isinstance(expansion, Transform):
            return expansion(self.z, self._target_places)
        return expansion(self.z, self.settings.workers_for(len(self.z) * expansion.order))

    def quadratic(self, expansion: Transform, turned: Array) -> Array:
        """As of `Transform`, at all targets."""
        return expansion.quadratic(self.z, self._target_places, turned)

    def usual_time(self, law: Law) -> float:
        """What the faster one takes for a law that covers circle or sphere evenly; infinite in other dimensions."""
        return min(self.usual_direct_time(law), self.transform_time(law))

    def usual_direct_time(self, law: Law) -> float:
        """The same of the sums point by point."""
        if self.z.shape[1] not in (2, 3) or self.sources.sphere_error > SPHERE_TOLERANCE:
            return np.inf
        return self.direct_time(needed_order(self.kappa, self._usual_depth), law)

    def squares_time(self, law: Law) -> float:
        """Of transforms with second moments."""
        return np.inf if self._ellipsoid is not None else 2.0 * self.transform_time(law)

    def direct_time(self, order: int, law: Law) -> float:
        """Of sums point by point up to an order."""
        n, m, slower = len(self.crowd), len(law), 1.0 if lanes() == 8 else NARROW_EXPANSION
        if self.z.shape[1] == 2:
            return slower * (3e4 + m * (12 + 0.18 * order) + n * (50 + 0.62 * order))
        return slower * (4e4 + m * (20 + 0.04 * order ** 2) + n * (60 + 0.11 * order ** 2) + 20 * order ** 2)

    def transform_time(self, law: Law) -> float:
        """Of transforms; infinite where there are none."""
        if not self.can_transform:
            return np.inf
        degree = self._transform_degree or 0
        time = 2e6 + 140 * len(law) + 150 * len(self.crowd) + 550 * degree ** 2
        if self._ellipsoid is not None:
            nodes = 0.75 * nodes_needed(self._ellipsoid.most / self._ellipsoid.least)
            time += nodes * degree ** 2 * (60 + 0.13 * degree)
        return time

    @cached_property
    def can_transform(self) -> bool:
        """Whether points are on the unit sphere of R^3, and all |z| the same or as of points on that sphere."""
        if self.z.shape[1] != 3 or self.sources.sphere_error > SPHERE_TOLERANCE or not len(self.crowd) or not self.kappa > 0.0:
            return False
        return (self._same_norm or self._ellipsoid is not None) and self._transform_degree is not None

    @cached_property
    def _same_norm(self) -> bool:
        norms = np.sqrt(np.einsum("ij,ij->i", self.crowd, self.crowd))
        return bool(norms.min() >= (1.0 - SAME_NORM) * self.kappa)

    @cached_property
    def _ellipsoid(self) -> Ellipsoid | None:
        """What the targets lie on, if they have several norms and it is not too long."""
        if self._same_norm or not np.linalg.cond(self.score) <= LARGEST_RATIO:
            return None
        found = Ellipsoid(self.score)
        points = self.crowd @ found.inverse
        different = np.abs(np.einsum("ij,ij->i", points, points) - 1.0).max()
        return found if different <= LARGEST_RATIO * SAME_NORM and found.least >= LEAST_NORM else None

    @cached_property
    def _transform_degree(self) -> int | None:
        if self._ellipsoid is None:
            return degree_for(self.kappa)
        return degree_for(self._ellipsoid.most, self._ellipsoid.least_degree)

    @cached_property
    def _grid(self) -> Grid:
        assert self._transform_degree is not None
        return grid_for(self._transform_degree + 2)

    @cached_property
    def _source_places(self) -> Places:
        return Places(self.sources.points, self._grid, self.settings.workers)

    @cached_property
    def _target_places(self) -> Places:
        points = self.sources.points
        if len(self.z) == len(points) and self.score[0, 0] > 0.0 and np.array_equal(self.z, self.score[0, 0] * points):
            return self._source_places   # in the same directions
        return Places(self.z, self._grid, self.settings.workers)

    @cached_property
    def probes(self) -> Array:
        """(<= 16, d): z at a few sources: the same on every rank, and where most targets are."""
        step = max(1, len(self.sources.points) // PROBES)
        return np.ascontiguousarray(self.sources.points[step // 2::step][:PROBES] @ self.score)

    @cached_property
    def probe_norms(self) -> Array:
        return np.linalg.norm(self.probes, axis=1)

    def _probe(self, law: Law) -> Array:
        """Denominators at the probes, relative to the largest possible one."""
        moments = dense_moments(self.probes, law.packed, self.sources.radius, law.log_range)
        return moments.den * np.exp(moments.shift - self.probe_norms)

    @property
    def _usual_depth(self) -> float:
        """The depth of an expansion of the uniform law, whose denominators are known."""
        return depth_for(self.settings.accuracy * float(even_denominator(self.kappa, self.z.shape[1])) / 40.0)
