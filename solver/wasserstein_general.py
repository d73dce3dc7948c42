"""Transport between two measures of many atoms where no ordering helps: network simplex."""

import warnings

import numpy as np

from .wasserstein_metric import Metric, matrix, power, root_error

PAIRS_LIMIT = 4_000_000


def wasserstein_general(
    x: np.ndarray, u: np.ndarray, y: np.ndarray, v: np.ndarray, p: float, ground: Metric
) -> tuple[float, float, str, float, float]:
    """W_p between probability measures (n, d), (n,) and (m, d), (m,): value, error, method, lower and upper bound."""
    import ot

    costs = power(matrix(x, y, ground), p)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plan, log = ot.emd(u, v, costs, numItermax=10_000_000, log=True)
    dual = float(u @ log["u"] + v @ np.min(costs - log["u"][:, None], axis=0))
    primal = float(np.sum(plan * costs))
    value, lower = primal ** (1 / p), max(dual, 0.0) ** (1 / p)
    error = root_error(max(primal - dual, 0.0) + 1e-15 * costs.max(), value, p)
    return value, error, "exact, network simplex", min(lower, value), value
