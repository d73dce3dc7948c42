"""What must hold of every path: exit codes, mass, sign, complete tables, a quiet terminal, and a `check` that told the truth."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from solver.runs.tables import read_columns, read_rows

NOISE = re.compile(r"Warning|Traceback|PETSC ERROR|\bnan\b")
SIDES = {"solve": "diagnostics.csv", "particles": "particles.csv"}
OUTPUTS = 4
IMPLICIT_MASS, ROUND_OFF = 1e-10, 1e-12


def expected(dense: bool, command: str) -> int:
    """The exit code of a command: bad input where what it needs a mesh for has none."""
    if command == "stop":
        return 130
    return 0 if dense or command not in ("mesh", "solve", "compare") else 2


def findings(result: Mapping[str, Any]) -> Iterator[str]:
    """Everything wrong with one walked path, in words."""
    folder, commands, dense = Path(result["folder"]), result["commands"], result["dense"]
    if "do not resolve the drift" in commands["check"]["out"] and commands.get("particles", {}).get("exit") == 1:
        # Said before: then a run may fail, in one line.
        for command, found in commands.items():
            if (found["exit"] == 1 and "the run failed: step" not in found["err"]) or "Traceback" in found["err"] + found["out"]:
                yield f"{command} failed without a place: {found['err'].strip()[-300:]}"
        return
    for command, found in commands.items():
        code = expected(dense, command)
        allowed = (0, 1) if command == "compare" and code == 0 else (code,)  # a verdict on so small meshes may be open
        if found["exit"] not in allowed:
            yield f"{command} ended with {found['exit']} instead of {code}: {found['err'].strip()[-300:]}"
            continue
        if found["exit"] == 1 and "not resolved" not in found["err"] + found["out"]:
            yield f"{command} disagrees: {found['err'].strip()[-300:]}"
        if found["exit"] == 0 and found["err"].strip():
            yield f"{command} wrote to stderr: {found['err'].strip()[:300]}"
        if found["exit"] == 2 and len(found["err"].strip().splitlines()) != 1:
            yield f"{command} refused in {len(found['err'].strip().splitlines())} lines: {found['err'].strip()[:300]}"
        if found["exit"] == 2 and (folder / command).exists():
            yield f"{command} refused and left a folder"
        if found["others"].strip():
            yield f"{command}: other ranks spoke: {found['others'].strip()[:200]}"
        if found["exit"] in (0, 1) and NOISE.search(found["out"]):
            yield f"{command} printed {NOISE.search(found['out']).group()!r}: {found['out'].strip()[:300]}"
    for run in ("particles", "solve", "compare", "resumed"):
        if (folder / run).exists():
            yield from run_findings(folder / run, result["implicit"])
    if "resume" in commands and (folder / "resumed").exists():
        alone = "compare" if dense else "particles"
        yield from differences(folder / alone, folder / "resumed", 1e-12)
    for run in ("solve", "particles"):
        if {run, "check"} <= commands.keys() and commands[run]["exit"] == 0:
            yield from plan_findings(commands["check"]["out"], folder / run, result["implicit"])


def run_findings(folder: Path, chooses: bool) -> Iterator[str]:
    """Mass, sign, finiteness and completeness of a run folder's tables."""
    for name in SIDES.values():
        if not (folder / name).exists():
            continue
        columns = read_columns(folder / name)
        if len(columns.get("time", ())) != OUTPUTS:
            yield f"{folder.name}/{name} has {len(columns.get('time', ()))} rows"
            continue
        loss = np.abs(columns["mass"] - 1).max()
        if not loss <= (IMPLICIT_MASS if chooses and name == "diagnostics.csv" else ROUND_OFF):
            yield f"{folder.name}/{name}: mass 1 {loss:+.1e}"
        if "minimum" in columns and not columns["minimum"].min() >= -1e-13 * columns["maximum"].max():
            yield f"{folder.name}/{name}: minimum {columns['minimum'].min():.2e}"
        for column, values in columns.items():
            if column.startswith(("mean", "second")) and not np.isfinite(values).all():
                yield f"{folder.name}/{name}: {column} is not finite"
    if (folder / "also.csv").exists():
        columns = numbers_of(folder / "also.csv")
        systems = len(tomllib.loads((folder / "problem.toml").read_text())["compare"]["also"])
        if len(columns["time"]) != systems * OUTPUTS or not np.isfinite(columns["w2_density_tokens"]).all():
            yield f"{folder.name}/also.csv has {len(columns['time'])} rows, or distances that are not finite"


