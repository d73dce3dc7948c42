"""What is solved: problem files, their schema, initial laws and attention weights.

Imported lazily: a command that only reports an error or a title needs neither laws nor numerics.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from problems.attention import Attention, Head, Layer, Weights
    from problems.errors import ProblemError
    from problems.loader import bundled, dumps, load, loads
    from problems.problem import Problem
    from problems.words import describe

HOMES = {"Attention": "attention", "Head": "attention", "Layer": "attention", "Weights": "attention", "describe": "words",
         "ProblemError": "errors", "bundled": "loader", "dumps": "loader", "load": "loader", "loads": "loader",
         "Problem": "problem"}
__all__ = ["Attention", "Head", "Layer", "Problem", "ProblemError", "Weights", "bundled", "describe", "dumps", "load", "loads"]


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'problems' has no attribute {name!r}")
    found = getattr(importlib.import_module(f"problems.{HOMES[name]}"), name)
    globals()[name] = found
    return found
