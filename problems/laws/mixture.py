"""Weighted sums of laws of one kind: [[initial.components]], each with a `weight` and its own parameters."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from scipy.special import logsumexp

from meshes.manifold import Manifold
from problems.checks import MATRIX, VECTOR, Check, number, refuse_unknown, tables, vector
from problems.errors import MISSING, Mistakes, ProblemError
from problems.fields import Field, object_schema
from problems.laws.base import InitialLaw


class Component(ABC):
    """One summand: a probability law with parameters from its table.

    Attributes:
        fields: the keys of its table, besides `weight`.
        uniforms: how many uniform numbers one sample takes.
        width: the shortest length on which its density varies, as far as that can be said.
    """

    fields: ClassVar[tuple[Field[object], ...]] = ()
    uniforms: int
    width: float = math.inf

    @abstractmethod
    def __init__(self, manifold: Manifold, prefix: str, values: Mapping[str, object]): ...

    @abstractmethod
    def log_density(self, points: np.ndarray) -> np.ndarray:
        """log of the density (n,) at points (n, d) with respect to length, area or volume."""

    @abstractmethod
    def transform(self, u: np.ndarray) -> np.ndarray:
        """Samples (n, d) from uniform numbers (n, uniforms)."""

    def quadrature(self, n: int) -> tuple[np.ndarray, np.ndarray] | None:
        """About n nodes (m, d) and masses (m,) of a rule of its own; None: take the manifold's."""
        return None


MOST_COMPONENTS = 1000
# Deviations further apart than this cannot be told from a singular covariance.
LEAST_RATIO = 1e-7
WEIGHT = Field("weight", number(0.0, open_low=True), "share of the component; shares are scaled to sum to one", 1.0)
DIRECTION = Check(lambda field, value: value, {"anyOf": [VECTOR, {"type": "number"}]})
SQUARE = Check(lambda field, value: value, MATRIX)


def components_field(kind: type[Component]) -> Field[object]:
    """The key `components` of a mixture of one kind."""
    schema = {"type": "array", "minItems": 1, "maxItems": MOST_COMPONENTS, "items": object_schema((WEIGHT, *kind.fields))}
    return Field("components", Check(lambda field, value: value, schema), "one table for each component", MISSING)


class Mixture(InitialLaw):
    """The law sum_i w_i f_i, weights scaled to sum to one, of components all of one kind."""

    def __init__(self, name: str, kind: type[Component], manifold: Manifold, options: Mapping[str, object]):
        super().__init__(manifold, options)
        self.name = name
        wrong, components, weights = Mistakes(), [], []
        for i, entry in enumerate(tables("initial.components", options.get("components", MISSING), MOST_COMPONENTS)):
            prefix = f"initial.components[{i}]"
            wrong.check(refuse_unknown, prefix, entry, ("weight", *(field.key for field in kind.fields)))
            weights.append(wrong.check(WEIGHT.check, f"{prefix}.weight", entry.get("weight", WEIGHT.default)))
            components.append(wrong.check(kind, manifold, prefix, entry))
        wrong.stop()
        self.components: list[Component] = components
        self.weights = np.array(weights) / np.sum(weights)

    @property
    def width(self) -> float:
        return min(component.width for component in self.components)

    def density(self, points: np.ndarray) -> np.ndarray:
        return np.exp(self.log_density(points))

    def log_density(self, points: np.ndarray) -> np.ndarray:
        points = np.asarray(points, dtype=float)
        logs = np.stack([component.log_density(points) for component in self.components])
        return logsumexp(logs, axis=0, b=self.weights[:, None])

    @property
    def uniforms(self) -> int:
        # A further number chooses the component.
        return max(component.uniforms for component in self.components) + (len(self.components) > 1)

    def transform(self, u: np.ndarray) -> np.ndarray:
        if len(self.components) == 1:
            return self.components[0].transform(u)
        edges = np.cumsum(self.weights)
        chosen = np.minimum(np.searchsorted(edges, u[:, 0], side="right"), len(edges) - 1)
        points = np.empty((len(u), self.manifold.dimension))
        for i, component in enumerate(self.components):
            points[chosen == i] = component.transform(u[chosen == i, 1 : 1 + component.uniforms])
        return points

    def quadrature(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        share = [max(1, round(n * weight)) for weight in self.weights]
        rules = [component.quadrature(m) for component, m in zip(self.components, share, strict=True)]
        if any(rule is None for rule in rules):
            return super().quadrature(n)
        points = np.concatenate([rule[0] for rule in rules if rule])
        masses = np.concatenate([w * rule[1] for w, rule in zip(self.weights, rules, strict=True) if rule])
        return points, masses / masses.sum()

    def words(self) -> str:
        count = len(self.components)
        return self.name if count == 1 else f"{count} x {self.name}"


def direction(prefix: str, key: str, value: object, manifold: Manifold) -> np.ndarray:
    """A unit vector (d,) from any vector but zero; on the circle also from an angle in radians."""
    field = f"{prefix}.{key}"
    if manifold.dimension == 2 and isinstance(value, (int, float)) and not isinstance(value, bool):
        angle = number()(field, value)
        return np.array([np.cos(angle), np.sin(angle)])
    mean = vector(field, value, manifold.dimension)
    if not np.linalg.norm(mean) > 0.0:
        raise ProblemError(field, value, "must be a vector other than zero")
    # Scaled first, so that neither tiny nor huge entries spoil the norm.
    mean = mean / np.abs(mean).max()
    return mean / np.linalg.norm(mean)


def positive_definite(field: str, value: np.ndarray, given: object) -> np.ndarray:
    """The lower Cholesky factor (d, d) of a symmetric positive definite matrix."""
    allowed = "must be symmetric positive definite"
    if not np.allclose(value, value.T, rtol=1e-12, atol=1e-14 * np.abs(value).max()):
        raise ProblemError(field, given, allowed + ", it is not symmetric")
    try:
        factor = np.linalg.cholesky(value)
    except np.linalg.LinAlgError:
        smallest = np.linalg.eigvalsh(value).min()
        raise ProblemError(field, given, f"{allowed}, its smallest eigenvalue is {smallest:.6g}") from None
    deviations = np.diag(factor)
    if not deviations.min() > LEAST_RATIO * deviations.max():
        raise ProblemError(field, given, f"{allowed}, its eigenvalues are more than {LEAST_RATIO**-2:.0e} apart")
    return factor
