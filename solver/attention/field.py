"""Attention as a map from laws to vector fields."""

from __future__ import annotations

import functools
import os

import numpy as np

from problems.attention import Weights, spectral_norm
from solver.attention.head import HeadField, Report
from solver.attention.kernels import library, turn
from solver.attention.moments import Moments
from solver.attention.scored import ScoredHead
from solver.attention.settings import METHODS, Settings
from solver.attention.sources import Law, Sources
from solver.compiled import threads
from solver.errors import RunError

Array = np.ndarray
NOTHING = 1e-13  # relative to |B| max|y|: a B^T x of this size is rounding


class Attention:
    """Attention with given weights: m_h(x) = int e^{beta <x,B_h y>} y dmu / int e^{beta <x,B_h y>} dmu (docs/theory.md §1).

    Args:
        weights: `problems.attention.Weights`, or anything with beta (0 to infinity), heads (each with score = Q^T K
            and value, (d, d)) and normalization ("softmax" or "none"). With `own_score`, a registered function, every pair is
            evaluated by it in NumPy, whatever the method.
        accuracy: largest absolute error of m on the unit sphere (relative to the size of the support elsewhere).
        method: "auto" chooses the fastest that reaches `accuracy`; "dense" sums every pair in compiled code, to
            round-off; "numpy" does so in NumPy; "pruned", "relayed" (sphere), "gathered", "fourier" (circle),
            "harmonics" (sphere), "nufft" (sphere, B invertible) force a fast one.
            `$COLDFLOW_ATTENTION` replaces "auto", to compare whole runs.
        workers: threads of a kernel; None: see `solver.compiled.threads`.

    Attributes:
        report: how the latest evaluation was done.
    """

    def __init__(self, weights: Weights, accuracy: float = 1e-10, method: str = "auto", workers: int | None = None):
        self.weights, self.accuracy = weights, float(accuracy)
        if method == "auto":
            method = os.environ.get("COLDFLOW_ATTENTION", method)
        if method not in METHODS:
            raise ValueError(f"method is {method!r}, not one of {', '.join(METHODS)}")
        self.method = "numpy" if library() is None else method
        self.beta = float(weights.beta)
        if not self.beta >= 0.0:
            raise ValueError(f"beta is {self.beta}, not a number from 0 to infinity")
        if not self.accuracy > 0.0:
            raise ValueError(f"accuracy is {self.accuracy}, not a positive number")
        self.scores = [np.ascontiguousarray(head.score, dtype=float) for head in weights.heads]
        self.values = [None if np.array_equal(head.value, np.eye(len(head.value))) else np.asarray(head.value, dtype=float)
                       for head in weights.heads]
        self._workers = workers
        self.own_score = getattr(weights, "own_score", None)
        self.report = Report()

    @property
    def workers(self) -> int:
        """Threads of a kernel now."""
        return self._workers or threads()

    def field(self, targets: Array, sources: Array, masses: Array, crowd: Array | None = None) -> tuple[Array, float]:
        """The field sum_h V_h m_h(x), not projected on the tangent: `(values, log_scale)`.

        Args:
            targets: (n, d), local to the rank. sources: (m, d) and masses: (m,), the whole law (`gather_sources`);
                masses of zero cost nothing, negative ones are allowed as long as the law stays positive where it
                is attended to.
            crowd: (N, d) targets of all ranks, for which the method is then chosen, so that it is the same on every rank
                and on any number of ranks; None: chosen for these targets.

        Returns:
            values (n, d) and log_scale: the field is values * exp(log_scale). For "softmax" log_scale is 0; for
            "none" (USA) it is the largest log partition function of these targets, so that nothing overflows.

        Raises:
            RunError: a coordinate or mass is not finite, or there is no mass.
        """
        return self.bind(targets, sources, crowd).field(masses)

    def log_partition(self, targets: Array, sources: Array, masses: Array) -> Array:
        """(heads, n): log int e^{beta <x,B_h y>} dmu(y); at beta = infinity the largest <x,B_h y>. See `field`."""
        return self.bind(targets, sources).log_partition(masses)

    def full_support_field(self, targets: Array) -> Array:
        """(n, d): the field at zero temperature if mu charges the whole unit sphere: sum_h V_h B_h^T x/|B_h^T x|.

        Zero where B_h^T x = 0, the mean of the sphere (docs/theory.md §1.4).
        """
        result = np.zeros(np.shape(targets))
        for score, value in zip(self.scores, self.values, strict=True):
            z = targets @ score
            norm = np.linalg.norm(z, axis=1, keepdims=True)
            mean = np.divide(z, norm, out=np.zeros_like(z), where=norm > 0.0)
            result += mean if value is None else mean @ value.T
        return result

    def bind(self, targets: Array, sources: Array, crowd: Array | None = None) -> BoundAttention:
        """Attention between fixed points, for laws whose masses change: what depends on points is kept. See `field`."""
        return BoundAttention(self, targets, Sources(sources), crowd)


