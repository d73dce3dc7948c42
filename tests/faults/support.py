"""Runs to be disturbed, the same runs left alone, and how their results differ."""

from __future__ import annotations

import csv
import itertools
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["density.cells=48", "particles.count=96", "time.end=1.0", "time.outputs=9", "attention.beta=8"]
CASES = {
    "circle": ["misaligned_circle", *SMALL],
    "sphere": ["smooth_sphere", "density.cells=80", "density.degree=1", "particles.count=64", "time.end=0.4", "time.outputs=5"],
    "box": ["CWD/box.toml"],
}
BOX = """title = "A box"
[space]
manifold = "box"
bounds = [[-1.0, 1.0], [-1.0, 1.0], [-1.0, 1.0]]
[attention]
beta = 2.0
value = [[1.0, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, -0.5]]
[initial]
law = "uniform"
[time]
end = 0.2
outputs = 4
[density]
cells = 100
degree = 1
[particles]
count = 64
"""
TABLES = {"compare": ("diagnostics.csv", "particles.csv", "comparison.csv", "verdict.csv", "convergence.csv", "clusters.csv"),
          "solve": ("diagnostics.csv",), "particles": ("particles.csv", "clusters.csv")}
FAST = ["--checkpoint-every", "0.05"]


def environment() -> dict[str, str]:
    """One thread, this checkout first."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def command(name: str, case: str, out: Path, *flags: str, ranks: int = 1) -> list[str]:
    """The command line of one run."""
    problem, *settings = CASES[case]
    if problem.startswith("CWD"):
        problem = str(out.parent / "box.toml")
        Path(problem).write_text(BOX)
    options = [word for item in settings for word in ("--set", item)]
    launch = ["mpirun", "-n", str(ranks)] if ranks > 1 else []
    return [*launch, sys.executable, "-m", "solver", name, problem, *options, "--out", str(out), "--quiet", *FAST, *flags]


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start a command in a process group of its own."""
    return subprocess.Popen(arguments, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            stdin=subprocess.DEVNULL, start_new_session=True, cwd="/tmp")


def finish(process: subprocess.Popen[str], seconds: float = 240.0) -> tuple[int, str]:
    """Exit code and all that was said; a run that hangs is an error."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return -999, "no end"
    return process.returncode, out + err


def rows(path: Path) -> list[list[str]]:
    """All cells of a table."""
    with path.open(newline="") as file:
        return list(csv.reader(file))


def differences(one: Path, two: Path, tables: tuple[str, ...], tolerance: float) -> list[str]:
    """How two run folders differ, in words; empty if they do not."""
    found = []
    for name in tables:
        if not (two / name).exists():
            found.append(f"{name} is missing")
            continue
        a, b = rows(one / name), rows(two / name)
        if len(a) != len(b) or [len(row) for row in a] != [len(row) for row in b]:
            found.append(f"{name}: {len(a)} rows and {len(b)}")
            continue
        worst = 0.0
        for x, y in zip(itertools.chain(*a), itertools.chain(*b), strict=True):
            if x != y:
                try:
                    worst = max(worst, abs(float(x) - float(y)) / max(1.0, abs(float(x))))
                except ValueError:
                    worst = math.inf
                    found.append(f"{name} has {y!r} for {x!r}")
        if not worst <= tolerance:
            found.append(f"{name} differs by {worst:.1e}")
    return found


def field_differences(one: Path, two: Path, tolerance: float, *, tokens_only: bool = False) -> list[str]:
    """How the tokens and fields on file differ, dataset by dataset; the order of the nodes depends on the number of ranks."""
    found = []
    for name in ("particles.h5",) if tokens_only else ("particles.h5", "density.h5"):
        if not (one / name).exists():
            continue
        with h5py.File(one / name) as a:
            expected: dict[str, np.ndarray] = {}
            a.visititems(lambda key, item, into=expected: into.update({key: item[()]} if isinstance(item, h5py.Dataset) else {}))
        try:
            with h5py.File(two / name) as b:
                for key, values in expected.items():
                    if key not in b or b[key].shape != values.shape:
                        found.append(f"{name}: {key} is missing or short")
                    elif values.dtype.kind == "f" and not np.allclose(values, b[key][()], rtol=0.0,
                                                                      atol=tolerance * max(1.0, float(np.abs(values).max()))):
                        found.append(f"{name}: {key} differs")
        except OSError as error:
            found.append(f"{name}: {error}")
    return found


def reference(base: Path, name: str, case: str, *settings: str, ranks: int = 1) -> Path:
    """A run left alone, how long it takes and its exit code beside it."""
    out = base / "-".join([name, case, str(ranks), *settings]).replace("/", "_")
    if not out.exists():
        began = time.monotonic()
        code, words = finish(start(*command(name, case, out, *more(settings), ranks=ranks)))
        if code not in (0, 1):
            raise SystemExit(f"{name} {case}: {words}")
        (out.parent / f"{out.name}.seconds").write_text(f"{time.monotonic() - began} {code}")
    return out


def more(settings: tuple[str, ...]) -> list[str]:
    """Further `--set` options."""
    return [word for item in settings for word in ("--set", item)]


def seconds(folder: Path) -> float:
    """How long the reference took."""
    return float((folder.parent / f"{folder.name}.seconds").read_text().split()[0])


def code_of(folder: Path) -> int:
    """How the reference ended."""
    return int((folder.parent / f"{folder.name}.seconds").read_text().split()[1])


def recorded_rows(out: Path) -> dict[str, int]:
    """How many outputs the tables of a run show."""
    return {side: len(rows(out / table)) - 1 for side, table in (("density", "diagnostics.csv"), ("particles", "particles.csv"))
            if (out / table).exists()}


def children(pid: int) -> list[int]:
    """The ranks of an mpirun, which any of its threads may have started, in some versions through a process in between."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            is_rank = Path(f"/proc/{child}/comm").read_text().startswith("python")
            found += [child] if is_rank else children(child)
    return sorted(found)
