"""Initial laws on a token space of the user's own (`meshes.own.TokenSpace`)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from meshes.manifold import flat
from meshes.own import TokenSpace
from problems.errors import ProblemError
from problems.laws.mixture import Mixture
from problems.laws.normal import Normal


class NormalOnOwn(Mixture):
    """Normal laws of the ambient space, whose samples are brought onto the space by its retraction; it has no density there."""

    def __init__(self, manifold: TokenSpace, options: Mapping[str, object]):
        super().__init__("normal", Normal, flat(dimension=manifold.dimension), options)
        self.manifold = manifold

    def density(self, points: np.ndarray) -> np.ndarray:
        raise self._refusal("particles.density")

    def log_density(self, points: np.ndarray) -> np.ndarray:
        raise self._refusal("particles.density")

    def quadrature(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        raise self._refusal("particles.sampling")

    def transform(self, u: np.ndarray) -> np.ndarray:
        return self.manifold.retract(super().transform(u))

    def _refusal(self, field: str) -> ProblemError:
        words = 'must be "sobol" or "random": a normal law brought onto a space of your own has samples and no density'
        return ProblemError(field, "quadrature", words)
