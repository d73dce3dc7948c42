"""One job of the claims: run a cell once, and measure and predict everything that the claims ask of it."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from problems import ProblemError
from problems.checks import nearest
from solver.claims.case import Value, execute
from solver.claims.claim import Cell, Claim, Quantity, resolve
from solver.claims.measurements import MEASUREMENTS
from solver.claims.predictions import PREDICTIONS
from solver.runs.folder import clean_json


@dataclass
class Job:
    """A cell, and the requests of it: key -> (kind, name, options), kind "measured" or "predicted"."""

    cell: Cell
    requests: dict[str, tuple[str, str, dict[str, Any]]] = field(default_factory=dict)
    cost: float = 0.0

    @property
    def key(self) -> str:
        """The same for the same run, whichever claim asks for it."""
        text = json.dumps([self.cell.values, self.cell.start, self.cell.side], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:20]

    @property
    def runs(self) -> bool:
        return any(kind == "measured" for kind, _, _ in self.requests.values())


def request(kind: str, quantity: Quantity, cell: Cell) -> tuple[str, tuple[str, str, dict[str, Any]]]:
    """The request of a quantity in a cell, with its key."""
    name = quantity.measured if kind == "measured" else quantity.predicted
    table: dict[str, Any] = MEASUREMENTS if kind == "measured" else PREDICTIONS
    if name not in table:
        raise ProblemError(f"quantities.{kind}", name, nearest(name, table))
    own = quantity.measured_with if kind == "measured" else quantity.predicted_with
    options = resolve({**quantity.options, **own}, cell.variables, f"quantities.{kind}")
    return json.dumps([kind, name, options, fingerprint(table[name])], sort_keys=True), (kind, name, options)


@lru_cache
def fingerprint(function: Callable[..., Any]) -> str:
    """A mark of the module that a function comes from: answers of other code are not taken up again."""
    return hashlib.sha256(Path(inspect.getsourcefile(function) or "").read_bytes()).hexdigest()[:8]


def applies(quantity: Quantity, cell: Cell) -> bool:
    """Whether a quantity is asked of this cell."""
    from solver.sweeps.formula import evaluate

    return not quantity.where or bool(evaluate(quantity.where, cell.variables, "quantities.where"))


def jobs_of(claims: list[Claim]) -> dict[str, Job]:
    """All jobs of these claims; what several of them run alike is run once."""
    jobs: dict[str, Job] = {}
    for claim in claims:
        for cell, coarse in zip(claim.cells, claim.coarse, strict=True):
            for which in (cell, coarse):
                if which is None:
                    continue
                job = Job(which)
                job = jobs.setdefault(job.key, job)
                for quantity in claim.quantities:
                    if not applies(quantity, cell):
                        continue
                    for kind in ("measured", "predicted"):
                        if (kind == "predicted" and (which is coarse or not quantity.predicted)):
                            continue
                        key, what = request(kind, quantity, cell)
                        job.requests[key] = what
                job.cost = max(job.cost, sum(claim.cost) / max(len(claim.cells), 1))
    return jobs


def carry_out(job: Job) -> dict[str, Any]:
    """Run a job's cell and answer its requests.

    Returns:
        {"times": [..], "answers": {key: {"value": .., "error": ..}}}, plain numbers and lists.

    Raises:
        ProblemError, RunError: the run cannot be made.
    """
    case = job.cell.case()
    run = execute(case, job.cell.side) if job.runs else None
    answers = {}
    for key, (kind, name, options) in job.requests.items():
        try:
            found = MEASUREMENTS[name](run, **options) if kind == "measured" else PREDICTIONS[name](case, **options)
        except TypeError as error:
            raise ProblemError(f"quantities.{kind}", name, f"does not take these options: {error}") from error
        value, error_bar = found if isinstance(found, Value) else (found, 0.0)
        shape = np.shape(value)
        answers[key] = {"value": np.asarray(value, float).tolist(),
                        "error": np.broadcast_to(np.asarray(error_bar, float), shape).tolist()}
    times = np.asarray(run.times if run is not None else case.times).tolist()
    return {"times": times, "answers": clean_json(answers)}


def number(value: Any) -> float:
    """A number of a JSON file, where infinities and NaN are text."""
    return math.nan if value is None else float(value)
