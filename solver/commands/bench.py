"""`coldflow bench`: throughput of the kernels and solvers on this machine."""

from __future__ import annotations

import importlib
from pathlib import Path

from problems import ProblemError
from solver.commands.common import usable_folder
from solver.ranks import world

PARTS = {"attention": "solver.bench.attention", "density": "solver.bench.density", "transport": "solver.bench.transport"}


def run_bench(what: str, out: Path | None, quick: bool) -> int:
    """Run one part, or all of them; tables on the terminal, CSV and figures in the folder."""
    if what not in (*PARTS, "all"):
        raise ProblemError("bench", what, f"one of {', '.join(PARTS)} or all")
    folder = usable_folder(out if out is not None else Path("results") / "bench")
    folder.mkdir(parents=True, exist_ok=True)
    for name, module in PARTS.items():
        if name == "attention" and world().rank > 0:
            continue  # one core is what it measures
        if what in (name, "all"):
            importlib.import_module(module).run(folder, quick=quick)
    return 0
