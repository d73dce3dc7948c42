"""Exact transport to a measure of one or two atoms, in any space and for any number of sources.

The target of a simple leading eigenvalue is such a measure, one antipodal pair (docs/theory.md §3.2).
"""

import numpy as np


def transport_to_pair(masses: np.ndarray, costs: np.ndarray, targets: np.ndarray) -> float:
    """The least cost of sending weighted points to at most two atoms.

    With two atoms the difference of costs orders the points: those that gain most from the first atom go
    there until it is full, one point being split. This is optimal, a fractional knapsack.

    Args:
        masses: (n,) positive. costs: (n, k) of one unit of mass from each point to each atom, k = 1 or 2.
        targets: (k,) masses of the atoms, with the same total as `masses`.

    Returns:
        The cost, sum of mass times cost. O(n log n).
    """
    if costs.shape[1] == 1:
        return float(masses @ costs[:, 0])
    order = np.argsort(costs[:, 0] - costs[:, 1], kind="stable")
    sorted_masses, sorted_costs = masses[order], costs[order]
    room = np.maximum(targets[0] - (np.cumsum(sorted_masses) - sorted_masses), 0.0)
    sent = np.minimum(sorted_masses, room)
    return float(sent @ sorted_costs[:, 0] + (sorted_masses - sent) @ sorted_costs[:, 1])


def distinct(points: np.ndarray, limit: int = 2) -> tuple[np.ndarray, np.ndarray] | None:
    """The distinct points (k, d), at most `limit` or else None, and the label (n,) of each point."""
    labels = np.full(len(points), -1)
    found: list[np.ndarray] = []
    while (labels < 0).any():
        if len(found) == limit:
            return None
        found.append(points[int(np.argmax(labels < 0))])
        labels[(points == found[-1]).all(axis=1)] = len(found) - 1
    return np.array(found), labels
