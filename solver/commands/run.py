"""`coldflow compare`, `solve` and `particles`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.markup import escape

from solver.commands.common import load_shared, one_of_both, run_path
from solver.projection.target import target
from solver.ranks import world
from solver.runs.console import TerminalTable, print_pairs
from solver.runs.history import History
from solver.runs.phases import timeline
from solver.runs.progress import rank_console
from solver.runs.stop import Limits

if TYPE_CHECKING:
    from solver.comparison.compare import Comparison

SHOWN = 13


def run_compare(name: str, settings: list[str] | None, out: Path | None, force: bool, resume: bool, quiet: bool,
                verdict: bool, limits: Limits, accuracy: float | None = None) -> int:
    """Exit code 0 when density and particles agree, 1 when they do not or when that could not be told."""
    from solver.comparison.compare import compare

    one_of_both(force, resume)
    problem = load_shared(name, settings, sides=("density", "particles"))
    folder = run_path(problem, out)
    console = rank_console(world(), quiet)
    if console:
        console.print(f"[bold]{escape(problem.title)}[/bold]", highlight=False)
    found = compare(problem, out=folder, force=force, resume=resume, quiet=quiet, verdict=verdict,
                    limits=limits, accuracy=accuracy)
    if console:
        show_comparison(console, found, folder)
    if not found.verdict.agree:
        if world().rank == 0:
            sys.stdout.flush()
            print(f"coldflow: {found.verdict.words()} ({found.verdict.reason})", file=sys.stderr)
        return 1
    return 0


def chosen_outputs(count: int, marked: set[int]) -> list[int]:
    """Indices of the outputs shown on the terminal: every k-th, the last, and the marked ones."""
    stride = max(1, -(-(count - 1) // (SHOWN - 1)))
    return sorted({*range(0, count, stride), count - 1} | marked)


def number(value: float | None) -> str:
    """A distance for the terminal."""
    return "" if value is None or np.isnan(value) else f"{value:.4f}" if value >= 1e-3 or value == 0 else f"{value:.1e}"


def show_comparison(console: Console, found: Comparison, folder: Path) -> None:
    """The table of distances, the summary and where everything is."""
    rows, verdicts = found.rows, found.verdict.rows
    has_target = any("w2_density_target" in row for row in rows)
    to_target = ["W1 density\nto target", "W2 density\nto target", "W2 particles\nto target"] if has_target else []
    made = TerminalTable("Distances", ["t", *to_target, "W2 density\nto particles", "noise\nfloor", "verdict"])
    best = {int(np.nanargmin(found.column(f"w{p}_density_target"))) for p in (1, 2)} if has_target else set()
    for i in chosen_outputs(len(rows), best):
        row, judged = rows[i], verdicts[i]
        cells = [f"{row['time']:.4g}"]
        if has_target:
            cells += [number(row.get(key)) for key in ("w1_density_target", "w2_density_target",
                                                       "w2_particles_target")]
        floor = number(judged.get("noise_floor"))
        made.add(*cells, number(row["w2_density_particles"]), floor, judged["verdict"],
                     style="bold" if i in best else "")
    made.print(console)
    facts = []
    for p in (1, 2):
        closest = found.summary.get(f"closest_w{p}_density")
        if isinstance(closest, dict):
            facts.append((f"closest W{p} to the target", f"{closest['value']:.4f} at t = {closest['time']:.4g}"))
    for side in ("density", "particles"):
        end = found.summary.get(f"terminal_w1_{side}")
        if isinstance(end, dict):
            facts.append((f"{side} to E(V)", f"{end['value']:.4f} at t = {end['time']:.4g}"))
    mass = found.density.column("mass")
    facts.append(("mass", f"1 to {np.abs(mass - 1).max():.1e}; minimum {found.density.column('minimum').min():.3g}"))
    if found.phases:
        facts.append(("phases", timeline(found.phases)))
    if not has_target:
        reason = target(found.problem).unmeasured
        facts.append(("no target", reason))
    if found.chosen:
        facts.append(("accuracy", found.chosen))
    many = sum(row["verdict"] != "not judged" for row in verdicts)
    facts.append(("judged", f"{many} of {len(rows)} outputs"))
    facts.append(("verdict", f"{'agree' if found.verdict.agree else found.verdict.outcome.upper()} ({found.verdict.reason})"))
    facts.append(("results", f"{folder}/comparison.csv, {folder}/figures/"))
    print_pairs(console, facts)


def show_history(console: Console, title: str, history: History, names: list[str]) -> None:
    """Table of chosen diagnostics at chosen outputs."""
    names = [n for n in names if np.isfinite(history.column(n)).any()]
    made = TerminalTable(title, ["t", "step", *names])
    for i in chosen_outputs(len(history.times), set()):
        row = history.rows[i]
        cells = ("" if np.isnan(row.get(n, np.nan)) else f"{row[n]:.6g}" for n in names)
        made.add(f"{row['time']:.4g}", str(row["step"]), *cells)
    made.print(console)


def run_side(side: str, name: str, settings: list[str] | None, out: Path | None, force: bool, resume: bool,
             quiet: bool, limits: Limits) -> int:
    """One solver by itself, "density" or "particles": its table and pictures."""
    from solver.report.pictures import draw_run
    from solver.runs.context import leave, open_run
    from solver.runs.solve import run_alone

    one_of_both(force, resume)
    problem = load_shared(name, settings, sides=(side,))
    folder = run_path(problem, out)
    is_density = side == "density"
    context = open_run(problem, out=folder, force=force, resume=resume, quiet=quiet,
                       command="solve" if is_density else "particles", limits=limits)
    if context.console:
        context.console.print(f"[bold]{escape(problem.title)}[/bold]", highlight=False)
    history = run_alone(context, side)
    if context.folder is not None and context.folder.writes:
        draw_run(context.folder.path, problem, context.to_target, context.phases,
                 density=history if is_density else None, particles=None if is_density else history)
    leave(context)
    if context.console:
        extremes = ["minimum", "maximum", "entropy"] if is_density else []
        energy = "energy" if np.isfinite(history.column("energy")).all() else "log_energy"
        show_history(context.console, side.capitalize(), history, [*extremes, energy, "w1_target", "w2_target"])
        facts = [("phases", timeline(context.phases))] if context.phases else []
        print_pairs(context.console, [*facts, ("results", str(folder))])
    return 0
