"""Problem files: found by path or by bundled name, changed by overrides, read and written as TOML."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from problems.errors import ProblemError
from problems.files import Files
from problems.overrides import LONG_KEY, MOST_PARTS, QUOTED, override_all, plain_table
from problems.problem import Problem, read_problem, tabulate_problem
from problems.toml_text import toml_text

FOLDER = Path(__file__).resolve().parent
MOST_BYTES = 2 * 10**7


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


# A problem in all the ways Python may give one, see `as_problem`.
ProblemLike = Problem | Mapping[str, object] | str | Path


class Tables(NamedTuple):
    """A problem as it is sent from rank to rank: what its files hold, and nothing that has been built from it.

    Attributes:
        values: the nested tables of the file. name: of the problem. path: of the file. files: the content of what it refers to,
            filled when the problem is built.
    """

    values: dict[str, object]
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
    # Run folders have this name: a file ".toml" or "..toml" must not make the folder of all results, or a hidden one. Versions of
    # Python differ in the stem of the latter.
    name = (path.name.rpartition(".")[0] or path.name).strip(".") or "problem"
    return Tables(values, name, path, Files())


def build(tables: Tables) -> Problem:
    """The problem that tables describe; the same on every rank that is given them.

    Raises:
        ProblemError: for everything that is not allowed, every mistake at once.
    """
    return read_problem(tables.values, name=tables.name, path=tables.path, files=tables.files)


def as_problem(given: ProblemLike) -> Problem:
    """A problem in any of the ways Python gives one: itself, a bundled name, the path of a file, or the nested tables of one.

    Relative paths in tables refer to the current folder, as in `loads`.

    Raises:
        ProblemError: as `load`.
    """
    if isinstance(given, Problem):
        return given
    if isinstance(given, str | Path):
        return load(given)
    if isinstance(given, Mapping):
        return read_problem(plain_table(given))
    raise ProblemError("problem", type(given).__name__, "must be a Problem, a bundled name, the path of a file, or a dictionary")


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


def parse(path: Path) -> dict[str, object]:
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


def _parse_text(content: str, shown: str) -> dict[str, object]:
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
