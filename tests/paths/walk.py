"""Walks paths through the command line, all in one process for each rank, and writes down what happened.

    docker/run python3 tests/paths/walk.py OUT                      the whole table, one rank
    docker/run mpirun -n 2 python3 tests/paths/walk.py OUT          the same on two
    docker/run python3 tests/paths/walk.py OUT --random 60 --seed 7  sixty paths that are not in the table
    docker/run python3 tests/paths/walk.py OUT --further            paths with settings that are no factor of the table
    docker/run python3 tests/paths/walk.py OUT --bundled            the bundled problems, reduced
    ... --only torus,cube --commands check,solve                     some of them
    ... --no-verdict                                                 without the extra runs of comparisons, most of the cost

Each path gets a folder OUT/<number>-<name>/, and OUT/walk.json a list of
{"path", "name", "commands": {command: {"exit", "out", "err"}}, "seconds"}. With `--judge` every finding is printed,
and the exit code is 1 if there is any.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import petsc4py

petsc4py.init(["coldflow"])

from mpi4py import MPI  # noqa: E402

from solver.cli import dispatch  # noqa: E402
from solver.particles.cell_sizes import forget  # noqa: E402
from solver.ranks import run_together  # noqa: E402
from solver.runs.recorders import Recorder  # noqa: E402
from tests.paths.judge import findings  # noqa: E402
from tests.paths.table import (  # noqa: E402
    IMPLICIT,
    further_paths,
    has_density,
    name_of,
    path_table,
    problem_of,
    random_paths,
)

COMMANDS = ("check", "mesh", "target", "particles", "solve", "compare", "report", "stop", "resume")
COMM = MPI.COMM_WORLD
PROBLEMS = Path(__file__).resolve().parents[2] / "problems"
MEASURED = ("particles", "solve")  # commands whose memory is compared with what `check` announced
REDUCED = ("density.cells=32", "particles.count=64", "time.end=0.3", "time.outputs=4")
NOISY = ("noisy_circle",)
CHOOSING = (*IMPLICIT, "rk45")


@contextmanager
def captured(folder: Path) -> Iterator[Callable[[], tuple[str, str]]]:
    """What this rank prints, PETSc and compiled code included, goes to files; the value gives both as text."""
    saved = os.dup(1), os.dup(2)
    paths = folder / f"out-{COMM.rank}", folder / f"err-{COMM.rank}"
    sys.stdout.flush()
    sys.stderr.flush()
    for number, path in enumerate(paths, start=1):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, number)
        os.close(handle)

    def text() -> tuple[str, str]:
        return paths[0].read_text(errors="replace"), paths[1].read_text(errors="replace")

    try:
        yield text
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, handle in enumerate(saved, start=1):
            os.dup2(handle, number)
            os.close(handle)


def forget_peak() -> None:
    """Let the most memory that this process has had be what it needs now: each command is asked for its own."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # where this is not Linux
        ctypes.CDLL(None).malloc_trim(0)  # MPI keeps what is freed
        Path("/proc/self/clear_refs").write_text("5")


@contextmanager
def stopped_after(outputs: int) -> Iterator[None]:
    """Ends a run as Ctrl-C does, on every rank, once this many outputs of a solver are recorded."""
    original, seen = Recorder.keep, {}

    def keep(self, snapshot, *arguments, **keywords):
        found = original(self, snapshot, *arguments, **keywords)
        seen[self] = seen.get(self, 0) + 1
        if seen[self] >= outputs + 1:
            raise KeyboardInterrupt
        return found

    Recorder.keep = keep
    try:
        yield
    finally:
        Recorder.keep = original


def call(arguments: list[str], scratch: Path) -> dict[str, object]:
    """One command line on all ranks: exit code, and what rank 0 and the others printed. Like a process of its own it knows no
    first run of an earlier one."""
    forget()
    if arguments[0] in MEASURED:
        forget_peak()
    with captured(scratch) as text:
        code = run_together(lambda: dispatch(arguments), COMM)
    out, err = text()
    codes, others = COMM.gather(code), COMM.gather(("", "") if COMM.rank == 0 else text())
    if COMM.rank != 0:
        return {}
    return {"exit": code if len(set(codes)) == 1 else codes, "out": out, "err": err,
            "others": "".join(a + b for a, b in others)}


