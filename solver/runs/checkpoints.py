"""What a run goes on from: the state of a solver in two checksummed files, and its journal.

A checkpoint is written under a temporary name, brought to the disk and renamed; the one before it is kept. It names the
records of the journal that belong to it, so the two never contradict each other: a run goes on from the newest checkpoint
that is sound and whose records are all there, and drops what was recorded after it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from problems.errors import ProblemError
from solver.errors import RunError
from solver.runs.disk import replace_file
from solver.runs.journal import Journal, Record, pack, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mpi4py import MPI

FORMAT = 1
HEADER_LIMIT = 4096


class NewerFormatError(ValueError):
    """A checkpoint of a later version of coldflow."""


@dataclass
class Checkpoint:
    """One checkpoint: the state of the solver, how many outputs were recorded, their checksum, whether the run is over."""

    state: Record
    outputs: int
    journal: str
    finished: bool


@dataclass
class Restart:
    """What a solver goes on from.

    state: see `state_dict` of the solver, the same on every rank. outputs: recorded so far, the last of them at depth `recorded`.
    finished: nothing is left to do. records: of the journal, on rank 0 only.
    """

    state: Record
    outputs: int
    finished: bool
    recorded: float = -1.0
    records: list[Record] = field(default_factory=list)


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write PATH; what was there becomes PATH.previous.

    Raises:
        OSError: naming the file; the earlier checkpoints stay.
    """
    content = pack(checkpoint.state)
    header = {"coldflow_checkpoint": FORMAT, "outputs": checkpoint.outputs, "journal": checkpoint.journal,
              "finished": checkpoint.finished, "bytes": len(content)}
    # The sum covers the header as well: a flipped digit in it must not go unnoticed.
    header["sha256"] = hashlib.sha256(json.dumps(header).encode() + content).hexdigest()
    draft = path.with_name(path.name + ".new")
    replace_file(draft, json.dumps(header).encode() + b"\n" + content, sync=True)
    if path.exists():
        os.replace(path, previous(path))
    os.replace(draft, path)


def previous(path: Path) -> Path:
    """Where the checkpoint before the newest one is kept."""
    return path.with_name(path.name + ".previous")


def read_checkpoint(path: Path) -> Checkpoint:
    """Read and verify one checkpoint.

    Raises:
        NewerFormatError; ValueError: damaged, saying how; OSError.
    """
    with path.open("rb") as file:
        first = file.readline(HEADER_LIMIT)
        try:
            header = json.loads(first)
            version, length = int(header["coldflow_checkpoint"]), int(header["bytes"])
        except (ValueError, KeyError, TypeError):
            raise ValueError("its header is damaged") from None
        if version > FORMAT:
            raise NewerFormatError(f"it has format {version}, this coldflow reads {FORMAT}: use the newer one")
        rest = path.stat().st_size - file.tell()
        if length != rest:
            raise ValueError(f"it has {rest} bytes of {length}")
        content = file.read(length)
    expected = header.pop("sha256", None)
    if hashlib.sha256(json.dumps(header).encode() + content).hexdigest() != expected:
        raise ValueError("its checksum is wrong")
    return Checkpoint(unpack(content), header["outputs"], header["journal"], header["finished"])


def on_first_rank(comm: MPI.Comm, work: Callable[[], None]) -> None:
    """Write something on rank 0; if the disk refuses, all ranks say so together (collective).

    Raises:
        RunError.
    """
    trouble = None
    if comm.rank == 0:
        try:
            work()
        except OSError as error:
            trouble = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
    trouble = comm.bcast(trouble)
    if trouble is not None:
        raise RunError(f"cannot write: {trouble}")


