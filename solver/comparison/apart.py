"""W1 and W2 between density and tokens at one output.

In general between atoms: one or more for each cell, and the tokens. Adaptive tokens of a surface stand for the law that fills the
triangles between them, and a thousand of them on a sphere are no nearer to it than .05, whatever is right: as far as any other
thousand points. There both laws are also reduced to the same atoms, one in the mass of each triangle: the tokens' law by the
masses of triangles, which are exact, the density by its integrals over them. Either way the distance comes out too large, by
how coarse atoms are or by the error of the integrals: the smaller one counts, while laws are spread the second, once they have
gathered the first.
"""

from __future__ import annotations

import numpy as np

from problems import Problem
from solver.comparison.relative_entropy import at_points
from solver.particles.triangulation import CORNERS, WEIGHTS, corner_shares, normals
from solver.runs.distances import bounded_distance
from solver.runs.history import History
from solver.wasserstein.measure import Distance, Measure

# The density's integrals over the triangles must have the sum one up to so much.
MISSED = 0.02


def distances(problem: Problem, density: History, tokens: History, output: int,
              exponents: tuple[int, ...] = (1, 2)) -> dict[int, Distance]:
    """Exponent -> W_p between both laws at one output that is kept on this rank; local.

    Args:
        problem: of the comparison. density, tokens: histories, of this problem or of variations of it.
    """
    pairs = [(density.measures[output], tokens.measures[output])]
    if (found := pair(problem, density, tokens, output)) is not None:
        pairs.append(found)
    return {p: min((bounded_distance(problem, a, b, p) for a, b in pairs), key=float) for p in exponents}


def pair(problem: Problem, density: History, tokens: History, output: int) -> tuple[Measure, Measure] | None:
    """Density and adaptive tokens by the masses of triangles; None where these do not serve. Local."""
    carried, points, manifold = tokens.carried[output], tokens.measures[output].points, problem.manifold
    if "cells" not in carried or "log_density" not in carried or manifold.intrinsic != 2:
        return None
    cells, logs = carried["cells"], carried["log_density"]
    places, volumes = rule(points, cells, sphere=manifold.normalised)
    degree = density.problem.density.degree if density.problem is not None else problem.density.degree
    on_mesh = at_points(density, output, manifold, degree, places.reshape(-1, points.shape[1]))
    if on_mesh is None or not np.isfinite(on_mesh).all():
        return None
    masses = np.maximum((on_mesh.reshape(volumes.shape) * volumes).sum(axis=1), 0.0)
    total = float(masses.sum())
    if not abs(total - 1.0) < MISSED:
        return None
    centres = manifold.retract(np.einsum("ck,ckd->cd", corner_shares(np.nan_to_num(logs[cells])), points[cells]))
    # About the centre of mass there is at most as much as about the centre of the most even mass.
    width = np.sqrt(sum(np.sum((points[cells[:, k]] - points[cells[:, k - 1]]) ** 2, axis=1) for k in range(3)) / 36.0)
    return Measure(centres, masses / total, width), Measure(centres, carried["cell_masses"], width)


def rule(points: np.ndarray, cells: np.ndarray, *, sphere: bool) -> tuple[np.ndarray, np.ndarray]:
    """Points (c, 6, d) and weights (c, 6) of integrals over triangles (c, 3) of the plane, or over those of great circles."""
    corners = points[cells]
    places = np.einsum("qk,ckd->cqd", CORNERS, corners)
    normal = normals(points, cells)
    volumes = 0.5 * np.linalg.norm(normal, axis=1)[:, None] * WEIGHTS
    if not sphere:
        return places, volumes
    # Seen from the centre: an element of the flat triangle at distance s appears under its area times cos / s^2.
    size = np.linalg.norm(places, axis=2)
    height = np.abs(np.einsum("cd,cd->c", normal, corners[:, 0])) / np.maximum(np.linalg.norm(normal, axis=1), 1e-300)
    return places / size[..., None], volumes * height[:, None] / size**3
