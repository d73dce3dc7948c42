"""A parent for every rank of a job: a rank that is killed or crashes ends the job with exit code 1, as any failure does.

mpirun gives 128 and the signal for a rank that a signal has ended, out of memory or in a library. Nothing inside that process can
change it. So under mpirun each rank goes on as the child of a process that does nothing but wait: it passes signals on, and
returns what the child returned, or 1 if a signal ended it. Who kills the parent itself kills both, and mpirun says 137.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Sequence

GUARDED = ("compare", "solve", "particles")
SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_SIZE", "MV2_COMM_WORLD_SIZE", "MPI_LOCALNRANKS")
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
PR_SET_PDEATHSIG = 1


def is_needed(arguments: Sequence[str]) -> bool:
    """Whether these arguments start a run on several ranks, and MPI has not begun in this process."""
    several = any(os.environ.get(name, "").isdigit() and int(os.environ[name]) > 1 for name in SIZES)
    return (several and sys.platform == "linux" and "mpi4py.MPI" not in sys.modules and bool(arguments)
            and arguments[0] in GUARDED and {"-h", "--help"}.isdisjoint(arguments))


def guard(arguments: Sequence[str]) -> None:
    """Go on as a child of this process, which waits for it; does nothing where that is not needed. Before MPI begins."""
    if not is_needed(arguments):
        return
    parent = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)  # until both know what to do with them
    child = os.fork()
    if child == 0:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
        return

    def pass_on(number: int, _: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    for number in PASSED_ON:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    _, status = os.waitpid(child, 0)
    os._exit(exit_code(os.waitstatus_to_exitcode(status)))


def exit_code(found: int) -> int:
    """What the parent returns for a child's exit code, negative where a signal ended it."""
    told = {-signal.SIGINT: 130, -signal.SIGTERM: 143}
    return found if found >= 0 else told.get(found, 1)