def differences(a: Path, b: Path, tolerance: float) -> Iterator[str]:
    """Where the tables of two runs differ by more than a tolerance, relative to the size of their columns."""
    for name in ("diagnostics.csv", "particles.csv", "comparison.csv", "also.csv"):
        if not (a / name).exists() or not (b / name).exists():
            if (a / name).exists() != (b / name).exists():
                yield f"{name} only in one of {a.name}, {b.name}"
            continue
        one, two = (numbers_of(folder / name) for folder in (a, b))
        if list(one) != list(two):
            yield f"{name}: columns {sorted(set(one) ^ set(two))} only in one of {a.name}, {b.name}"
            continue
        for column in one:
            if column == "step":
                continue
            x, y = one[column], two[column]
            if len(x) != len(y) or (np.isfinite(x) != np.isfinite(y)).any():
                yield f"{name}: {column} has other rows in {b.name} than in {a.name}"
            elif np.isfinite(x).any():
                size = max(1.0, float(np.nanmax(np.abs(x))))
                gap = float(np.nanmax(np.abs(x - y))) / size
                # A distance is a square root: rounding of its square is seen at 1e-8.
                if gap > (max(tolerance, 3e-8) if column.startswith("w") else tolerance):
                    yield f"{name}: {column} differs by {gap:.1e} between {a.name} and {b.name}"


def numbers_of(path: Path) -> dict[str, np.ndarray]:
    """The columns of a table but for labels."""
    rows = [{name: cell for name, cell in row.items() if name != "label"} for row in read_rows(path)]
    return {name: np.array([float(row[name]) if row[name] else np.nan for row in rows]) for name in rows[0]} if rows else {}


def plan_findings(words: str, folder: Path, chooses: bool) -> Iterator[str]:
    """Whether the steps and the memory that `check` announced are those that were taken, within a factor 3.

    Args:
        words: what `check` printed. folder: of a run of one side, named as its command. chooses: whether the density's integrator
            chooses its steps by their error, which cannot be foretold and must be said.
    """
    density = folder.name == "solve"
    found = re.search(r"^density +[^\n]*unknowns.*?(?=^particles )" if density else r"^particles +\d+ tokens, \d+ .iB.*", words,
                      re.MULTILINE | re.DOTALL)
    words = " ".join(found.group().split()) if found else ""
    steps, memory = re.search(r"about (\d+) steps", words), re.search(r"(\d+) MiB", words)
    taken = read_columns(folder / SIDES[folder.name])["step"][-1]
    if density and chooses:
        if "steps chosen by their error" not in words:
            yield "check does not say that the steps of the density are chosen by their error"
    elif "steps chosen by their error" in words:
        pass  # tokens at zero temperature
    elif steps is None:
        yield f"check says nothing of the steps of {folder.name}"
    elif not taken / 3 - 3 <= int(steps.group(1)) <= 3 * taken + 3:
        yield f"check announced {steps.group(1)} steps of {folder.name}, {taken:g} were taken"
    facts = json.loads((folder / "run.json").read_text())
    peak = facts["peak_memory_mib"]
    if memory is None or not peak / 3 <= int(memory.group(1)) <= 3 * peak:
        yield f"check announced {memory.group(1) if memory else 'no'} MiB for {folder.name}, {peak:.0f} were taken"
