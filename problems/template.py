"""A commented problem file to start from, for every kind of space."""

from __future__ import annotations

import textwrap

from problems.checks import nearest
from problems.errors import ProblemError
from problems.fields import Field, sentence
from problems.laws import LAWS
from problems.schema import SECTIONS
from problems.toml_text import toml_text

WIDTH = 100
# What a file needs for each space, and what makes it small enough to try at once.
STARTS: dict[str, dict[str, dict[str, object]]] = {
    "circle": {"space": {"manifold": "circle"}, "initial": {"law": "harmonics", "cos": [0.3]}},
    "sphere": {"space": {"manifold": "sphere", "dimension": 3}, "initial": {"law": "harmonics", "legendre": [0.3, 0.4]},
               "density": {"cells": 500}},
    "interval": {"space": {"manifold": "interval", "bounds": [[-3.0, 3.0]]},
                 "initial": {"law": "normal", "components": [{"mean": [0.5], "covariance": [[0.5]]}]}},
    "rectangle": {"space": {"manifold": "rectangle", "bounds": [[-2.0, 2.0], [-2.0, 2.0]]},
                  "initial": {"law": "normal", "components": [{"mean": [0.5, 0.0], "covariance": [[0.3, 0.1], [0.1, 0.4]]}]},
                  "density": {"cells": 800}},
    "box": {"space": {"manifold": "box", "bounds": [[-1.0, 1.0], [-1.0, 1.0], [-1.0, 1.0]]}, "initial": {"law": "uniform"},
            "density": {"cells": 750}},
    "euclidean": {"space": {"manifold": "euclidean", "dimension": 2},
                  "initial": {"law": "normal", "components": [{"mean": [0.5, 0.0], "covariance": 0.3}]}},
    "file": {"space": {"manifold": "file", "path": "surface.msh"}, "initial": {"law": "uniform"}},
}
COMMON: dict[str, dict[str, object]] = {"attention": {"beta": 4.0}, "time": {"end": 1.0, "outputs": 5},
                                        "particles": {"count": 512}}


def template(name: str, space: str) -> str:
    """The text of a commented problem file: what is needed is given, every other key stands with its default in a comment.

    Raises:
        ProblemError: an unknown kind of space.
    """
    if space not in STARTS:
        raise ProblemError("--space", space, nearest(space, STARTS))
    given = {section: {**COMMON.get(section, {}), **STARTS[space].get(section, {})} for section in SECTIONS}
    lines = [f'title = "{name.replace("_", " ")}"', ""]
    for section, (about, fields) in SECTIONS.items():
        if section == "initial":
            law = LAWS[str(given["initial"]["law"])]
            fields = (fields[0], *law.fields)
        if section == "space":
            fields = tuple(field for field in fields if field.key == "manifold" or field.key in given["space"])
        lines += [f"[{section}]" + " " * max(1, 16 - len(section)) + f"# {about}"]
        tables: list[str] = []
        for field in fields:
            text = _line(field, given[section])
            if field.key == "components":
                tables = ["", *toml_text({section: {"components": given[section]["components"]}}).splitlines()[1:]]
            else:
                lines += [f"# {line}" for line in textwrap.wrap(sentence(field), WIDTH)] + [text]
        lines += [*tables, ""]
    return "\n".join(lines).rstrip() + "\n"


def _line(field: Field[object], given: dict[str, object]) -> str:
    """`key = value`, in a comment where it is only the default."""
    if field.key in given:
        return toml_text({field.key: given[field.key]}).strip()
    if field.default is None or field.required:
        return f"# {field.key} = .."
    return "# " + toml_text({field.key: field.default}).strip()
