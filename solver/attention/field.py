"""Attention as a map from laws to vector fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from solver.attention.dense import dense_hardmax, dense_moments
from solver.attention.kernels import library
from solver.attention.law import Law, Sources
from solver.attention.moments import Moments
from solver.attention.reference import reference_hardmax, reference_moments
from solver.compiled import threads
from solver.errors import RunError

Array = np.ndarray
METHODS = ("auto", "dense", "numpy")


@dataclass
class Report:
    """How the latest evaluation was done, summed over heads; local to the rank.

    Attributes:
        method: what was used ("dense", "numpy", "pruned", "fourier", "harmonics", "mean").
        pairs: exponentials evaluated.
        refined: targets whose expansion was not certain enough and were summed again by another method.
    """

    method: str = ""
    pairs: int = 0
    refined: int = 0


class Attention:
    """Attention with given weights: m_h(x) = int e^{beta <x,B_h y>} y dmu / int e^{beta <x,B_h y>} dmu (theory.md §1).

    Args:
        weights: `problems.attention.Weights`, or anything with beta (0 to infinity), heads (each with score = Q^T K
            and value, (d, d)) and normalization ("softmax" or "none").
        accuracy: largest absolute error of m on the unit sphere (relative to the size of the support elsewhere).
        method: "auto" chooses the fastest that reaches `accuracy`; "dense" sums every pair in compiled code, to
            round-off; "numpy" does so in NumPy; "pruned", "fourier" (circle), "harmonics" (sphere) force a fast one.
        workers: threads of a kernel; None: see `solver.compiled.threads`.

    Attributes:
        report: how the latest evaluation was done.
    """

    def __init__(self, weights: Any, accuracy: float = 1e-10, method: str = "auto", workers: int | None = None):
        if method not in METHODS:
            raise ValueError(f"method is {method!r}, not one of {', '.join(METHODS)}")
        self.weights, self.accuracy = weights, float(accuracy)
        self.method = "numpy" if library() is None else method
        self.beta = float(weights.beta)
        if not self.beta >= 0.0:
            raise ValueError(f"beta is {self.beta}, not a number from 0 to infinity")
        self.scores = [np.ascontiguousarray(head.score, dtype=float) for head in weights.heads]
        self.values = [np.ascontiguousarray(head.value, dtype=float) for head in weights.heads]
        self.workers = workers or threads()
        self.report = Report()

    def field(self, targets: Array, sources: Array, masses: Array) -> tuple[Array, float]:
        """The field sum_h V_h m_h(x), not projected on the tangent: `(values, log_scale)`.

        Args:
            targets: (n, d), local to the rank. sources: (m, d) and masses: (m,), the whole law (`gather_sources`);
                masses of zero cost nothing, negative ones are allowed as long as the law stays positive where it
                is attended to.

        Returns:
            values (n, d) and log_scale: the field is values * exp(log_scale). For "softmax" log_scale is 0; for
            "none" (USA) it is the largest log partition function of these targets, so that nothing overflows.

        Raises:
            RunError: a coordinate or mass is not finite, or there is no mass.
        """
        return self.bind(targets, sources).field(masses)

    def log_partition(self, targets: Array, sources: Array, masses: Array) -> Array:
        """(heads, n): log int e^{beta <x,B_h y>} dmu(y); at beta = infinity the largest <x,B_h y>. See `field`."""
        return self.bind(targets, sources).log_partition(masses)

    def full_support_field(self, targets: Array) -> Array:
        """(n, d): the field at zero temperature if mu charges the whole unit sphere: sum_h V_h B_h^T x/|B_h^T x|.

        Zero where B_h^T x = 0, the mean of the sphere (theory.md §1).
        """
        result = np.zeros(np.shape(targets))
        for score, value in zip(self.scores, self.values, strict=True):
            z = targets @ score
            norm = np.linalg.norm(z, axis=1, keepdims=True)
            result += np.divide(z, norm, out=np.zeros_like(z), where=norm > 0.0) @ value.T
        return result

    def bind(self, targets: Array, sources: Array) -> BoundAttention:
        """Attention between fixed points, for laws whose masses change: what depends on points is kept. See `field`."""
        return BoundAttention(self, targets, Sources(sources))


class BoundAttention:
    """Attention of fixed targets (n, d) to laws on fixed points; made by `Attention.bind`."""

    def __init__(self, attention: Attention, targets: Array, sources: Sources):
        self.attention, self.sources = attention, sources
        targets = np.ascontiguousarray(targets, dtype=float)
        d = sources.points.shape[1]
        if targets.ndim != 2 or targets.shape[1] != d:
            raise ValueError(f"targets have shape {targets.shape}, not (n, {d})")
        factor = 1.0 if np.isinf(attention.beta) else attention.beta
        # z = beta B^T x: <z,y> = beta <Qx,Ky>; one row per target.
        self.z = [np.ascontiguousarray(targets @ (factor * score)) for score in attention.scores]
        for z in self.z:
            if not np.isfinite(z.sum()) and not np.isfinite(z).all():
                place = f"target {int(np.argmin(np.isfinite(z).all(axis=1)))}"
                raise RunError("a target of attention is not finite", place=place)

    def field(self, masses: Array) -> tuple[Array, float]:
        """`(values (n, d), log_scale)` for these masses (m,); see `Attention.field`."""
        moments = self.moments(masses)
        if self.attention.weights.normalization == "softmax":
            means = [moment.means() for moment in moments]
            return sum_heads(means, self.attention.values), 0.0
        if np.isinf(self.attention.beta):
            raise ValueError('normalization = "none" needs a finite beta')
        tops = [float(np.max(moment.log(), initial=-np.inf)) for moment in moments]
        log_scale = max(tops) if np.isfinite(max(tops)) else 0.0
        scaled = [moment.num * np.exp(moment.shift - log_scale)[:, None] for moment in moments]
        return sum_heads(scaled, self.attention.values), log_scale

    def log_partition(self, masses: Array) -> Array:
        """(heads, n); see `Attention.log_partition`."""
        moments = self.moments(masses)
        if np.isinf(self.attention.beta):
            return np.array([moment.shift for moment in moments])
        return np.array([moment.log() for moment in moments])

    def moments(self, masses: Array) -> list[Moments]:
        """The moments of every head for these masses (m,); at zero temperature those of the maximisers."""
        self.attention.report = Report()
        positive, negative = self.sources.split(masses)
        result = []
        for head in range(len(self.z)):
            moments = self._head(head, positive)
            if negative is not None and np.isfinite(self.attention.beta):
                moments = moments.add(self._head(head, negative), -1.0)
            result.append(moments)
        return result

    def _head(self, head: int, law: Law) -> Moments:
        evaluate = self._choose(head, law)
        moments = evaluate(self.z[head], law)
        if np.isfinite(self.attention.beta):
            moments.shift += np.log(law.total)
        else:
            moments.den *= law.total
            moments.num *= law.total
        return moments

    def _choose(self, head: int, law: Law) -> Callable[[Array, Law], Moments]:
        del head
        method = self.attention.method
        zero_temperature = np.isinf(self.attention.beta)
        if not zero_temperature and not any(z.any() for z in self.z):
            return self._mean
        if method == "numpy":
            return self._numpy
        return self._dense

    def _mean(self, z: Array, law: Law) -> Moments:
        """beta B = 0: every target attends to the mean."""
        self._tell("mean", len(law))
        n = len(z)
        return Moments(np.tile(law.masses @ law.points, (n, 1)), np.full(n, law.masses.sum()), np.zeros(n))

    def _numpy(self, z: Array, law: Law) -> Moments:
        self._tell("numpy", len(z) * len(law))
        evaluate = reference_hardmax if np.isinf(self.attention.beta) else reference_moments
        return evaluate(z, law.points, law.masses)

    def _dense(self, z: Array, law: Law) -> Moments:
        self._tell("dense", len(z) * len(law))
        workers = self.attention.workers
        if np.isinf(self.attention.beta):
            return dense_hardmax(z, law.packed, self.sources.radius, workers)
        return dense_moments(z, law.packed, self.sources.radius, law.log_range, workers)

    def _tell(self, method: str, pairs: int) -> None:
        report = self.attention.report
        report.method, report.pairs = method, report.pairs + pairs


def sum_heads(fields: list[Array], values: list[Array]) -> Array:
    """sum_h V_h m_h, (n, d)."""
    total: Array | None = None
    for field, value in zip(fields, values, strict=True):
        term = field if np.array_equal(value, np.eye(len(value))) else field @ value.T
        total = term if total is None else total + term
    return total if total is not None else np.zeros((0, 0))
