"""Checks of single values of a problem file: (field, value) -> the value in its final type.

`field` is the dotted key that an error names. Anything not allowed raises `ProblemError`.
"""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from problems.errors import MISSING, ProblemError

Check = Callable[[str, Any], Any]


def nearest(name: str, allowed: Iterable[str]) -> str:
    """'did you mean "limiter"? allowed: ...', or only what is allowed if nothing is near."""
    names = list(allowed)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    listed = "allowed: " + ", ".join(names) if names else "nothing is allowed here"
    return f'did you mean "{close[0]}"? {listed}' if close else listed


def refuse_unknown(prefix: str, table: Mapping[str, Any], allowed: Iterable[str]) -> None:
    """Refuse the first key of `table` that is not `allowed`, with the nearest valid name."""
    names = list(allowed)
    for key in table:
        if key not in names:
            raise ProblemError(joined(prefix, key), table[key], f"unknown key, {nearest(key, names)}")


def joined(prefix: str, key: str) -> str:
    return f"{prefix}.{key}" if prefix else key


def is_number(value: Any) -> bool:
    """Whether a value is a number that a double can hold; NaN and infinity are, true and false are not."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer)):
        return False
    return isinstance(value, float) or abs(int(value)) <= sys.float_info.max


def number(low: float = -math.inf, high: float = math.inf, *, open_low: bool = False, infinite: bool = False) -> Check:
    """A real number in [low, high], or (low, high] if `open_low`; infinity only if `infinite`, NaN never."""
    low_words = f"greater than {low:g}" if open_low else f"at least {low:g}"
    words = ["a number"]
    if math.isfinite(low):
        words.append(low_words)
    if math.isfinite(high):
        words.append(f"and at most {high:g}" if math.isfinite(low) else f"at most {high:g}")
    allowed = "must be " + " ".join(words) + (', or "inf"' if infinite else "")

    def check(field: str, value: Any) -> float:
        if infinite and isinstance(value, str) and value.lower() in ("inf", "+inf", "infinity"):
            value = math.inf
        if not is_number(value):
            raise ProblemError(field, value, allowed)
        result = float(value)
        too_low = result <= low if open_low else result < low
        if math.isnan(result) or too_low or result > high or (math.isinf(result) and not infinite):
            raise ProblemError(field, value, allowed)
        return result

    return check


def integer(low: int, high: int | None = None) -> Check:
    """A whole number in [low, high]; 256.0 counts as one."""
    allowed = f"must be a whole number at least {low}" if high is None else f"must be a whole number from {low} to {high}"
    if low == high:
        allowed = f"must be {low}"

    def check(field: str, value: Any) -> int:
        if not is_number(value) or not math.isfinite(value) or value != int(value) or value < low:
            raise ProblemError(field, value, allowed)
        if high is not None and value > high:
            raise ProblemError(field, value, allowed)
        return int(value)

    return check


def choice(*names: str) -> Check:
    """One of `names`."""

    def check(field: str, value: Any) -> str:
        if not isinstance(value, str) or value not in names:
            raise ProblemError(field, value, nearest(value if isinstance(value, str) else "", names))
        return value

    return check


def boolean(field: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ProblemError(field, value, "must be true or false")
    return value


def text(field: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ProblemError(field, value, "must be text")
    return value


def optional(check: Check) -> Check:
    """None, meaning the key was not given, or what `check` accepts."""
    return lambda field, value: None if value is None else check(field, value)


def table(field: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ProblemError(field, value, f"must be a table, [{field}]")
    return dict(value)


def tables(field: str, value: Any) -> list[dict[str, Any]]:
    """A non-empty array of tables, [[field]]."""
    if value is MISSING or not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise ProblemError(field, value, f"must be one or more tables, [[{field}]]")
    return [table(f"{field}[{i}]", entry) for i, entry in enumerate(value)]


def vector(field: str, value: Any, length: int | None = None) -> np.ndarray:
    """A list of finite numbers (length,), any length from 1 if None."""
    want = "a list of numbers" if length is None else f"a list of {length} number{'s' if length != 1 else ''}"
    if not isinstance(value, (list, tuple, np.ndarray)) or len(value) == 0 or not all(map(is_number, value)):
        raise ProblemError(field, value, f"must be {want}")
    if length is not None and len(value) != length:
        raise ProblemError(field, value, f"must be {want}, not {len(value)}")
    result = np.array([float(entry) for entry in value])
    if not np.all(np.isfinite(result)):
        raise ProblemError(field, value, "must have finite entries only")
    return result


def matrix(field: str, value: Any, rows: int | None, columns: int) -> np.ndarray:
    """A list of rows of finite numbers (rows, columns); any number of rows from 1 if None."""
    shape = f"{rows} x {columns}" if rows is not None else f"k x {columns}"
    want = f"must be a matrix of {shape} numbers, a list of rows"
    if not isinstance(value, (list, tuple, np.ndarray)) or len(value) == 0:
        raise ProblemError(field, value, want)
    if not all(isinstance(row, (list, tuple, np.ndarray)) for row in value):
        raise ProblemError(field, value, want)
    if not all(is_number(entry) for row in value for entry in row):
        raise ProblemError(field, value, want)
    lengths = {len(row) for row in value}
    if lengths != {columns} or (rows is not None and len(value) != rows):
        given = f"{len(value)} x {lengths.pop()}" if len(lengths) == 1 else "rows of unequal length"
        raise ProblemError(field, value, f"{want}, not {given}")
    result = np.array([[float(entry) for entry in row] for row in value])
    if not np.all(np.isfinite(result)):
        raise ProblemError(field, value, "must have finite entries only")
    return result
