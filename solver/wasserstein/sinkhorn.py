"""Debiased Sinkhorn divergence, with bounds on the unregularised distance from its potentials and its plan.

    S = OT_eps(a, b) - OT_eps(a, a)/2 - OT_eps(b, b)/2,   OT_eps = min over couplings of <d^p, pi> + eps KL(pi
    | a x b)

(J. Feydy et al., AISTATS 2019), by a falling eps and scalings about potentials kept as logarithms. The
c-transform of the potentials is a dual point, hence a lower bound of W_p^p; the plan rounded to its marginals
an upper bound (J. Altschuler, J. Weed, P. Rigollet, NeurIPS 2017).
"""

import numpy as np

from solver.wasserstein.cells import compress
from solver.wasserstein.measure import Atoms, Distance
from solver.wasserstein.metric import Metric, matrix, power

ATOMS = 2_000
FALL = 0.5
SWEEPS = 100  # at most, per epsilon
TOLERANCE = 1e-4  # relative error of the marginals
RANGE, TINY = 1e100, 1e-300


def sinkhorn(a: Atoms, b: Atoms, p: float, metric: Metric, epsilon: float | None = None) -> Distance:
    """W_p estimated by the p-th root of the debiased Sinkhorn divergence.

    Args:
        epsilon: strength of the entropy, in units of d**p; by default 1e-3 times the largest cost. Stated in
        the method.

    Returns:
        The distance; measures of more than `ATOMS` atoms are compressed first, which widens error and bounds.
        Memory and time grow with the product of the numbers of atoms, whatever the dimension.
    """
    (a, error_a), (b, error_b) = (compress(atoms, ATOMS, p, metric) for atoms in (a, b))
    costs = power(matrix(a.points, b.points, metric), p)
    epsilon = 1e-3 * float(costs.max()) if epsilon is None else float(epsilon)
    if epsilon <= 0.0:
        raise ValueError(f"epsilon is positive, not {epsilon}")
    f, g = _potentials(costs, a.masses, b.masses, epsilon)
    own = [_own_potential(power(matrix(atoms.points, atoms.points, metric), p), atoms.masses, epsilon) for atoms in (a, b)]
    divergence = float(a.masses @ (f - own[0]) + b.masses @ (g - own[1]))
    lower = float(a.masses @ f + b.masses @ np.min(costs - f[:, None], axis=0))
    upper = _rounded_cost(costs, f, g, a.masses, b.masses, epsilon)
    low, value, high = (max(bound, 0.0) ** (1.0 / p) for bound in (lower, divergence, upper))
    value = min(max(value, low), high)
    method = f"debiased Sinkhorn, epsilon = {epsilon:.3g}"
    if error_a + error_b > 0.0:
        method += f", {a.count} and {b.count} representatives"
    return Distance(value, max(high - value, value - low), method, low, high).widened(1.0, error_a + error_b)


def _potentials(costs: np.ndarray, u: np.ndarray, v: np.ndarray, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """Potentials f (n,), g (m,) of OT_eps, the second an exact partner of the first."""
    f, g = np.zeros(len(u)), np.zeros(len(v))
    for eps in _schedule(float(costs.max()), epsilon):
        f = _soft_minimum(costs, g, v, eps)
        g = _soft_minimum(costs.T, f, u, eps)
        kernel = np.exp((f[:, None] + g - costs) / eps)
        left: np.ndarray = np.ones(len(u))
        right: np.ndarray = np.ones(len(v))
        for _ in range(SWEEPS):  # by matrix products about the potentials above, which keep the kernel in range
            left = 1.0 / np.maximum(kernel @ (v * right), TINY)
            right = 1.0 / np.maximum((u * left) @ kernel, TINY)
            if max(left.max(), right.max(), 1.0 / left.min(), 1.0 / right.min()) > RANGE:
                break
            if np.abs(left * (kernel @ (v * right)) - 1.0).max() < TOLERANCE:
                break
        f, g = f + eps * np.log(left), g + eps * np.log(right)
    f = _soft_minimum(costs, g, v, epsilon)
    return f, _soft_minimum(costs.T, f, u, epsilon)


def _own_potential(costs: np.ndarray, u: np.ndarray, epsilon: float) -> np.ndarray:
    """The symmetric potential of OT_eps(a, a), whose value is 2 <u, f>."""
    f = np.zeros(len(u))
    for eps in _schedule(float(costs.max()), epsilon):
        for _ in range(4):
            f = 0.5 * (f + _soft_minimum(costs, f, u, eps))
    return f


def _soft_minimum(costs: np.ndarray, g: np.ndarray, v: np.ndarray, eps: float) -> np.ndarray:
    """-eps log sum_y v(y) exp((g(y) - cost(x, y)) / eps), (n,)."""
    exponent = (g - costs) / eps
    top = exponent.max(axis=1)
    np.subtract(exponent, top[:, None], out=exponent)
    np.exp(exponent, out=exponent)
    return -eps * (top + np.log(exponent @ v))


def _schedule(largest: float, epsilon: float) -> list[float]:
    """Falling strengths of the entropy from the largest cost to epsilon, which is repeated to polish."""
    steps = max(int(np.ceil(np.log(largest / epsilon) / -np.log(FALL))), 0) if largest > 0.0 else 0
    return [epsilon / FALL**k for k in range(steps, 0, -1)] + [epsilon] * 3


def _rounded_cost(
    costs: np.ndarray, f: np.ndarray, g: np.ndarray, u: np.ndarray, v: np.ndarray, epsilon: float
) -> float:
    """The cost of a coupling near the Sinkhorn plan: rows and columns scaled down to fit, the rest as a product."""
    plan = np.exp((f[:, None] + g - costs) / epsilon) * u[:, None] * v
    plan *= np.minimum(1.0, u / np.maximum(plan.sum(axis=1), 1e-300))[:, None]
    plan *= np.minimum(1.0, v / np.maximum(plan.sum(axis=0), 1e-300))
    rest_u, rest_v = np.maximum(u - plan.sum(axis=1), 0.0), np.maximum(v - plan.sum(axis=0), 0.0)
    left = rest_u.sum()
    return float(np.sum(plan * costs)) + (float(rest_u @ costs @ rest_v) / left if left > 0.0 else 0.0)
