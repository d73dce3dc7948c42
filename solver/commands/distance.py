"""`coldflow distance`: Wasserstein distances between two runs, output by output."""

from __future__ import annotations

from pathlib import Path

from problems import Problem, ProblemError, load
from solver.ranks import world
from solver.runs.console import TerminalTable
from solver.runs.distances import bounded_distance
from solver.runs.history import History
from solver.runs.journal import Journal
from solver.runs.progress import rank_console

SIDES = ("density", "particles")


def run_distance(first: Path, second: Path, side: str | None, quiet: bool) -> int:
    """Print W1 and W2 between the laws of two run folders at every depth both have; exit code 0."""
    if side is not None and side not in SIDES:
        raise ProblemError("--side", side, "must be density or particles")
    if world().rank != 0:
        return 0
    (problem, a, name_a), (other, b, name_b) = read_run(first, side), read_run(second, side)
    if problem.manifold.dimension != other.manifold.dimension or problem.manifold.normalised != other.manifold.normalised:
        raise ProblemError("RUN", str(second), f"must live in the space of {first}")
    shared = [(i, j) for i, t in enumerate(a.times) for j, u in enumerate(b.times) if abs(t - u) <= 1e-9 * max(1.0, abs(t))]
    if not shared:
        raise ProblemError("RUN", str(second), f"must have an output at a depth of {first}")
    made = TerminalTable(f"{first} ({name_a}) and {second} ({name_b})", ["t", "W1", "W2", "W2 at least", "W2 at most"])
    for i, j in shared:
        w1, w2 = (bounded_distance(problem, a.measures[i], b.measures[j], p) for p in (1, 2))
        made.add(f"{a.times[i]:.6g}", *(f"{value:.6g}" for value in (w1.value, w2.value, w2.lower, w2.upper)))
    console = rank_console(world(), quiet)
    if console:
        made.print(console)
    return 0


def read_run(folder: Path, side: str | None) -> tuple[Problem, History, str]:
    """Problem and history of a run folder, the density's if there is one and nothing else is asked for.

    Raises:
        ProblemError: no run there, or not that side of it.
    """
    if not (folder / "problem.toml").is_file():
        raise ProblemError("RUN", str(folder), "must be a run folder, with problem.toml in it")
    problem = load(folder / "problem.toml")
    for name in [side] if side else SIDES:
        path = folder / "checkpoint" / f"{name}.journal"
        if path.exists():
            history = History()
            try:
                for record in Journal(path).read():
                    history.restore(record)
            except OSError as error:
                raise ProblemError("RUN", str(path), f"a file that can be read ({error.strerror})") from None
            if history.times:
                return problem, history, name
    raise ProblemError("RUN", str(folder), f"holds no law of the {side or 'density or the particles'}")
