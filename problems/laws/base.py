"""What every initial law offers: density, exact samples, Sobol points and quadrature nodes."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from meshes.manifold import Manifold
from problems.errors import ProblemError
from problems.laws.nodes import manifold_nodes

# A quadrature rule whose raw total misses 1 by more than this does not resolve the law.
UNRESOLVED = 1e-2


class InitialLaw:
    """A probability measure on a manifold, the law mu_0 of the tokens at depth 0.

    All methods are local and give the same answer on every rank. Points are (n, d).

    Attributes:
        name: the `law` of the problem file.
        manifold: where it lives.
        options: its TOML table without `law`, as given and checked.
        is_atomic: a sum of point masses, which has no `density`; a density run bins `atoms()` into cells.
        width: the shortest length on which the density varies, as far as that can be said; infinite for the uniform law.
    """

    name: str = ""
    is_atomic = False

    def __init__(self, manifold: Manifold, options: Mapping[str, object]):
        self.manifold = manifold
        self.options = dict(options)

    @property
    def width(self) -> float:
        return math.inf

    def density(self, points: np.ndarray) -> np.ndarray:
        """Density (n,) at points (n, d) with respect to length, area or volume; integrates to one."""
        raise NotImplementedError

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """Natural logarithm (n,) of the density at points (n, d); -inf where there is none."""
        with np.errstate(divide="ignore"):
            return np.log(self.density(points))

    def sample(self, n: int, seed: int) -> np.ndarray:
        """n independent samples (n, d), exactly distributed; equal seeds give equal samples."""
        return self.transform(_open(np.random.default_rng(seed).random((n, self.uniforms))))

    def sobol(self, n: int, seed: int) -> np.ndarray:
        """The first n points (n, d) of a scrambled Sobol sequence, each exactly distributed by this law."""
        return self.transform(sobol_points(n, self.uniforms, seed))

    def quadrature(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """About n nodes (m, d) and masses (m,) that sum to one; spectrally accurate (docs/theory.md §7)."""
        nodes, volumes = manifold_nodes(self.manifold, n)
        masses = volumes * self.density(nodes)
        total = masses.sum()
        if not abs(total - 1.0) < UNRESOLVED:
            allowed = (
                f"{len(nodes)} quadrature nodes do not resolve the initial law (its mass comes out as {total:.4g}); "
                'must be larger, or take sampling = "sobol" or "random"'
            )
            raise ProblemError("particles.count", n, allowed)
        return nodes, masses / total

    @property
    def uniforms(self) -> int:
        """How many independent uniform numbers make one sample."""
        raise NotImplementedError

    def transform(self, u: np.ndarray) -> np.ndarray:
        """Samples (n, d) from independent uniform numbers u (n, uniforms) in the open interval (0, 1)."""
        raise NotImplementedError

    def words(self) -> str:
        """The law in words, for the terminal."""
        return self.name


def sobol_points(n: int, dimension: int, seed: int) -> np.ndarray:
    """The first n points (n, dimension) of a scrambled Sobol sequence, in the open unit cube."""
    from scipy.stats import qmc  # here, because the import takes a third of a second

    engine = qmc.Sobol(dimension, scramble=True, bits=53, seed=np.random.default_rng(seed))
    # Drawn in a full power of two, the only lengths at which the sequence is balanced (and scipy does not warn).
    return _open(engine.random_base2(max(n - 1, 0).bit_length())[:n])


def _open(u: np.ndarray) -> np.ndarray:
    """u in [0, 1) moved off 0, whose image may be infinite."""
    return np.maximum(u, 2.0**-54)
