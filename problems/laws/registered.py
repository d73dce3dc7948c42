"""Initial laws of the user's own, whose density a registered function gives (see `problems.registered`)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from meshes.manifold import Manifold
from problems.errors import ProblemError
from problems.laws.base import InitialLaw
from problems.laws.nodes import manifold_nodes
from problems.registered import Function, Named, OwnFunctionError

NODES = 20_000  # for the total mass


class Registered(InitialLaw):
    """The law whose density a registered function gives, up to its total mass.

    Raises:
        ProblemError: a key the function does not take, or values that are no density.
    """

    def __init__(self, name: str, function: Function, manifold: Manifold, options: Mapping[str, object]):
        super().__init__(manifold, options)
        self.name, self.function = name, Named("initial.law", name, self.options, function)
        if manifold.volume is None:
            raise ProblemError("initial.law", name, "a registered law needs a space of finite volume")
        nodes, _ = manifold_nodes(manifold, 4)
        self.function.try_out((len(nodes),), nodes)
        if not np.isfinite(self.total) or self.total <= 0.0:
            raise ProblemError("initial.law", name, f"must have a positive, finite total mass, not {self.total:.6g}")

    def values(self, points: np.ndarray) -> np.ndarray:
        """What the function gives at points (n, d), checked: (n,)."""
        try:
            found = self.function.values((len(points),), np.array(points, float))
        except OwnFunctionError as error:
            raise ProblemError("initial.law", self.name, f"cannot be used: {error}") from None
        wrong = ~(found >= 0.0)
        if wrong.any():
            at = ", ".join(f"{c:.6g}" for c in points[int(np.argmax(wrong))])
            raise ProblemError("initial.law", self.name, f"must not be negative or NaN, as at ({at})")
        return found

    @cached_property
    def total(self) -> float:
        """Integral of what the function gives."""
        nodes, volumes = manifold_nodes(self.manifold, NODES)
        return float(volumes @ self.values(nodes))

    def density(self, points: np.ndarray) -> np.ndarray:
        return self.values(points) / self.total

    def sample(self, n: int, seed: int) -> np.ndarray:
        raise self._no_samples()

    def sobol(self, n: int, seed: int) -> np.ndarray:
        raise self._no_samples()

    def _no_samples(self) -> ProblemError:
        return ProblemError("particles.sampling", "random or sobol",
                            f'must be "quadrature": only the density of "{self.name}" is known')
