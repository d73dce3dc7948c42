"""`coldflow sweep`: the same run for several values of several keys, in one table and figure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.markup import escape

from problems import ProblemError
from problems.loader import build, dumps, read_tables
from problems.overrides import toml_value
from solver.commands.common import load_shared, number_text, one_of_both, parse_set, usable_folder
from solver.ranks import world
from solver.runs.console import TerminalTable, print_pairs
from solver.runs.contents import refuse_links
from solver.runs.folder import digest, write_text
from solver.runs.progress import rank_console
from solver.runs.stop import Limits
from solver.runs.tables import diagnostics_columns
from solver.sweeps.cells import SIDES, CellResult, SweepCell, SweepJob, cells_of, parse_over, parse_ties, run_cell
from solver.sweeps.fit import KINDS, fit
from solver.sweeps.pool import Outcome, run_jobs
from solver.sweeps.table import write_tidy

if TYPE_CHECKING:
    from rich.console import Console

# The command that a cell's run.json names for each side.
COMMANDS = {"compare": "compare", "density": "solve", "particles": "particles"}
# One line of sweep.csv or history.csv.
Line = dict[str, float | str]
SHOWN = ("closest_w1", "closest_w1_time", "closest_w2", "closest_w2_time", "w2_density_particles_max", "verdict", "status")


def run_sweep(name: str, over: list[str], ties: list[str], side: str, settings: list[str] | None, out: Path | None, force: bool,
              resume: bool, quiet: bool, verdict: bool, workers: int | None, fits: list[str],
              limits: Limits | None = None) -> int:
    """Run every cell in a folder of its own; sweep.csv, history.csv and a figure; exit code 1 if a cell failed or disagrees."""
    if side not in SIDES:
        raise ProblemError("--side", side, "must be one of " + ", ".join(SIDES))
    one_of_both(force, resume)
    wanted = [parse_fit(text) for text in fits]
    comm = world()
    values = parse_over(over)
    cells = cells_of(values, parse_ties(ties))
    fixed = parse_set(settings)
    console = rank_console(comm, quiet)
    jobs, base = [], out if out is not None else Path()
    for cell in cells:  # every cell is checked before the first one runs
        own = {key: text for key, text in cell.settings.items() if "." in key}
        load_shared(name, settings, own, ("density", "particles") if side == "compare" else (side,))
        tables = read_tables(name, {**fixed, **own})
        base = out if out is not None else Path("results") / f"{tables.name}-sweep"
        jobs.append(SweepJob(tables, str(base / cell.label), side, force, resume, verdict, limits))
    refuse_unknown_columns(wanted, [*values, *parse_ties(ties)], side, name, settings)
    usable_folder(base)
    earlier = comm.bcast((base / "sweep.csv").exists() if comm.rank == 0 else False)
    refuse_earlier(base, earlier and not (force or resume))
    refuse_links(base, ["sweep.parquet", "history.parquet", "figures"])
    kept, other = comm.bcast(finished_cells(jobs) if resume and comm.rank == 0 else ({}, ""))
    if other:
        raise ProblemError("--resume", other, "must be made from the same problem, by the same --side (or use --force)")
    todo = [i for i in range(len(cells)) if i not in kept]
    errors: dict[int, str] = {}
    for outcome in run_jobs(run_cell, [jobs[i] for i in todo], workers, comm):
        index = todo[outcome.index]
        if outcome.result is None:
            errors[index] = outcome.error
        else:
            kept[index] = outcome.result
            if comm.rank == 0:
                write_text(base / cells[index].label / "cell.json", json.dumps(outcome.result) + "\n")
        tell(console, cells[index], outcome, len(kept) + len(errors), len(cells))
        if comm.rank == 0:
            write_tables(base, cells, kept, errors)
    rows, files = write_tables(base, cells, kept, errors) if comm.rank == 0 else (rows_of_cells(cells, kept, errors), [])
    if comm.rank == 0:
        draw(base, cells, kept, side)
    if console:
        tied = [key for key in parse_ties(ties) if all(isinstance(row.get(key), int | float) for row in rows)]
        show(console, base, rows, [*values, *tied], files)
    for kind, y, x in wanted:
        report_fit(console, rows, kind, y, x)
    return 1 if errors or not all(found["agree"] for found in kept.values()) else 0


def refuse_earlier(base: Path, refused: bool) -> None:
    """An earlier sweep is not overwritten unless asked."""
    if refused:
        raise ProblemError("--out", str(base), "must be a new folder (or use --force to replace it, --resume to go on)")


def finished_cells(jobs: list[SweepJob]) -> tuple[dict[int, CellResult], str]:
    """What cells that ended left behind, by their number, and the folder of one that was made from another problem, or ""."""
    kept: dict[int, CellResult] = {}
    for i, job in enumerate(jobs):
        try:
            found: CellResult = json.loads((Path(job.folder) / "cell.json").read_text())
            facts = json.loads((Path(job.folder) / "run.json").read_text())
        except (OSError, ValueError):
            continue
        if (facts.get("problem_sha256"), facts.get("command")) != (digest(dumps(build(job.tables))), COMMANDS[job.side]):
            return {}, job.folder
        if job.side != "compare" or not job.verdict or found["row"]["verdict"]:  # else the verdict is still to be found
            kept[i] = found
    return kept, ""


def tell(console: Console | None, cell: SweepCell, outcome: Outcome[CellResult], done: int, total: int) -> None:
    """One line for a cell that ended."""
    if console:
        console.print(f"[dim]{done:4d}/{total}[/dim]  {escape(cell.label)}: {escape(outcome.error or 'done')}",
                      highlight=False)


def rows_of_cells(cells: list[SweepCell], kept: dict[int, CellResult], errors: dict[int, str]) -> list[Line]:
    """One row for each cell: its keys, the numbers of its run and how it ended."""
    rows: list[Line] = []
    for i, cell in enumerate(cells):
        if i in kept:
            rows.append({**keys_of(cell), **kept[i]["row"], "status": "done"})
        else:
            rows.append({**keys_of(cell), "status": f"failed: {errors[i]}" if i in errors else "not run"})
    return rows


def keys_of(cell: SweepCell) -> Line:
    """The keys of a cell: numbers as such, all else as it was written."""
    keys: Line = {}
    for key, text in cell.settings.items():
        value = toml_value(text) if len(text) < 40 else text
        keys[key] = value if isinstance(value, int | float | str) else text
    return keys


def write_tables(base: Path, cells: list[SweepCell], kept: dict[int, CellResult],
                 errors: dict[int, str]) -> tuple[list[Line], list[Path]]:
    """sweep.csv, one row for each cell, and history.csv, one for each output of each cell; Parquet beside them where possible."""
    rows = rows_of_cells(cells, kept, errors)
    history: list[Line] = [{**keys_of(cells[i]), **entry} for i in sorted(kept) for entry in kept[i]["history"]]
    files = write_tidy(base / "sweep", rows)
    return rows, files + (write_tidy(base / "history", history) if history else [])


def draw(base: Path, cells: list[SweepCell], kept: dict[int, CellResult], side: str) -> None:
    """figures/sweep.png: W2 to the target over depth, one curve for each cell; only where there is a target."""
    from solver.report.figures import plot_distances

    key = {"compare": "w2_density_target"}.get(side, "w2_target")
    curves = {}
    for i, found in sorted(kept.items()):
        times = np.array([entry["time"] for entry in found["history"]])
        values = np.array([np.nan if entry.get(key) is None else entry[key] for entry in found["history"]], float)
        if np.isfinite(values).any():
            curves[cells[i].label] = (times, values)
    if curves:
        (base / "figures").mkdir(parents=True, exist_ok=True)
        plot_distances(base / "figures" / "sweep.png", curves)


def show(console: Console, base: Path, rows: list[Line], keys: list[str], files: list[Path]) -> None:
    """The table of the sweep and where everything is."""
    columns = [*keys, *(c for c in SHOWN if any(c in row for row in rows))]
    made = TerminalTable("Sweep", columns, sentences=["status"])
    for row in rows:
        made.add(*(number_text(row.get(column)) for column in columns))
    made.print(console)
    found = [("results", ", ".join(str(file) for file in files))]
    if not any(file.suffix == ".parquet" for file in files):
        found.append(("parquet", "not written: pyarrow is not installed"))
    print_pairs(console, found)


def parse_fit(text: str) -> tuple[str, str, str]:
    """`--fit power:Y:X` as its parts.

    Raises:
        ProblemError: another form, or an unknown law.
    """
    kind, _, columns = text.partition(":")
    y, _, x = columns.partition(":")
    if kind not in KINDS or not y or not x:
        raise ProblemError("--fit", text, "must be LAW:Y:X with a law of " + ", ".join(KINDS) + " and two columns of sweep.csv")
    return kind, y, x


def refuse_unknown_columns(wanted: list[tuple[str, str, str]], keys: list[str], side: str, name: str,
                           settings: list[str] | None) -> None:
    """Refuse a fit to a column that no sweep.csv has, before anything runs.

    Raises:
        ProblemError.
    """
    sides = ("density", "particles") if side == "compare" else (side,)
    known = [*keys, *(("verdict", "w2_density_particles_max") if side == "compare" else ())]
    dimension = load_shared(name, settings, sides=()).manifold.dimension
    for one in sides if wanted else ():
        suffix = f"_{one}" if len(sides) > 1 else ""
        known += [f"closest_w{p}{when}{suffix}" for p in (1, 2) for when in ("", "_time")]
        known += [f"final_{column}{suffix}" for column in diagnostics_columns(dimension, density=one == "density")]
    for _, y, x in wanted:
        for column in (x, y):
            if column not in known:
                raise ProblemError("--fit", column, "must be a column of sweep.csv: " + ", ".join(known))


def report_fit(console: Console | None, rows: list[Line], kind: str, y: str, x: str) -> None:
    """Fit one column of the sweep to another and say what came of it.

    Raises:
        ProblemError: a column that is not there, or too few points.
    """
    known = list(dict.fromkeys(key for row in rows for key in row))
    for column in (x, y):
        if column not in known:
            raise ProblemError("--fit", column, "must be a column of sweep.csv: " + ", ".join(known))
    points = [(row[x], row[y]) for row in rows if all(isinstance(row.get(c), int | float) for c in (x, y))]
    found = fit(np.array([p[0] for p in points]), np.array([p[1] for p in points]), kind)
    if console:
        print_pairs(console, [(f"{kind} fit", f"{y} against {x}: {found.words}")])
