"""A run folder reopened: the same objects that `compare`, `solve` and `simulate` returned when it was made."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from problems import Problem, ProblemError
from problems.loader import build, read_tables
from solver.comparison.compare import SIDES, Comparison, Curves
from solver.comparison.verdict import Judged, Verdict
from solver.runs.contents import read_facts
from solver.runs.history import History
from solver.runs.journal import Journal
from solver.runs.phases import Phase
from solver.runs.tables import Row, read_rows


def open_results(path: str | Path) -> Comparison | History:
    """What a run folder holds; nothing is written or computed. Local, no communication.

    Args:
        path: of the run folder.

    Returns:
        The `Comparison` of `coldflow compare`; of `coldflow solve` and `coldflow particles`, and of a comparison that was cut
        off, the `History`, the density's if there are two. Of the extra runs of a verdict only `convergence` is kept.

    Raises:
        ProblemError: no run folder, or one without outputs.
    """
    folder = Path(path)
    if not (folder / "problem.toml").is_file():
        raise ProblemError("path", str(path), "must be a run folder, with problem.toml in it")
    problem = build(read_tables(folder / "problem.toml")._replace(name=folder.resolve().name))
    facts = read_facts(folder) or {}
    found = {side: history for side in SIDES if (history := read_history(folder, problem, side)).times}
    if len(found) == len(SIDES) and (folder / "verdict.csv").is_file():
        judged = facts.get("verdict", {})
        rows = cast(list[Row], numbers(folder / "comparison.csv"))
        lines = cast(list[Judged], numbers(folder / "verdict.csv"))
        verdict = Verdict(lines, judged.get("reason", ""), None, judged.get("unresolved", []))
        phases = [Phase(phase["name"], phase["start"], phase["end"], phase.get("why", ""))
                  for phase in facts.get("phases", [])]
        return Comparison(problem, found["density"], found["particles"], rows, verdict,
                          facts.get("summary", {}), phases, read_convergence(folder / "convergence.csv"),
                          also=read_also(folder / "also.csv"))
    if not found:
        raise ProblemError("path", str(path), "must hold the outputs of a run in checkpoint/, and holds none")
    return next(iter(found.values()))


def read_history(folder: Path, problem: Problem, side: str) -> History:
    """The history of one side, "density" or "particles", as its journal has it; without outputs where there is none."""
    history, path = History(problem=problem, side=side), folder / "checkpoint" / f"{side}.journal"
    if path.is_file():
        for record in Journal(path).read():
            history.restore(record)
    return history


def numbers(path: Path) -> list[dict[str, float | str]]:
    """The rows of a table, numbers as such, without what is empty."""
    return [{key: number(text) for key, text in row.items() if text} for row in read_rows(path)]


def read_also(path: Path) -> list[dict[str, float | str]]:
    """The rows of also.csv, their labels as they are; none where there are no further tokens."""
    if not path.is_file():
        return []
    return [row | {"label": text["label"]} for row, text in zip(numbers(path), read_rows(path), strict=True)]


def number(text: str) -> float | str:
    """A cell as a number, or as it is."""
    try:
        return float(text)
    except ValueError:
        return text


def read_convergence(path: Path) -> Curves | None:
    """The curves of convergence.csv, None where no extra runs were made."""
    if not path.is_file():
        return None
    curves: Curves = {}
    for row in numbers(path):
        sizes, values = curves.setdefault(str(row["kind"]), ([], []))
        sizes.append(float(row["size"]))
        values.append(float(row["w2_density_particles"]))
    return curves
