"""The library of claims: running them, keeping what was measured, and the tables and page that come of it."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NotRequired, TypedDict, TypeVar

from solver.claims.claim import Claim
from solver.claims.evaluate import Result, Row, evaluate_claim
from solver.claims.judge import together
from solver.claims.work import Answered, Job, carry_out, jobs_of
from solver.runs.folder import clean_json, write_text
from solver.runs.tables import CsvTable
from solver.sweeps.pool import Outcome, run_jobs

if TYPE_CHECKING:
    from mpi4py import MPI

COLUMNS = ["claim", "quantity", "predicted", "measured", "error", "verdict", "command"]


T = TypeVar("T")


class Kept(TypedDict):
    """What claim.json holds of a claim; infinities and NaN are text there. `seconds` of one core went into its runs; `when` and
    `git` say of which state of the code."""

    claim: str
    title: str
    statement: str
    source: str
    known: str
    command: str
    verdict: str
    quick: bool
    rows: list[Row]
    failures: list[str]
    seconds: float
    when: NotRequired[str]
    git: NotRequired[dict[str, str] | str]


def answer_jobs(claims: list[Claim], cells: Path | None, *, resume: bool = False, workers: int | None = None,
                on_job: Callable[[Job, Outcome[Answered], int, int], None] | None = None, comm: MPI.Comm | None = None,
                ) -> tuple[dict[str, Answered], dict[str, str]]:
    """Run every job of these claims, on the free cores or on the ranks of `comm`; collective.

    Args:
        cells: folder where answers are kept, one file for each run; None: nowhere.
        resume: take what is there already and answers all requests.
        workers: processes; None: the free cores.
        on_job: called with every job that ended, its outcome, how many are done, and of how many.
        comm: all ranks; None: this process alone.

    Returns:
        Answers and errors by job key, the same on every rank. A job that fails is left out of the first and told in the second.
    """
    jobs, first = jobs_of(claims), comm is None or comm.rank == 0
    answers: dict[str, Answered] = {}
    if resume and cells is not None and first:
        for key, job in jobs.items():
            kept = read_json(cells / f"{key}.json", Answered)
            if kept is None:
                continue
            missing = {name: what for name, what in job.requests.items() if name not in kept["answers"]}
            if not any(kind == "measured" for kind, _, _ in missing.values()):
                # Predictions that are new or have changed need no run.
                fresh = carry_out(replace(job, requests=missing))["answers"] if missing else {}
                answers[key] = {**kept, "answers": {**kept["answers"], **fresh}}
    answers = answers if comm is None else comm.bcast(answers)
    todo = sorted((job for key, job in jobs.items() if key not in answers), key=lambda job: -job.cost)
    errors: dict[str, str] = {}
    for outcome in run_jobs(carry_out, todo, workers, comm):
        job = todo[outcome.index]
        if outcome.result is None:
            errors[job.key] = outcome.error
        else:
            answers[job.key] = outcome.result
            if cells is not None and first:
                cells.mkdir(parents=True, exist_ok=True)
                write_text(cells / f"{job.key}.json", json.dumps(outcome.result) + "\n")
        if on_job:
            on_job(job, outcome, len(answers) + len(errors), len(jobs))
    return answers, errors


def read_json(path: Path, kind: type[T]) -> T | None:
    """A JSON file as we wrote it, or None where there is none that can be read."""
    try:
        found: T = json.loads(path.read_text())
        return found
    except (OSError, ValueError):
        return None


def claim_command(claim: Claim, quick: bool, settings: Iterable[str]) -> str:
    """The command that repeats a claim."""
    words = ["coldflow claims", claim.id, *(f"--set {shlex.quote(item)}" for item in settings), *(["--quick"] if quick else [])]
    return " ".join(words)


def conclude(claims: list[Claim], answers: Mapping[str, Answered], errors: Mapping[str, str], folder: Path | None, *, quick: bool,
             settings: Sequence[str] = (), facts: Mapping[str, object] | None = None) -> dict[str, Result]:
    """Judge the claims; write claim.json of each and the tables of all.

    Args:
        folder: results/claims; None: nothing is written.
        facts: versions and git state, for claims.json.
    """
    results: dict[str, Result] = {}
    for claim in claims:
        result = evaluate_claim(claim, answers, errors)
        command = claim_command(claim, quick, settings)
        for row in result.rows:
            row["command"] = command
        results[claim.id] = result
        if folder is not None:
            (folder / claim.id).mkdir(parents=True, exist_ok=True)
            kept = Kept(claim=claim.id, title=claim.title, statement=claim.statement, source=claim.source, known=claim.known,
                        command=command, verdict=verdict_of(result), quick=quick, rows=result.rows, failures=result.failures,
                        seconds=seconds_of(claim, answers))
            more = {"panels": [vars(panel) for panel in result.panels], **(facts or {})}
            write_text(folder / claim.id / "claim.json", json.dumps(clean_json({**kept, **more}), indent=1) + "\n")
    if folder is not None:
        write_tables(folder)
    return results


def seconds_of(claim: Claim, answers: Mapping[str, Answered]) -> float:
    """Seconds of one core that the runs of a claim took, those it shares with other claims among them."""
    keys = {Job(cell).key for cell in (*claim.cells, *claim.coarse) if cell is not None}
    return round(sum(answers[key].get("seconds", 0.0) for key in keys if key in answers), 1)


def verdict_of(result: Result) -> str:
    """The verdict of a claim; findings, which predict nothing, have no say unless there is nothing else."""
    verdicts = [row["verdict"] for row in result.rows if row["verdict"] != "finding"]
    return together(verdicts) if verdicts else "finding" if result.rows else "not resolved"


def latest(folder: Path) -> dict[str, Kept]:
    """Claim id -> the latest claim.json in a results folder."""
    found = {}
    for path in sorted(folder.glob("*/claim.json")):
        kept = read_json(path, Kept)
        if kept is not None:
            found[kept["claim"]] = kept
    return found


def write_tables(folder: Path) -> None:
    """claims.csv and claims.json of everything in a results folder, in the order of the library."""
    from solver.claims.claim import claim_files

    known = latest(folder)
    ordered = [known[name] for name in [*claim_files(), *sorted(set(known) - set(claim_files()))] if name in known]
    table = CsvTable(folder / "claims.csv", COLUMNS)
    for kept in ordered:
        for row in kept["rows"]:
            numbers = {"predicted": row["predicted"], "measured": row["measured"], "error": row["error"]}
            table.write({"claim": row["claim"], "quantity": row["quantity"], "verdict": row["verdict"], "command": row["command"],
                         **{key: as_number(value) for key, value in numbers.items()}})
    table.close()
    write_text(folder / "claims.json", json.dumps(ordered, indent=1) + "\n")


def as_number(value: float | str | None) -> float:
    """A number kept in JSON, where infinities and NaN are text; None is NaN."""
    return math.nan if value is None else float(value)
