"""Formulas that tie the keys of a sweep to each other, such as `N^0.5` or `normal(seed, 3, 3)`.

A formula is parsed into a tree, and only the operations of the tables below are carried out on it: numbers, named
variables, + - * / ^, comparisons, and the functions of `FUNCTIONS`. Nothing is executed as Python.
"""

from __future__ import annotations

import ast
import difflib
import math
import operator
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
from scipy.special import ive

from problems import ProblemError
from solver.sweeps.schedules import (
    approach_rate,
    cold_pace,
    lattice_pace,
    leaving_rate,
    log_outputs,
    orthonormal_times,
    pairing_times,
    two_dirac_times,
)

LONGEST = 500

T = TypeVar("T")


def rows_of(matrix: np.ndarray) -> list[list[float]]:
    """A matrix as a list of rows."""
    return [[float(entry) for entry in row] for row in matrix]


def normal(seed: float, rows: float, columns: float, stream: float = 0) -> list[list[float]]:
    """A matrix of independent standard normal entries; `stream` tells matrices of one seed apart."""
    return rows_of(np.random.default_rng([int(seed), int(stream)]).standard_normal((int(rows), int(columns))))


def scaled(matrix: list[list[float]], factor: float) -> list[list[float]]:
    """A matrix times a number."""
    return rows_of(np.asarray(matrix, float) * factor)


def diagonal(*entries: float) -> list[list[float]]:
    """The diagonal matrix with these entries."""
    return rows_of(np.diag([float(e) for e in entries]))


def identity(size: float) -> list[list[float]]:
    """The identity matrix."""
    return rows_of(np.eye(int(size)))


def rotation(angle: float) -> list[list[float]]:
    """The 2 x 2 matrix that turns vectors by an angle in radians."""
    return [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]


def product(a: list[list[float]], b: list[list[float]]) -> list[list[float]]:
    """The product of two matrices."""
    return rows_of(np.asarray(a, float) @ np.asarray(b, float))


def growth(matrix: list[list[float]]) -> float:
    """The largest real part of the eigenvalues of a matrix."""
    return float(np.linalg.eigvals(np.asarray(matrix, float)).real.max())


def leading_direction(matrix: list[list[float]]) -> list[float]:
    """The real part of the unit eigenvector of the eigenvalue with the largest real part, its largest entry positive."""
    numbers, vectors = np.linalg.eig(np.asarray(matrix, float))
    e = vectors[:, int(np.argmax(numbers.real))].real
    return [float(entry) for entry in e * np.sign(e[np.argmax(np.abs(e))])]


def multiple(value: list[list[float]], key: list[list[float]] | None = None) -> float:
    """c, where V = c I; of two matrices Q and K, where Q^T K = c I.

    Raises:
        ProblemError: it is no multiple of I.
    """
    found = np.asarray(value, float) if key is None else np.asarray(value, float).T @ np.asarray(key, float)
    if not np.allclose(found, found[0, 0] * np.eye(len(found)), rtol=1e-12, atol=1e-12):
        field, words = ("attention.value", "be") if key is None else ("attention.query", "make K^T Q")
        raise ProblemError(field, value, f"must {words} a multiple of I here")
    return float(found[0, 0])


def choose(number: float, *values: T) -> T:
    """The first, second, .. of the values for number 1, 2, .."""
    if not 1 <= int(number) <= len(values):
        raise ValueError(f"there is no choice {number:g} among {len(values)}")
    return values[int(number) - 1]


def unit(index: float, entry: float) -> list[float]:
    """The list 0, .., 0, entry, with `entry` at place `index` (from 1)."""
    return [0.0] * (int(index) - 1) + [float(entry)]


def item(values: list[T], place: float) -> T:
    """The entry of a list at a place, from 1."""
    if not 1 <= int(place) <= len(values):
        raise ValueError(f"there is no entry {place:g} among {len(values)}")
    return values[int(place) - 1]


def every(values: list[T], step: float) -> list[T]:
    """The first of some values, and every so many after it."""
    return values[::int(step)]


def last(values: list[float]) -> float:
    """The last entry of a list."""
    return values[-1]


def applied(matrix: list[list[float]], vector: list[float]) -> list[float]:
    """A matrix times a vector."""
    return [float(entry) for entry in np.asarray(matrix, float) @ np.asarray(vector, float)]


