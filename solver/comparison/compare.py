"""Density, particles and target side by side: distances between all three at every output, and a verdict."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console

from problems import Problem, ProblemError
from problems.loader import ProblemLike, as_problem
from solver.comparison import apart, relative_entropy
from solver.comparison.accuracy import COLUMNS as ACCURACY_COLUMNS
from solver.comparison.accuracy import Chosen, choose, refuse_accuracy, restored
from solver.comparison.beside import Beside
from solver.comparison.further import ALSO_COLUMNS, Curve, further_curves, further_tokens
from solver.comparison.refinement import Extra, refine
from solver.comparison.verdict import CONVERGENCE_COLUMNS, VERDICT_COLUMNS, Verdict, judge, judged_outputs
from solver.errors import need_density
from solver.ranks import world
from solver.runs.checkpoints import on_first_rank
from solver.runs.contents import read_facts
from solver.runs.context import Context, final_numbers, finish, leave, open_run, recorded, tell_phases
from solver.runs.distances import TargetDistance
from solver.runs.frames import table
from solver.runs.history import History, owner
from solver.runs.phases import Phase
from solver.runs.progress import rank_console
from solver.runs.shown import Shown
from solver.runs.solve import follow_law, record_density, record_particles
from solver.runs.stop import Limits
from solver.runs.tables import COMPARISON_COLUMNS, DISTANCES_COLUMNS, ERROR_COLUMNS, Row

if TYPE_CHECKING:
    from mpi4py import MPI

# What is remembered of a run: numbers, or {"time", "value"} of an approach.
Summary = dict[str, float | dict[str, float]]
Curves = dict[str, tuple[list[float], list[float]]]  # kind -> sizes, distances
SIDES = ("density", "particles")
EXIT_REASONS = {"agree": "done", "disagree": "density and particles disagree", "not resolved": "not resolved"}


@dataclass
class Comparison(Shown):
    """Result of `compare`, the same on every rank but for the laws in both histories, see `History`.

    rows: one dict per output with the columns of comparison.csv; verdict: agreement at every output;
    convergence: W2 between density and tokens against mesh width and number of tokens by kind, None without extra runs;
    summary: the few numbers a run is remembered by (closest approach, terminal level, distance to E(V)); phases: what the run
    went through, on rank 0, empty without a run folder; chosen: the settings chosen for an accuracy, in words; also: rows of
    also.csv, of the further token systems.
    """

    drawn = "comparison"

    problem: Problem
    density: History
    particles: History
    rows: list[Row]
    verdict: Verdict
    summary: Summary = field(default_factory=dict)
    phases: list[Phase] = field(default_factory=list)
    convergence: Curves | None = None
    chosen: str = ""
    also: list[dict[str, float | str]] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<Comparison {self.words()}>"

    def _repr_html_(self) -> str:
        return f"<p>Comparison {html.escape(self.words())}</p>{table(self.rows, COMPARISON_COLUMNS)}{self.verdict._repr_html_()}"

    def words(self) -> str:
        """What was compared and found, one line."""
        apart = self.column("w2_density_particles")
        return (f"of {self.problem.name}: {len(self.rows)} outputs, W2 between density and tokens at most "
                f"{apart.max() if len(apart) else np.nan:.3g}, verdict: {self.verdict.outcome}")

    def sides(self) -> list[Shown]:
        return [self.density, self.particles]

    def further(self, name: str) -> dict[str, Curve]:
        """Label of each further token system -> (times, values) of one column of also.csv."""
        return further_curves(self.also, name)


def comparison_rows(problem: Problem, comm: MPI.Comm, density: History,
                    particles: History) -> tuple[list[Row], list[dict[str, object]]]:
    """Rows of comparison.csv and of distances.csv, which has the bounds and the method of each distance; the outputs are
    shared among the ranks (collective)."""
    mine: dict[int, tuple[Row, list[dict[str, object]]]] = {}
    for i in (i for i in range(min(len(density.times), len(particles.times))) if owner(i, comm.size) == comm.rank):
        row: Row = {"time": density.times[i]}
        bounds = []
        for p, between in apart.distances(problem, density, particles, i).items():
            row[f"w{p}_density_particles"] = between.value
            bounds.append(("density particles", p, between))
            for side, history in zip(SIDES, (density, particles), strict=True):
                if f"w{p}_target" in history.rows[i]:
                    row[f"w{p}_{side}_target"] = history.rows[i][f"w{p}_target"]
                if p in history.to_target[i]:
                    bounds.append((f"{side} target", p, history.to_target[i][p]))
        entropies = relative_entropy.between(density, particles, i, problem.manifold, problem.density.degree)
        if entropies is not None:
            row["kl_density_particles"], row["l1_density_particles"] = entropies
        mine[i] = row, [{"time": row["time"], "between": pair, "p": p, "value": d.value, "error": d.error,
                         "lower": d.lower, "upper": d.upper, "method": d.method} for pair, p, d in bounds]
    merged = {i: found for part in comm.allgather(mine) for i, found in part.items()}
    return [merged[i][0] for i in sorted(merged)], [bound for i in sorted(merged) for bound in merged[i][1]]


def summarise(to_target: TargetDistance, comparison: Comparison, comm: MPI.Comm) -> Summary:
    """Closest approach to the target for each side and p, and where the law ends (collective)."""
    summary: Summary = {}
    for side, history in zip(SIDES, (comparison.density, comparison.particles), strict=True):
        for p in (1, 2):
            values = comparison.column(f"w{p}_{side}_target")
            if np.isfinite(values).any():
                best = int(np.nanargmin(values))
                summary[f"closest_w{p}_{side}"] = {"time": comparison.rows[best]["time"], "value": values[best]}
        terminal = comm.bcast(to_target.terminal_distance(history.measures[-1]) if comm.rank == 0 else None)
        if terminal is not None:
            summary[f"terminal_w1_{side}"] = {"time": history.times[-1], "value": terminal}
    level = to_target.terminal_level()
    if level is not None:
        summary["terminal_level_w2"] = level
    return summary


def compare(problem: ProblemLike, *, comm: MPI.Comm | None = None, out: str | Path | None = None, force: bool = False,
            resume: bool = False, quiet: bool | None = None, verdict: bool = True, limits: Limits | None = None,
            accuracy: float | None = None) -> Comparison:
    """Solve for density and particles and compare them with each other and with the target (collective).

    Args:
        problem: a Problem, a bundled name, the path of a file, or its tables.
        comm: all ranks; default the world.
        out: run folder; None keeps everything in memory and draws nothing.
        force, resume: replace an earlier run in that folder, or go on with it.
        quiet: nothing on the terminal; None: neither there, but in a notebook progress below its cell.
        limits: of time, between checkpoints, and of the watchdog.
        verdict: also run the coarser mesh and the smaller token systems that tell noise and mesh error from a bug.
        accuracy: of density and tokens in W2, 1e-8 to 1: cells, degree, tokens and steps are then chosen by refinement instead of
            taken from the problem.

    Returns:
        The comparison; `comparison.verdict.agree` decides the exit code of the command.

    Raises:
        ProblemError, RunError.

    Source: docs/theory.md §2, §4.8.
    """
    need_density()
    problem = as_problem(problem)
    if problem.time.stationary and problem.noise.diffusivity > 0.0:
        raise ProblemError("time.end", problem.time.end, "must be a depth to compare with noise, which never lets tokens rest")
    chosen = None
    if accuracy is not None:
        chosen = accurate(problem, accuracy, world() if comm is None else comm, out, force=force, resume=resume, quiet=quiet)
        problem = problem.with_(chosen.settings)
    context = open_run(problem, comm=comm, out=out, force=force, resume=resume, quiet=quiet, command="compare",
                       limits=limits)
    comm, folder, console = context.comm, context.folder, context.console
    with recorded(context), ExitStack() as stack:
        if chosen is not None:
            write_table(context, "accuracy.csv", ACCURACY_COLUMNS, chosen.rows)
            on_first_rank(comm, partial(finish, context, "running", accuracy=chosen.facts()))
        foresight = follow_law(context)
        beside = Beside.start(problem, folder, context.supervisor, verdict, foresight)
        if beside is not None:
            stack.callback(beside.end)
            announce(console)("tokens and extra runs on a second core")
        stores = beside.store if beside is not None else folder.store if folder is not None else None
        density = record_density(context)
        particles = record_particles(context, stores)
        with context.stage("distances"):
            rows, bounds = comparison_rows(problem, comm, density, particles)
        columns = COMPARISON_COLUMNS
        if chosen is not None:
            chosen.tell(rows)
            columns = [*COMPARISON_COLUMNS, *ERROR_COLUMNS]
        write_table(context, "comparison.csv", columns, rows)
        write_table(context, "distances.csv", DISTANCES_COLUMNS, bounds)
        context.supervisor.check()
        also: list[dict[str, float | str]] = []
        if problem.compare.also:
            with context.stage("further tokens"):
                extra = Extra(comm, announce(console), stores, context.supervisor)
                also = further_tokens(problem, comm, extra, density, context.to_target)
            write_table(context, "also.csv", ALSO_COLUMNS, also)
        refinement = None
        if verdict:
            last = judged_outputs(problem, density.times)[-1]
            with context.stage("extra runs"):
                refinement = refine(problem, comm, density, particles, last, announce(console),
                                    stores, context.supervisor)
        with context.stage("verdict"):
            judgement = judge(problem, comm, rows, density, particles, refinement)
        made = beside.end() if beside is not None else []
        write_table(context, "verdict.csv", VERDICT_COLUMNS, judgement.rows)
        if refinement is not None:
            write_table(context, "convergence.csv", CONVERGENCE_COLUMNS, refinement.table())
        curves = refinement.curves if refinement is not None else None
        comparison = Comparison(problem, density, particles, rows, judgement, convergence=curves, also=also,
                                chosen=chosen.words if chosen is not None else "")
        comparison.summary = summarise(context.to_target, comparison, comm)
        on_first_rank(comm, partial(finish, context, EXIT_REASONS[judgement.outcome],
                                    density=final_numbers(density), particles=final_numbers(particles),
                                    second_process=made, summary=comparison.summary, verdict=judgement.facts(),
                                    phases=tell_phases(context)))
    comparison.phases = context.phases
    if folder is not None and folder.writes:
        from solver.report.pictures import draw_run

        draw_run(folder.path, problem, context.to_target, context.phases, comparison=comparison)
    leave(context)
    return comparison


def accurate(problem: Problem, accuracy: float, comm: MPI.Comm, out: str | Path | None, *, force: bool, resume: bool,
             quiet: bool | None) -> Chosen:
    """The settings for an accuracy, as an earlier run in this folder chose them if it is to go on (collective).

    Raises:
        ProblemError, RunError.
    """
    refuse_accuracy(problem, accuracy)
    if out is not None:
        facts = comm.bcast(read_facts(Path(out)) if comm.rank == 0 else None)
        earlier = restored(facts, accuracy) if facts is not None and resume else None
        if earlier is not None:
            return earlier
        if facts is not None and not (force or resume):
            # Before the search, not after it; `open_run` has the last word.
            raise ProblemError("--out", str(out), "a new folder (or use --force to replace it, --resume to go on)")
    return choose(problem, accuracy, comm, Extra(comm, announce(rank_console(comm, quiet is not False))))


def write_table(context: Context, name: str, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """A whole table of the run folder, if there is one (collective)."""
    folder, rows = context.folder, list(rows)
    if folder is not None:
        on_first_rank(context.comm, lambda: folder.table(name, columns, rows).close())


def announce(console: Console | None) -> Callable[[str], None]:
    """Says on the terminal which extra run comes next; silent without a console."""
    def say(words: str) -> None:
        if console is not None:
            console.print(words, style="dim", markup=False, highlight=False)

    return say
