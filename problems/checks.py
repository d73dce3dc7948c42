"""Checks of single values of a problem file: (field, value) -> the value in its final type.

`field` is the dotted key that an error names. Anything not allowed raises `ProblemError`. Each check also says what it allows: in
words, for the documentation, and as a JSON Schema, for editors.
"""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeGuard, TypeVar

import numpy as np

from problems.errors import MISSING, Mistakes, ProblemError

# Numbers are zero or between these in size: products of a few of them neither overflow nor vanish.
LARGEST, SMALLEST = 1e30, 1e-30
INFINITE = ("inf", "+inf", "infinity")

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Check(Generic[T_co]):
    """A check that can be called as (field, value).

    Attributes:
        accept: the value in its final type, or ProblemError.
        schema: what a JSON Schema can say of the values allowed.
        words: the range, for a table of documentation; empty where the meaning of the key says it.
    """

    accept: Callable[[str, object], T_co]
    schema: Mapping[str, object]
    words: str = ""

    def __call__(self, field: str, value: object) -> T_co:
        return self.accept(field, value)


def nearest(name: str, allowed: Iterable[str]) -> str:
    """'did you mean "limiter"? allowed: ...', or only what is allowed if nothing is near."""
    names = list(allowed)
    close = difflib.get_close_matches(str(name)[:200], names, n=1, cutoff=0.5)
    listed = "allowed: " + ", ".join(names) if names else "nothing is allowed here"
    return f'did you mean "{close[0]}"? {listed}' if close else listed


def refuse_unknown(prefix: str, table: Mapping[str, object], allowed: Iterable[str]) -> None:
    """Refuse every key of `table` that is not `allowed`, each with the nearest valid name."""
    names, wrong = list(allowed), Mistakes()
    for key in table:
        if key not in names:
            wrong.note(joined(prefix, key), table[key], f"unknown key, {nearest(key, names)}")
    wrong.stop()


def joined(prefix: str, key: str) -> str:
    return f"{prefix}.{key}" if prefix else key


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value is a number that a double can hold; NaN and infinity are, true and false are not."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer)):
        return False
    return isinstance(value, float) or abs(int(value)) <= sys.float_info.max


def refuse_extreme(field: str, given: object, size: float) -> None:
    """Refuse what is so large or so small, in `size`, that products of it would leave the range of a double."""
    if size > LARGEST:
        raise ProblemError(field, given, f"must not exceed {LARGEST:g} in size, beyond which doubles overflow")
    if 0.0 < size < SMALLEST:
        raise ProblemError(field, given, f"must be 0 or at least {SMALLEST:g} in size, below which doubles vanish")


def number(low: float = -math.inf, high: float = math.inf, *, open_low: bool = False, infinite: bool = False) -> Check[float]:
    """A real number in [low, high], or (low, high] if `open_low`; infinity only if `infinite`, NaN never."""
    low_words = f"greater than {low:g}" if open_low else f"at least {low:g}"
    words = []
    if math.isfinite(low):
        words.append(low_words)
    if math.isfinite(high):
        words.append(f"and at most {high:g}" if math.isfinite(low) else f"at most {high:g}")
    allowed = " ".join(["must be a number", *words]) + (', or "inf"' if infinite else "")

    def accept(field: str, value: object) -> float:
        if infinite and isinstance(value, str) and value.lower() in INFINITE:
            value = math.inf
        if not is_number(value):
            raise ProblemError(field, value, allowed)
        result = float(value)
        too_low = result <= low if open_low else result < low
        if math.isnan(result) or too_low or result > high or (math.isinf(result) and not infinite):
            raise ProblemError(field, value, allowed)
        if math.isfinite(result):
            refuse_extreme(field, value, abs(result))
        return result

    schema: dict[str, object] = {"type": "number", "minimum": max(low, -LARGEST), "maximum": min(high, LARGEST)}
    if open_low:
        schema["exclusiveMinimum"] = schema.pop("minimum")
    if infinite:
        schema = {"anyOf": [schema, {"enum": list(INFINITE)}]}
    return Check(accept, schema, " ".join(words) + (', or `"inf"`' if infinite else ""))


def integer(low: int, high: int | None = None) -> Check[int]:
    """A whole number in [low, high]; 256.0 counts as one."""
    allowed = f"must be a whole number at least {low}" if high is None else f"must be a whole number from {low} to {high}"
    if low == high:
        allowed = f"must be {low}"

    def accept(field: str, value: object) -> int:
        if not is_number(value) or not math.isfinite(value) or value != int(value) or value < low:
            raise ProblemError(field, value, allowed)
        if high is not None and value > high:
            raise ProblemError(field, value, allowed)
        return int(value)

    schema = {"type": "integer", "minimum": low} | ({} if high is None else {"maximum": high})
    return Check(accept, schema, f"{low} to {high}" if high is not None and high < 10**6 else f"at least {low}")


