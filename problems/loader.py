"""Problem files: found by path or by bundled name, changed by overrides, read and written as TOML."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from problems.errors import Mistakes, ProblemError
from problems.files import Files
from problems.problem import Problem, read_problem, tabulate_problem
from problems.toml_text import toml_text

FOLDER = Path(__file__).resolve().parent
INDEX = re.compile(r"^(.*)\[(\d{1,9})\]$")
MOST_BYTES = 2 * 10**7
MOST_PARTS = 32
# Keys of thousands of parts take the parser minutes: they are found first, outside of quoted text.
QUOTED = re.compile(r"\"\"\".*?\"\"\"|'''.*?'''|\"(?:\\.|[^\"\\\n])*\"|'[^'\n]*'|#[^\n]*", re.DOTALL)
LONG_KEY = re.compile(r"(?<![A-Za-z0-9_-])(?:[A-Za-z0-9_-]+[ \t]*\.[ \t]*)" + f"{{{MOST_PARTS}}}")


def load(source: str | Path, overrides: Mapping[str, str] | None = None) -> Problem:
    """Read, check and resolve a problem.

    Args:
        source: path of a TOML file, or the name of a bundled problem (see `bundled`).
        overrides: dotted key -> TOML value, a bare string where that does not parse;
            "attention.heads[0].value" reaches into arrays of tables.

    Raises:
        ProblemError: for a file that cannot be read and for everything in it that is not allowed, every mistake at once.
    """
    return build(read_tables(source, overrides))


def loads(content: str, overrides: Mapping[str, str] | None = None, *, name: str = "problem") -> Problem:
    """As `load`, from the TOML text itself; relative paths in it refer to the current folder."""
    values = _parse_text(content, name)
    override_all(values, overrides)
    return build(Tables(values, name, None))


class Tables(NamedTuple):
    """A problem as it is sent from rank to rank: what its files hold, and nothing that has been built from it.

    Attributes:
        values: the nested tables of the file. name: of the problem. path: of the file. files: the content of what it refers to,
            filled when the problem is built.
    """

    values: dict[str, Any]
    name: str
    path: Path | None
    files: Files | None = None


def read_tables(source: str | Path, overrides: Mapping[str, str] | None = None) -> Tables:
    """The tables of a problem file with overrides applied; not yet checked.

    Raises:
        ProblemError: the file cannot be read, or an override leads nowhere.
    """
    path = find(source)
    values = parse(path)
    override_all(values, overrides)
    return Tables(values, path.stem, path, Files())


def build(tables: Tables) -> Problem:
    """The problem that tables describe; the same on every rank that is given them.

    Raises:
        ProblemError: for everything that is not allowed, every mistake at once.
    """
    return read_problem(tables.values, name=tables.name, path=tables.path, files=tables.files)


def dumps(problem: Problem) -> str:
    """The resolved problem as TOML, every default written out; `load` reads it back to the same problem."""
    return toml_text(tabulate_problem(problem))


def bundled() -> list[tuple[str, str]]:
    """(name, title) of every bundled problem, by name."""
    return [(path.stem, str(parse(path).get("title", ""))) for path in sorted(FOLDER.glob("*.toml"))]


def find(source: str | Path) -> Path:
    """The path of a problem file given by path or by bundled name.

    A bare name that is both means the file; a folder of that name hides nothing.
    """
    given = str(source)
    if not given.strip():
        raise ProblemError("problem", given, "must be a problem file, or one of " + ", ".join(_names()))
    path = Path(given)
    try:
        is_file, is_folder, exists = path.is_file(), path.is_dir(), path.exists()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise ProblemError("problem", given, f"cannot be read: {reason}") from None
    if is_file:
        return path.resolve()
    names = _names()
    if given in names:
        return FOLDER / f"{given}.toml"
    if is_folder or exists:
        kind = "is a folder" if is_folder else "is not a regular file"
        raise ProblemError("problem", given, f"{kind}; must be a problem file, or one of " + ", ".join(names))
    close = difflib.get_close_matches(path.stem[:200], names, n=1, cutoff=0.7)
    hint = f'did you mean "{close[0]}"? bundled: ' if close else "bundled: "
    raise ProblemError("problem", given, f"no such file or bundled problem, {hint}{', '.join(names)}")


def parse(path: Path) -> dict[str, Any]:
    """The nested tables of a TOML file."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ProblemError("problem", str(path), f"has {path.stat().st_size:.3g} bytes; must have at most {MOST_BYTES:.3g}")
        content = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ProblemError("problem", str(path), f"must be UTF-8 text; byte {error.start} is not") from None
    except OSError as error:
        raise ProblemError("problem", str(path), f"cannot be read: {error.strerror}") from None
    return _parse_text(content, str(path))


def override_all(values: dict[str, Any], overrides: Mapping[str, str] | None) -> None:
    """Set the entries at dotted keys of nested tables, in place.

    Raises:
        ProblemError: with every override that leads nowhere.
    """
    wrong = Mistakes()
    for key, value in (overrides or {}).items():
        wrong.check(override, values, key, value)
    wrong.stop()


def override(values: dict[str, Any], key: str, value: str) -> None:
    """Set the entry at a dotted key of nested tables, in place."""
    steps: list[str | int] = []
    if key.count(".") >= MOST_PARTS:
        raise ProblemError("--set", f"{key[:40]}...", f"a key has at most {MOST_PARTS} parts, such as attention.beta=10")
    for part in key.split("."):
        indexed = INDEX.match(part)
        steps += [indexed[1], int(indexed[2])] if indexed else [part]
    if not all(step != "" for step in steps):
        raise ProblemError("--set", f"{key}={value}", "must be KEY=VALUE with a dotted key such as attention.beta=10")
    place: Any = values
    for position, (step, following) in enumerate(zip(steps, [*steps[1:], None], strict=True)):
        if isinstance(place, list) and str(step).isdecimal():
            step = int(str(step)[:9])
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
        if LONG_KEY.search(QUOTED.sub("q", text)):
            return text
        values = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return values["value"] if set(values) == {"value"} else text


def _parse_text(content: str, shown: str) -> dict[str, Any]:
    found = LONG_KEY.search(QUOTED.sub("q", content))
    if found:
        raise ProblemError("problem", shown, f"has the key {found[0][:40]}...; a key has at most {MOST_PARTS} parts")
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
