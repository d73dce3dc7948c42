"""Adaptive tokens: carried by the flow with the cells between them, whose masses they keep (docs/theory.md §9.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from meshes.simplicial import SimplicialManifold
from problems import Problem, ProblemError
from problems.together import has_triangles
from solver.particles.chain_start import start_chain
from solver.particles.density import kernel_width
from solver.particles.surface_start import grid_parts, start_triangulation

Array = NDArray[np.float64]

# Largest gap between neighbours in units of the kernel's width, by intrinsic dimension, where the problem gives none.
GAP = {1: 0.2, 2: 0.35}
# Largest gap in units of the radius of curvature of a surface from a file, which triangles between tokens stand for.
ROUND = 0.5


class Cells(Protocol):
    """What is between adaptive tokens: `solver.particles.chain.Chain` on curves, `solver.particles.triangulation.Triangulation`
    on surfaces."""

    masses: Array

    @property
    def cells(self) -> NDArray[np.int64]: ...

    def restored(self, cells: NDArray[np.int64], masses: Array) -> Cells: ...

    def largest(self, points: Array) -> float: ...

    def token_masses(self, points: Array, logs: Array | None) -> Array: ...

    def sources(self, points: Array, logs: Array | None, masses: Array) -> tuple[Array, Array]: ...

    def adapt(self, points: Array, logs: Array | None, largest: float, most: int) -> tuple[Array, Array | None, bool]: ...


def gap_fraction(problem: Problem) -> float:
    """The largest gap in units of the kernel's width."""
    return problem.particles.gap or GAP.get(problem.manifold.intrinsic, 1.0)


def largest_gap(problem: Problem) -> float:
    """The distance of neighbouring tokens beyond which one is put between them: what the kernel asks for, and no more than
    that of `particles.count` tokens spread evenly."""
    manifold = problem.manifold
    even = (manifold.volume / problem.particles.count) ** (1 / manifold.intrinsic) if manifold.volume else np.inf
    if isinstance(manifold, SimplicialManifold) and manifold.intrinsic == 2:
        even = min(even, ROUND * manifold.radius)
    # Layers at zero temperature have no kernel to resolve; on curves tokens are cheap enough to be close all the same.
    return min(gap_fraction(problem) * kernel_width(problem.attention, cold=manifold.intrinsic == 1), even)


def refuse_start(problem: Problem) -> None:
    """Refuse adaptive tokens whose start alone is beyond `particles.most`, before it is made.

    Raises:
        ProblemError: with the least number there would be: triangles with sides of the largest gap, or such intervals.
    """
    manifold, gap = problem.manifold, largest_gap(problem)
    if manifold.volume is None:
        least = float(np.prod(grid_parts(problem, gap)[0] + 1))
    else:
        least = manifold.volume / (gap if manifold.intrinsic == 1 else np.sqrt(0.75) * gap**2)
    if least > problem.particles.most:
        allowed = f"at least the {np.ceil(least):.0f} tokens of the start, or a larger particles.gap"
        raise ProblemError("particles.most", problem.particles.most, allowed)


def expected_tokens(problem: Problem) -> int:
    """What adaptive tokens have been seen to grow to."""
    manifold, gap = problem.manifold, largest_gap(problem)
    if manifold.volume is None:  # most of the rectangle about the law is far from it, where nothing stretches
        return int(min(1.5 * np.prod(grid_parts(problem, gap)[0] + 1), problem.particles.most))
    cells = manifold.volume / gap**manifold.intrinsic
    return int(min(3.0 * cells, problem.particles.most))


def beyond_gap(problem: Problem, times: Sequence[float], gaps: Array) -> str:
    """Whether `particles.most` has kept adaptive tokens from being added where they thin out, in words; empty if not. Local.

    Args:
        times: of the outputs. gaps: (T,) the largest gaps there, NaN for other tokens.
    """
    allowed = largest_gap(problem) if problem.particles.sampling == "adaptive" else np.inf
    wide = np.flatnonzero(np.asarray(gaps) > 1.001 * allowed)
    if not len(wide):
        return ""
    return (f"adaptive tokens have reached particles.most = {problem.particles.most} by t = {times[wide[0]]:.6g}: gaps of up to "
            f"{np.max(gaps[wide]):.3g}, where {allowed:.3g} is wanted, are no more filled")


def start_adaptive(problem: Problem) -> tuple[Cells, Array, Array]:
    """The cells of the initial law, their tokens (N, d) and log rho (N,); the same on every rank.

    Raises:
        ProblemError: there are no adaptive tokens here, or the start alone needs more than `particles.most`.
    """
    refuse_start(problem)
    cells: Cells
    if problem.manifold.intrinsic == 1:
        cells, points, logs = start_chain(problem, largest_gap(problem))
    elif has_triangles(problem.manifold):
        cells, points, logs = start_triangulation(problem, largest_gap(problem), gap_fraction(problem))
    else:
        # Told earlier, by `problems.together`.
        raise ProblemError("particles.sampling", "adaptive", "for curves, closed surfaces and the open plane")
    if len(points) > problem.particles.most:
        allowed = f"at least the {len(points)} tokens of the start, or a larger particles.gap"
        raise ProblemError("particles.most", problem.particles.most, allowed)
    return cells, points, logs
