"""Is the difference between density and particles sampling noise, mesh error, or a bug?

The mesh error is measured by solving again on coarser meshes, the sampling error with fewer tokens and, for random
samples, an ensemble of seeds, the error of fixed steps of the tokens with steps twice as long. Their sum is the noise floor:
what two correct solvers of this size may differ by. Both
solvers follow the same law, so a difference well above the floor means that one of them is wrong. The same is asked of
the first and second moments, which see small errors that the graininess of tokens hides from the distance.
"""

from __future__ import annotations

import html
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from problems import Problem
from solver.comparison.refinement import Refinement, distances_between, gaps_between
from solver.comparison.resolved import not_resolved
from solver.particles.adaptive import beyond_gap
from solver.runs.history import History

if TYPE_CHECKING:
    from mpi4py import MPI

SAFETY = 3.0
ROUNDING = 1e-9
# Moments of random samples are nearly Gaussian: four standard deviations are a false alarm in 16 000 per output and component.
MOMENTS_SAFETY = 4.0
INTEGRATION = 1e-6  # what the tolerances of the two time integrations may do to a moment, at the least
STEPS = 100.0  # errors of single steps of the tokens that may add up
MOST_JUDGED_ON_SURFACES = 5
VERDICT_COLUMNS = ["time", "w2_density_particles", "mesh_error", "sampling_error", "step_error", "atoms_error", "noise_floor",
                   "allowed", "moments_density_particles", "moments_floor", "moments_allowed", "verdict"]
CONVERGENCE_COLUMNS = ["kind", "size", "w2_density_particles"]


class Judged(TypedDict, total=False):
    """One output with `VERDICT_COLUMNS`: the first two and the last are always there; `mesh_error` is None where not known."""

    time: float
    w2_density_particles: float
    mesh_error: float | None
    sampling_error: float
    step_error: float
    atoms_error: float
    noise_floor: float
    allowed: float
    moments_density_particles: float
    moments_floor: float
    moments_allowed: float
    verdict: str


@dataclass
class Verdict:
    """Agreement at every judged output.

    rows: one dict per output with `VERDICT_COLUMNS`; reason: what the judgement rests on, one line;
    refinement: the extra runs, None when there were none; unresolved: why agreement would mean nothing, see `not_resolved`.
    """

    rows: list[Judged] = field(default_factory=list)
    reason: str = ""
    refinement: Refinement | None = None
    unresolved: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        judged = sum(row["verdict"] != "not judged" for row in self.rows)
        return f"<Verdict {self.outcome}: {judged} of {len(self.rows)} outputs judged; {self.words() or self.reason}>"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self)[1:-1])}</p>"

    @property
    def agree(self) -> bool:
        """Whether density and particles agree at every judged output, and could have disagreed."""
        return self.outcome == "agree"

    @property
    def outcome(self) -> str:
        """"agree", "disagree" or "not resolved"."""
        if self.first_disagreement is not None:
            return "disagree"
        return "not resolved" if self.unresolved else "agree"

    @property
    def first_disagreement(self) -> Judged | None:
        """The first output at which they do not, or None."""
        return next((row for row in self.rows if row["verdict"] == "disagree"), None)

    def words(self) -> str:
        """Why density and particles do not agree: when, which quantity, how much, or what is not resolved; empty if they do."""
        worst = self.first_disagreement
        if worst is None:
            return f"not resolved: {'; '.join(self.unresolved)}" if self.unresolved else ""
        name, found, allowed = "W2", worst["w2_density_particles"], worst["allowed"]
        if found <= allowed:
            name, found, allowed = "moments differ by", worst["moments_density_particles"], worst["moments_allowed"]
        return f"density and particles disagree at t = {worst['time']:.6g}: {name} {found:.3e}, allowed {allowed:.3e}"

    def facts(self) -> dict[str, object]:
        """For run.json."""
        return {"agree": self.agree, "outcome": self.outcome, "unresolved": self.unresolved,
                "reason": self.reason, "first_disagreement": self.first_disagreement}


