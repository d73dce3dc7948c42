"""Nested tables as TOML text, with lists and matrices on one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeGuard

import tomli_w


def toml_text(values: Mapping[str, object]) -> str:
    """TOML text of nested tables; lists of tables become arrays of tables, other lists stay on one line."""
    return "\n".join(_lines(values, "")).strip() + "\n"


def _lines(values: Mapping[str, object], name: str) -> list[str]:
    lines = [f"{key} = {_value(value)}" for key, value in values.items() if not _is_table(value) and not _is_tables(value)]
    for key, value in values.items():
        inner = f"{name}.{key}" if name else key
        if isinstance(value, Mapping):
            lines += ["", f"[{inner}]", *_lines(value, inner)]
        elif _is_tables(value):
            for entry in value:
                lines += ["", f"[[{inner}]]", *_lines(entry, inner)]
    return lines


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping)


def _is_tables(value: object) -> TypeGuard[Sequence[Mapping[str, object]]]:
    return isinstance(value, Sequence) and not isinstance(value, str) and bool(value) and all(map(_is_table, value))


def _value(value: object) -> str:
    if isinstance(value, Mapping):  # inside a list of other things too
        return "{ " + ", ".join(f"{key} = {_value(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(_value, value)) + "]"
    return tomli_w.dumps({"value": value}).removeprefix("value = ").rstrip("\n")