def walk(problem: str, alone: str, folder: Path, commands: tuple[str, ...], scratch: Path,
         settings: tuple[str, ...] = (), verdict: bool = True, accuracy: str | None = None) -> dict[str, dict[str, object]]:
    """Every command on one problem, in run folders inside `folder`; `alone` is "compare", or "particles" where nothing has a
    mesh; comparisons are asked for the W2 error `accuracy`."""
    changed = [word for setting in settings for word in ("--set", setting)]
    unjudged = ["--no-verdict"] if alone == "compare" else []
    sizes = ["--accuracy", accuracy] if accuracy is not None else []
    lines = {
        "check": ["check", problem, *changed],
        "mesh": ["mesh", problem, *changed, "--out", str(folder / "mesh")],
        "target": ["target", problem, *changed, "--out", str(folder / "target")],
        "particles": ["particles", problem, *changed, "--out", str(folder / "particles")],
        "solve": ["solve", problem, *changed, "--out", str(folder / "solve")],
        "compare": ["compare", problem, *changed, "--out", str(folder / "compare"), *sizes,
                    *([] if verdict else ["--no-verdict"])],
        "report": ["report", str(folder / alone)],
        "stop": [alone, problem, *changed, "--out", str(folder / "resumed"), *unjudged, *sizes],
        "resume": [alone, problem, *changed, "--out", str(folder / "resumed"), "--resume", *unjudged, *sizes],
    }
    found = {}
    for command in commands:
        if command == "stop":
            with stopped_after(2):
                found[command] = call(lines[command], scratch)
        else:
            found[command] = call(lines[command], scratch)
    return found


@contextmanager
def attention_by(method: str) -> Iterator[None]:
    """Attention by one method where it can serve."""
    os.environ["COLDFLOW_ATTENTION"] = method
    yield
    del os.environ["COLDFLOW_ATTENTION"]


def fresh(folder: Path) -> None:
    """An empty folder, made by rank 0 (collective)."""
    if COMM.rank == 0:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    COMM.barrier()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--random", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--further", action="store_true", help="paths with settings that are no factor of the table, instead")
    parser.add_argument("--bundled", action="store_true", help="the bundled problems, in small sizes, instead")
    parser.add_argument("--part", default="0/1", help="every n-th path, from the k-th: k/n")
    parser.add_argument("--only", default="", help="parts of the names, by commas")
    parser.add_argument("--commands", default=",".join(COMMANDS))
    parser.add_argument("--judge", action="store_true")
    parser.add_argument("--no-verdict", action="store_true", help="compare without extra runs")
    options = parser.parse_args()
    gc.freeze()  # what is imported by now stays
    first, every = map(int, options.part.split("/"))
    table = ([] if options.bundled else random_paths(options.random, options.seed) if options.random
             else further_paths() if options.further else path_table())
    chosen = [(i, path) for i, path in enumerate(table) if i % every == first
              and (not options.only or any(word in name_of(path) for word in options.only.split(",")))]
    scratch = Path(tempfile.mkdtemp())
    results, told = [], []

    def take(name: str, folder: Path, began: float, **facts: object) -> None:
        results.append({"name": name, "folder": str(folder), "seconds": round(time.perf_counter() - began, 2), **facts})
        if COMM.rank == 0 and options.judge:
            new = [f"{name}: {finding}" for finding in findings(results[-1])]
            told.extend(new)
            print("\n".join(new) or f"{name}: well, {results[-1]['seconds']} s", flush=True)

    for name in sorted(file.stem for file in PROBLEMS.glob("*.toml")) if options.bundled else ():
        if options.only and name not in options.only.split(","):
            continue
        folder, began = options.out / name, time.perf_counter()
        fresh(folder)
        found = walk(name, "compare", folder, tuple(options.commands.split(",")), scratch, REDUCED, not options.no_verdict)
        take(name, folder, began, commands=found, dense=True, implicit=name in NOISY)
    for i, path in chosen:
        folder, began = options.out / f"{i:03d}-{name_of(path)}", time.perf_counter()
        fresh(folder)
        problem = problem_of(path, folder, "problem") if COMM.rank == 0 else folder / "problem.toml"
        COMM.barrier()
        alone, commands = "compare" if has_density(path) else "particles", tuple(options.commands.split(","))
        with attention_by(path.get("method", "auto")):
            found = walk(str(problem), alone, folder, commands, scratch, verdict=not options.no_verdict,
                         accuracy=path.get("accuracy"))
        take(name_of(path), folder, began, path=path, commands=found, dense=has_density(path),
             implicit=path["scheme"] in CHOOSING)
    if COMM.rank != 0:
        return 0
    (options.out / "walk.json").write_text(json.dumps(results, indent=1))
    if not options.judge:
        return 0
    print(f"{len(results)} paths, {len(told)} findings, {sum(r['seconds'] for r in results):.0f} s")
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