def bessel(order: float, x: float) -> float:
    """e^{-x} I_order(x)."""
    return float(ive(order, x))


CONSTANTS = {"pi": math.pi, "e": math.e, "inf": math.inf}
FUNCTIONS: dict[str, Callable[..., object]] = {
    "exp": math.exp, "log": math.log, "sqrt": math.sqrt, "sin": math.sin, "cos": math.cos, "tanh": math.tanh,
    "abs": abs, "min": min, "max": max, "round": round, "floor": math.floor, "ceil": math.ceil,
    "normal": normal, "scaled": scaled, "diagonal": diagonal, "rotation": rotation,
    "product": product, "pairing_times": pairing_times, "bessel": bessel, "last": last, "every": every, "item": item,
    "applied": applied, "approach_rate": approach_rate, "growth": growth, "leading_direction": leading_direction,
    "multiple": multiple, "identity": identity, "cold_pace": cold_pace, "lattice_pace": lattice_pace,
    "leaving_rate": leaving_rate, "orthonormal_times": orthonormal_times,
    "two_dirac_times": two_dirac_times, "log_outputs": log_outputs, "choose": choose, "unit": unit,
}
OPERATIONS: dict[type, Callable[..., object]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.Pow: math.pow,
    ast.USub: operator.neg, ast.UAdd: operator.pos,
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


def evaluate(formula: str, variables: Mapping[str, object], field: str = "formula") -> object:
    """The value of a formula: a number, a matrix, or true or false.

    Args:
        formula: text such as "N^0.5", "2*log(beta)" or "diagonal(d, 1)"; ^ and ** are powers.
        variables: name -> value.
        field: where the formula stands, for the error.

    Raises:
        ProblemError: not a formula, an unknown name, or a value that does not exist, such as log(0).
    """
    try:
        tree = ast.parse(formula.strip().replace("^", "**"), mode="eval") if len(formula) <= LONGEST else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        tree = None
    if tree is None:
        raise ProblemError(field, formula, "must be a formula of numbers, names, + - * / ^ and " + ", ".join(FUNCTIONS))
    try:
        return _value(tree.body, variables, formula, field)
    except ProblemError:
        raise
    except (ArithmeticError, ValueError, TypeError, RecursionError) as error:
        raise ProblemError(field, formula, f"has no value here ({error})") from None


def evaluate_number(formula: str, variables: Mapping[str, object], field: str = "formula") -> float:
    """As `evaluate`, of a formula that must give a number."""
    found = evaluate(formula, variables, field)
    if not isinstance(found, int | float):
        raise ProblemError(field, formula, "must give a number")
    return float(found)


def names(formula: str, field: str = "formula") -> set[str]:
    """The variables that occur in a formula."""
    try:
        tree = ast.parse(formula.strip().replace("^", "**"), mode="eval")
    except (SyntaxError, ValueError):
        raise ProblemError(field, formula, "must be a formula") from None
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - set(FUNCTIONS) - set(CONSTANTS)


def _value(node: ast.AST, variables: Mapping[str, object], formula: str, field: str) -> object:
    def inner(part: ast.AST) -> object:
        return _value(part, variables, formula, field)

    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return node.value
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Name):
        if node.id in variables:
            return variables[node.id]
        if node.id in CONSTANTS:
            return CONSTANTS[node.id]
        known = [*variables, *CONSTANTS]
        close = difflib.get_close_matches(node.id, known, n=1)
        hint = f'did you mean "{close[0]}"? ' if close else ""
        raise ProblemError(field, formula, f'knows no "{node.id}", {hint}there are {", ".join(known)}')
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATIONS:
        return OPERATIONS[type(node.op)](inner(node.left), inner(node.right))
    if isinstance(node, ast.UnaryOp) and type(node.op) in OPERATIONS:
        return OPERATIONS[type(node.op)](inner(node.operand))
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in OPERATIONS:
        return OPERATIONS[type(node.ops[0])](inner(node.left), inner(node.comparators[0]))
    if isinstance(node, ast.List | ast.Tuple):
        return [inner(part) for part in node.elts]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS and not node.keywords:
        return FUNCTIONS[node.func.id](*(inner(part) for part in node.args))
    raise ProblemError(field, formula, "may hold numbers, names, + - * / ^, comparisons and " + ", ".join(FUNCTIONS))
