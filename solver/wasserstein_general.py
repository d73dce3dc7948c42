"""Transport between two measures of many atoms where no ordering helps: network simplex."""

import warnings

import numpy as np

from .wasserstein_measure import Atoms, Distance
from .wasserstein_metric import Metric, matrix, power, root_error


def wasserstein_general(a: Atoms, b: Atoms, p: float, ground: Metric) -> Distance:
    """W_p between probability measures of many atoms."""
    import ot

    costs = power(matrix(a.points, b.points, ground), p)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plan, log = ot.emd(a.masses, b.masses, costs, numItermax=10_000_000, log=True)
    dual = float(a.masses @ log["u"] + b.masses @ np.min(costs - log["u"][:, None], axis=0))
    primal = float(np.sum(plan * costs))
    value, lower = primal ** (1 / p), max(dual, 0.0) ** (1 / p)
    error = root_error(max(primal - dual, 0.0) + 1e-15 * costs.max(), value, p)
    return Distance(value, error, "exact, network simplex", min(lower, value), value)
