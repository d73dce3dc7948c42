"""`coldflow repeat`: run again what a run folder holds, and say how many digits agree."""

from __future__ import annotations

import math
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from problems import ProblemError
from solver.commands.common import load_shared
from solver.ranks import world
from solver.runs.console import TerminalTable
from solver.runs.contents import read_facts
from solver.runs.progress import rank_console
from solver.runs.stop import Limits
from solver.runs.tables import read_columns

REPEATABLE = ("compare", "solve", "particles")
TABLES = ("diagnostics.csv", "particles.csv", "comparison.csv")


def run_repeat(folder: Path, quiet: bool) -> int:
    """Run the problem of a folder again with the same command and PETSc options; its own files are only read (collective).

    Returns:
        Exit code 0; 1 where a table has other outputs than before.

    Raises:
        ProblemError: not a run folder, or of a command that is not a run.
    """
    comm = world()
    facts = comm.bcast(read_facts(folder) if comm.rank == 0 else None)
    if facts is None:
        raise ProblemError("RUN_DIR", str(folder), "a run folder (it has no run.json)")
    command = facts.get("command")
    if command not in REPEATABLE:
        raise ProblemError("RUN_DIR", str(folder), f"a run of {', '.join(REPEATABLE)}, not of {command}")
    options = facts.get("petsc_options") or {}
    if options:
        from petsc4py import PETSc

        for key, value in options.items():
            PETSc.Options().setValue(key, value)
    problem = load_shared(str(folder / "problem.toml"), None)
    refusal = comm.bcast(unreadable(folder) if comm.rank == 0 else None)
    if refusal is not None:
        raise ProblemError("RUN_DIR", *refusal)
    again = Path(comm.bcast(tempfile.mkdtemp(prefix="coldflow-repeat-") if comm.rank == 0 else None))
    try:
        if command == "compare":
            from solver.comparison.compare import compare

            compare(problem, out=again / "run", quiet=quiet, verdict=(folder / "convergence.csv").exists(), limits=Limits())
        else:
            from solver.runs.solve import simulate, solve

            (solve if command == "solve" else simulate)(problem, out=again / "run", quiet=quiet, limits=Limits())
        same = show_agreement(folder, again / "run", quiet) if comm.rank == 0 else True
    finally:
        if comm.rank == 0:
            shutil.rmtree(again, ignore_errors=True)
    return 0 if comm.bcast(same) else 1


def unreadable(folder: Path) -> tuple[str, str] | None:
    """The first table that is not as a run leaves it, and how; None where all are sound (rank 0)."""
    for name in TABLES:
        try:
            if (folder / name).exists():
                read_columns(folder / name)
        except (OSError, ValueError, TypeError) as error:
            return str(folder / name), f"is damaged: {getattr(error, 'strerror', None) or error}"
    return None


def show_agreement(before: Path, after: Path, quiet: bool) -> bool:
    """Print how many digits of each column agree, the worst row counts; whether both have the same outputs (rank 0)."""
    same, rows = True, []
    for name in TABLES:
        if not (before / name).is_file() or not (after / name).is_file():
            continue
        old, new = read_columns(before / name), read_columns(after / name)
        if "time" not in old or not np.array_equal(old["time"], new["time"]):
            same = False
            print(f"coldflow: {name} has other outputs than before", file=sys.stderr)
            continue
        for column in old:
            if column in new and np.isfinite(old[column]).any():
                rows.append((name, column, *agreement(old[column], new[column], size_of(column, old))))
    console = rank_console(world(), quiet)
    if console is not None:
        table = TerminalTable("Repeated", ["table", "number", "digits", "largest difference"])
        for name, column, digits, difference in rows:
            table.add(name, column, "all" if math.isinf(digits) else f"{digits:.0f}", f"{difference:.1e}" if difference else "0")
        table.print(console)
        worst = min((row[2] for row in rows), default=math.inf)
        words = "all numbers are the same to the last bit" if math.isinf(worst) else f"all numbers agree to {worst:.0f} digits"
        console.print(words, highlight=False)
    return same


def size_of(column: str, table: Mapping[str, np.ndarray]) -> float:
    """What a difference in a column is measured by where its own entries are smaller: a mean of zero is known to rounding of the
    size of the law, a moment of zero to that of the other moments."""
    seconds = [float(np.nanmax(np.abs(values))) for name, values in table.items() if name.startswith("second_")]
    if column.startswith("mean_") and seconds:
        return math.sqrt(max(seconds))
    return max(seconds, default=0.0) if column.startswith("second_") else 0.0


def agreement(old: np.ndarray, new: np.ndarray, size: float = 0.0) -> tuple[float, float]:
    """Decimal digits to which two columns agree, relative to the largest entry or to `size`, infinite if they are equal; the
    difference."""
    known = np.isfinite(old) & np.isfinite(new)
    if np.array_equal(old, new, equal_nan=True):
        return math.inf, 0.0
    if not known.any() or not np.array_equal(np.isfinite(old), np.isfinite(new)):
        return 0.0, math.inf
    difference = float(np.abs(old[known] - new[known]).max())
    scale = max(float(np.abs(old[known]).max()), size) or 1.0
    return (math.inf, 0.0) if difference == 0.0 else (max(0.0, math.floor(-math.log10(difference / scale))), difference)
