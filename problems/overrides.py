"""Changes of a problem's tables, key by key: `--set KEY=VALUE` of the command line and `Problem.with_`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from problems.errors import Mistakes, ProblemError

INDEX = re.compile(r"^(.*)\[(\d{1,9})\]$")
MOST_PARTS = 32
# Keys of thousands of parts take the parser minutes: they are found first, outside of quoted text.
QUOTED = re.compile(r"\"\"\".*?\"\"\"|'''.*?'''|\"(?:\\.|[^\"\\\n])*\"|'[^'\n]*'|#[^\n]*", re.DOTALL)
LONG_KEY = re.compile(r"(?<![A-Za-z0-9_-])(?:[A-Za-z0-9_-]+[ \t]*\.[ \t]*)" + f"{{{MOST_PARTS}}}")


def override_all(values: dict[str, object], overrides: Mapping[str, object] | None) -> None:
    """Set the entries at dotted keys of nested tables, in place: texts are read as TOML, other values stand for themselves.

    Raises:
        ProblemError: with every override that leads nowhere.
    """
    wrong = Mistakes()
    for key, value in (overrides or {}).items():
        wrong.check(override, values, key, value)
    wrong.stop()


def override(values: dict[str, object], key: str, value: object) -> None:
    """Set the entry at a dotted key of nested tables, in place."""
    steps: list[str | int] = []
    if key.count(".") >= MOST_PARTS:
        raise ProblemError("--set", f"{key[:40]}...", f"a key has at most {MOST_PARTS} parts, such as attention.beta=10")
    for part in key.split("."):
        indexed = INDEX.match(part)
        steps += [indexed[1], int(indexed[2])] if indexed else [part]
    if not all(step != "" for step in steps):
        raise ProblemError("--set", f"{key}={value}", "must be KEY=VALUE with a dotted key such as attention.beta=10")
    new = toml_value(value) if isinstance(value, str) else plain(value)
    place: object = values
    for position, (step, following) in enumerate(zip(steps, [*steps[1:], None], strict=True)):
        if isinstance(place, list) and str(step).isdecimal():
            step = int(str(step)[:9])
        if isinstance(step, int):
            if not isinstance(place, list) or step >= len(place):
                count = len(place) if isinstance(place, list) else 0
                raise ProblemError(key, value, f"there is no entry {step}; the problem has {count}")
            if following is None:
                place[step] = new
            place = place[step]
        else:
            if not isinstance(place, dict):
                inside = ".".join(map(str, steps[:position]))
                raise ProblemError(key, value, f"{inside} is not a table and has no keys")
            if following is None:
                place[step] = new
            place = place.setdefault(step, {})


def plain_table(values: Mapping[str, object]) -> dict[str, object]:
    """A copy of nested tables as a TOML file gives them, see `plain`."""
    return {str(key): plain(entry) for key, entry in values.items()}


def plain(value: object) -> object:
    """Tables, lists and numbers as a TOML file gives them: tuples and NumPy's arrays and numbers become lists and numbers; a
    copy, so that nothing done to it shows in what was given."""
    if isinstance(value, Mapping):
        return plain_table(value)
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, PurePath):
        return str(value)
    return plain(value.tolist()) if hasattr(value, "tolist") else value


def read_changes(changes: Sequence[str | Mapping[str, object]], sections: Mapping[str, object]) -> dict[str, object]:
    """Changes in all the ways `Problem.with_` takes them, as one mapping from dotted keys.

    Args:
        changes: texts KEY=VALUE, and mappings from dotted keys. sections: section -> its keys and values.

    Raises:
        ProblemError: a text without an equals sign or a key, a section that is not a table.
    """
    found: dict[str, object] = {}
    for change in changes:
        if isinstance(change, Mapping):
            found |= change
            continue
        key, sign, value = str(change).partition("=")
        if not sign or not key.strip():
            raise ProblemError("with_", change, "must be KEY=VALUE with a dotted key, such as attention.beta=50")
        found[key.strip()] = value.strip()
    for section, entries in sections.items():
        if section == "title":
            found[section] = entries
        elif isinstance(entries, Mapping):
            found |= {f"{section}.{key}": value for key, value in entries.items()}
        else:
            raise ProblemError(section, entries, f"must be the keys of a table to change, such as {section}={{...}}")
    return found


def toml_value(text: str) -> object:
    """A TOML value, or the text itself where it is none."""
    try:
        if LONG_KEY.search(QUOTED.sub("q", text)):
            return text
        values = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return values["value"] if set(values) == {"value"} else text
