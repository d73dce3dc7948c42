"""Which pictures a run gets, by the space it lives on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from problems import Problem
from solver.projection.cold_flow import cold_flow
from solver.projection.target import target
from solver.projection.terminal import dominant_directions
from solver.report import figures
from solver.runs.distances import TargetDistance
from solver.runs.history import History
from solver.wasserstein.measure import Measure

# Name -> sizes and W2 between density and tokens.
Curves = Mapping[str, tuple[list[float], list[float]]]

PANELS = 4
CUT = -np.pi / 8  # angle where pictures of the circle are cut open, away from the axes and their diagonals


class Comparison(Protocol):
    """What pictures need of a comparison."""

    problem: Problem
    density: History
    particles: History

    @property
    def convergence(self) -> Curves | None: ...
    def column(self, name: str) -> np.ndarray: ...


def draw_comparison(folder: Path, comparison: Comparison, to_target: TargetDistance) -> None:
    """distances.png, density.png, tokens.png and the convergence of a comparison, into `folder`; rank 0 only, no
    collective calls."""
    problem = comparison.problem
    times = np.array(comparison.density.times)
    curves = {side: (times, comparison.column(f"w2_{side}_target")) for side in ("density", "particles")}
    curves = {name: curve for name, curve in curves.items() if np.isfinite(curve[1]).any()}
    terminal = None
    if curves:
        cold = zero_temperature_distances(problem, to_target, times)
        if cold is not None:
            curves["zero temperature"] = (times, cold)
        terminal = to_target.terminal_level()
        figures.plot_distances(folder / "distances.png", curves, terminal=terminal, title=problem.title)
    else:
        between = {"density to particles": (times, comparison.column("w2_density_particles"))}
        figures.plot_distances(folder / "distances.png", between, title=problem.title,
                               ylabel=r"$W_2$(density, particles)")
    draw_density(folder, problem, comparison.density, comparison.particles)
    if comparison.convergence is not None:
        draw_convergence(folder, problem, comparison.convergence)


def zero_temperature_distances(problem: Problem, to_target: TargetDistance, times: np.ndarray) -> np.ndarray | None:
    """W2 to the target along the zero-temperature flow, (T,); None where there is none. Local."""
    flow = cold_flow(problem, times) if to_target.measure is not None else None
    if flow is None:
        return None
    points, masses = flow
    return np.array([to_target.local(Measure(x, masses))[2].value for x in points])


def draw_convergence(folder: Path, problem: Problem, convergence: Curves) -> None:
    """mesh_convergence.png and tokens_convergence.png: density to particles against h and N; rank 0 only."""
    curves = {name: (np.array(x), np.array(y)) for name, (x, y) in convergence.items()}
    mesh = curves.pop("mesh")
    label, order = r"$W_2$(density, particles)", problem.density.degree + 1
    figures.plot_convergence(folder / "mesh_convergence.png", {f"{problem.particles.count} tokens": mesh},
                             {"slope 1": 1.0, f"slope {order}, the order of the scheme": float(order)},
                             xlabel="mesh width h", ylabel=label, title=problem.title)
    ordered = {name: curves[name] for name in ("random", *curves) if name in curves}
    figures.plot_convergence(folder / "tokens_convergence.png", ordered, {r"slope $-1/2$": -0.5}, xlabel="tokens N",
                             ylabel=label, title=problem.title)


def marks_of(problem: Problem) -> dict[str, np.ndarray]:
    """E(VB^T) and E(V) on the space: points (k, d), a closed curve where the eigenspace is a plane."""
    marks = {}
    goal = target(problem)
    if goal.exists:
        marks["E(V Bᵀ)"] = trace(np.linalg.qr(goal.analysis.basis)[0])
    directions = dominant_directions(problem)
    if directions is not None:
        marks["E(V)"] = trace(directions)
    return {name: places for name, places in marks.items() if places is not None}


def trace(basis: np.ndarray) -> np.ndarray | None:
    """The unit vectors of a span (d, k) to draw: two points, a great circle, or nothing when it is everything."""
    dimension, rank = basis.shape
    if rank == dimension:
        return None
    if rank == 1:
        return np.array([basis[:, 0], -basis[:, 0]])
    angles = np.linspace(0, 2 * np.pi, 361)
    return np.cos(angles)[:, None] * basis[:, 0] + np.sin(angles)[:, None] * basis[:, 1]


def draw_density(folder: Path, problem: Problem, density: History, particles: History | None = None) -> None:
    """density.png (and tokens.png on the circle) of a density history; rank 0 only."""
    manifold = problem.manifold
    times = np.array(density.times)
    marks = marks_of(problem) if manifold.normalised else {}
    if manifold.intrinsic == 1:
        flat = not manifold.closed
        positions = [place(points, flat) for points, _, _ in density.pictures]
        order = np.argsort(positions[0])
        values = np.array([picture[1][order] for picture in density.pictures])
        angles = {name: np.sort(place(points, False)) for name, points in marks.items()}
        if len(times) > 1:
            figures.plot_space_time(folder / "density.png", times, positions[0][order], values, marks=angles,
                                    title=problem.title, periodic=not flat, label="position" if flat else "angle")
        if not flat and particles is not None:
            panels = [(times[i], place(particles.measures[i].points, False), positions[0][order], values[i])
                      for i in pick(len(times))]
            figures.plot_tokens_circle(folder / "tokens.png", panels, problem.title)
        return
    chosen = pick(len(times))
    points, _, triangles = density.pictures[0]
    if triangles is None:
        return
    panels = [(times[i], density.pictures[i][1]) for i in chosen]
    tokens = [particles.measures[i].points for i in chosen] if particles is not None else None
    if manifold.dimension == 3:
        figures.plot_sphere(folder / "density.png", panels, points, triangles, marks=marks, tokens=tokens,
                            title=problem.title)
    else:
        figures.plot_plane(folder / "density.png", panels, points, triangles, tokens=tokens, title=problem.title)


def place(points: np.ndarray, flat: bool) -> np.ndarray:
    """Position on a curve: the coordinate on an interval; on the circle the angle, from where the picture is cut."""
    return points[:, 0] if flat else (np.arctan2(points[:, 1], points[:, 0]) - CUT) % (2 * np.pi) + CUT


def pick(count: int) -> list[int]:
    """Indices of up to `PANELS` outputs, first and last among them."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(PANELS, count))})
