"""Problem files: found by path or by bundled name, changed by overrides, read and written as TOML."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from problems.errors import ProblemError
from problems.problem import Problem, read_problem, tabulate_problem
from problems.toml_text import toml_text

FOLDER = Path(__file__).resolve().parent
INDEX = re.compile(r"^(.*)\[(\d+)\]$")


def load(source: str | Path, overrides: Mapping[str, str] | None = None) -> Problem:
    """Read, check and resolve a problem.

    Args:
        source: path of a TOML file, or the name of a bundled problem (see `bundled`).
        overrides: dotted key -> TOML value, a bare string where that does not parse;
            "attention.heads[0].value" reaches into arrays of tables.

    Raises:
        ProblemError: for a file that cannot be read and for everything in it that is not allowed.
    """
    path = find(source)
    values = parse(path)
    for key, value in (overrides or {}).items():
        override(values, key, value)
    return read_problem(values, name=path.stem, path=path)


def loads(content: str, overrides: Mapping[str, str] | None = None, *, name: str = "problem") -> Problem:
    """As `load`, from the TOML text itself; relative paths in it refer to the current folder."""
    values = _parse_text(content, name)
    for key, value in (overrides or {}).items():
        override(values, key, value)
    return read_problem(values, name=name)


def dumps(problem: Problem) -> str:
    """The resolved problem as TOML, every default written out; `load` reads it back to the same problem."""
    return toml_text(tabulate_problem(problem))


def bundled() -> list[tuple[str, str]]:
    """(name, title) of every bundled problem, by name."""
    return [(path.stem, str(parse(path).get("title", ""))) for path in sorted(FOLDER.glob("*.toml"))]


def find(source: str | Path) -> Path:
    """The path of a problem file given by path or by bundled name."""
    given = str(source)
    if not given.strip():
        raise ProblemError("problem", given, "must be a problem file, or one of " + ", ".join(_names()))
    path = Path(given)
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except OSError as error:
        raise ProblemError("problem", given, f"cannot be read: {error.strerror}") from None
    if is_file:
        return path.resolve()
    if is_folder:
        raise ProblemError("problem", given, "is a folder; must be a problem file, or one of " + ", ".join(_names()))
    names = _names()
    if given in names:
        return FOLDER / f"{given}.toml"
    close = difflib.get_close_matches(path.stem, names, n=1, cutoff=0.7)
    hint = f'did you mean "{close[0]}"? bundled: ' if close else "bundled: "
    raise ProblemError("problem", given, f"no such file or bundled problem, {hint}{', '.join(names)}")


def parse(path: Path) -> dict[str, Any]:
    """The nested tables of a TOML file."""
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ProblemError("problem", str(path), f"must be UTF-8 text; byte {error.start} is not") from None
    except OSError as error:
        raise ProblemError("problem", str(path), f"cannot be read: {error.strerror}") from None
    return _parse_text(content, str(path))


def override(values: dict[str, Any], key: str, value: str) -> None:
    """Set the entry at a dotted key of nested tables, in place."""
    steps: list[str | int] = []
    for part in key.split("."):
        indexed = INDEX.match(part)
        steps += [indexed[1], int(indexed[2])] if indexed else [part]
    if not all(step != "" for step in steps):
        raise ProblemError("--set", f"{key}={value}", "must be KEY=VALUE with a dotted key such as attention.beta=10")
    place: Any = values
    for position, (step, following) in enumerate(zip(steps, [*steps[1:], None], strict=True)):
        if isinstance(place, list) and str(step).isdecimal():
            step = int(step)
        if isinstance(step, int):
            if not isinstance(place, list) or step >= len(place):
                count = len(place) if isinstance(place, list) else 0
                raise ProblemError(key, value, f"there is no entry {step}; the problem has {count}")
        elif not isinstance(place, dict):
            inside = ".".join(map(str, steps[:position]))
            raise ProblemError(key, value, f"{inside} is not a table and has no keys")
        if following is None:
            place[step] = toml_value(value)
        else:
            place = place[step] if isinstance(step, int) else place.setdefault(step, {})


def toml_value(text: str) -> Any:
    """A TOML value, or the text itself where it is none."""
    try:
        values = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return values["value"] if set(values) == {"value"} else text


def _parse_text(content: str, shown: str) -> dict[str, Any]:
    try:
        return tomllib.loads(content)
    except ValueError as error:  # a TOMLDecodeError, or a number of thousands of digits
        raise ProblemError("problem", shown, f"is not valid TOML: {_position(str(error))}") from None
    except RecursionError:
        raise ProblemError("problem", shown, "is not valid TOML: nested too deeply") from None


def _position(message: str) -> str:
    """'line 3, column 5: Expected ..' instead of 'Expected .. (at line 3, column 5)'."""
    found = re.match(r"^(.*) \(at (line \d+, column \d+|end of document)\)$", message, re.DOTALL)
    return f"{found[2]}: {found[1]}" if found else message


def _names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.toml"))
