"""Further token systems of a comparison, [[compare.also]]: reported beside density and particles, and not judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from problems import Problem, ProblemError
from solver.comparison.refinement import Extra
from solver.comparison.variations import further_runs
from solver.runs.distances import TargetDistance, bounded_distance
from solver.runs.history import History

if TYPE_CHECKING:
    from mpi4py import MPI

Curve = tuple[np.ndarray, np.ndarray]
# One row for each output and each system; distances are empty where there is no target.
ALSO_COLUMNS = ["time", "label", "tokens", "w1_density_tokens", "w2_density_tokens", "w1_tokens_target", "w2_tokens_target"]


def further_tokens(problem: Problem, comm: MPI.Comm, extra: Extra, density: History,
                   to_target: TargetDistance) -> list[dict[str, float | str]]:
    """Follow every further token system, and its distances to density and target (collective).

    Args:
        problem, comm: of the comparison.
        extra: makes the runs. density: history of the density. to_target: distance to the target.

    Returns:
        Rows of also.csv, the same on every rank.
    """
    rows: list[dict[str, float | str]] = []
    for i, (system, planned) in enumerate(zip(problem.compare.also, further_runs(problem), strict=True)):
        tokens = extra.planned(planned)
        if tokens is None:  # on every rank alike
            raise ProblemError(f"compare.also[{i}].count", system.count, "must be larger: so few tokens miss the initial law")
        mine: dict[int, dict[str, float | str]] = {}
        for k in range(comm.rank, min(len(density.times), len(tokens.times)), comm.size):
            law = tokens.measures[k]
            found: dict[str, float | str] = {"time": tokens.times[k], "label": system.words, "tokens": len(law.masses)}
            found |= {f"w{p}_density_tokens": bounded_distance(problem, density.measures[k], law, p).value for p in (1, 2)}
            mine[k] = found | {f"w{p}_tokens_target": bound.value for p, bound in to_target.local(law).items()}
        merged = {k: row for part in comm.allgather(mine) for k, row in part.items()}
        rows += [merged[k] for k in sorted(merged)]
    return rows


def further_curves(rows: Sequence[dict[str, float | str]], column: str) -> dict[str, Curve]:
    """Label -> (times, values) of one column of also.csv, in the order of the problem; local."""
    curves: dict[str, Curve] = {}
    for label in dict.fromkeys(str(row["label"]) for row in rows):
        own = [row for row in rows if row["label"] == label]
        curves[label] = (np.array([row["time"] for row in own], float), np.array([row.get(column, np.nan) for row in own], float))
    return curves
