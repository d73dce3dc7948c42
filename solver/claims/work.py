"""One job of the claims: run a cell once, and measure and predict everything that the claims ask of it."""

from __future__ import annotations

import hashlib
import inspect
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NotRequired, TypedDict

import numpy as np

from problems import ProblemError
from problems.checks import nearest
from solver.claims.case import Measured, Value, execute
from solver.claims.claim import Cell, Claim, Quantity, resolve_table
from solver.claims.measurements import MEASUREMENTS
from solver.claims.predictions import PREDICTIONS
from solver.runs.folder import clean_json

# Kind, "measured" or "predicted", name and options of what is asked of a job.
Request = tuple[str, str, dict[str, object]]


class Answer(TypedDict):
    """A number, or one for each output, with its own error bar; not-finite numbers as text, see `clean_json`."""

    value: object
    error: object


class Answered(TypedDict):
    """What a job answered: the depths of the outputs, the answer to each request by its key, and the seconds of one core that it
    took."""

    times: list[float]
    answers: dict[str, Answer]
    seconds: NotRequired[float]


@dataclass
class Job:
    """A cell, and the requests of it: by key."""

    cell: Cell
    requests: dict[str, Request] = field(default_factory=dict)
    cost: float = 0.0

    @property
    def key(self) -> str:
        """The same for the same run, whichever claim asks for it."""
        text = json.dumps([self.cell.values, self.cell.start, self.cell.side], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:20]

    @property
    def runs(self) -> bool:
        return any(kind == "measured" for kind, _, _ in self.requests.values())


def request(kind: str, quantity: Quantity, cell: Cell) -> tuple[str, Request]:
    """The request of a quantity in a cell, with its key."""
    name = quantity.measured if kind == "measured" else quantity.predicted
    table = MEASUREMENTS if kind == "measured" else PREDICTIONS
    if name not in table:
        raise ProblemError(f"quantities.{kind}", name, nearest(name, table))
    own = quantity.measured_with if kind == "measured" else quantity.predicted_with
    options = resolve_table({**quantity.options, **own}, cell.variables, f"quantities.{kind}")
    return json.dumps([kind, name, options, fingerprint(table[name])], sort_keys=True), (kind, name, options)


@lru_cache
def fingerprint(function: Callable[..., Measured]) -> str:
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


def carry_out(job: Job) -> Answered:
    """Run a job's cell and answer its requests.

    Raises:
        ProblemError, RunError: the run cannot be made.
    """
    began = time.process_time()
    case = job.cell.case()
    run = execute(case, job.cell.side) if job.runs else None
    answers: dict[str, Answer] = {}
    for key, (kind, name, options) in job.requests.items():
        try:
            found = MEASUREMENTS[name](run, **options) if kind == "measured" else PREDICTIONS[name](case, **options)
        except TypeError as error:
            raise ProblemError(f"quantities.{kind}", name, f"does not take these options: {error}") from error
        value, error_bar = found if isinstance(found, Value) else (found, 0.0)
        shape = np.shape(value)
        answers[key] = {"value": clean_json(np.asarray(value, float).tolist()),
                        "error": clean_json(np.broadcast_to(np.asarray(error_bar, float), shape).tolist())}
    times = run.times if run is not None else case.times
    return {"times": [float(t) for t in times], "answers": answers, "seconds": round(time.process_time() - began, 3)}