def judged_outputs(problem: Problem, times: list[float]) -> list[int]:
    """Indices of the outputs to judge: all up to `compare.until` on curves, a few on surfaces, where distances cost more."""
    until = math.inf if problem.compare.until is None else problem.compare.until
    judged = [i for i, time in enumerate(times) if time <= until + 1e-12]
    if problem.manifold.intrinsic > 1 and len(judged) > MOST_JUDGED_ON_SURFACES:
        judged = [judged[round(k)] for k in np.linspace(0, len(judged) - 1, MOST_JUDGED_ON_SURFACES)]
    return judged


def judge(problem: Problem, comm: MPI.Comm, rows: list[dict[str, float]], density: History, particles: History,
          refinement: Refinement | None) -> Verdict:
    """Judge the outputs (collective).

    Args:
        problem: the resolved problem. comm: all ranks.
        rows: rows of comparison.csv.
        density, particles: histories of the main runs.
        refinement: the extra runs that measure mesh and sampling error; without them only `[compare] tolerance` can
            disagree.
    """
    judged = judged_outputs(problem, [row["time"] for row in rows])
    gaps: dict[int, tuple[float, float]] = {}
    mesh: dict[int, float | None] = dict.fromkeys(judged, 0.0)
    sampling, stepping = dict.fromkeys(judged, 0.0), dict.fromkeys(judged, 0.0)
    verdict = Verdict(reason="no extra runs", refinement=refinement)
    if refinement is not None:
        sampling = dict(zip(judged, refinement.sampling_errors(problem, comm, particles, judged), strict=True))
        stepping = dict(zip(judged, refinement.step_errors(problem, comm, judged), strict=True))
        other, factor = refinement.remeshed, refinement.mesh_factor
        if other is None:
            mesh = dict.fromkeys(judged)
        else:
            mesh = dict(zip(judged, factor * distances_between(problem, comm, density, other, judged), strict=True))
            floors = refinement.mesh_gaps(problem, density, judged) + refinement.sampling_gaps(
                problem, particles, judged) + refinement.step_gaps(problem, judged)
            gaps = dict(zip(judged, zip(gaps_between(problem, density, particles, judged), floors, strict=True), strict=True))
        rule = f"{SAFETY:g} times their sum allowed" if other is not None else "agreement is not judged without a tolerance"
        verdict.reason = f"{refinement.words}; {rule}"
    tolerance = problem.compare.tolerance
    if tolerance is not None:
        verdict.reason = f"compare.tolerance = {tolerance:g}; {verdict.reason}"
    for i, row in enumerate(rows):
        found = row["w2_density_particles"]
        entry: Judged = {"time": row["time"], "w2_density_particles": found, "verdict": "not judged"}
        if i in mesh:
            atoms = density.spreads[i] + particles.spreads[i]
            entry |= {"mesh_error": mesh[i], "sampling_error": sampling[i], "step_error": stepping[i],
                      "atoms_error": atoms}
            allowed = tolerance
            error = mesh[i]
            if error is not None:  # without it there is no noise floor, and nothing to judge by but a tolerance
                entry["noise_floor"] = floor = error + sampling[i] + stepping[i] + atoms
                if tolerance is None:
                    allowed = SAFETY * floor + ROUNDING if refinement is not None else math.inf
            if allowed is not None:
                entry |= {"allowed": allowed, "verdict": "agree" if found <= allowed else "disagree"}
        if i in gaps and tolerance is None:
            gap, gap_floor = gaps[i]
            gap_allowed = MOMENTS_SAFETY * gap_floor + max(INTEGRATION, STEPS * problem.particles.rtol)
            entry |= {"moments_density_particles": gap, "moments_floor": gap_floor, "moments_allowed": gap_allowed}
            entry["verdict"] = "disagree" if gap > gap_allowed else entry["verdict"]
        verdict.rows.append(entry)
    # Without extra runs and without a tolerance nothing is judged, and there is nothing to resolve.
    if refinement is not None or tolerance is not None:
        capped = beyond_gap(problem, particles.times, particles.column("largest_gap"))
        verdict.unresolved = not_resolved(problem, rows, verdict.rows) + [capped] * bool(capped)
    for entry in verdict.rows:
        if verdict.unresolved and entry["verdict"] == "agree":
            entry["verdict"] = "not resolved"
    return verdict
