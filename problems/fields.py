"""The keys of problem files: each with its meaning, check and default, for the loader, the documentation and editors alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Generic, NamedTuple

from problems.checks import Check, T_co, joined, refuse_unknown
from problems.errors import MISSING, Mistakes


class Field(NamedTuple, Generic[T_co]):
    """One key of a table.

    Attributes:
        key: its name. check: of its value, as far as nothing else of the file is needed for it.
        meaning: one sentence without a full stop. default: `MISSING` where the key must be given, None where its absence means
            something of its own.
    """

    key: str
    check: Check[T_co]
    meaning: str
    default: object = None

    @property
    def required(self) -> bool:
        """Whether the key must be given."""
        return self.default is MISSING


def read_fields(prefix: str, table: Mapping[str, object], fields: Iterable[Field[object]], wrong: Mistakes) -> dict[str, Any]:
    """key -> checked value of every field, its default where it is not given; what is wrong is noted and left out."""
    fields = tuple(fields)
    wrong.check(refuse_unknown, prefix, table, [field.key for field in fields])
    values = {}
    for field in fields:
        if field.key not in table and not field.required:
            values[field.key] = field.default
            continue
        before = len(wrong.errors)
        value = wrong.check(field.check, joined(prefix, field.key), table.get(field.key, MISSING))
        if len(wrong.errors) == before:
            values[field.key] = value
    return values


def object_schema(fields: Iterable[Field[object]], **more: object) -> dict[str, object]:
    """The JSON Schema of a table with these keys and no others."""
    fields = tuple(fields)
    properties = {}
    for field in fields:
        described = dict(field.check.schema) | {"description": sentence(field)}
        if field.default is not None and not field.required:
            described["default"] = field.default
        properties[field.key] = described
    required = [field.key for field in fields if field.required]
    return {"type": "object", "properties": properties, "additionalProperties": False,
            **({"required": required} if required else {}), **more}


def sentence(field: Field[object]) -> str:
    """Meaning and range of a key, as one sentence for an editor or a comment."""
    words = field.check.words.replace("`", "")
    return f"{field.meaning[0].upper()}{field.meaning[1:]}{f' ({words})' if words else ''}."
