"""The cells of a sweep: keys over lists, keys tied by formulas, and one run for each cell."""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from problems import ProblemError
from problems.loader import Tables, build
from problems.overrides import toml_value
from solver.ranks import alone
from solver.runs.history import History
from solver.runs.stop import Limits
from solver.runs.tables import Row
from solver.sweeps.formula import evaluate, names

if TYPE_CHECKING:
    from mpi4py import MPI

SIDES = ("compare", "density", "particles")
LONGEST_NAME = 120


@dataclass(frozen=True)
class SweepCell:
    """One run: the values of all swept and tied keys as TOML text, and the label of its folder."""

    settings: dict[str, str]
    label: str


@dataclass(frozen=True)
class SweepJob:
    """What a worker needs for one cell: the problem's tables, its folder, the side, and how to treat an earlier run."""

    tables: Tables
    folder: str
    side: str
    force: bool
    resume: bool
    verdict: bool
    limits: Limits | None = None


def short(key: str) -> str:
    """The name of a key in formulas and labels: its last part."""
    return key.rsplit(".", 1)[-1]


def split_values(text: str) -> list[str]:
    """Split at commas outside of brackets and quotes."""
    parts, depth, quoted, current = [], 0, False, ""
    for letter in text:
        quoted ^= letter == '"'
        depth += 0 if quoted else (letter in "[{(") - (letter in "]})")
        if letter == "," and depth == 0 and not quoted:
            parts.append(current.strip())
            current = ""
        else:
            current += letter
    return [part for part in [*parts, current.strip()] if part]


def parse_over(items: list[str]) -> dict[str, list[str]]:
    """`--over KEY=V1,V2` options as key -> values; brackets protect commas.

    Raises:
        ProblemError: no key, no values, a key or a value twice.
    """
    found: dict[str, list[str]] = {}
    for item in items:
        key, sign, values = item.partition("=")
        parts = split_values(values)
        if not sign or not key.strip() or not parts:
            raise ProblemError("--over", item, "KEY=V1,V2,.. with a dotted key, such as attention.beta=10,100")
        if key.strip() in found:
            raise ProblemError("--over", item, f"one list for each key; {key.strip()} has two")
        values_of = [toml_value(part) for part in parts]
        if any(value in values_of[:i] for i, value in enumerate(values_of)):
            raise ProblemError("--over", item, "each value once")
        found[key.strip()] = parts
    return found


def parse_ties(items: list[str]) -> dict[str, str]:
    """`--tie KEY=FORMULA` options as key -> formula.

    Raises:
        ProblemError: no key, no formula.
    """
    found = {}
    for item in items:
        key, sign, formula = item.partition("=")
        if not sign or "." not in key or not formula.strip():
            raise ProblemError("--tie", item, "KEY=FORMULA with a dotted key, such as attention.beta=count^0.5")
        found[key.strip()] = formula.strip()
    return found


def cells_of(over: Mapping[str, list[str]], ties: Mapping[str, str]) -> list[SweepCell]:
    """All cells: the product over the lists of `over`, with the tied keys computed.

    Formulas know every key by its last part. A key of `over` without a dot is a variable of formulas alone.

    Raises:
        ProblemError: a formula that has no value, a variable that no formula uses.
    """
    used = set().union(*(names(formula, f"--tie {key}") for key, formula in ties.items()))
    for key, values in over.items():
        if "." not in key and key not in used:
            raise ProblemError("--over", f"{key}={','.join(values)}", f"must be used by a --tie: {key} has no dot and is a "
                               "variable of formulas alone, unlike a key such as attention.beta")
    made = []
    for combination in itertools.product(*over.values()):
        chosen = dict(zip(over, combination, strict=True))
        variables = {short(key): toml_value(text) for key, text in chosen.items()}
        for key, formula in ties.items():
            variables[short(key)] = value = evaluate(formula, variables, f"--tie {key}")
            chosen[key] = json.dumps(value).replace("Infinity", "inf") if not isinstance(value, str) else value
        label = ",".join(f"{short(key)}={text}" for key, text in chosen.items() if key in over)
        made.append(SweepCell(chosen, shortened(label.replace("/", "_"))))
    return made


def shortened(label: str) -> str:
    """The name of a cell's folder: a long label is cut, and a checksum of the whole tells it from others that begin alike."""
    return label if len(label) <= LONGEST_NAME else f"{label[:LONGEST_NAME - 9]}-{zlib.crc32(label.encode()):08x}"


class CellResult(TypedDict):
    """What a cell leaves behind: numbers of the whole run, one row for each output, whether density and tokens agree (true where
    that was not asked), and where its run is."""

    row: dict[str, float | str]
    history: list[Row]
    agree: bool
    folder: str


class RunOptions(TypedDict):
    """Options of `compare`, `solve` and `simulate`."""

    comm: MPI.Comm
    out: str
    force: bool
    resume: bool
    quiet: bool
    limits: Limits | None


def run_cell(job: SweepJob) -> CellResult:
    """Run one cell on this process alone.

    Raises:
        ProblemError, RunError: as the run itself.
    """
    problem = build(job.tables)
    settings: RunOptions = {"comm": alone(), "out": job.folder, "force": job.force, "resume": job.resume, "quiet": True,
                            "limits": job.limits}
    row: dict[str, float | str] = {}
    sides: dict[str, History] = {}
    if job.side == "compare":
        from solver.comparison.compare import compare

        found = compare(problem, verdict=job.verdict, **settings)
        history = found.rows
        row = {"verdict": found.verdict.outcome if job.verdict else "",
               "w2_density_particles_max": float(np.nanmax(found.column("w2_density_particles")))}
        sides = {"density": found.density, "particles": found.particles}
    else:
        from solver.runs.solve import simulate, solve

        one = solve(problem, **settings) if job.side == "density" else simulate(problem, **settings)
        history, sides = one.rows, {job.side: one}
    for name, side in sides.items():
        row.update(closest(side, "" if len(sides) == 1 else f"_{name}"))
        row.update({f"final_{key}" + ("" if len(sides) == 1 else f"_{name}"): plain_number(value)
                    for key, value in side.rows[-1].items() if key not in ("step",)})
    return {"row": row, "history": [plain(entry) for entry in history],
            "agree": job.side != "compare" or not job.verdict or row["verdict"] == "agree", "folder": str(Path(job.folder))}


def closest(history: History, suffix: str) -> dict[str, float]:
    """Least distance to the target and its depth, for p = 1 and 2; nothing where there is no target."""
    found = {}
    for p in (1, 2):
        values = history.column(f"w{p}_target")
        if np.isfinite(values).any():
            best = int(np.nanargmin(values))
            found[f"closest_w{p}{suffix}"] = float(values[best])
            found[f"closest_w{p}_time{suffix}"] = float(history.times[best])
    return found


def plain(row: Mapping[str, float]) -> Row:
    """A row with numpy's numbers as Python's."""
    return {key: plain_number(value) for key, value in row.items()}


def plain_number(value: float) -> float:
    """NumPy's numbers as Python's."""
    return value.item() if isinstance(value, np.generic) else value
