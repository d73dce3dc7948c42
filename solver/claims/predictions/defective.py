"""A defective leading eigenvalue: the distance to the target in closed form, and its exponent over a stretch of depth.

With A = V B^T = [[a, b], [0, a]] and B = I a token at angle u starts from (cos u, sin u) and is at depth t in the direction of
(cos u + b t sin u, sin u). Its arc to the target +-e_1 is of order 1/(b t), and what starts within 1/(b t) of -e_1 or e_1 has not
turned yet, so that W_1 = (C + (D log t + F)/t + ..)/t: over any stretch the exponent differs from its limit -1 by O(log t/t).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import vonmises

from problems import ProblemError
from problems.laws.mixture import Mixture
from problems.laws.spherical import VonMisesFisher
from solver.claims.case import Array, Case, Value

NODES = 6000
# Nodes gather like this power towards e_1 and -e_1, where the distribution function at depth t changes within 1/t.
POWER = 4


def block_strength(case: Case) -> float:
    """The strength b of the Jordan block.

    Raises:
        ProblemError: weights or a start for which this is not derived.
    """
    a = case.V
    block = case.dimension == 2 and np.allclose(case.B, np.eye(2)) and a[1, 0] == 0 and a[0, 0] == a[1, 1] and a[0, 1] > 0
    law = case.problem.initial
    single = isinstance(law, Mixture) and law.name == "von-mises-fisher" and len(law.components) == 1
    if not (block and single):
        raise ProblemError("attention.value", a.tolist(), "must be [[a, b], [0, a]] with b > 0 here, with Q^T K = I and a start "
                           "of one von Mises-Fisher law")
    return float(a[0, 1])


def _distribution(case: Case, nodes: int) -> tuple[Array, Array, float]:
    """Nodes on (0, pi), that many, their weights, and `block_strength`."""
    b = block_strength(case)
    u = (np.arange(nodes) + 0.5) / nodes
    bump = u**POWER / (u**POWER + (1 - u) ** POWER)
    slope = POWER * (u * (1 - u)) ** (POWER - 1) / (u**POWER + (1 - u) ** POWER) ** 2
    return np.pi * bump, np.pi * slope / nodes, b


def jordan_distance(case: Case) -> Value:
    """W_1 to the target at every output: min over c of int |F_t - G - c| along the circle, F_t the distribution function of the
    law, which is F_0 traced back along the flow, and G that of the target. The error is that of half the nodes."""
    fine, coarse = _distances(case, NODES), _distances(case, NODES // 2)
    return Value(fine, np.abs(fine - coarse))


def _distances(case: Case, nodes: int) -> Array:
    places, weights, b = _distribution(case, nodes)
    component = case.component(VonMisesFisher)
    mean, kappa = component.mean, component.kappa
    middle = float(np.arctan2(mean[1], mean[0]))

    def below(angle: Array) -> Array:
        """Mass of the start between angle 0 and `angle` in [0, 2 pi]."""
        return vonmises.cdf(angle - middle, kappa) - vonmises.cdf(-middle, kappa)

    upper = float(below(np.array(np.pi)))
    found = []
    for t in case.times:
        # The angle at depth 0 of what is at `places` on the upper half; the lower half is the same turned by pi.
        back = np.arctan2(np.sin(places), np.cos(places) - b * t * np.sin(places))
        # The target has mass `upper` at angle 0, counted from just after it, and the rest at pi.
        gaps = np.concatenate([below(back) - upper, below(back + np.pi) - 1.0])
        both = np.concatenate([weights, weights])
        low, high = float(gaps.min()), float(gaps.max())
        c = minimize_scalar(lambda c, g=gaps, w=both: float(w @ np.abs(g - c)), bounds=(low, high), method="bounded",
                            options={"xatol": 1e-12})
        found.append(float(c.fun))
    return np.array(found)


def jordan_exponent(case: Case, start: float) -> float:
    """Exponent of W_1 in t of a power law through the values of `jordan_distance` at the outputs from `start` on."""
    kept = (case.times >= start) & (case.times > 0)
    return float(np.polyfit(np.log(case.times[kept]), np.log(np.asarray(jordan_distance(case).value)[kept]), 1)[0])


def leading_dimension(case: Case) -> int:
    """k: number of eigenvalues of A = V B^T that share the largest real part, counted with multiplicity."""
    values = np.linalg.eigvals(case.V @ case.B.T).real
    return int(np.sum(values > values.max() - 1e-9))


TABLE = (jordan_distance, jordan_exponent, leading_dimension)
