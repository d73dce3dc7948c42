"""When a run stops, and when it saves: signals, the time limit and the clock, agreed by all ranks at a step.

No rank leaves on its own: each brings what it knows to one reduction at the end of every step, so that all of them stop, or
write a checkpoint, after the same step.
"""

from __future__ import annotations

import faulthandler
import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from problems.errors import ProblemError
from solver.ranks import INTERRUPTED, TERMINATED, TIME_IS_UP, Stopped, Termination

if TYPE_CHECKING:
    from mpi4py import MPI

CHECKPOINT_SECONDS = 600.0
INT, TERM, TIME, SAVE = 1, 2, 4, 8
BEAT_SECONDS = 0.25


UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def read_duration(field: str, text: str) -> float:
    """Seconds of a duration such as 90, 90s, 45m, 12h, 2d or 1:30:00.

    Raises:
        ProblemError: naming the option `field`.
    """
    number = r"(\d+(?:\.\d*)?|\.\d+)"
    plain = re.fullmatch(number + r"\s*([smhd]?)", text.strip())
    clock = re.fullmatch(r"(\d+):([0-5]?\d):" + number, text.strip())
    seconds = 0.0
    if plain:
        seconds = float(plain[1]) * UNITS[plain[2]]
    elif clock:
        seconds = 3600.0 * int(clock[1]) + 60.0 * int(clock[2]) + float(clock[3])
    if not 0.0 < seconds < 1e9:
        raise ProblemError(field, text, "must be a time above zero, such as 90s, 45m, 12h or 1:30:00")
    return seconds


@dataclass(frozen=True)
class Limits:
    """What the clock may do to a run.

    time_limit: seconds after which it stops with a checkpoint, None: never. checkpoint_every: seconds between checkpoints beside
    those at outputs. watchdog: seconds without an accepted step or a finished output after which the run is ended, None: never.
    started: clock (`time.monotonic`) from which the time limit counts.
    """

    time_limit: float | None = None
    checkpoint_every: float = CHECKPOINT_SECONDS
    watchdog: float | None = None
    started: float = field(default_factory=time.monotonic)


class Supervisor:
    """Asks all ranks after each step whether to stop or to save; collective.

    Args:
        comm: all ranks of the run.
        limits: the same on every rank.
        note: told of step and depth a few times a second, for whoever has to say where a run was when it ended.
    """

    def __init__(self, comm: MPI.Comm, limits: Limits | None = None,
                 note: Callable[[int | None, float | None], None] | None = None):
        self.comm, self.limits = comm, limits or Limits()
        self.note = note
        self.saved = time.monotonic()
        self._beat = 0.0
        self._traces: TextIO | None = None

    def agree(self) -> tuple[int, bool]:
        """What all ranks together know: (exit code to stop with, or 0; whether a checkpoint is due). Collective."""
        known = {0: 0, signal.SIGINT: INT, signal.SIGTERM: TERM}.get(Termination.asked, TERM)
        if self.comm.rank == 0:
            now, limit = time.monotonic(), self.limits.time_limit
            known |= TIME if limit is not None and now - self.limits.started >= limit else 0
            known |= SAVE if now - self.saved >= self.limits.checkpoint_every else 0
        if self.comm.size > 1:
            from mpi4py import MPI

            known = self.comm.allreduce(known, op=MPI.BOR)
        if known & SAVE:
            self.saved = time.monotonic()
        code = TERMINATED if known & TERM else INTERRUPTED if known & INT else TIME_IS_UP if known & TIME else 0
        return code, bool(known & SAVE)

    def check(self, step: int | None = None, depth: float | None = None) -> None:
        """Between two parts of a run: stop here if anybody was told to (collective).

        Raises:
            Stopped: on every rank.
        """
        self.beat(step, depth)
        code, _ = self.agree()
        if code:
            raise Stopped(code)

    def beat(self, step: int | None = None, depth: float | None = None) -> None:
        """This rank is alive: winds up the watchdog, and notes where the run is; local."""
        now = time.monotonic()
        if now - self._beat < BEAT_SECONDS:
            return
        self._beat = now
        if self.note is not None:
            self.note(step, depth)
        if self.limits.watchdog is not None:
            if self._traces is None:
                self._traces = open(os.devnull, "w")  # noqa: SIM115  (faulthandler needs it for as long as the run lasts)
            # A thread in C: it also ends a process that is stuck in a library or waits for a rank that has gone.
            faulthandler.dump_traceback_later(self.limits.watchdog, exit=True, file=self._traces)

    def end(self) -> None:
        """The run is over: the watchdog sleeps."""
        if self.limits.watchdog is not None:
            faulthandler.cancel_dump_traceback_later()
