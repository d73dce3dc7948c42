"""`coldflow new`: a commented problem file to start from, and the schema that editors check such files by."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from problems.errors import ProblemError
from problems.schema import schema_text
from problems.template import template
from solver.ranks import world

NAME = re.compile(r"[\w-][\w.-]{0,99}")


def write_problem(name: str | None, space: str, schema: bool, force: bool) -> int:
    """Write NAME.toml in the present folder, or print the schema.

    Raises:
        ProblemError: no name or an odd one, an unknown space, or a file of that name.
    """
    comm = world()
    if schema:
        if comm.rank == 0:
            sys.stdout.write(schema_text(own=True))
        return 0
    stem = (name or "").removesuffix(".toml")
    if not NAME.fullmatch(stem):
        raise ProblemError("NAME", name or "", "must be a name of letters, digits, - and _")
    content, path = template(stem, space), Path(f"{stem}.toml")
    if comm.bcast(path.exists() if comm.rank == 0 else None) and not force:
        raise ProblemError("NAME", str(path), "a new file (or use --force to replace it)")
    if comm.rank == 0:
        path.write_text(content, encoding="utf-8")
        print(f"{path}: coldflow check {path} says what a run would cost, coldflow compare {path} runs it")
    return 0
