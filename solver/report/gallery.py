"""Which pictures a run gets, by the space it lives on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from problems import Problem
from problems.attention import Weights
from problems.space import LAW
from solver.attention import Attention, log_energy
from solver.projection.cold_flow import cold_flow
from solver.projection.target import Target, target
from solver.projection.terminal import dominant_directions
from solver.report import figures, laws
from solver.report.album import Album
from solver.report.arcs import arc_length
from solver.runs.distances import TargetDistance, distance_between
from solver.runs.events import Event
from solver.runs.history import History
from solver.runs.phases import Phase
from solver.runs.tables import axis_names, evenly
from solver.wasserstein.measure import Measure

# Name -> sizes and W2 between density and tokens.
Curves = Mapping[str, tuple[list[float], list[float]]]

PANELS = 5
CUT = -np.pi / 8  # angle where pictures of the circle are cut open, away from the axes and their diagonals
LINE_POINTS = 1024  # of a target that is a curve, for that line: the points of the law are known to 5 % only
UNRESOLVED = 0.05  # relative change of the zero-temperature line with half the points, from which on it is not drawn


class Comparison(Protocol):
    """What pictures need of a comparison."""

    problem: Problem
    density: History
    particles: History

    @property
    def convergence(self) -> Curves | None: ...
    def column(self, name: str) -> np.ndarray: ...
    def further(self, name: str) -> Mapping[str, tuple[np.ndarray, np.ndarray]]: ...


@dataclass(frozen=True)
class Course:
    """What is drawn along every depth axis: the phases and events of a run."""

    phases: Sequence[Phase] = field(default=())
    events: Sequence[Event] = field(default=())


NOTHING = Course()


def draw_comparison(album: Album, comparison: Comparison, to_target: TargetDistance, course: Course = NOTHING) -> None:
    """distances.png, energy.png, density.png, tokens.png and the convergence of a comparison; rank 0 only, no collective
    calls."""
    problem = comparison.problem
    times = np.array(comparison.density.times)
    curves = {side: (times, comparison.column(f"w2_{side}_target")) for side in ("density", "particles")}
    curves = {name: curve for name, curve in curves.items() if np.isfinite(curve[1]).any()}
    if curves:
        curves |= comparison.further("w2_tokens_target")
    if curves:
        cold = album.attempt("zero-temperature line", lambda: zero_temperature_distances(problem, to_target, times))
        if cold is not None:
            curves["zero temperature"] = (times, cold)
        album.draw("distances.png", figures.plot_distances, curves, terminal=to_target.terminal_level(), title=problem.title,
                   phases=course.phases, events=course.events)
    else:
        between = {"density to particles": (times, comparison.column("w2_density_particles"))}
        between |= {f"density to {name}": curve for name, curve in comparison.further("w2_density_tokens").items()}
        album.draw("distances.png", figures.plot_distances, between, subject="Distance between density and tokens",
                   ylabel=r"$W_2$(density, particles)", title=problem.title, phases=course.phases, events=course.events)
    draw_history(album, problem, comparison.density, comparison.particles, course)
    if comparison.convergence is not None:
        draw_convergence(album, problem, comparison.convergence)


def draw_history(album: Album, problem: Problem, density: History | None, particles: History | None,
                 course: Course = NOTHING) -> None:
    """energy.png, density.png and tokens.png of a density, of tokens, or of both; rank 0 only."""
    sides = {"density": density, "particles": particles}
    logs = {name: (np.array(history.times), history.column("log_energy")) for name, history in sides.items()
            if history is not None and np.isfinite(history.column("log_energy")).sum() > 1}
    if logs:
        level = album.attempt("level of the energy", lambda: terminal_energy(problem, target(problem)))
        album.draw("energy.png", figures.plot_energy, logs, level=level, title=problem.title, phases=course.phases,
                   events=course.events)
    if density is not None and density.times:
        draw_density(album, problem, density, particles, course)
    elif particles is not None and particles.times:
        draw_tokens(album, problem, particles)


def zero_temperature_distances(problem: Problem, to_target: TargetDistance, times: np.ndarray) -> np.ndarray | None:
    """W2 to the target along the zero-temperature flow, (T,); NaN once half the points give another distance, None where
    there is no such line. Local."""
    if to_target.measure is None:
        return None
    goal, lines = Measure(*to_target.target.measure(LINE_POINTS)), []
    for coarser in (1, 2):
        flow = cold_flow(problem, times, coarser)
        if flow is None:
            return None
        points, masses = flow
        lines.append(np.array([distance_between(problem, Measure(x, masses), goal, 2) for x in points]))
    resolved = np.abs(lines[1] - lines[0]) <= UNRESOLVED * lines[0]
    return np.where(np.logical_and.accumulate(resolved), lines[0], np.nan)


def terminal_energy(problem: Problem, goal: Target) -> float | None:
    """Logarithm of the energy of the terminal state that V predicts, two clusters with the masses of the target; None without."""
    weights: Weights = problem.attention.layers[-1].weights
    if not goal.exists or goal.predictions is None or goal.predictions.terminal is None:
        return None
    atoms = goal.atoms()
    if atoms is None or len(atoms[1]) != len(goal.predictions.terminal):
        return None
    found = log_energy(Attention(weights), goal.predictions.terminal, atoms[1])
    return found if np.isfinite(found) else None


def draw_convergence(album: Album, problem: Problem, convergence: Curves) -> None:
    """mesh_convergence.png and tokens_convergence.png: density to particles against h and N; rank 0 only."""
    curves = {name: (np.array(x), np.array(y)) for name, (x, y) in convergence.items()}
    label, order = r"$W_2$(density, particles)", problem.density.degree + 1
    mesh = curves.pop("mesh", None)
    if mesh is not None:
        tokens = f"{int(curves[problem.particles.sampling][0][0])} tokens"
        album.draw("mesh_convergence.png", figures.plot_convergence, {tokens: mesh},
                   {"slope 1": 1.0, f"slope {order}, the order of the scheme": float(order)}, xlabel="mesh width h", ylabel=label,
                   title=problem.title, subject="Density to tokens, against the mesh width")
    ordered = {name: curves[name] for name in ("random", *curves) if name in curves}
    if ordered:
        album.draw("tokens_convergence.png", figures.plot_convergence, ordered, {r"slope $-1/2$": -0.5}, xlabel="tokens N",
                   ylabel=label, title=problem.title, subject="Density to tokens, against the number of tokens")


def marks_of(problem: Problem) -> dict[str, np.ndarray]:
    """E(VB^T) and E(V) on the space: points (k, d), a closed curve where the eigenspace is a plane."""
    if not problem.manifold.normalised:
        return {}
    marks = {}
    goal = target(problem)
    if goal.exists and goal.analysis is not None:
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


def draw_density(album: Album, problem: Problem, density: History, particles: History | None = None,
                 course: Course = NOTHING) -> None:
    """density.png (and tokens.png on the circle) of a density history, with the tokens where there are some; rank 0 only."""
    manifold, times = problem.manifold, np.array(density.times)
    chosen = pick(len(times))
    marks = album.attempt("directions", lambda: marks_of(problem)) or {}
    if manifold.intrinsic == 1:
        draw_curve(album, problem, density, particles, course, marks)
        return
    tokens = None
    if particles is not None and len(particles.measures) == len(times):
        tokens = [particles.measures[i].points for i in chosen]
    points, _, triangles = density.pictures[0]
    if triangles is None:
        panels = [(times[i], density.measures[i].points, density.measures[i].masses) for i in chosen]
        album.draw("density.png", laws.plot_marginals, panels, axis_names(manifold.dimension), title=problem.title,
                   box=(points.min(axis=0), points.max(axis=0)))
        return
    shown = [(float(times[i]), density.pictures[i][0], density.pictures[i][1], faces) for i in chosen
             if (faces := density.pictures[i][2]) is not None]
    if manifold.dimension == 3:
        album.draw("density.png", laws.plot_surface, shown, marks=marks, tokens=tokens, title=problem.title,
                   sphere=manifold.normalised)
    else:
        album.draw("density.png", laws.plot_plane, shown, tokens=tokens, title=problem.title)


def draw_curve(album: Album, problem: Problem, density: History, particles: History | None, course: Course,
               marks: Mapping[str, np.ndarray]) -> None:
    """The density on a curve over depth, and on the circle at chosen depths too."""
    manifold, times = problem.manifold, np.array(density.times)
    points, values = density.pictures[0][0], [picture[1] for picture in density.pictures]
    if manifold.normalised:
        positions, label = angle_of(points), "angle"
        if problem.space.grading == LAW:  # meshes change
            positions = np.unique(np.concatenate([angle_of(picture[0]) for picture in density.pictures]))
            values = [between(positions, angle_of(picture[0]), picture[1]) for picture in density.pictures]
    elif manifold.dimension == 1:
        positions, label = points[:, 0], "position"
    else:
        positions, label = arc_length(points, max(1, problem.density.degree) + 1), "arc length"
    order = np.argsort(positions, kind="stable")
    together = np.array([found[order] for found in values])
    angles = {name: np.sort(angle_of(places)) for name, places in marks.items()}
    if len(times) > 1:
        album.draw("density.png", laws.plot_space_time, times, positions[order], together, marks=angles, title=problem.title,
                   degrees=manifold.normalised, label=label, phases=course.phases, events=course.events)
    if manifold.normalised:
        both = particles is not None and len(particles.measures) == len(times)
        panels = [(times[i], angle_of(particles.measures[i].points) if both and particles is not None else None, positions[order],
                   together[i]) for i in pick(len(times))]
        album.draw("tokens.png", laws.plot_tokens_circle, panels, problem.title, angles)


def between(positions: np.ndarray, angles: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values (n,) at angles, on the circle, carried over to other ones."""
    order = np.argsort(angles, kind="stable")
    return np.interp(positions, angles[order], values[order], period=2 * np.pi)


def draw_tokens(album: Album, problem: Problem, particles: History) -> None:
    """tokens.png of tokens without a density: their marginals at chosen depths, on the circle their angles over depth."""
    times, dimension = np.array(particles.times), problem.manifold.dimension
    chosen = pick(len(times))
    if dimension >= 3:
        panels = [(times[i], particles.measures[i].points[:, :3], particles.measures[i].masses) for i in chosen]
        album.draw("tokens.png", laws.plot_marginals, panels, axis_names(dimension)[:3], title=problem.title, of="tokens",
                   box=(np.full(3, -1.0), np.full(3, 1.0)) if problem.manifold.normalised else None)


def angle_of(points: np.ndarray) -> np.ndarray:
    """Angles (n,) of points (n, 2) on the circle, from where pictures are cut."""
    return (np.arctan2(points[:, 1], points[:, 0]) - CUT) % (2 * np.pi) + CUT


def pick(count: int) -> list[int]:
    """Indices of up to `PANELS` outputs, first and last among them."""
    return evenly(count, PANELS)
