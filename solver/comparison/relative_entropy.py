"""How far the density on its mesh is from the density that tokens carry (docs/theory.md §9.1).

With r = rho_mesh/rho_tokens at the tokens and m their masses,

    KL = sum_i m_i (log(1/r_i) - 1 + r_i),     L1 = sum_i m_i |1 - r_i|.

The first is the relative entropy int log(rho_tokens/rho_mesh) dmu_tokens, to which sum_i m_i (r_i - 1) is added: the integral
of rho_mesh - rho_tokens by the quadrature of the tokens, zero but for its error. Every term is then positive and of second order
in the difference, and the spacing of tokens sets no floor. Where tokens leave a part of the space empty, that part is not seen.
In what is added r is cut at 20: a token on the steep flank of a law stands for more mass than rho_tokens says there, and its r is
no measure of that mass.
"""

from __future__ import annotations

import numpy as np

from meshes.manifold import Flat, Manifold
from solver.density.pointwise import density_at
from solver.runs.history import History

Array = np.ndarray
# The density of a mesh that has run empty counts as this part of the tokens'.
LEAST = 1e-12
# Where r is cut.
MOST = 20.0


def relative_entropy(log_density: Array, masses: Array, on_mesh: Array) -> tuple[float, float]:
    """KL and L1 from log rho (N,) and masses (N,) of the tokens and rho_mesh (N,) at their places; local.

    Tokens without a density (NaN, caught by a wall) or outside the mesh are left out; NaN if they hold mass of more than 1e-6.
    """
    known = np.isfinite(log_density) & np.isfinite(on_mesh)
    if float(masses[~known].sum()) > 1e-6:
        return float("nan"), float("nan")
    with np.errstate(over="ignore", under="ignore"):
        ratio = np.maximum(on_mesh[known] * np.exp(-log_density[known]), LEAST)
    mass, cut = masses[known], np.minimum(ratio, MOST)
    return float(mass @ (cut - 1.0 - np.log(ratio))), float(mass @ np.abs(1.0 - cut))


def between(density: History, tokens: History, output: int, manifold: Manifold, degree: int) -> tuple[float, float] | None:
    """KL and L1 at one output of two histories; None where tokens carry no density. Local.

    degree: of the polynomials of the density.
    """
    logs, measure = tokens.carried[output].get("log_density"), tokens.measures[output]
    on_mesh = at_points(density, output, manifold, degree, measure.points) if logs is not None else None
    if logs is None or on_mesh is None:
        return None
    found = relative_entropy(logs, measure.masses, on_mesh)
    return None if np.isnan(found[0]) else found


def at_points(density: History, output: int, manifold: Manifold, degree: int, points: Array) -> Array | None:
    """The density at points (n, d) of the circle, the sphere or a box, see `density_at`; None on other spaces. Local."""
    if not (manifold.normalised or isinstance(manifold, Flat)):
        return None
    return density_at(density.pictures[output], degree, manifold, points)
