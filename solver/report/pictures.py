"""All figures of a run folder, whatever becomes of each."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from problems import Problem
from solver.report.album import Album
from solver.runs.distances import TargetDistance
from solver.runs.events import read_events
from solver.runs.history import History
from solver.runs.phases import Phase

if TYPE_CHECKING:
    from solver.report.gallery import Comparison


def draw_run(folder: Path, problem: Problem, to_target: TargetDistance, phases: Sequence[Phase] = (), *,
             comparison: Comparison | None = None, density: History | None = None, particles: History | None = None,
             say: Callable[[str], None] | None = None) -> list[str]:
    """All figures of a run folder; rank 0 only, no collective calls. Nothing that goes wrong in a picture leaves this function.

    Args:
        folder: of the run. problem, to_target, phases: of the run.
        comparison: of density and tokens; without, `density` or `particles` is drawn alone.
        say: see `Album`; default one line on standard error.

    Returns:
        What could not be drawn, and why.
    """
    album = Album(folder / "figures", say or complain)
    try:
        from solver.report.gallery import Course, draw_comparison, draw_history

        course = Course(phases, read_events(folder))
        if comparison is not None:
            draw_comparison(album, comparison, to_target, course)
        else:
            draw_history(album, problem, density, particles, course)
    except Exception as error:
        album.fail("figures", error)
    return album.failed


def complain(words: str) -> None:
    """One line on standard error."""
    print(f"coldflow: {words}", file=sys.stderr, flush=True)