class BoundAttention:
    """Attention of fixed targets (n, d) to laws on fixed points; made by `Attention.bind`."""

    def __init__(self, attention: Attention, targets: Array, sources: Sources, crowd: Array | None = None):
        self.attention, self.sources = attention, sources
        targets = np.ascontiguousarray(targets, dtype=float)
        d = sources.points.shape[1]
        if targets.ndim != 2 or targets.shape[1] != d:
            raise ValueError(f"targets have shape {targets.shape}, not (n, {d})")
        factor = 1.0 if np.isinf(attention.beta) else attention.beta
        settings = Settings(attention.accuracy, attention.method, attention.workers, bool(np.isinf(attention.beta)))
        self.heads: list[HeadField | ScoredHead] = []
        if attention.own_score is not None:
            self.heads += [ScoredHead(attention.own_score, attention.beta, head, targets, settings)
                           for head in attention.weights.heads]
            return
        for score in attention.scores:
            # z = beta B^T x, one row per target: beta <Qx,Ky> = <z,y>.
            scaled = factor * score
            z = turn(targets, scaled)
            if settings.hard:  # where B^T x is rounding its direction is too: such a target has no favourite
                z[np.linalg.norm(z, axis=1) <= NOTHING * spectral_norm(score) * self.sources.radius] = 0.0
            if not np.isfinite(z.sum()) and not np.isfinite(z).all():
                place = f"target {int(np.argmin(np.isfinite(z).all(axis=1)))}"
                raise RunError("a target of attention is not finite", place=place)
            # As many points need not be the same ones: on a curve one rank has as many nodes as there are sources.
            everyone = None if crowd is None or np.array_equal(crowd, targets) else turn(crowd, scaled)
            self.heads.append(HeadField(z, scaled, sources, settings, everyone))

    def field(self, masses: Array) -> tuple[Array, float]:
        """`(values (n, d), log_scale)` for these masses (m,); see `Attention.field`."""
        return combine(self.moments(masses), self.attention)

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
        for head in self.heads:
            moments = self._scaled(head, positive)
            if negative is not None and not head.settings.hard:
                moments = moments.add(self._scaled(head, negative), -1.0)
            result.append(moments)
        return result

    def _scaled(self, head: HeadField | ScoredHead, law: Law) -> Moments:
        """Moments of the law itself, from those relative to its mass."""
        moments = head.moments(law, self.attention.report)
        if head.settings.hard:
            moments.den *= law.total
            moments.num *= law.total
        else:
            moments.shift += np.log(law.total)
        return moments


def combine(moments: list[Moments], attention: Attention) -> tuple[Array, float]:
    """sum_h V_h m_h or, for "none", sum_h V_h int e^{beta <x,B_h y>} y dmu: `(values (n, d), log_scale)`."""
    if attention.weights.normalization == "softmax":
        return sum_heads([moment.means() for moment in moments], attention.values), 0.0
    if np.isinf(attention.beta):
        raise ValueError('normalization = "none" needs a finite beta')
    top = max(float(np.max(moment.log(), initial=-np.inf)) for moment in moments)
    log_scale = top if np.isfinite(top) else 0.0
    scaled = [moment.num * np.exp(moment.shift - log_scale)[:, None] for moment in moments]
    return sum_heads(scaled, attention.values), log_scale


def sum_heads(fields: list[Array], values: list[Array | None]) -> Array:
    """sum_h V_h m_h, (n, d); None stands for an identity V_h."""
    terms = [field if value is None else turn(field, value.T) for field, value in zip(fields, values, strict=True)]
    return functools.reduce(np.add, terms)
