"""`coldflow claims`: the papers' claims, predicted and measured."""

from __future__ import annotations

import datetime
import io
import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from problems import ProblemError
from solver.claims.assumed import check_assumptions
from solver.claims.claim import Claim, claim_files, read_claim
from solver.claims.library import Kept, answer_jobs, as_number, conclude, latest, verdict_of
from solver.claims.page import RELATION, claims_page, measured_text, number_text, told_text
from solver.commands.common import parse_set, usable_folder
from solver.ranks import world
from solver.runs.console import TerminalTable, print_pairs
from solver.runs.progress import rank_console
from solver.runs.provenance import provenance

if TYPE_CHECKING:
    from rich.console import Console

    from solver.claims.evaluate import Result
    from solver.claims.work import Answered, Job
    from solver.sweeps.pool import Outcome

STYLES = {"shown": "green", "contradicted": "red", "not resolved": "yellow", "finding": ""}


def run_claims(names: list[str], settings: list[str] | None, out: Path | None, quick: bool, every: bool, resume: bool,
               quiet: bool, workers: int | None, page: Path | None) -> int:
    """List the claims, or run some or all; exit code 0 unless a run failed or something is contradicted that the claim's
    own file, whose settings are not changed, does not already account for."""
    folder = out if out is not None else Path("results") / "claims"
    comm = world()
    console = rank_console(comm, quiet)
    if page is not None and not names and not every:
        return write_page(folder, page, console) if comm.rank == 0 else 0
    if not names and not every:
        return list_claims(folder, console)
    options = parse_set(settings)
    chosen = list(claim_files()) if every else list(dict.fromkeys(names))
    claims = [read_claim(name, quick=quick, settings=options) for name in chosen]
    if options:
        check_assumptions(claims)
    usable_folder(folder)
    began = time.monotonic()

    def tell(job: Job, outcome: Outcome[Answered], done: int, total: int) -> None:
        if console:
            words = outcome.error or "done"
            console.print(f"[dim]{done:4d}/{total}  {time.monotonic() - began:6.0f} s[/dim]  {escape(f'{label(job)}: {words}')}",
            highlight=False)

    if console:
        seconds = sum(claim.cost[1 if quick else 0] for claim in claims)
        console.print(f"{len(claims)} claim{'s' if len(claims) > 1 else ''}, about {seconds:.0f} s of one core", highlight=False)
    answers, errors = answer_jobs(claims, folder / "cells", resume=resume, workers=workers, on_job=tell, comm=comm)
    facts = {"when": now(), **provenance(comm)}
    results = conclude(claims, answers, errors, folder if comm.rank == 0 else None, quick=quick, settings=settings or (),
                       facts=facts)
    if comm.rank > 0:
        return report(claims, results, changed=bool(options), tell=False)
    for claim in claims:
        draw(folder, claim, results[claim.id])
        if console:
            show(console, claim, results[claim.id])
    if console:
        print_pairs(console, [("results", f"{folder}/claims.csv, {folder}/<claim>/")])
    if page is not None:
        write_page(folder, page, console)
    return report(claims, results, changed=bool(options))


def report(claims: list[Claim], results: dict[str, Result], *, changed: bool = False, tell: bool = True) -> int:
    """Exit code: 1 where runs failed, or where a claim is contradicted without its file saying what is known about it; what it
    says is about its own settings, and excuses no `changed` ones."""
    code, stream = 0, sys.stderr if tell else io.StringIO()
    for claim in claims:
        result = results[claim.id]
        if result.failures:
            print(f"coldflow: {claim.id}: {len(result.failures)} runs failed, the first: {result.failures[0]}", file=stream)
            code = 1
        elif verdict_of(result) == "contradicted" and (changed or not claim.known):
            print(f"coldflow: {claim.id} is contradicted", file=stream)
            code = 1
    return code


def label(job: Job) -> str:
    """A job in a few words."""
    return f"{job.cell.side}, {job.cell.label}" if job.cell.label else job.cell.side


def now() -> str:
    """Date and time, universal."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def draw(folder: Path, claim: Claim, result: Result) -> None:
    """The figure of a claim; one that cannot be drawn fails nothing."""
    from solver.report.claim_figure import plot_claim

    try:
        plot_claim(folder / claim.id / f"{claim.id}", f"{claim.id}: {claim.title}", result.panels)
    except Exception as error:
        print(f"coldflow: no figure of {claim.id}: {error}", file=sys.stderr)


def show(console: Console, claim: Claim, result: Result) -> None:
    """The table of one claim."""
    console.print(f"\n[bold]{escape(f'{claim.id}: {claim.title}')}[/bold]", highlight=False)
    made = TerminalTable("", ["quantity", "predicted", "measured", "verdict", "tells"], sentences=["quantity"])
    for row in result.rows:
        predicted = "" if row["verdict"] == "finding" else RELATION[row["relation"]] + number_text(as_number(row["predicted"]))
        style = STYLES[row["verdict"]]
        made.add(row["quantity"], predicted, measured_text(as_number(row["measured"]), as_number(row["error"])),
                     f"[{style}]{row['verdict']}[/{style}]" if style else row["verdict"], told_text(row))
    made.print(console)
    for row in result.rows:
        if row["note"] and not math.isfinite(as_number(row["measured"])):
            console.print(f"[dim]{escape(row['quantity'])}: {escape(row['note'])}[/dim]", highlight=False)
    for failure in result.failures:
        console.print(f"[red]failed[/red] {escape(failure)}", highlight=False)


def list_claims(folder: Path, console: Console | None) -> int:
    """All claims with source, cost and latest result."""
    if console is None:
        return 0
    found = latest(folder)
    made = TerminalTable("Claims", ["", "title", "source", "cost", "quick", "latest"], sentences=["title", "source"])
    for name in claim_files():
        claim = read_claim(name)
        kept = found.get(name)
        words = f"{kept['verdict']}{' (quick)' if kept['quick'] else ''}" if kept else ""
        made.add(name, claim.title, claim.source, f"{claim.cost[0]:.0f} s", f"{claim.cost[1]:.0f} s", words)
    made.print(console)
    console.print("coldflow claims NAME runs one; --quick a small setting; --all all of them", highlight=False)
    return 0


def write_page(folder: Path, page: Path, console: Console | None) -> int:
    """docs/claims.md from the latest results; claims without any keep what the page says of them."""
    found = latest(folder)
    if not found:
        raise ProblemError("--write-docs", str(page), f"needs results in {folder}; run coldflow claims --all first")
    ordered = []
    for name in claim_files():
        if name in found:  # what is known of a verdict is often written after it
            claim = read_claim(name)
            ordered.append(Kept({**found[name], "title": claim.title, "statement": claim.statement, "known": claim.known}))
    page.parent.mkdir(parents=True, exist_ok=True)
    before = page.read_text() if page.is_file() else ""
    page.write_text(claims_page(ordered, max(str(kept.get("when", "")) for kept in ordered), before, list(claim_files())))
    if console:
        print_pairs(console, [("written", str(page))])
    return 0
