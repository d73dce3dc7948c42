"""The folder a run leaves behind: problem, tables, run.json, particles and checkpoints.

Everything is written as the run goes, row by row, and replaced atomically where it is rewritten: whatever
ends a run, what it had reached stays readable. Only rank 0 touches the disk; the decision to refuse, reuse
or resume a folder is taken there and shared, so that all ranks go on or stop together.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from problems.errors import ProblemError
from solver.runs.tables import CsvTable

if TYPE_CHECKING:
    from mpi4py import MPI


def write_text(path: Path, text: str) -> None:
    """Write a file atomically: readers see the old or the new content, never half of it."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text)
    os.replace(temporary, path)


def save_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Save arrays as one .npz file, atomically."""
    temporary = path.with_name(path.name + ".part.npz")
    np.savez(temporary, **arrays)
    os.replace(temporary, path)


class RunFolder:
    """The results of one run.

    Args:
        path: folder; made if missing.
        comm: communicator of all ranks of the run (collective).
        force: replace what an earlier run left there.
        resume: go on from the newest checkpoint there; the resolved problem must be the same.
        problem_text: the resolved problem as TOML.

    Raises:
        ProblemError: the folder holds an earlier run and neither `force` nor `resume` was asked for,
            is a file, or was made from another problem; on every rank alike.
    """

    def __init__(self, path: str | Path, comm: MPI.Comm, problem_text: str, *, force: bool = False,
                 resume: bool = False):
        self.path, self.comm = Path(path), comm
        self.writes = comm.rank == 0
        self.resumed = False
        refusal = None
        if self.writes:
            try:
                refusal = self._prepare(problem_text, force, resume)
            except OSError as error:
                refusal = ("--out", str(path), f"a folder that can be written ({error.strerror})")
        refusal, self.resumed = comm.bcast((refusal, self.resumed))
        if refusal is not None:
            raise ProblemError(*refusal)
        self.facts: dict[str, object] = {}
        self.started = time.time()

    def _prepare(self, problem_text: str, force: bool, resume: bool) -> tuple[str, str, str] | None:
        if self.path.exists() and not self.path.is_dir():
            return "--out", str(self.path), "a folder, not a file"
        old = self.path / "problem.toml"
        if old.exists() or (self.path / "run.json").exists():
            if resume:
                if old.exists() and old.read_text() != problem_text:
                    return "--resume", str(self.path), "the folder of the same resolved problem (or use --force)"
                self.resumed = True
            elif not force:
                return "--out", str(self.path), "a new folder (or use --force to replace it, --resume to go on)"
            else:
                for name in RUN_CONTENT:
                    item = self.path / name
                    shutil.rmtree(item) if item.is_dir() else item.unlink(missing_ok=True)
        for folder in (self.path, self.path / "figures", self.path / "checkpoint"):
            folder.mkdir(parents=True, exist_ok=True)
        write_text(old, problem_text)
        return None

    def table(self, name: str, columns: Sequence[str], keep_until: float | None = None) -> CsvTable:
        """A CSV table of this folder; see CsvTable."""
        return CsvTable(self.path / name if self.writes else None, columns, keep_until)

    def record(self, **facts: object) -> None:
        """Merge facts into run.json and write it (rank 0)."""
        self.facts.update(facts)
        if self.writes:
            self.facts["wall_seconds"] = time.time() - self.started
            write_text(self.path / "run.json", json.dumps(clean_json(self.facts), indent=2) + "\n")

    def checkpoint(self, name: str, **arrays: np.ndarray) -> None:
        """Save arrays under checkpoint/NAME.npz (rank 0); the previous one is replaced atomically."""
        if self.writes:
            save_arrays(self.path / "checkpoint" / f"{name}.npz", **arrays)

    def restore(self, name: str) -> dict[str, np.ndarray] | None:
        """Arrays of checkpoint/NAME.npz on every rank, or None (collective)."""
        found = None
        if self.writes and self.resumed:
            file = self.path / "checkpoint" / f"{name}.npz"
            if file.exists():
                with np.load(file) as data:
                    found = dict(data)
        return self.comm.bcast(found)


RUN_CONTENT = ("problem.toml", "run.json", "diagnostics.csv", "particles.csv", "comparison.csv", "verdict.csv",
               "convergence.csv", "distances.csv", "target.csv", "clusters.csv", "particles.h5", "density.bp",
               "density.xdmf", "density.h5", "figures", "checkpoint", "report.html")


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