class Store:
    """Checkpoints and journal of one solver run, NAME.ckpt and NAME.journal; rank 0 alone touches the disk.

    Args:
        folder: existing folder of checkpoints.
        name: of this run in it, such as "density".
        comm: all ranks.
        resume: go on from what is there, else start anew.
        tell: says in one line what is gone on from, or what was found damaged; called on rank 0.

    Raises:
        ProblemError: what is there is damaged beyond use, or of a newer format; on every rank.
    """

    def __init__(self, folder: Path, name: str, comm: MPI.Comm, *, resume: bool, tell: Callable[[str], None]):
        self.path, self.name, self.comm, self.tell = folder / f"{name}.ckpt", name, comm, tell
        self.journal = Journal(folder / f"{name}.journal")
        self.restart: Restart | None = None
        self.finished = False
        refusal = None
        if comm.rank == 0 and resume:
            try:
                self.restart = self._newest()
            except ProblemError as error:
                refusal = (error.field, error.value, error.allowed)
            except OSError as error:
                refusal = ("--resume", str(error.filename), f"a file that can be read ({error.strerror})")
        refusal = comm.bcast(refusal)
        if refusal is not None:
            raise ProblemError(*refusal)
        shared = comm.bcast(None if self.restart is None else dataclasses.replace(self.restart, records=[]))
        if comm.rank != 0:
            self.restart = shared
        self.finished = self.restart is not None and self.restart.finished
        self.on_disk(self._prepare)

    def earlier(self) -> Iterator[Record]:
        """The outputs that were recorded before this run went on, one after the other on every rank (collective)."""
        for i in range(self.restart.outputs if self.restart is not None else 0):
            yield self.comm.bcast(self.restart.records[i] if self.comm.rank == 0 and self.restart is not None else None)

    def append(self, record: Mapping[str, np.ndarray]) -> None:
        """Add one output to the journal; collective, `record` counts on rank 0."""
        self.on_disk(lambda: self.journal.append(record))

    def save(self, state: Mapping[str, float | np.ndarray], *, finished: bool = False) -> None:
        """Write a checkpoint of the state, which is the same on every rank; collective."""
        self.finished = finished

        def write() -> None:
            sums = self.journal.sums
            write_checkpoint(self.path, Checkpoint({key: np.asarray(value) for key, value in state.items()}, len(sums),
                                                   sums[-1].hex() if sums else "", finished))

        self.on_disk(write)

    def on_disk(self, work: Callable[[], None]) -> None:
        """See `on_first_rank`."""
        on_first_rank(self.comm, work)

    def _prepare(self) -> None:
        if self.restart is None:
            for old in (self.path, previous(self.path)):
                old.unlink(missing_ok=True)
            self.journal.begin()
        else:
            self.journal.keep(self.restart.outputs, self.restart.records)

    def _newest(self) -> Restart | None:
        """The newest checkpoint that is sound and has its records; None where no checkpoint was ever written."""
        records, troubles = self.journal.read(), []
        for path in (self.path, previous(self.path)):
            try:
                found = read_checkpoint(path)
            except FileNotFoundError:
                continue
            except NewerFormatError as error:
                raise ProblemError("--resume", str(path), f"a checkpoint that can be read ({error})") from None
            except (ValueError, OSError) as error:
                troubles.append(f"{path.name}: {error}")
                continue
            sums = self.journal.sums
            if found.outputs > len(sums) or (sums[found.outputs - 1].hex() if found.outputs else "") != found.journal:
                troubles.append(f"{self.journal.path.name}: record {len(sums) + 1} of {found.outputs} is damaged or missing")
                continue
            if troubles:
                self.tell(f"{self.name}: {'; '.join(troubles)}; taking the checkpoint before it")
            depth = "finished" if found.finished else f"going on at t = {float(found.state['time']):.6g}"
            self.tell(f"{self.name}: {depth}, {found.outputs} output{'s' * (found.outputs != 1)} recorded")
            last = float(records[found.outputs - 1]["time"]) if found.outputs else -1.0
            return Restart(found.state, found.outputs, found.finished, last, records)
        if troubles:
            raise ProblemError("--resume", str(self.path.parent), f"a folder with a sound checkpoint ({'; '.join(troubles)}); "
                                                                  "--force starts anew")
        self.tell(f"{self.name}: no checkpoint yet, starting at depth 0")
        return None
