"""What the commands share: loading a problem once for all ranks, run folders, tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from problems import Problem, ProblemError
from problems.errors import Mistakes
from problems.loader import Tables, build, read_tables
from solver.commands.admission import admit, possible_sides
from solver.ranks import world


def parse_set(settings: Sequence[str] | None) -> dict[str, str]:
    """`--set KEY=VALUE` options as a mapping.

    Raises:
        ProblemError: options without an equals sign or key, each in a line of its own.
    """
    found, wrong = {}, Mistakes()
    for item in settings or ():
        key, sign, value = item.partition("=")
        if not sign or not key.strip():
            wrong.note("--set", item, "KEY=VALUE with a dotted key, such as attention.beta=200")
        found[key.strip()] = value.strip()
    wrong.stop()
    return found


def load_shared(name: str, settings: Sequence[str] | None, extra: dict[str, str] | None = None,
                sides: tuple[str, ...] | None = None) -> Problem:
    """The problem, read by rank 0 and given to all: a file need not be visible from every node (collective).

    Args:
        name: file or bundled name. settings: `--set` options; extra: further ones, by key.
        sides: what is going to be run, see `admit`; None: all that the problem can have.

    What is sent are tables and the contents of files; every rank builds the problem from them by itself.

    Raises:
        ProblemError: bad input, on every rank alike.
    """
    comm = world()
    tables: Tables | None = None
    problem: Problem | None = None
    error: ProblemError | None = None
    if comm.rank == 0:
        try:
            tables = read_tables(name, {**parse_set(settings), **(extra or {})})
            problem = build(tables)
        except ProblemError as bad:
            error = bad
    tables, error = comm.bcast((None, error) if error is not None else (tables, None))
    if error is not None or tables is None:
        raise error or AssertionError("rank 0 sent neither tables nor an error")
    if problem is None:
        problem = build(tables)
    admit(problem, possible_sides(problem) if sides is None else sides)
    return problem


def usable_folder(folder: Path) -> Path:
    """A folder that a command is going to make or write into, the same on every rank (collective).

    Raises:
        ProblemError: it, or one above it, is a file, or cannot be looked at.
    """
    comm = world()
    refusal = None
    if comm.rank == 0:
        try:
            found = next(place for place in (folder, *folder.absolute().parents) if place.exists())
            refusal = None if found.is_dir() else f"a folder; {found} is a file"
        except (OSError, ValueError) as error:
            refusal = f"a folder that can be made ({getattr(error, 'strerror', None) or error})"
    refusal = comm.bcast(refusal)
    if refusal is not None:
        raise ProblemError("--out", str(folder), refusal)
    return folder


def one_of_both(force: bool, resume: bool) -> None:
    """Refuse to replace a run and to go on with it at once.

    Raises:
        ProblemError.
    """
    if force and resume:
        raise ProblemError("--resume", "--force", "one of both: --force replaces what --resume would go on with")


def run_path(problem: Problem, out: Path | None) -> Path:
    """The run folder: `--out`, or results/<problem>."""
    return out if out is not None else Path("results") / problem.name


def number_text(value: object) -> str:
    """A value for a terminal table: short numbers, empty when there is none."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
