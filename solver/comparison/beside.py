"""A second process beside a comparison: while the density is solved on one core, tokens and extra runs are made on another.

It works through runs that are known from the start and writes their checkpoints into the run folder. The comparison then asks
for each run by name: one that is done is read from its checkpoint, as if an earlier run had left it there, one under way is
waited for, and one that has not begun is the comparison's own. So nothing depends on the second process: where it fails or is
killed, the comparison makes its runs itself, to the same numbers and with the same errors.

The two talk through pipes. The second process asks for a run when it is free; it stops with a checkpoint when it is told to, and
at once when the pipe closes, which is how it learns that the first one is gone.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from problems import Problem
from solver.comparison.refinement import Extra
from solver.comparison.variations import Planned, further_runs, mesh_runs, token_runs
from solver.compiled import Lent, threads
from solver.errors import RunError, need_density
from solver.particles.cell_sizes import Foresight, remember
from solver.ranks import Stopped, Termination, alone, keep_pipes_harmless
from solver.runs.checkpoints import Store
from solver.runs.cost import density_cost, memory_there_is, token_cost
from solver.runs.distances import TargetDistance
from solver.runs.events import EventRecorder
from solver.runs.observers import Checkpoints
from solver.runs.recorders import ParticleRecorder
from solver.runs.solve import run_particles
from solver.runs.stop import Limits, Supervisor

if TYPE_CHECKING:
    from solver.runs.folder import RunFolder

TOKENS = "particles"  # the main token system, whose store has this name
# Seconds of the runs with dense attention below which a process takes longer to start than it saves.
LEAST_SECONDS = 20.0
SHARE = 0.5  # of the memory there is, for what both processes hold at once
PATIENCE = 6.0  # seconds for the second process to finish its step
POLL = 0.05


@dataclass(frozen=True)
class Order:
    """What the second process is told at its start: the runs, where their checkpoints go, the limits of the comparison, and
    the first run's foresight where cells follow the law."""

    problem: Problem
    folder: Path
    runs: tuple[Planned, ...]
    limits: Limits
    foresight: Foresight | None = None


def foreseen(problem: Problem, verdict: bool) -> list[Planned]:
    """The runs of a comparison beside its density that are known from the start, dear ones first."""
    runs = [Planned("particles", problem, TOKENS, "tokens")]
    if verdict:
        runs += token_runs(problem)[:1] + [planned for _, planned in mesh_runs(problem)] + token_runs(problem)[1:]
    return runs + further_runs(problem)


def worthwhile(problem: Problem, runs: Sequence[Planned]) -> bool:
    """Whether there is a core, the memory and enough work for a second process; local."""
    if threads() < 2 or os.environ.get("COLDFLOW_ATTENTION") == "numpy":
        return False
    main, costs = density_cost(problem), [density_cost(run.problem) if run.side == "density" else token_cost(run.problem)
                                          for run in runs]
    if main is None:
        return False
    known = [cost for cost in costs if cost is not None]
    memory = main.memory + max((cost.memory for cost in known), default=0.0)
    return memory < SHARE * memory_there_is() and min(main.dense, sum(cost.dense for cost in known)) > LEAST_SECONDS


