"""`coldflow sweep`: the same comparison for several values of a key."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from problems import ProblemError
from solver.commands.common import load_shared, number_text
from solver.ranks import world
from solver.runs.console import TerminalTable, print_pairs
from solver.runs.progress import rank_console
from solver.runs.stop import Limits

COLUMNS = ["closest_w1", "closest_w1_time", "closest_w2", "closest_w2_time", "w2_density_particles_max", "verdict"]


def parse_over(items: list[str]) -> dict[str, list[str]]:
    """`--over KEY=V1,V2` options as key -> values; brackets protect commas.

    Raises:
        ProblemError: no key, no values.
    """
    found: dict[str, list[str]] = {}
    for item in items:
        key, sign, values = item.partition("=")
        parts = split_values(values)
        if not sign or not key.strip() or not parts:
            raise ProblemError("--over", item, "KEY=V1,V2,.. with a dotted key, such as attention.beta=10,100")
        found[key.strip()] = parts
    return found


def split_values(text: str) -> list[str]:
    """Split at commas outside of brackets and quotes."""
    parts, depth, quoted, current = [], 0, False, ""
    for letter in text:
        quoted ^= letter == '"'
        depth += 0 if quoted else (letter in "[{") - (letter in "]}")
        if letter == "," and depth == 0 and not quoted:
            parts.append(current.strip())
            current = ""
        else:
            current += letter
    return [part for part in [*parts, current.strip()] if part]


def run_sweep(name: str, over: list[str], settings: list[str] | None, out: Path | None, force: bool, resume: bool,
              quiet: bool, limits: Limits) -> int:
    """Run every combination in a folder of its own; sweep.csv and a figure; exit code 1 if any disagrees."""
    from solver.comparison.compare import compare

    values = parse_over(over)
    cases = [dict(zip(values, combination, strict=True)) for combination in itertools.product(*values.values())]
    problems = [load_shared(name, settings, case, ("density", "particles")) for case in cases]
    console = rank_console(world(), quiet)
    base = out if out is not None else Path("results") / f"{problems[0].name}-sweep"
    rows, curves, code = [], {}, 0
    for case, problem in zip(cases, problems, strict=True):
        label = ",".join(f"{key.rsplit('.', 1)[-1]}={value}" for key, value in case.items())
        if console:
            console.print(f"[bold]{label}[/bold]", highlight=False)
        found = compare(problem, out=base / label.replace("/", "_"), force=force, resume=resume, quiet=quiet, limits=limits)
        code = max(code, 0 if found.verdict.agree else 1)
        rows.append({**case, **outcome(found)})
        curves[label] = (np.array([row["time"] for row in found.rows]), found.column("w2_density_target"))
    write_sweep(base, list(values), rows, curves, problems[0].title)
    if console:
        made = TerminalTable("Sweep", [*values, *COLUMNS])
        for row in rows:
            made.add(*(number_text(row[key]) for key in [*values, *COLUMNS]))
        made.print(console)
        print_pairs(console, [("results", f"{base}/sweep.csv, {base}/figures/sweep.png")])
    return code


def outcome(found: Any) -> dict[str, Any]:
    """The row of one comparison."""
    summary = found.summary
    row: dict[str, Any] = {"verdict": "agree" if found.verdict.agree else "disagree",
                           "w2_density_particles_max": float(np.nanmax(found.column("w2_density_particles")))}
    for p in (1, 2):
        closest = summary.get(f"closest_w{p}_density", {})
        row[f"closest_w{p}"], row[f"closest_w{p}_time"] = closest.get("value"), closest.get("time")
    return row


def write_sweep(base: Path, keys: list[str], rows: list[dict[str, Any]], curves: dict[str, Any], title: str) -> None:
    """sweep.csv and figures/sweep.png; rank 0 only."""
    if world().rank != 0:
        return
    from solver.report.figures import plot_distances
    from solver.runs.tables import CsvTable

    (base / "figures").mkdir(parents=True, exist_ok=True)
    written = CsvTable(base / "sweep.csv", [*keys, *COLUMNS])
    for row in rows:
        written.write(row)
    written.close()
    if any(np.isfinite(values).any() for _, values in curves.values()):
        plot_distances(base / "figures" / "sweep.png", curves, title=title)


