"""The problem as the extra runs of a verdict solve it: on other meshes, with other steps, with fewer or random tokens."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from problems import Problem
from solver.particles.adaptive import gap_fraction

CHOOSING = ("rk45", "arkimex", "bdf", "theta")  # integrators of the density that choose steps by their error
MESH_LEVELS = 2
TOKEN_LEVELS = 2
FEWEST_CELLS, FEWEST_TOKENS = 4, 4
MOST_CELLS = 12_000  # of a mesh from a file when its cells are cut to measure its error
LOOSER, LOOSEST = 10.0, 1e-2  # tolerances of the density's steps on a mesh twice as coarse; no looser than this
ENSEMBLE = 4


@dataclass(frozen=True)
class Planned:
    """An extra run: of which side, "density" or "particles", of which problem, its name among the checkpoints, what it is."""

    side: str
    problem: Problem
    name: str
    label: str


def vary(problem: Problem, section: str, **changes: object) -> Problem:
    """The same problem with other settings in one section."""
    return dataclasses.replace(problem, **{section: dataclasses.replace(getattr(problem, section), **changes)})


def other_meshes(problem: Problem) -> list[tuple[int, Problem]]:
    """The problem on other meshes, the first one for the mesh error: (level, problem), cells 2^level times as wide.

    Coarser ones where the mesh can be made as one likes. A mesh from a file is cut finer, on its own geometry, unless
    `space.refine` has already cut it; it is left at that where the cost of the cut mesh would be out of proportion. Steps in
    depth follow: a given one grows with the cells, and where steps are chosen by their error its tolerance does.
    """
    tdim, cells, space = problem.manifold.intrinsic, problem.density.cells, problem.space
    if space.manifold != "file":
        coarser = [(level, cells // 2 ** (tdim * level)) for level in range(1, MESH_LEVELS + 1)]
        return [(level, stepping(vary(problem, "density", cells=count), level)) for level, count in coarser
                if count >= FEWEST_CELLS]
    levels = [level for level in range(1, MESH_LEVELS + 1) if level <= space.refine]
    if not levels and cells * 2**tdim <= MOST_CELLS:
        levels = [-1]
    return [(level, stepping(vary(vary(problem, "density", cells=round(cells * 2.0 ** (-tdim * level))), "space",
                                  refine=space.refine - level), level)) for level in levels]


def stepping(problem: Problem, level: int) -> Problem:
    """The problem with steps of the density in depth as on cells 2^level times as wide."""
    settings = problem.density
    found: dict[str, float] = {}
    if settings.step is not None:
        found["step"] = settings.step * 2.0**level
    if settings.integrator in CHOOSING:
        scale = min(LOOSER**level, max(1.0, LOOSEST / settings.rtol))
        found |= {"rtol": settings.rtol * scale, "atol": settings.atol * scale}
    return vary(problem, "density", **found)


def mesh_runs(problem: Problem) -> list[tuple[int, Planned]]:
    """The densities on `other_meshes`, each with its level."""
    return [(level, Planned("density", varied, f"mesh-{level}-{cells}", f"mesh error: {cells} cells"))
            for level, varied in other_meshes(problem) if (cells := varied.density.cells)]


def token_runs(problem: Problem) -> list[Planned]:
    """The systems of `fewer_tokens`, where they measure the sampling error."""
    if problem.particles.sampling in ("random", "sobol"):
        return []
    return [Planned("particles", varied, name, f"sampling error: {label}") for varied, name, label in fewer_tokens(problem)]


def further_runs(problem: Problem) -> list[Planned]:
    """The token systems of [[compare.also]]; they carry no density, for which nothing asks."""
    return [Planned("particles", vary(problem, "particles", count=system.count, sampling=system.sampling, seed=system.seed,
                                      density=False, ensemble=1, gap=None),
                    f"also-{i}-{system.sampling}-{system.count}-{system.seed}", system.words)
            for i, system in enumerate(problem.compare.also)]


def fewer_tokens(problem: Problem) -> Iterator[tuple[Problem, str, str]]:
    """The problem with half the tokens and fewer still, or with gaps twice as wide, each with a name and what it is."""
    settings = problem.particles
    # Adaptive tokens are hardly fewer with wider gaps: their number is that of the bends of the law.
    levels = 1 if settings.sampling == "adaptive" else TOKEN_LEVELS
    for level in range(1, levels + 1):
        if settings.sampling == "adaptive":
            gap = gap_fraction(problem) * 2**level
            varied = vary(problem, "particles", gap=gap, count=max(settings.count // 2**level, 1))
            yield varied, f"tokens-gap-{gap:g}", f"adaptive tokens with gaps of {gap:g}"
        else:
            count = max(settings.count // 2**level, FEWEST_TOKENS)
            yield vary(problem, "particles", count=count), f"tokens-{count}", f"{count} tokens"


def random_samples(problem: Problem, count: int) -> tuple[Problem, str, str]:
    """The problem with an ensemble of random samples of so many tokens, a name and what it is."""
    varied = vary(problem, "particles", sampling="random", count=count, ensemble=ENSEMBLE, seed=problem.particles.seed + 1)
    return varied, f"random-{count}", f"{ENSEMBLE} random samples of {count} tokens"
