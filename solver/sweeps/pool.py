"""Jobs dealt to the free cores of this machine, or to the ranks of a parallel run; one that fails does not sink the rest."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING, Generic, TypeVar

from problems.errors import ProblemError
from solver.errors import RunError

if TYPE_CHECKING:
    from mpi4py import MPI

J = TypeVar("J")
R = TypeVar("R")


@dataclass(frozen=True)
class Outcome(Generic[R]):
    """How one job ended: its result, or why there is none (`result` None), in one line."""

    index: int
    result: R | None
    error: str = ""


def cores() -> int:
    """Cores this process may use that are not busy with other work, at least one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        busy = os.getloadavg()[0]
    except OSError:
        busy = 0.0
    return max(1, min(allowed, round(allowed - busy) if busy > allowed / 2 else allowed))


def attempt(work: Callable[[J], R], index: int, job: J) -> Outcome[R]:
    """Do one job here; whatever goes wrong becomes part of the outcome."""
    try:
        return Outcome(index, work(job))
    except (ProblemError, RunError) as error:
        return Outcome(index, None, str(error))
    except MemoryError:
        return Outcome(index, None, "out of memory")
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return Outcome(index, None, f"{type(error).__name__}: {error} ({os.path.basename(last.filename)}, line {last.lineno})")


def _prepare() -> None:
    """A worker computes with one thread: the cores are taken by the other workers."""
    os.environ["COLDFLOW_THREADS"] = "1"


def run_jobs(work: Callable[[J], R], jobs: Sequence[J], workers: int | None = None,
             comm: MPI.Comm | None = None) -> Iterator[Outcome[R]]:
    """Outcomes in the order in which jobs end; collective on `comm`.

    Args:
        work: a function of a module (workers import it); what it takes and returns can be pickled. It must not be collective.
        jobs: one argument each; dear ones first keeps the cores busy to the end.
        workers: processes; None: the free cores. With one, jobs run in this process.
        comm: of more ranks than one: these share the jobs, and every rank is told every outcome; `workers` is not used then.
    """
    if comm is not None and comm.size > 1:
        for first in range(0, len(jobs), comm.size):
            index = first + comm.rank
            mine = attempt(work, index, jobs[index]) if index < len(jobs) else None
            yield from (outcome for outcome in comm.allgather(mine) if outcome is not None)
        return
    count = min(workers or cores(), len(jobs))
    if count <= 1:
        for index, job in enumerate(jobs):
            yield attempt(work, index, job)
        return
    todo = list(range(len(jobs)))
    while todo:
        done: set[int] = set()
        suspects: list[int] = []
        with ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_prepare) as pool:
            waiting: dict[Future[Outcome[R]], int] = {}
            queue = iter(todo)
            try:
                for index in (i for i, _ in zip(queue, range(count), strict=False)):
                    waiting[pool.submit(attempt, work, index, jobs[index])] = index
                while waiting:
                    ended, _ = wait(waiting, return_when=FIRST_COMPLETED)
                    for future in ended:
                        index = waiting[future]
                        outcome = future.result()
                        del waiting[future]
                        done.add(index)
                        yield outcome
                        following = next(queue, None)
                        if following is not None:
                            waiting[pool.submit(attempt, work, following, jobs[following])] = following
            except BrokenProcessPool:
                # A worker died. Which of the jobs under way killed it is not known: they go one by one.
                suspects = sorted(set(waiting.values()) - done)
        todo = [i for i in todo if i not in done and i not in suspects]
        for index in suspects:
            yield from _alone(work, index, jobs[index])


def _alone(work: Callable[[J], R], index: int, job: J) -> Iterator[Outcome[R]]:
    """One job in a process of its own, whose death is the job's failure."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_prepare) as pool:
        try:
            yield pool.submit(attempt, work, index, job).result()
        except BrokenProcessPool:
            yield Outcome(index, None, "the process died, killed or out of memory")
