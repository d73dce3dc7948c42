"""What is solved: problem files, their schema, initial laws and attention weights.

Imported lazily: a command that only reports an error or a title needs neither laws nor numerics.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from problems.attention import Attention, Head, Layer, Weights
    from problems.errors import ProblemError
    from problems.loader import bundled, dumps, load, loads
    from problems.problem import Problem
    from problems.registered import register_diagnostic, register_law, register_manifold, register_score, register_velocity
    from problems.words import describe

HOMES = {"Attention": "attention", "Head": "attention", "Layer": "attention", "Weights": "attention", "describe": "words",
         "ProblemError": "errors", "bundled": "loader", "dumps": "loader", "load": "loader", "loads": "loader",
         "Problem": "problem", "register_diagnostic": "registered", "register_law": "registered",
         "register_manifold": "registered", "register_score": "registered", "register_velocity": "registered"}
__all__ = ["Attention", "Head", "Layer", "Problem", "ProblemError", "Weights", "bundled", "describe", "dumps", "load", "loads",
           "register_diagnostic", "register_law", "register_manifold", "register_score", "register_velocity"]


def _tell_strangers() -> None:
    """The other packages of coldflow lie beside this one; modules of the user's own with their names would be taken for them.

    Raises:
        ImportError: which file is in the way of `meshes`, and what helps; of `solver`, which nothing here needs, a warning.
    """
    home = Path(__file__).resolve().parent.parent
    for name in ("meshes", "solver"):
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None or Path(spec.origin).resolve().parent.parent == home:
            continue
        words = f"{spec.origin} hides coldflow's package '{name}': rename that file, or start Python elsewhere"
        if name == "meshes":
            raise ImportError(words)
        warnings.warn(words, stacklevel=3)


_tell_strangers()


def __getattr__(name: str) -> object:
    if name not in HOMES:
        raise AttributeError(f"module 'problems' has no attribute {name!r}")
    found = getattr(importlib.import_module(f"problems.{HOMES[name]}"), name)
    globals()[name] = found
    return found
