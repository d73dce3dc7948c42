"""Which pictures a run gets, by the space it lives on."""

from __future__ import annotations

from typing import Any

import numpy as np

from solver.projection.cold_flow import zero_temperature_distances
from solver.report import figures
from solver.runs.history import History
from solver.runs.recorders import dominant_directions

PANELS = 4
CUT = -np.pi / 8  # angle where pictures of the circle are cut open, away from the axes and their diagonals


def draw_comparison(context: Any, comparison: Any) -> None:
    """figures/distances.png, density.png and tokens.png of a comparison; rank 0 only, no collective calls."""
    folder = context.folder.path / "figures"
    times = np.array(comparison.density.times)
    curves = {side: (times, comparison.column(f"w2_{side}_target")) for side in ("density", "particles")}
    curves = {name: curve for name, curve in curves.items() if np.isfinite(curve[1]).any()}
    terminal = None
    if curves:
        alone = context.to_target.alone()
        cold = zero_temperature_distances(context.problem, alone, times)
        if cold is not None:
            curves["zero temperature"] = (times, cold)
        terminal = alone.terminal_level()
        figures.plot_distances(folder / "distances.png", curves, terminal=terminal, title=context.problem.title)
    else:
        between = {"density to particles": (times, comparison.column("w2_density_particles"))}
        figures.plot_distances(folder / "distances.png", between, title=context.problem.title,
                               ylabel=r"$W_2$(density, particles)")
    draw_density(context, comparison.density, comparison.particles)
    if comparison.verdict.refinement is not None:
        draw_convergence(context, comparison.verdict.refinement)


def draw_convergence(context: Any, refinement: Any) -> None:
    """figures/mesh_convergence.png and tokens_convergence.png: density to particles against h and N; rank 0 only."""
    folder, problem = context.folder.path / "figures", context.problem
    curves = {name: (np.array(x), np.array(y)) for name, (x, y) in refinement.curves.items()}
    mesh = curves.pop("mesh")
    label, order = r"$W_2$(density, particles)", problem.density.degree + 1
    figures.plot_convergence(folder / "mesh_convergence.png", {f"{problem.particles.count} tokens": mesh},
                             {"slope 1": 1.0, f"slope {order}, the order of the scheme": float(order)},
                             xlabel="mesh width h", ylabel=label, title=problem.title)
    ordered = {name: curves[name] for name in ("random", *curves) if name in curves}
    figures.plot_convergence(folder / "tokens_convergence.png", ordered, {r"slope $-1/2$": -0.5}, xlabel="tokens N",
                             ylabel=label, title=problem.title)


def marks_of(context: Any) -> dict[str, np.ndarray]:
    """E(VB^T) and E(V) on the space: points (k, d), a closed curve where the eigenspace is a plane."""
    marks = {}
    target = context.to_target.target
    if target.exists:
        marks["E(V Bᵀ)"] = trace(np.linalg.qr(target.analysis.basis)[0])
    directions = dominant_directions(context.problem)
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


def draw_density(context: Any, density: History, particles: History | None = None) -> None:
    """figures/density.png (and tokens.png on the circle) of a density history; rank 0 only."""
    folder, problem = context.folder.path / "figures", context.problem
    manifold = problem.manifold
    times = np.array(density.times)
    marks = marks_of(context) if manifold.normalised else {}
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
