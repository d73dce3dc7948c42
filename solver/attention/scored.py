"""Attention by a registered score f(Qx, Ky) in the place of <Qx, Ky>: every pair, in NumPy, by parts of the targets.

The slow path of docs/extending.md. Nothing is known of f, so that there is no pruning, no expansion and no divergence.
"""

from __future__ import annotations

import numpy as np

from problems.attention import Head
from problems.registered import Named, OwnFunctionError
from solver.attention.head import Report
from solver.attention.moments import Moments
from solver.attention.reference import TIE, TILE
from solver.attention.settings import Settings
from solver.attention.sources import Law
from solver.errors import RunError

Array = np.ndarray
LN2 = float(np.log(2.0))


class ScoredHead:
    """The moments of attention of one head for fixed targets (n, d) and changing laws; local. In the place of `HeadField`.

    Args:
        score: the registered function; beta: times which it is taken, infinite at zero temperature.
        head: with query and key; targets: (n, d).
    """

    def __init__(self, score: Named, beta: float, head: Head, targets: Array, settings: Settings):
        self.score, self.beta, self.head, self.settings = score, beta, head, settings
        self.queries = targets @ head.query.T

    def moments(self, law: Law, report: Report) -> Moments:
        """Moments at all targets for one law, relative to its total mass; at zero temperature of the sources of largest score.

        Raises:
            RunError: the function fails, its scores are NaN or +infinity, or -infinity for every source of a target.
        """
        n, d = len(self.queries), law.points.shape[1]
        keys, level = law.points @ self.head.key.T, law.log_masses * LN2
        signed = np.column_stack([np.ones(len(law)), law.points])
        num, den, shift = np.empty((n, d)), np.empty(n), np.empty(n)
        report.method, report.pairs = "score", report.pairs + n * len(law)
        rows = max(1, TILE // max(1, len(law)))
        for i in range(0, n, rows):
            part = slice(i, i + rows)
            scores = self._scores(i, self.queries[part], keys)
            if self.settings.hard:
                top = scores.max(axis=1)
                slack = TIE * np.abs(np.where(np.isfinite(scores), scores, 0.0)).max(axis=1)
                weights = np.where(scores >= (top - slack)[:, None], law.masses, 0.0)
            else:
                # Relative to the largest contribution, as in `reference_moments`.
                scores = self.beta * scores + level if self.beta > 0.0 else np.broadcast_to(level, scores.shape)
                top = scores.max(axis=1)
                weights = np.exp(scores - top[:, None])
            sums = weights @ signed
            den[part], num[part], shift[part] = sums[:, 0], sums[:, 1:], top
        return Moments(num, den, shift)

    def _scores(self, first: int, queries: Array, keys: Array) -> Array:
        try:
            scores = self.score.values((len(queries), len(keys)), queries.copy(), keys.copy())
        except OwnFunctionError as error:
            raise RunError(str(error)) from error
        top = scores.max(axis=1)  # NaN if one of them is
        if not np.isfinite(top).all():
            row = int(np.argmin(np.isfinite(top)))
            words = {np.inf: "is infinite", -np.inf: "leaves nothing to attend to"}.get(float(top[row]), "is NaN")
            raise RunError(f'{self.score.field} "{self.score.name}" {words}', place=f"target {first + row}")
        return scores
