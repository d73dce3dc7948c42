"""How far two laws are apart in their first and second moments: a sharp lower bound of the distance between them.

<u, x> and <u, x>^2 are 1-Lipschitz on the unit sphere for |u| = 1, so that the differences of the means and of the second
moments, in the operator norm, are at most W1. Quadrature tokens and the density give moments to high order, whereas the
distance of atoms on a surface to anything smooth is never below their spacing: on surfaces it is the moments that tell a
small error of the drift from the graininess of the tokens.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from solver.runs.tables import axis_names

SLOWEST = 1.5  # fall of the mesh error from mesh to mesh, on curves: half an order


def moments(row: Mapping[str, float], dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) and second moments (d, d) of a diagnostics row by column names."""
    axes = axis_names(dimension)
    second = np.empty((dimension, dimension))
    for i, a in enumerate(axes):
        for j, b in enumerate(axes[i:], start=i):
            second[i, j] = second[j, i] = float(row[f"second_{a}{b}"])
    return np.array([float(row[f"mean_{a}"]) for a in axes]), second


def moment_gap(first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray], normalised: bool) -> float:
    """Largest of |difference of means| and, on the sphere, the operator norm of the difference of second moments.

    Args:
        first, second: mean (d,) and second moments (d, d) of two laws.
        normalised: laws on the unit sphere; in flat space second moments are not Lipschitz and are left out.

    Returns:
        A lower bound of the geodesic W1, and so of every W_p. Means bound the chordal distance too.
    """
    gap = float(np.linalg.norm(first[0] - second[0]))
    if normalised:
        gap = max(gap, float(np.linalg.norm(first[1] - second[1], 2)))
    return gap


def curve_error(near: np.ndarray, far: np.ndarray) -> np.ndarray:
    """Error of a mesh at every output, from the change to cells twice as wide and from there to cells four times as wide.

    Args:
        near, far: the two changes at the outputs, >= 0.

    Returns:
        The first change, or more where it is small by chance or changes fall slowly; see `Refinement.mesh_gaps`.
    """
    if not near.any():
        return near
    fall = max(float(np.linalg.norm(far) / np.linalg.norm(near)), SLOWEST)
    return np.maximum(near, far / fall) / min(fall - 1.0, 1.0)
