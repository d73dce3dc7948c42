"""Transport between measures of many atoms where no ordering helps: by size, dense or multiscale network simplex.

Measures too large for either are compressed onto representatives, whose distance from the measure is known
and widens the bounds.
"""

import warnings
from collections.abc import Callable

import numpy as np

from solver.compiled import CompilerError
from solver.wasserstein.bounds import coupling_bound, projection_bound
from solver.wasserstein.cells import compress
from solver.wasserstein.measure import Atoms, Distance
from solver.wasserstein.metric import Metric, matrix, power, root_error
from solver.wasserstein.multiscale import solve

DENSE_PAIRS = 250_000  # up to this many pairs by POT's network simplex, exact to round-off
DENSE_ATOMS = 2_000  # per measure, for POT's network simplex where there is no compiler for the multiscale one
ATOMS = 100_000  # per measure, multiscale
GAP, EXACT_GAP = 1e-4, 1e-10  # relative duality gap in W_p**p to end at, for many atoms and for
EXACT_ATOMS = 10_000  # up to this many in both measures together
WORK = 1_500_000_000  # visits of a node, about 15 s

Method = Callable[[Atoms, Atoms, float, Metric], Distance]


def network_simplex(a: Atoms, b: Atoms, p: float, metric: Metric) -> Distance:
    """Exact W_p by POT's network simplex on all pairs, the dual value of its potentials as the lower bound."""
    return from_lengths(a, b, p, matrix(a.points, b.points, metric))


def from_lengths(a: Atoms, b: Atoms, p: float, lengths: np.ndarray) -> Distance:
    """`network_simplex` for given distances (n, m) between the atoms."""
    import ot

    costs = power(lengths, p)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its complaints are about masses off by round-off, or show as a gap
        # POT compares costs with absolute thresholds: its unit of cost is the largest one.
        unit = float(costs.max()) or 1.0
        plan, log = ot.emd(a.masses, b.masses, costs / unit, numItermax=10_000_000, log=True)
    primal, u = float(np.sum(plan * costs)), log["u"] * unit
    dual = float(a.masses @ u + b.masses @ np.min(costs - u[:, None], axis=0))
    value, lower = primal ** (1.0 / p), max(dual, 0.0) ** (1.0 / p)
    round_off = root_error(np.finfo(float).eps * costs.max() * np.sqrt(a.count + b.count), value, p)
    error = root_error(max(primal - dual, 0.0), value, p) + round_off
    return Distance(value, error, "exact, network simplex", max(min(lower, value) - round_off, 0.0), value + round_off)


def multiscale(
    a: Atoms, b: Atoms, p: float, metric: Metric, gap: float | None = None, work: int = WORK
) -> Distance:
    """W_p by the multiscale network simplex to a relative duality gap, or to what the work allows.

    Up to `EXACT_ATOMS` atoms in all the gap is closed. The value is that of the plan, or, where the work ran
    out, the middle of the bounds.
    """
    if gap is None:
        gap = EXACT_GAP if a.count + b.count <= EXACT_ATOMS else GAP
    plan, _, _ = solve(a, b, p, metric, gap, work)
    value, lower = plan.primal ** (1.0 / p), max(plan.dual, 0.0) ** (1.0 / p)
    reach = float(plan.g.max() - plan.g.min()) + plan.primal
    round_off = root_error(np.finfo(float).eps * reach * np.sqrt(a.count + b.count), value, p)
    low, high = max(lower - round_off, 0.0), value + round_off
    if plan.primal - plan.dual <= max(gap * plan.primal, np.finfo(float).eps * reach * (a.count + b.count)):
        return Distance(value, value - lower + round_off, "multiscale network simplex", low, high)
    low, high = max(low, projection_bound(a, b, p, metric)), min(high, coupling_bound(a, b, p, metric))
    return Distance(0.5 * (low + high), 0.5 * (high - low), "multiscale network simplex, stopped early", low, high)


def wasserstein_general(a: Atoms, b: Atoms, p: float, metric: Metric) -> Distance:
    """W_p between probability measures of many atoms, by the method for their size."""
    if a.count * b.count <= DENSE_PAIRS:
        return network_simplex(a, b, p, metric)
    try:
        return compressed(a, b, p, metric, ATOMS, multiscale)
    except CompilerError:
        return compressed(a, b, p, metric, DENSE_ATOMS, network_simplex)


def compressed(a: Atoms, b: Atoms, p: float, metric: Metric, limit: int, method: Method) -> Distance:
    """A method for at most `limit` atoms on representatives, its bounds widened, and narrowed again by simple ones."""
    (small_a, error_a), (small_b, error_b) = (compress(atoms, limit, p, metric) for atoms in (a, b))
    found = method(small_a, small_b, p, metric)
    if error_a + error_b == 0.0:
        return found
    lower = max(found.lower - error_a - error_b, projection_bound(a, b, p, metric))
    upper = min(found.upper + error_a + error_b, coupling_bound(a, b, p, metric))
    value = min(max(found.value, lower), upper)
    error = min(found.error + error_a + error_b, max(value - lower, upper - value))
    return Distance(value, error, f"{found.method}, {small_a.count} and {small_b.count} representatives", lower, upper)