def choice(*names: str) -> Check[str]:
    """One of `names`."""

    def accept(field: str, value: object) -> str:
        if not isinstance(value, str) or value not in names:
            raise ProblemError(field, value, nearest(value if isinstance(value, str) else "", names))
        return value

    return Check(accept, {"enum": list(names)}, ", ".join(f'`"{name}"`' for name in names))


def _boolean(field: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ProblemError(field, value, "must be true or false")
    return value


def _text(field: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ProblemError(field, value, "must be text")
    return value


def _path(field: str, value: object) -> str:
    found = _text(field, value)
    if "\0" in found:
        raise ProblemError(field, value, "must be the path of a file")
    return found


boolean = Check(_boolean, {"type": "boolean"})
text = Check(_text, {"type": "string", "pattern": r"\S"})
path = Check(_path, {"type": "string", "pattern": r"\S"})


def optional(check: Check[T_co]) -> Check[T_co | None]:
    """None, meaning the key was not given, or what `check` accepts."""
    return Check(lambda field, value: None if value is None else check(field, value), check.schema, check.words)


def table(field: str, value: object) -> dict[str, object]:
    if not isinstance(value, Mapping):
        raise ProblemError(field, value, f"must be a table, [{field}]")
    return dict(value)


def tables(field: str, value: object, most: int = 10_000) -> list[dict[str, object]]:
    """A non-empty array of tables, [[field]], at most so many."""
    if value is MISSING or not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise ProblemError(field, value, f"must be one or more tables, [[{field}]]")
    if len(value) > most:
        raise ProblemError(field, f"{len(value)} tables", f"must be at most {most}")
    wrong = Mistakes()
    found = [wrong.check(table, f"{field}[{i}]", entry) for i, entry in enumerate(value)]
    wrong.stop()
    return [entry for entry in found if entry is not None]


def vector(field: str, value: object, length: int | None = None, most: int | None = None) -> np.ndarray:
    """A list of finite numbers (length,), any length from 1 (to `most`) if None."""
    want = "a list of numbers" if length is None else f"a list of {length} number{'s' if length != 1 else ''}"
    if not isinstance(value, (list, tuple, np.ndarray)) or len(value) == 0 or not all(map(is_number, value)):
        raise ProblemError(field, value, f"must be {want}")
    if length is not None and len(value) != length:
        raise ProblemError(field, value, f"must be {want}, not {len(value)}")
    if most is not None and len(value) > most:
        raise ProblemError(field, value, f"must be {want}, at most {most}, not {len(value)}")
    return _finite(field, value, np.array([float(entry) for entry in value]))


def matrix(field: str, value: object, rows: int | None, columns: int | None) -> np.ndarray:
    """A list of rows of finite numbers (rows, columns); any number of rows, or columns, from 1 if None."""
    shape = f"{'k' if rows is None else rows} x {'d' if columns is None else columns}"
    want = f"must be a matrix of {shape} numbers, a list of rows"
    if not isinstance(value, (list, tuple, np.ndarray)) or len(value) == 0:
        raise ProblemError(field, value, want)
    if not all(isinstance(row, (list, tuple, np.ndarray)) for row in value):
        raise ProblemError(field, value, want)
    if not all(is_number(entry) for row in value for entry in row):
        raise ProblemError(field, value, want)
    lengths = {len(row) for row in value}
    wanted = {columns} if columns is not None else lengths - {0}
    if lengths != wanted or len(lengths) != 1 or (rows is not None and len(value) != rows):
        given = f"{len(value)} x {lengths.pop()}" if len(lengths) == 1 else "rows of unequal length"
        raise ProblemError(field, value, f"{want}, not {given}")
    return _finite(field, value, np.array([[float(entry) for entry in row] for row in value]))


def _finite(field: str, given: object, result: np.ndarray) -> np.ndarray:
    if not np.all(np.isfinite(result)):
        raise ProblemError(field, given, "must have finite entries only")
    refuse_extreme(field, given, float(np.abs(result).max()))
    result[np.abs(result) < SMALLEST] = 0.0  # beside larger ones they do not count
    return result


# What a JSON Schema can say of lists and matrices whose size depends on the space.
_ENTRY = {"type": "number", "minimum": -LARGEST, "maximum": LARGEST}
VECTOR = {"type": "array", "minItems": 1, "items": _ENTRY}
MATRIX = {"type": "array", "minItems": 1, "items": VECTOR}
