"""The folder a run leaves behind: problem, tables, run.json and checkpoints.

Everything is written as the run goes, row by row, and replaced atomically where it is rewritten: whatever
ends a run, what it had reached stays readable. Only rank 0 touches the disk; the decision to refuse, reuse
or resume a folder is taken there and shared, so that all ranks go on or stop together.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from problems.errors import ProblemError
from solver.runs.checkpoints import Store
from solver.runs.contents import Facts, Replaced, files_of, foreign_names, own_files, read_facts, remove
from solver.runs.disk import probe_room, replace_file, write_text
from solver.runs.lock import HeldError, Lock
from solver.runs.tables import CsvTable

if TYPE_CHECKING:
    from mpi4py import MPI

CHEAP = ("target",)  # commands whose results are made again in seconds: a run in the same folder takes their place
PATIENCE = 2.0  # seconds; a start that is refused has a folder for less
RESERVE = 65536  # bytes kept free for the last words of a run whose disk is full
Refusal = tuple[str, str, str]


def digest(text: str) -> str:
    """The name by which two resolved problems are known to be the same."""
    return hashlib.sha256(text.encode()).hexdigest()


class RunFolder:
    """The results of one run, locked for as long as it lasts.

    Args:
        path: folder; made if missing.
        comm: communicator of all ranks of the run (collective).
        force: replace what an earlier run left there; it is set aside until this one has begun.
        resume: go on from the newest checkpoint there; the resolved problem must be the same.
        problem_text: the resolved problem as TOML.
        tell: says in one line what is gone on from or repaired; called on rank 0.

    Raises:
        ProblemError: the folder holds an earlier run and neither `force` nor `resume` was asked for, something that no run
            wrote stands in the way, another run is under way in it, it is a file, or was made from another problem; on every
            rank alike.
    """

    def __init__(self, path: str | Path, comm: MPI.Comm, problem_text: str, *, force: bool = False, resume: bool = False,
                 tell: Callable[[str], None] | None = None):
        self.path, self.comm = Path(path), comm
        self.writes = comm.rank == 0
        self.tell: Callable[[str], None] = tell or (lambda words: None)
        self.resumed = False
        self.facts: dict[str, object] = {}
        self.started = time.time()
        self._lock: Lock | None = None
        self._made: list[Path] = []
        self._replaced = Replaced(self.path)
        self._before: str | None = None
        refusal: Refusal | None = None
        if self.writes:
            try:
                refusal = self._prepare(problem_text, force, resume)
            except HeldError as error:
                refusal = "--out", str(path), f"a folder in which no other run is under way ({error} has it)"
            except OSError as error:
                refusal = "--out", str(path), f"a folder that can be written ({error.strerror})"
            if refusal is not None:
                self._leave()
        refusal, self.resumed = comm.bcast((refusal, self.resumed))
        if refusal is not None:
            raise ProblemError(*refusal)

    def _prepare(self, problem_text: str, force: bool, resume: bool) -> Refusal | None:
        if self.path.exists() and not self.path.is_dir():
            return "--out", str(self.path), "a folder, not a file"
        self._made = [place for place in (self.path, *self.path.parents) if not place.exists()]
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = patient_lock(self.path)
        facts = read_facts(self.path)
        if self._replaced.waiting() is not None:  # a run with --force was cut off
            if facts is not None and facts.get("begun"):
                self._replaced.forget()
            else:
                remove(files_of(self.path), self.path)
                self._replaced.bring_back()
                self.tell("the earlier run, which a run that never began had set aside, is back")
                facts = read_facts(self.path)
        probe_room(self.path, RESERVE)
        foreign = foreign_names(self.path, facts)
        if foreign:
            return "--out", str(self.path), f"a folder without {', '.join(foreign[:3])}, which no run of coldflow wrote"
        if facts is not None:
            if resume:
                if (refusal := self._same_problem(facts, problem_text)) is not None:
                    return refusal
                self.resumed = True
                self._before = (self.path / "run.json").read_text()
                ended = {key: value for key, value in facts.items() if key in ("started", "exit_reason", "wall_seconds", "ranks")}
                self.facts["earlier"] = [*facts.get("earlier", []), ended]
            elif not force and facts.get("command") not in CHEAP:
                return "--out", str(self.path), "a new folder (or use --force to replace it, --resume to go on)"
            else:
                self._replaced.put_aside(own_files(self.path, facts))
        for name in ("figures", "checkpoint"):
            (self.path / name).mkdir(exist_ok=True)
        with contextlib.suppress(OSError):
            replace_file(self.path / "checkpoint" / "reserve", bytes(RESERVE))
        write_text(self.path / "problem.toml", problem_text)
        self.facts |= {"problem_sha256": digest(problem_text), "exit_reason": "running"}
        if not resume or self._before is None:
            write_text(self.path / "run.json", json.dumps(self.facts) + "\n")
        return None

    def _same_problem(self, facts: Facts, problem_text: str) -> Refusal | None:
        """None if the folder was made from this resolved problem; its problem.toml may be damaged."""
        file = self.path / "problem.toml"
        with contextlib.suppress(OSError, UnicodeError):
            if file.read_text() == problem_text:
                return None
        if facts.get("problem_sha256") == digest(problem_text):
            self.tell("problem.toml was damaged or missing and is written again")
            return None
        return "--resume", str(self.path), "the folder of the same resolved problem (or use --force)"

    def store(self, name: str, *, resume: bool | None = None, tell: Callable[[str], None] | None = None) -> Store:
        """Checkpoints and journal of one solver run (collective). resume, tell: instead of the folder's own."""
        return Store(self.path / "checkpoint", name, self.comm, resume=self.resumed if resume is None else resume,
                     tell=tell or self.tell)

    def begun(self) -> None:
        """The first output is recorded: a run that was set aside goes (rank 0)."""
        if self.writes and not self.facts.get("begun"):
            self.record(begun=True)
            self._replaced.forget()

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Mapping[str, object]] = ()) -> CsvTable:
        """A CSV table of this folder, begun anew with these rows; see CsvTable. In a new folder nothing can be damaged: a second
        process may have made the rows before there was a table."""
        table = CsvTable(self.path / name if self.writes else None, columns, rows)
        table.mended = table.mended and self.resumed
        return table

    def record(self, given: Mapping[str, object] | None = None, /, *, complete: bool = False, **facts: object) -> None:
        """Merge facts, `given` ones too, into run.json and write it (rank 0); `complete`: nothing comes after, and all files are
        listed.

        Raises:
            OSError.
        """
        self.facts.update({**(given or {}), **facts})
        if not self.writes:
            return
        self.facts["wall_seconds"] = time.time() - self.started
        if complete:
            (self.path / "checkpoint" / "reserve").unlink(missing_ok=True)
            self.facts["files"] = sorted({*files_of(self.path), "run.json"})
        text = json.dumps(clean_json(self.facts), indent=2) + "\n"
        try:
            write_text(self.path / "run.json", text)
        except OSError:
            (self.path / "checkpoint" / "reserve").unlink(missing_ok=True)
            write_text(self.path / "run.json", text)

    def discard(self) -> None:
        """This run has not begun or its input was bad: leave the folder as it was found (rank 0)."""
        if self.writes and self._lock is not None and self._lock.descriptor >= 0:
            with contextlib.suppress(OSError):
                if self._before is not None:
                    write_text(self.path / "run.json", self._before)
                else:
                    remove(files_of(self.path), self.path)
                    self._replaced.bring_back()
            self._leave()

    def close(self) -> None:
        """Give the folder free."""
        if self._lock is not None:
            self._lock.release()

    def _leave(self) -> None:
        """Give the folder free, and remove it if it was made for this run and nothing is in it."""
        self.close()
        for place in self._made:
            with contextlib.suppress(OSError):
                place.rmdir()


def patient_lock(folder: Path) -> Lock:
    """The lock of a folder; a start that is only looking whether it may have it is waited for.

    Raises:
        HeldError: somebody has it for longer than `PATIENCE` seconds. OSError.
    """
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return Lock(folder)
        except HeldError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


def clean_json(value: object) -> object:
    """Numpy values as plain ones; infinities and NaN as text, which JSON lacks."""
    if isinstance(value, Mapping):
        return {str(key): clean_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [clean_json(item) for item in value]
    if isinstance(value, np.generic):
        return clean_json(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, complex):
        return [value.real, value.imag]
    return value
