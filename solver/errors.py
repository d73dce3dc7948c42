"""The error a run ends with: what went wrong, when and where."""

from __future__ import annotations

import importlib.util
import re
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from problems.errors import ProblemError
from problems.registered import Named, OwnFunctionError

if TYPE_CHECKING:
    from problems.problem import Problem

HOW_TO_GET = ("the density needs it: conda install -c conda-forge fenics-dolfinx petsc4py mpi4py, or apt install "
              "python3-dolfinx; tokens, target and distances do without")


ROOT, OURS = Path(__file__).resolve().parent.parent, ("meshes", "problems", "solver")
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")  # colours in what libraries say
MOST_LETTERS = 500


def have_density() -> bool:
    """Whether what the density needs is installed."""
    return lacking() is None


def lacking() -> str | None:
    """The first package that the density needs and that is not installed; none is imported for it."""
    for name in ("dolfinx", "petsc4py", "mpi4py"):
        try:
            if importlib.util.find_spec(name) is None:
                return name
        except (ImportError, ValueError):
            return name
    return None


def need_density() -> None:
    """Refuse to go on where the density cannot be computed.

    Raises:
        ProblemError: dolfinx, petsc4py or mpi4py is not installed, and how to get them.
    """
    name = lacking()
    if name is not None:
        raise ProblemError(name, "missing", HOW_TO_GET)


class RunError(RuntimeError):
    """A run that cannot go on (exit code 1); bad input is `problems.errors.ProblemError` (exit code 2).

    Args:
        message: what happened, with the offending quantity and its value.
        step: the step it happened in, counted from 0; local and global are the same.
        time: depth t at the start of that step.
        place: where in the token space, or on which rank, as far as known.
    """

    def __init__(self, message: str, *, step: int | None = None, time: float | None = None, place: str = ""):
        self.step, self.time, self.place = step, time, place
        where = [f"step {step}"] if step is not None else []
        where += [f"t = {time:.6g}"] if time is not None else []
        where += [place] if place else []
        super().__init__(f"{', '.join(where)}: {message}" if where else message)


def own_values(function: Named, shape: tuple[int, ...], *arguments: np.ndarray) -> np.ndarray:
    """What a registered function gives for these arrays: finite numbers of this shape; local.

    Raises:
        RunError: it fails, returns another shape, or numbers that are not finite.
    """
    try:
        found = function.values(shape, *arguments)
    except OwnFunctionError as error:
        raise RunError(str(error)) from error
    if not np.isfinite(found).all():
        row = int(np.argmin(np.isfinite(found).reshape(len(found), -1).all(axis=1)))
        at = ", ".join(f"{c:.6g}" for c in arguments[0][row])
        raise RunError(f'{function.field} "{function.name}" is not finite', place=f"x = ({at})")
    return found


def own_columns(problem: Problem, points: np.ndarray, masses: np.ndarray) -> dict[str, float]:
    """The columns of [diagnostics] for a law of points (n, d) and masses (n,), by name; local.

    Raises:
        RunError: a registered function fails.
    """
    try:
        return problem.diagnostics.values(points, masses)
    except OwnFunctionError as error:
        raise RunError(str(error)) from error


def located(error: BaseException, step: int, time: float) -> BaseException:
    """An error that ended a run, with step and depth where it does not name them: what a library or the system says does not."""
    if isinstance(error, RunError):
        return error if error.step is not None else RunError(str(error), step=step, time=time)
    if isinstance(error, MemoryError):
        return RunError(f"out of memory{f' ({error})' if str(error) else ''}", step=step, time=time)
    if isinstance(error, OSError) and error.strerror:
        return RunError(f"{error.strerror}" + (f": {error.filename}" if error.filename else ""), step=step, time=time)
    if type(error).__module__.startswith("petsc4py"):
        return RunError(f"PETSc: {str(error).splitlines()[-1].strip()}", step=step, time=time)
    if isinstance(error, SystemExit):
        return RunError(f"something in it called sys.exit({error.code!r})", step=step, time=time)
    if isinstance(error, Exception):
        error.add_note(f"step {step}, t = {time:.6g}")
    return error


def in_one_line(error: BaseException) -> str:
    """An error in one line: step, depth, what it is and where in the program it happened, as far as it is not a `RunError`, which
    says so itself."""
    if isinstance(error, RunError):
        return str(error)
    notes = ", ".join(getattr(error, "__notes__", ()))
    text = " ".join(ESCAPES.sub("", str(error)).split())[:MOST_LETTERS]
    frames = [(Path(frame.filename), frame) for frame in traceback.extract_tb(error.__traceback__)]
    ours = [(path.relative_to(ROOT), frame) for path, frame in frames if any(path.is_relative_to(ROOT / name) for name in OURS)]
    place = f", in {ours[-1][1].name} ({ours[-1][0]}, line {ours[-1][1].lineno})" if ours else ""
    return f"{notes}{': ' if notes else ''}{type(error).__name__}{': ' if text else ''}{text}{place}"
