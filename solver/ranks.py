"""All ranks end together: errors of one rank or of all become one message and one exit code."""

from __future__ import annotations

import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from problems.errors import ProblemError
from solver.errors import RunError

if TYPE_CHECKING:
    from mpi4py import MPI

FAILED, BAD_INPUT, INTERRUPTED, TERMINATED = 1, 2, 130, 143
GRACE_SECONDS = 5.0


class Serial:
    """One process where mpi4py is not installed: the calls of a communicator that commands without a mesh make."""

    rank, size = 0, 1

    def bcast(self, value: Any, root: int = 0) -> Any:
        """The value itself."""
        return value

    def gather(self, value: Any, root: int = 0) -> list[Any]:
        """The value of the only rank."""
        return [value]

    def allgather(self, value: Any) -> list[Any]:
        """The value of the only rank."""
        return [value]

    def allreduce(self, value: Any, op: Any = None) -> Any:
        """The value itself, whatever the operation."""
        return value

    def barrier(self) -> None:
        """Nobody to wait for."""

    def Dup(self) -> Serial:  # noqa: N802  (mpi4py's name)
        """The same."""
        return self

    def Free(self) -> None:  # noqa: N802
        """Nothing to free."""


def world() -> Any:
    """The communicator of all ranks; one process alone where mpi4py is not installed."""
    try:
        from mpi4py import MPI
    except ImportError:
        return Serial()
    return MPI.COMM_WORLD


def keep_pipes_harmless() -> None:
    """Undo PETSc's handler of SIGPIPE: a reader that has gone is an error of one print, not the end of the job."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)


class Termination:
    """Whether the job was told to end: by Ctrl-C, or by SIGTERM, which batch systems send when its time is up.

    asked: the number of the signal, 0 before there was one.
    """

    asked = 0

    @classmethod
    def listen(cls) -> None:
        """Let both signals end a run in the same way, so that the run folder says how it ended.

        The signal is remembered: inside a PETSc callback its KeyboardInterrupt comes out as an error of PETSc.
        """

        def stop(number: int, _: object) -> None:
            cls.asked = number
            raise KeyboardInterrupt

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)


def explain(error: BaseException) -> tuple[int, str]:
    """Exit code and message of an error; a traceback only where the fault is the program's own."""
    if isinstance(error, KeyboardInterrupt) or Termination.asked:
        words = "coldflow: interrupted; the run folder holds what was reached (--resume goes on)"
        return TERMINATED if Termination.asked == signal.SIGTERM else INTERRUPTED, words
    if isinstance(error, ProblemError):
        return BAD_INPUT, "\n".join(f"coldflow: {one}" for one in error.errors)
    if isinstance(error, RunError):
        return FAILED, f"coldflow: the run failed: {error}"
    if isinstance(error, MemoryError):
        return FAILED, "coldflow: the run failed: out of memory"
    if isinstance(error, OSError) and error.filename:
        return FAILED, f"coldflow: the run failed: {error.strerror}: {error.filename}"
    return FAILED, "".join(traceback.format_exception(error)) + "coldflow: internal error, please report the lines above"


def all_arrived(comm: MPI.Comm, seconds: float = GRACE_SECONDS) -> bool:
    """Whether every rank comes to this point within `seconds`; never blocks for longer."""
    request = comm.Ibarrier()
    until = time.monotonic() + seconds
    while not request.Test():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def run_together(work: Callable[[], int], comm: MPI.Comm) -> int:
    """Run `work` on every rank and return its exit code; on an error all ranks end with the same code.

    When every rank fails, rank 0 says why, once. When only some do, the others may wait in a collective call
    for ever: the failing rank says why and aborts the job.

    Args:
        work: what each rank does; returns an exit code.
        comm: communicator of all ranks.
    """
    # A communicator of its own: the barrier of a failing rank must not meet the collective calls the others are in.
    aside = comm.Dup() if comm.size > 1 else comm
    try:
        return work()
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else FAILED
    except BaseException as error:
        code, message = explain(error)
        if comm.size > 1 and not all_arrived(aside):
            print(f"{message} (rank {comm.rank})", file=sys.stderr, flush=True)
            comm.Abort(code)
        if comm.rank == 0:
            print(message, file=sys.stderr, flush=True)
        return code
