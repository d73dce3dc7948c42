"""How it is solved: attention, density, particles, projection, transport distances and the command line.

    from solver import solve, simulate, target, compare, open_results
    history = solve("misaligned_circle")

Imported lazily, so that the parts that need no mesh work without dolfinx.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

from solver.runs.drawing import DRAWN_BY

PUBLIC = {"solve": "solver.runs.solve", "simulate": "solver.runs.solve", "target": "solver.projection.target",
          "compare": "solver.comparison.compare", "open_results": "solver.comparison.results"}
__all__ = ["compare", "open_results", "simulate", "solve", "target"]

def _refuse_strangers() -> None:
    """The other packages of coldflow lie beside this one; modules of the user's own with their names would be taken for them.

    Raises:
        ImportError: which file is in the way, and what helps.
    """
    home = Path(__file__).resolve().parent.parent
    for name in ("problems", "meshes"):
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None and Path(spec.origin).resolve().parent.parent != home:
            raise ImportError(f"{spec.origin} hides coldflow's package '{name}': rename that file, or start Python elsewhere")


_refuse_strangers()

# Pictures are made above the results that are drawn: the results find what draws them by name.
DRAWN_BY.update(history="solver.report.notebook:draw_one", comparison="solver.report.notebook:draw_both",
                film="solver.report.notebook:film")


def __getattr__(name: str) -> object:
    if name in PUBLIC:
        return getattr(importlib.import_module(PUBLIC[name]), name)
    if name == "__version__":
        return importlib.import_module("solver.runs.provenance").VERSION
    raise AttributeError(f"module 'solver' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
