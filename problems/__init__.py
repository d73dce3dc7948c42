"""What is solved: problem files, their schema, initial laws and attention weights."""

from problems.attention import Attention, Head, Layer, Weights
from problems.describe import describe
from problems.errors import ProblemError
from problems.loader import bundled, dumps, load, loads
from problems.problem import Problem

__all__ = ["Attention", "Head", "Layer", "Problem", "ProblemError", "Weights", "bundled", "describe", "dumps", "load", "loads"]
