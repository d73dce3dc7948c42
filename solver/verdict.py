"""Is the difference between density and particles sampling noise, mesh error, or a bug?

The mesh error is measured by solving once more on half the cells, the sampling error by half the tokens or, for
random samples, by an ensemble of seeds. Their sum is the noise floor: what two correct solvers of this size may
differ by. Both solvers follow the same law, so a difference well above the floor means that one of them is wrong.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from solver.history import History
from solver.recorders import distance_between
from solver.run_folder import CsvTable

SAFETY = 3.0
ENSEMBLE = 4
ROUNDING = 1e-9
VERDICT_COLUMNS = ["time", "w2_density_particles", "mesh_error", "sampling_error", "atoms_error", "noise_floor",
                   "verdict"]


@dataclass
class Verdict:
    """Agreement at every output.

    rows: one dict per output with `VERDICT_COLUMNS`; reason: what the judgement rests on, one line.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    reason: str = ""

    @property
    def agree(self) -> bool:
        """Whether density and particles agree at every output."""
        return all(row["verdict"] == "agree" for row in self.rows)

    @property
    def first_disagreement(self) -> dict[str, Any] | None:
        """The first output at which they do not, or None."""
        return next((row for row in self.rows if row["verdict"] != "agree"), None)

    def facts(self) -> dict[str, Any]:
        """For run.json."""
        return {"agree": self.agree, "reason": self.reason, "first_disagreement": self.first_disagreement}


def coarser(problem: Any) -> Any:
    """The same problem on half the cells per direction along a curve, and a quarter of them on a surface."""
    cells = max(problem.density.cells // 2 ** problem.manifold.intrinsic, 4)
    return dataclasses.replace(problem, density=dataclasses.replace(problem.density, cells=cells))


def with_tokens(problem: Any, **changes: Any) -> Any:
    """The same problem with other token settings."""
    return dataclasses.replace(problem, particles=dataclasses.replace(problem.particles, **changes))


def second_run(context: Any, problem: Any, run: Any, label: str) -> History:
    """A run of a varied problem that writes nothing (collective)."""
    if context.console is not None:
        context.console.print(f"[dim]{label}[/dim]")
    return run(dataclasses.replace(context, problem=problem, folder=None, to_target=context.to_target.silent()))


def judge(context: Any, rows: list[dict[str, float]], density: History, particles: History, refine: bool) -> Verdict:
    """Judge every output (collective).

    Args:
        context: the run.
        rows: rows of comparison.csv.
        density, particles: histories of the main runs.
        refine: make the extra runs; without them only `[compare] tolerance` can disagree.

    Returns:
        The verdict, also written to verdict.csv.
    """
    from solver.runs import run_density, run_particles

    problem = context.problem
    count = len(rows)
    mesh, sampling = np.zeros(count), np.zeros(count)
    words = []
    if refine:
        coarse = second_run(context, coarser(problem), run_density, "mesh error: the density on a coarser mesh")
        mesh = distances(context, density, coarse, count)
        words.append(f"mesh error against {coarser(problem).density.cells} cells")
        if problem.particles.sampling == "random":
            seeds = [problem.particles.seed + 1 + k for k in range(ENSEMBLE)]
            others = [second_run(context, with_tokens(problem, seed=seed), run_particles,
                                 f"sampling error: tokens of seed {seed}") for seed in seeds]
            # Two independent samples are sqrt(2) times as far from each other as each is from the law.
            sampling = np.mean([distances(context, particles, other, count) for other in others], axis=0) / np.sqrt(2)
            words.append(f"sampling error from {ENSEMBLE + 1} seeds")
        else:
            half = max(problem.particles.count // 2, 2)
            fewer = second_run(context, with_tokens(problem, count=half), run_particles,
                               f"sampling error: {half} tokens")
            sampling = distances(context, particles, fewer, count)
            words.append(f"sampling error against {half} tokens")
    atoms = np.array([a.atomisation(2) + b.atomisation(2) for a, b in
                      zip(density.measures[:count], particles.measures[:count], strict=True)])
    tolerance = problem.compare.tolerance
    verdict = Verdict(reason=", ".join(words) + f", {SAFETY:g} times their sum allowed" if refine else "no extra runs")
    for i, row in enumerate(rows):
        floor = mesh[i] + sampling[i] + atoms[i]
        found = row["w2_density_particles"]
        allowed = SAFETY * floor + ROUNDING if refine else np.inf
        if tolerance is not None:
            allowed = tolerance
        verdict.rows.append({"time": row["time"], "w2_density_particles": found, "mesh_error": mesh[i],
                             "sampling_error": sampling[i], "atoms_error": atoms[i], "noise_floor": floor,
                             "verdict": "agree" if found <= allowed else "disagree"})
    if tolerance is not None:
        verdict.reason = f"compare.tolerance = {tolerance:g}; " + verdict.reason
    if context.folder is not None:
        table: CsvTable = context.folder.table("verdict.csv", VERDICT_COLUMNS)
        for row in verdict.rows:
            table.write(row)
        table.close()
    return verdict


def distances(context: Any, a: History, b: History, count: int) -> np.ndarray:
    """W2 between two histories at the first `count` outputs, shared among the ranks (collective)."""
    comm = context.comm
    mine = {i: distance_between(context.problem, a.measures[i], b.measures[i], 2)
            for i in range(comm.rank, count, comm.size)}
    merged = {i: value for part in comm.allgather(mine) for i, value in part.items()}
    return np.array([merged[i] for i in range(count)])
