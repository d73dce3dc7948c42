"""The JSON Schema of problem files, from the same table of keys that the loader checks them by.

Editors complete and check `.toml` files with it (Taplo, VS Code: `#:schema problem.schema.json` in the first line). It says what
can be said key by key; sizes that must fit each other, and what is in other files, only `coldflow check` can tell. Laws and
spaces that installed packages register are in the schema that `coldflow new --schema` prints.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from problems.attention import FIELDS as ATTENTION
from problems.diagnostics import FIELDS as DIAGNOSTICS
from problems.drift import FIELDS as DRIFT
from problems.fields import Field, object_schema, sentence
from problems.laws import LAW, LAWS
from problems.problem import REQUIRED, TITLE
from problems.registered import LAWS as OWN_LAWS
from problems.registered import MANIFOLDS as OWN_MANIFOLDS
from problems.schedule import FIELDS as TIME
from problems.sections import Compare, Density, Noise, Particles, fields_of
from problems.space import FIELDS as SPACE
from problems.space import MANIFOLDS

SHIPPED = Path(__file__).resolve().parent / "problem.schema.json"
# What each section is about, in the order of a file.
SECTIONS: dict[str, tuple[str, tuple[Field[object], ...]]] = {
    "space": ("where tokens live", SPACE),
    "attention": ("the weights", ATTENTION),
    "drift": ("what moves tokens besides attention", DRIFT),
    "noise": ("noise of the tokens", fields_of(Noise)),
    "initial": ("the law at depth 0", (LAW, *{field.key: field for law in LAWS.values() for field in law.fields}.values())),
    "time": ("depth", TIME),
    "density": ("the mesh and the scheme of the density", fields_of(Density)),
    "particles": ("the token system", fields_of(Particles)),
    "compare": ("how density, particles and target are compared", fields_of(Compare)),
    "diagnostics": ("columns of your own", DIAGNOSTICS),
}


def problem_schema(laws: Iterable[str] = (), manifolds: Iterable[str] = ()) -> dict[str, object]:
    """The JSON Schema (draft 2020-12) of a problem file, as nested tables; `laws`, `manifolds`: names of registered ones."""
    law, space = _one_of(LAW, [*LAWS, *laws]), [_one_of(SPACE[0], [*MANIFOLDS, *manifolds]), *SPACE[1:]]
    keys = [field.key for field in space]
    sections = {}
    for name, (about, fields) in SECTIONS.items():
        schema = object_schema(fields) if name != "initial" else {"type": "object", "required": ["law"]}
        sections[name] = schema | {"description": f"{about[0].upper()}{about[1:]}."}
    sections["attention"].pop("required")  # layers may each have their own beta
    sections["space"] |= object_schema(space) | {"allOf": [_when("manifold", name, _space_keys(name)) for name in MANIFOLDS]}
    if list(manifolds):  # whose further keys are arguments of a function
        sections["space"].pop("additionalProperties")
        sections["space"]["allOf"] = [
            _when("manifold", name, {"propertyNames": {"enum": keys}, **_space_keys(name)}) for name in MANIFOLDS]
    # The keys of [initial] depend on the law altogether: one table for each.
    sections["initial"] |= {"properties": {"law": dict(law.check.schema) | {"description": sentence(LAW)}}, "allOf": [
        _when("law", name, object_schema((LAW, *known.fields))) for name, known in LAWS.items()]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "coldflow problem file", "type": "object",
            "properties": {"title": dict(TITLE.check.schema) | {"description": sentence(TITLE)}, **sections},
            "required": list(REQUIRED), "additionalProperties": False}


def schema_text(own: bool = False) -> str:
    """The schema as JSON text, the content of problems/problem.schema.json; `own`: with the laws and spaces registered here."""
    names = (OWN_LAWS.names(), OWN_MANIFOLDS.names()) if own else ((), ())
    return json.dumps(problem_schema(*names), indent=1) + "\n"


def _one_of(field: Field[object], names: Iterable[str]) -> Field[object]:
    """A key with other names to choose from."""
    return field._replace(check=replace(field.check, schema={"enum": list(names)}))


def _when(key: str, value: str, then: dict[str, object]) -> dict[str, object]:
    return {"if": {"properties": {key: {"const": value}}, "required": [key]}, "then": then}


def _space_keys(name: str) -> dict[str, object]:
    """What a manifold takes and needs of the keys of [space]."""
    keys, sides = MANIFOLDS[name]
    allowed: dict[str, object] = {field.key: False for field in SPACE if field.key not in ("manifold", *keys)}
    if sides is not None:
        allowed["bounds"] = {"minItems": sides, "maxItems": sides}
    if name in ("circle", "sphere"):
        allowed["dimension"] = {"minimum": 2, **({"maximum": 2} if name == "circle" else {})}
    needed = {"bounds": "bounds" in keys, "path": "path" in keys, "dimension": name == "euclidean"}
    return {"properties": allowed, "required": [key for key, wanted in needed.items() if wanted]}