class Beside:
    """The second process of a comparison in one process, as that sees it.

    Args:
        order: what it is to do.
        folder: of the comparison, which gives the stores. supervisor: of the comparison, asked while a run is waited for.
    """

    def __init__(self, order: Order, folder: RunFolder, supervisor: Supervisor):
        self.folder, self.supervisor = folder, supervisor
        self._lock = threading.Lock()
        self._free = list(order.runs)
        self._order = order
        self._states: dict[str, str] = {}  # of runs: "begun" or "done" by the second process, or made "here"
        keep_pipes_harmless()  # it may be gone when it is spoken to
        environment = {**os.environ, "COLDFLOW_THREADS": "1", "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}
        self._process = subprocess.Popen([sys.executable, "-P", "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.DEVNULL, env=environment)
        Lent.cores += 1
        self._lent = True
        with contextlib.suppress(OSError):
            content = pickle.dumps(order)
            self._send(len(content).to_bytes(8, "little") + content)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @classmethod
    def start(cls, problem: Problem, folder: RunFolder | None, supervisor: Supervisor, verdict: bool,
              foresight: Foresight | None = None) -> Beside | None:
        """A second process, if one serves: for a new run with a folder, on one rank and without options of PETSc; local."""
        if folder is None or folder.resumed or folder.comm.size > 1 or _petsc_options():
            return None
        runs = foreseen(problem, verdict)
        if not worthwhile(problem, runs):
            return None
        try:
            return cls(Order(problem, folder.path.resolve(), tuple(runs), supervisor.limits, foresight), folder, supervisor)
        except (OSError, pickle.PicklingError, AttributeError, TypeError):  # no process, or functions that have no name
            return None

    def store(self, name: str) -> Store:
        """The store of a run, which nobody else has from now on.

        While the second process is busy with the run, others that nobody has begun are made here, and then it is waited for.

        Raises:
            Stopped: in the meantime.
        """
        with self._lock:
            self._free = [run for run in self._free if run.name != name]
        while self._states.get(name) == "begun" and self._listener.is_alive():
            self.supervisor.check()
            with self._lock:
                other = self._free.pop(0) if self._free else None
            if other is None:
                time.sleep(POLL)
                continue
            # One that fails is made again when it is asked for, and says then what is wrong.
            with contextlib.suppress(ValueError, RunError, MemoryError):
                make(self._order, other)
                self._states[other.name] = "here"
        if name not in self._states:
            return self.folder.store(name)
        return self.folder.store(name, resume=True, tell=lambda words: None)

    def end(self) -> list[str]:
        """End the second process, with a checkpoint where it is busy; names of the runs that it made."""
        with self._lock:
            self._free = []
        with contextlib.suppress(OSError, ValueError):  # it is gone, or this is not the first call
            self._send(b"stop\n")
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._listener.join(PATIENCE)
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
        return [name for name, state in self._states.items() if state == "done"]

    def _send(self, words: bytes) -> None:
        pipe = self._process.stdin
        if pipe is not None:
            pipe.write(words)
            pipe.flush()

    def _listen(self) -> None:
        """Give runs away until there are none, or nobody asks any more."""
        for line in self._process.stdout or ():
            made = line.decode().split(maxsplit=1)
            with self._lock:
                if len(made) > 1:
                    self._states[made[1].strip()] = "done"
                following = self._free.pop(0) if self._free else None
                if following is not None:
                    self._states[following.name] = "begun"
            with contextlib.suppress(OSError):
                self._send(f"run {following.name}\n".encode() if following is not None else b"stop\n")
        self._process.wait()
        if self._lent:
            self._lent = False
            Lent.cores -= 1


def _petsc_options() -> bool:
    """Whether the user has given options of PETSc, which the second process would not have."""
    if "petsc4py.PETSc" not in sys.modules:
        return bool(os.environ.get("PETSC_OPTIONS"))
    from solver.density.schemes import given_by_user

    return given_by_user()


def make(order: Order, run: Planned) -> None:
    """One run of the second process, with checkpoints.

    Raises:
        ProblemError, RunError; Stopped.
    """
    comm = alone()

    def store(name: str) -> Store:
        return Store(order.folder / "checkpoint", name, comm, resume=True, tell=lambda words: None)

    supervisor = Supervisor(comm, order.limits)
    if run.name != TOKENS:
        Extra(comm, lambda words: None, store, supervisor).planned(run)
        return
    own = store(TOKENS)
    recorder = ParticleRecorder(run.problem, comm, None, TargetDistance(run.problem, comm), own, shared=True)
    run_particles(run.problem, comm, [recorder, EventRecorder(None), Checkpoints(own)], None, supervisor)


def main() -> None:
    """The second process."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the first one has them too, and says what is to be done
        signal.signal(number, signal.SIG_IGN)
    need_density()
    import petsc4py

    petsc4py.init(["coldflow", "-skip_petscrc", "-no_signal_handler"])
    keep_pipes_harmless()
    given = os.fdopen(os.dup(0), "rb")  # of our own: Python closes its own at the end, while the thread below still listens
    order: Order = pickle.loads(given.read(int.from_bytes(given.read(8), "little")))
    if order.foresight is not None:
        remember(order.problem, order.foresight)
    runs: dict[str, Planned] = {run.name: run for run in order.runs}
    told: SimpleQueue[str | None] = SimpleQueue()  # what the first process has said, for the thread that works
    threading.Thread(target=_hear, args=(given.readline, told), daemon=True).start()
    words = "free"
    while True:
        os.write(1, f"{words}\n".encode())
        name = told.get()
        if name is None:
            return
        try:
            make(order, runs[name])
        except (ValueError, RunError, MemoryError, Stopped):
            return  # the comparison finds no finished run, makes it itself and says what is wrong
        words = f"free {name}"


def _hear(line: Callable[[], bytes], told: SimpleQueue[str | None]) -> None:
    """Pass on which run is next; at "stop" let the present one end with a checkpoint, and when nobody is there end at once."""
    while words := line().decode().split(maxsplit=1):
        if words[0] == "stop":
            Termination.asked = signal.SIGTERM
            told.put(None)
        else:
            told.put(words[1].strip())
    os._exit(0)


if __name__ == "__main__":
    main()
