"""Whether a comparison could have told right from wrong: the noise floor against the target and the space."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from meshes.simplicial import SimplicialManifold
from problems import Problem
from solver.runs.resolution import unresolved

# Three times the noise floor are allowed. That must be less than the largest distance to the target, or else the law could as
# well be the target; and less than half the diameter of the space, which is about as far as a point mass is from the uniform law.
SHARE_OF_TARGET, SHARE_OF_SPACE = 1 / 3, 1 / 6


def not_resolved(problem: Problem, rows: Sequence[Mapping[str, float]], judged: Sequence[Mapping[str, object]]) -> list[str]:
    """Why agreement would mean nothing, one reason a line; empty if it means something. Local, the same on every rank.

    Args:
        problem: the resolved problem.
        rows: rows of comparison.csv, with the distances to the target where there is one.
        judged: rows of verdict.csv, with the noise floor where it is known.
    """
    reasons = [finding.words for finding in unresolved(problem) if finding.severe]
    floors = [(float(str(row["noise_floor"])), float(str(row["time"]))) for row in judged if row.get("noise_floor") is not None]
    if not floors:
        return reasons
    floor, time = max(floors)
    away = [row["w2_density_target"] for row in rows if math.isfinite(row.get("w2_density_target", math.nan))]
    if away and floor > SHARE_OF_TARGET * max(away):
        reasons.append(f"the noise floor, {floor:.3g} at t = {time:.6g}, is {floor / max(away):.0%} of the largest distance to "
                       f"the target, {max(away):.3g}")
    across = diameter(problem)
    if floor > SHARE_OF_SPACE * across:
        reasons.append(f"the noise floor, {floor:.3g} at t = {time:.6g}, is {floor / across:.0%} of the diameter of the space, "
                       f"{across:.3g}")
    return reasons


def diameter(problem: Problem) -> float:
    """Largest distance of two points of the space; of a mesh file, of the box around it."""
    if problem.manifold.normalised:
        return math.pi if problem.compare.metric == "geodesic" else 2.0
    if problem.space.bounds is not None:
        return math.hypot(*(b - a for a, b in problem.space.bounds))
    if isinstance(problem.manifold, SimplicialManifold):
        return float(np.linalg.norm(np.ptp(problem.manifold.cells.points, axis=0)))
    return math.inf
