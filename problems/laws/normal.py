"""Normal laws in flat space: exact in R^d, restricted to the box and scaled to mass one between walls."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri

from meshes.manifold import Flat, Manifold
from problems.checks import MATRIX, VECTOR, Check, is_number, matrix, number, vector
from problems.errors import MISSING, Mistakes, ProblemError
from problems.fields import Field
from problems.laws.mixture import Component, positive_definite
from problems.laws.nodes import hermite_nodes
from problems.laws.transforms import InverseDistribution

# A box that holds less of the law than this is refused.
LEAST_MASS = 1e-6
# No double-precision normal number lies further out, in deviations.
FARTHEST = 38.0


class Normal(Component):
    """The normal law. Keys: `mean` (d,), `covariance` (d, d), or a number times the identity.

    In a box of three or more dimensions the covariance must be diagonal.
    """

    fields = (
        Field("mean", Check(lambda field, value: value, {"anyOf": [VECTOR, {"type": "number"}]}), "a vector", MISSING),
        Field("covariance", Check(lambda field, value: value, {"anyOf": [MATRIX, {"type": "number", "exclusiveMinimum": 0}]}),
              "a symmetric positive definite matrix, or a number times the identity", MISSING))

    def __init__(self, manifold: Manifold, prefix: str, values: Mapping[str, object]):
        self.d = d = manifold.dimension
        self.uniforms = d
        mean, wrong = values.get("mean", MISSING), Mistakes()
        centre = wrong.check(vector, f"{prefix}.mean", [mean] if d == 1 and is_number(mean) else mean, d)
        field, given = f"{prefix}.covariance", values.get("covariance", MISSING)
        covariance = wrong.check(_covariance, field, given, d)
        factor = wrong.check(positive_definite, field, covariance, given) if covariance is not None else None
        wrong.stop()
        self.mean, self.factor = centre, factor
        self.width = float(np.diag(self.factor).min())
        self.log_norm = 0.5 * d * math.log(2.0 * math.pi) + float(np.log(np.diag(self.factor)).sum())
        self.bounds = np.array(manifold.bounds) if isinstance(manifold, Flat) and manifold.bounds else np.zeros((0, 2))
        self.first: InverseDistribution | None = None
        self.diagonal = bool(np.all(covariance == np.diag(np.diag(covariance))))
        if len(self.bounds):
            self._restrict(field, given, prefix)

    def _restrict(self, field: str, given: object, prefix: str) -> None:
        """Scale the law to mass one inside the box."""
        if self.d > 2 and not self.diagonal:
            raise ProblemError(field, given, "must be diagonal in a box of more than two dimensions")
        if self.diagonal:
            low, high = self._walls(np.diag(self.factor))
            mass = math.exp(float(np.sum(_log_mass(low, high))))
        else:
            low, high = self._walls(np.diag(self.factor))
            self.first = self._first_coordinate(low[0], high[0])
            mass = math.exp(self.first.log_normaliser) / math.sqrt(2.0 * math.pi) if self.first else 0.0
        if not mass > LEAST_MASS:
            allowed = f"must be a point near the box: only {mass:.3g} of the law lies inside space.bounds"
            raise ProblemError(f"{prefix}.mean", self.mean.tolist(), allowed)
        self.log_norm += math.log(mass)

    def _walls(self, deviations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper walls (d,), relative to the mean, in `deviations` (d,)."""
        low, high = ((self.bounds - self.mean[:, None]) / deviations[:, None]).T
        return low, high

    def _second_walls(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Walls (n,) of the second coordinate given the first one z (n,), each in its own deviations."""
        low, high = (self.bounds[1] - self.mean[1]).tolist()
        drift = self.factor[1, 0] * z
        return (low - drift) / self.factor[1, 1], (high - drift) / self.factor[1, 1]

    def _first_coordinate(self, low: float, high: float) -> InverseDistribution | None:
        """The first of two coordinates, weighted by the mass that the second has between its walls."""
        low, high = max(low, -FARTHEST), min(high, FARTHEST)
        if low >= high:
            return None
        steep = min(1.0, abs(self.factor[1, 1] / self.factor[1, 0]))
        return InverseDistribution(self._log_first, low, high, width=steep)

    def _log_first(self, z: np.ndarray) -> np.ndarray:
        """log density (n,) of the first coordinate at z (n,) deviations, up to a constant."""
        return -0.5 * z**2 + _log_mass(*self._second_walls(z))

    def log_density(self, points: np.ndarray) -> np.ndarray:
        white = np.linalg.solve(self.factor, (points - self.mean).T)
        result = -0.5 * np.sum(white**2, axis=0) - self.log_norm
        if len(self.bounds) == 0:
            return result
        # Quadrature points of a mesh may miss the wall by rounding.
        slack = 1e-9 * (self.bounds[:, 1] - self.bounds[:, 0])
        inside = np.all((points >= self.bounds[:, 0] - slack) & (points <= self.bounds[:, 1] + slack), axis=1)
        return np.where(inside, result, -np.inf)

    def transform(self, u: np.ndarray) -> np.ndarray:
        if len(self.bounds) == 0:
            return self.mean + ndtri(u) @ self.factor.T
        if self.first is None:
            z = _truncated(u, *self._walls(np.diag(self.factor)))
        else:
            first = self.first.quantile(u[:, 0])
            z = np.column_stack([first, _truncated(u[:, 1], *self._second_walls(first))])
        return np.clip(self.mean + z @ self.factor.T, self.bounds[:, 0], self.bounds[:, 1])

    def quadrature(self, n: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Gauss-Hermite in R^d; in a box the nodes of the box."""
        if len(self.bounds):
            return None
        if self.d > 5:
            allowed = f'there is no quadrature rule in {self.d} dimensions; must be "sobol" or "random"'
            raise ProblemError("particles.sampling", "quadrature", allowed)
        nodes, masses = hermite_nodes(self.d, n)
        return self.mean + nodes @ self.factor.T, masses


def _covariance(field: str, given: object, d: int) -> np.ndarray:
    return number(0.0, open_low=True)(field, given) * np.eye(d) if is_number(given) else matrix(field, given, d, d)


def _log_mass(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """log of the standard normal mass of [low, high], without cancellation in either tail."""
    low, high = np.where(low > 0.0, -high, low), np.where(low > 0.0, -low, high)
    top, bottom = log_ndtr(high), log_ndtr(low)
    return top + np.log1p(-np.exp(np.minimum(bottom - top, -1e-300)))


def _truncated(u: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Quantiles of the standard normal law restricted to [low, high], computed in the lower tail."""
    flip = low > 0.0
    a, b = ndtr(np.where(flip, -high, low)), ndtr(np.where(flip, -low, high))
    share = np.where(flip, 1.0 - u, u)
    return np.where(flip, -1.0, 1.0) * ndtri(a + share * (b - a))
