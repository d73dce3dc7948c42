"""What a run will cost before it is started: unknowns, memory, time."""

from __future__ import annotations

import math

from problems import Problem
from solver.comparison.beside import foreseen, worthwhile
from solver.particles.cell_sizes import first_run
from solver.runs.cost import Cost, density_cost, token_cost


def plan(problem: Problem, ranks: int = 1) -> list[tuple[str, str]]:
    """(label, text) lines: unknowns, memory of all ranks together and a rough time of the density and of the tokens.

    The time counts every pair of the dense kernel at 1.2 ns and 15 million unknowns a second; fast attention makes
    it shorter. An order of magnitude, not a promise.
    """
    lines = []
    density, tokens = density_cost(problem, ranks), token_cost(problem, ranks)
    where = f" on {ranks} ranks" if ranks > 1 else ""
    if density is not None:
        about = "" if problem.space.manifold == "file" else "at most about " if density.follows else "about "
        lines += [("density", f"{about}{density.size:.0f} cells, {density.unknowns:.0f} unknowns, "
                   f"{mebibytes(density.memory)}{where}"),
                  ("", time_words(density, "density"))]
    if density is not None and density.follows:
        first = token_cost(first_run(problem))
        lines.append(("", f"before it a first run of {first.size:.0f} tokens or more, which says how small cells must be"))
    lines += [("particles", f"{tokens.size:.0f} tokens, {mebibytes(tokens.memory)}{where}"),
              ("", time_words(tokens, "particles"))]
    if density is not None:
        runs = foreseen(problem, verdict=True)
        if worthwhile(problem, runs):
            costs = [density_cost(run.problem) if run.side == "density" else token_cost(run.problem) for run in runs]
            memory = max(cost.memory for cost in costs if cost is not None)
            lines.append(("compare", f"tokens and {len(runs) - 1} extra runs on a second core, {mebibytes(memory)} more"))
    return lines


def time_words(cost: Cost, side: str) -> str:
    """Steps and time in words."""
    if cost.chosen:
        seconds = duration(1000 * cost.dense / cost.steps)
        return f"steps chosen by their error ({side}.rtol), 1000 of them at most {seconds} on one core with dense attention"
    if cost.follows:
        seconds = duration(1000 * cost.dense / cost.steps)
        more = "more" if side == "density" else "more of them and of tokens"
        return (f"at least about {math.ceil(cost.steps)} steps, {more} where the law becomes narrow; 1000 of them at most "
                f"{seconds} on one core with dense attention")
    return f"about {math.ceil(cost.steps)} steps, at most {duration(cost.dense)} on one core with dense attention"


def mebibytes(size: float) -> str:
    """A size of memory in words."""
    return f"{size / 2**20:.0f} MiB" if size < 2**33 else f"{size / 2**30:.0f} GiB"


def duration(seconds: float) -> str:
    """A duration in words of one unit."""
    for size, unit in ((365.25 * 86400, "years"), (86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            count = seconds / size
            return f"{count:.0f} {unit}" if count < 1e6 else f"{count:.1e} {unit}"
    return f"{max(seconds, 1):.0f} s"
