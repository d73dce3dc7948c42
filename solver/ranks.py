"""All ranks end together: errors of one rank or of all become one message and one exit code."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ClassVar, TypeVar, cast

from problems.errors import ProblemError
from solver.errors import RunError, in_one_line

if TYPE_CHECKING:
    from mpi4py import MPI

T = TypeVar("T")

FAILED, BAD_INPUT, TIME_IS_UP, INTERRUPTED, TERMINATED = 1, 2, 3, 130, 143
GRACE_SECONDS = 3.0
STOP_SECONDS = 8.0  # from a signal to a step all ranks have finished; after that a rank ends by itself
STOP_WORDS = {TIME_IS_UP: "stopped by the time limit", INTERRUPTED: "interrupted", TERMINATED: "interrupted"}


class Stopped(BaseException):
    """All ranks stop at the same step, in order. code: the exit code, 3, 130 or 143."""

    def __init__(self, code: int):
        self.code = code
        super().__init__(STOP_WORDS[code])


class Serial:
    """One process where mpi4py is not installed: the calls of a communicator that commands without a mesh make."""

    rank, size = 0, 1

    def bcast(self, value: T, root: int = 0) -> T:
        """The value itself."""
        return value

    def gather(self, value: T, root: int = 0) -> list[T]:
        """The value of the only rank."""
        return [value]

    def allgather(self, value: T) -> list[T]:
        """The value of the only rank."""
        return [value]

    def allreduce(self, value: T, op: object = None) -> T:
        """The value itself, whatever the operation."""
        return value

    def barrier(self) -> None:
        """Nobody to wait for."""

    def Dup(self) -> Serial:  # noqa: N802  (mpi4py's name)
        """The same."""
        return self

    def Free(self) -> None:  # noqa: N802
        """Nothing to free."""


def world() -> MPI.Comm:
    """The communicator of all ranks; one process alone where mpi4py is not installed."""
    try:
        from mpi4py import MPI
    except ImportError:
        return cast("MPI.Comm", Serial())
    return MPI.COMM_WORLD


def keep_pipes_harmless() -> None:
    """Undo PETSc's handler of SIGPIPE: a reader that has gone is an error of one print, not the end of the job."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)


def hold_streams() -> None:
    """Let what was closed before the start, input, output or errors, lead nowhere: the next file that is opened would take its
    number, and whatever a library prints."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w", closefd=False))  # noqa: SIM115  (for as long as the process lasts)


def complain(words: str) -> None:
    """Print to standard error; if nobody can read it any more, that changes nothing."""
    with contextlib.suppress(OSError):
        print(words, file=sys.stderr, flush=True)


def flush_output() -> None:
    """Print what is left; if nobody can read it any more, what is left goes nowhere, without a word at the end of Python."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def alone() -> MPI.Comm:
    """The communicator of this process alone."""
    try:
        from mpi4py import MPI
    except ImportError:
        return cast("MPI.Comm", Serial())
    return MPI.COMM_SELF


class Termination:
    """Whether the job was told to end: by Ctrl-C, by SIGTERM, which batch systems send when its time is up, or by SIGHUP, which a
    terminal sends that is closed.

    asked: the number of the signal, 0 before there was one. listening: whether signals come here. last_words: told the reason
    where this rank ends by itself, without the others: there run.json has to be written at once.
    """

    asked = 0
    last_words: ClassVar[list[Callable[[str, BaseException | None], None]]] = []
    listening = False
    _since = 0.0
    _held = 0
    _alone = True

    @classmethod
    def listen(cls, comm: MPI.Comm) -> None:
        """Let these signals end a run in order, at a step that all ranks agree on.

        The signal is remembered until then. One process alone is interrupted at once where no step is under way. A second signal,
        or `STOP_SECONDS` without such a step, ends the process at once; the run folder then holds the last checkpoint.
        """
        cls._alone, cls.listening = comm.size == 1, True

        def stop(number: int, _: object) -> None:
            now = time.monotonic()
            again = cls.asked and now - cls._since > 1.0  # mpirun and batch systems send the first one several times
            if again:
                cls.end_at_once()
            if cls.asked:
                return
            cls.asked, cls._since = number, now
            if cls._alone and not cls._held:
                raise KeyboardInterrupt
            timer = threading.Timer(STOP_SECONDS, cls.end_at_once)
            timer.daemon = True
            timer.start()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        # By nohup it is ignored, whatever MPI's libraries have made of it since: UCX takes it for a wish to trace everything.
        ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else stop)

    @classmethod
    @contextlib.contextmanager
    def held(cls) -> Iterator[None]:
        """While steps are taken a signal waits for the end of the step: inside a PETSc callback it would look like a failure."""
        cls._held += 1
        try:
            yield
        finally:
            cls._held -= 1

    @classmethod
    def code(cls) -> int:
        """The exit code of the signal that came."""
        return INTERRUPTED if cls.asked in (0, signal.SIGINT) else TERMINATED

    @classmethod
    def say_last(cls, reason: str, error: BaseException | None = None) -> None:
        """Write down why this rank ends, wherever that is possible."""
        for tell in cls.last_words:
            with contextlib.suppress(Exception):
                tell(reason, error)

    @classmethod
    def end_at_once(cls) -> None:
        """End this process, and with it the job, without waiting for any other rank."""
        cls.say_last("interrupted")
        os._exit(cls.code())


def explain(error: BaseException) -> tuple[int, str]:
    """Exit code and message of an error, one line for each mistake; a traceback only where the fault is the program's own and it
    was asked for."""
    if isinstance(error, Stopped):
        return error.code, f"coldflow: {STOP_WORDS[error.code]}; the run folder holds what was reached (--resume goes on)"
    if isinstance(error, KeyboardInterrupt) or Termination.asked:
        return Termination.code(), "coldflow: interrupted; the run folder holds what was reached (--resume goes on)"
    if isinstance(error, ProblemError):
        return BAD_INPUT, "\n".join(f"coldflow: {one}" for one in error.errors)
    if isinstance(error, RunError):
        return FAILED, f"coldflow: the run failed: {error}"
    if isinstance(error, MemoryError) or (isinstance(error, ImportError) and "failed to map segment" in str(error)):
        return FAILED, "coldflow: the run failed: out of memory"
    if isinstance(error, SystemExit):
        return FAILED, f"coldflow: the run failed: something in it called sys.exit({error.code!r})"
    if isinstance(error, OSError) and error.strerror:
        return FAILED, f"coldflow: the run failed: {error.strerror}" + (f": {error.filename}" if error.filename else "")
    whole = "".join(traceback.format_exception(error)) if os.environ.get("COLDFLOW_TRACEBACK") else ""
    return FAILED, (f"{whole}coldflow: the run failed: {in_one_line(error)}; this is a fault of the program, please report it "
                    "(traceback: in run.json, or with COLDFLOW_TRACEBACK=1)")


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
    except BaseException as error:
        code, message = explain(error)
        if comm.size > 1 and not all_arrived(aside):
            complain(f"{message} (rank {comm.rank})")
            words = message.splitlines()[-1].removeprefix("coldflow: the run failed: ")
            Termination.say_last(f"{words} (rank {comm.rank})", error)
            comm.Abort(code)
        if comm.rank == 0:
            complain(message)
        return code
