"""Initial laws of the user's own: registered from Python, or by an installed package's entry point; files may name them.

    from problems import register_law

    @register_law("two-lobes")
    def two_lobes(points, sharpness=3.0):
        return np.exp(sharpness * points[:, 0] ** 2)

A problem then says `law = "two-lobes"`, with the arguments as further keys of [initial]. A package offers laws to every
command by entry points of the group `coldflow.laws`. Nothing in a problem file is executed: it only names what is installed
or registered.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib.metadata import entry_points

import numpy as np

from meshes.manifold import Manifold
from problems.errors import ProblemError
from problems.laws.base import InitialLaw
from problems.laws.nodes import manifold_nodes

GROUP = "coldflow.laws"
NODES = 20_000  # for the total mass
Density = Callable[..., np.ndarray]
REGISTERED: dict[str, Density] = {}


def register_law(name: str) -> Callable[[Density], Density]:
    """A decorator that makes a density known to problems as `[initial] law = name`, on every rank that runs it.

    The function takes points (n, d) on the space and the other keys of [initial] by name, and returns densities (n,), not
    negative, with respect to length, area or volume; any total, it is normalised. It must give the same on every rank.
    """
    def register(density: Density) -> Density:
        REGISTERED[name] = density
        return density

    return register


def find_law(name: object) -> Density | None:
    """The registered density of that name, looked for among the entry points of installed packages too; None without."""
    if not isinstance(name, str):
        return None
    if name not in REGISTERED:
        for entry in entry_points(group=GROUP, name=name):
            REGISTERED[name] = entry.load()
    return REGISTERED.get(name)


class Registered(InitialLaw):
    """The law whose density a registered function gives, up to its total mass.

    Raises:
        ProblemError: a key the function does not take, or values that are no density.
    """

    def __init__(self, name: str, function: Density, manifold: Manifold, options: Mapping[str, object]):
        super().__init__(manifold, options)
        self.name, self.function = name, function
        if manifold.volume is None:
            raise ProblemError("initial.law", name, "a registered law needs a space of finite volume")
        try:
            inspect.signature(function).bind(None, **self.options)
        except TypeError as error:
            raise ProblemError("initial.law", name, f"does not take these keys: {error}") from None
        if not np.isfinite(self.total) or self.total <= 0.0:
            raise ProblemError("initial.law", name, f"must have a positive, finite total mass, not {self.total:.6g}")

    def values(self, points: np.ndarray) -> np.ndarray:
        """What the function gives at points (n, d), checked: (n,)."""
        found = np.asarray(self.function(np.array(points, float), **self.options), float)
        if found.shape != (len(points),):
            raise ProblemError("initial.law", self.name, f"must return densities {(len(points),)} at points {points.shape}, not "
                               f"{found.shape}")
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
