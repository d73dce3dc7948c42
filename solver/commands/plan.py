"""What a run will cost before it is started: unknowns, memory, time."""

from __future__ import annotations

import math

from problems import Problem

PAIR_SECONDS = 1.2e-9
UNKNOWN_SECONDS = 1.0 / 15e6
STAGES = {"euler": 1, "ssprk22": 2, "ssprk33": 3, "ssprk104": 10}


def plan(problem: Problem) -> list[tuple[str, str]]:
    """(label, text) lines: unknowns, memory and a rough time of the density and of the tokens.

    The time counts every pair of the dense kernel at 1.2 ns and 15 million unknowns a second; fast attention makes
    it shorter. An order of magnitude, not a promise.
    """
    manifold, density = problem.manifold, problem.density
    lines = []
    times = problem.time
    length = 10.0 if times.end == "stationary" else float(times.end)
    speed = max((abs(head.value).sum() for layer in problem.attention.layers for head in layer.weights.heads),
                default=1.0)
    if manifold.dimension <= 3:
        tdim = manifold.intrinsic
        cells = density.cells
        per_cell = math.comb(density.degree + tdim, tdim)
        unknowns = cells * per_cell
        width = (manifold_size(problem) / cells) ** (1 / tdim)
        steps = math.ceil(length * speed * (2 * density.degree + 1) * tdim / (density.cfl or 0.8) / width)
        stages = STAGES.get(density.integrator, 4)
        targets = cells * (density.degree + 1) ** tdim / (1 if tdim == 1 else 2) + 2
        sources = cells * (density.degree + 2) ** tdim
        cold = manifold.normalised and all(math.isinf(layer.weights.beta) for layer in problem.attention.layers)
        pairs = 0.0 if cold else targets * sources  # a full support at zero temperature: the velocity is known
        seconds = steps * stages * (pairs * PAIR_SECONDS + unknowns * UNKNOWN_SECONDS)
        memory = unknowns * 8 * 40 + sources * 8 * 12
        lines += [("density", f"about {cells} cells, {unknowns} unknowns, {memory / 2**20:.0f} MiB"),
                  ("", f"about {steps} steps, at most {duration(seconds)} on one core with dense attention")]
    count = problem.particles.count
    evaluations = 7 * max(20, math.ceil(length * speed * 4))
    lines += [("particles", f"{count} tokens, at most {duration(evaluations * count**2 * PAIR_SECONDS)} on one core "
                            "with dense attention")]
    return lines


def manifold_size(problem: Problem) -> float:
    """Length, area or volume of the token space; 1 where it is not known before the mesh is read."""
    return float(problem.manifold.volume or 1.0)


def duration(seconds: float) -> str:
    """A duration in words of one unit."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 1):.0f} s"
