"""What an initial law is made of: peaks narrower than the first cells of adaptive tokens must not escape them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from problems import Problem, ProblemError
from problems.laws.base import InitialLaw
from problems.laws.mixture import Mixture

Array = NDArray[np.float64]

# Change of a log density beside its maximum beyond which cells do not resolve it.
NARROW = 2.0
# The least logarithm, for laws that are empty somewhere.
EMPTY = -1e300
# Cells that miss more of the law than this do not resolve it.
MISSED = 1e-2


def summands(law: InitialLaw) -> list[Callable[[Array], Array]]:
    """The log densities, points (n, d) -> (n,), of the components of a mixture, or that of the law itself: a component is found
    by walking up its log density, also where others have far more of the mass."""
    found = [part.log_density for part in law.components] if isinstance(law, Mixture) else [law.log_density]
    return [partial(_bounded, of) for of in found]


def _bounded(log_density: Callable[[Array], Array], points: Array) -> Array:
    return np.maximum(log_density(points), EMPTY)


def check_mass(problem: Problem, total: float) -> None:
    """Refuse a law of which the cells of the start hold `total` instead of 1.

    Raises:
        ProblemError: naming the law.
    """
    if not abs(total - 1.0) < MISSED:
        allowed = (f"is narrower than the first cells of adaptive tokens can see: they hold {total:.4g} of its mass; "
                   'for it particles.sampling must be "quadrature", "sobol" or "random"')
        raise ProblemError("initial.law", problem.initial.name, allowed)
