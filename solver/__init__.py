"""How it is solved: attention, density, particles, projection, transport distances and the command line.

    from problems import load
    from solver import solve, simulate, target, compare
    history = solve(load("misaligned_circle"))

Imported lazily, so that the parts that need no mesh work without dolfinx.
"""

from __future__ import annotations

import importlib
from typing import Any

PUBLIC = {"solve": "solver.runs.solve", "simulate": "solver.runs.solve", "target": "solver.projection.target",
          "compare": "solver.comparison.compare"}
__all__ = ["compare", "simulate", "solve", "target"]


def __getattr__(name: str) -> Any:
    if name in PUBLIC:
        return getattr(importlib.import_module(PUBLIC[name]), name)
    raise AttributeError(f"module 'solver' has no attribute {name!r}")
