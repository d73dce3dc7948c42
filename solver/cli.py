"""The command line: `coldflow COMMAND PROBLEM [OPTIONS] [-- PETSC OPTIONS]`."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
import typer
import typer.core

from solver.compiled import private_cache
from solver.errors import have_density, need_density
from solver.guardian import guard
from solver.ranks import INTERRUPTED, Termination, flush_output, hold_streams, keep_pipes_harmless, run_together, world

if TYPE_CHECKING:
    from solver.runs.stop import Limits

# Commands that need no PETSc: they start faster without, and work where it is not installed.
LIGHT = {"animate", "check", "distance", "doctor", "new", "particles", "problems", "report", "target"}
# Commands that start without PETSc where it is missing: what they run of tokens works, a density is refused as it is reached.
EITHER = {"claims", "sweep"}


class PlainFormatter(click.HelpFormatter):
    """Help without the backslash that typer puts before brackets for the sake of rich."""

    def write_dl(self, rows: Sequence[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """A list of names and texts."""
        super().write_dl([(name, text.replace("\\[", "[")) for name, text in rows], col_max, col_spacing)


class PlainContext(click.Context):
    """A context with that help."""

    formatter_class = PlainFormatter


class Commands(typer.core.TyperGroup):
    """The commands in the order of this file, with whole sentences in the help and a suggestion for a mistyped name."""

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """One row for each command: its first sentence in full."""
        rows = [(name, " ".join((self.commands[name].help or "").partition("\n\n")[0].split()))
                for name in self.list_commands(context)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """A command by its name."""
        found = super().get_command(context, name)
        if found is not None:
            found.context_class = PlainContext
            if "problem" in {parameter.name for parameter in found.params} and "large" not in {p.name for p in found.params}:
                from solver.commands.admission import large_option

                found.params.append(large_option())
        return found

    def resolve_command(self, context: click.Context, args: list[str],
                        ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click, but an unknown command is refused with the nearest name."""
        name = args[0] if args else ""
        if name and not name.startswith("-") and self.get_command(context, name) is None:
            near = difflib.get_close_matches(name, self.commands, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"must be one of {', '.join(self.commands)}."
            context.fail(f"No such command '{name}'; {hint}")
        return super().resolve_command(context, args)


app = typer.Typer(cls=Commands, context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]},
                  rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True,
                  help="The mean-field law of transformer tokens at low temperature: as a density on a mesh, as particles, and "
                       "as a push-forward. PROBLEM is a problem file or the name of a bundled problem. What follows -- goes "
                       "to PETSc's options database.")


def show_version(asked: bool) -> None:
    """Print the version and end."""
    if asked:
        from solver.runs.provenance import VERSION

        typer.echo(f"coldflow {VERSION}")
        raise typer.Exit


@app.callback()
def options(version: Annotated[bool, typer.Option("--version", callback=show_version, is_eager=True,
                                                  help="Show the version and exit.")] = False) -> None:
    """What belongs to no command."""


ProblemName = Annotated[str, typer.Argument(metavar="PROBLEM", help="A problem file, or the name of a bundled problem.")]
Out = Annotated[Path | None, typer.Option("--out", help="Write to this run folder; default results/<problem>.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an earlier run in that folder.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in that folder.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE",
                                               help="Change one key of the problem, such as attention.beta=200.")]
TimeLimit = Annotated[str | None, typer.Option("--time-limit", metavar="TIME", help="Stop after this wall-clock time, such as "
                                               "90s, 45m, 12h or 1:30:00, with a checkpoint to go on from (exit code 3).")]
CheckpointEvery = Annotated[str | None, typer.Option("--checkpoint-every", metavar="TIME", help="Write a checkpoint each time "
                                                     "so much wall-clock time has passed, besides outputs; default 10m.")]
Watchdog = Annotated[str | None, typer.Option("--watchdog", metavar="TIME", help="End the run if no step or output is finished "
                                              "for this long, because a rank has stopped answering; default: never.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]


def limits(time_limit: str | None, checkpoint_every: str | None, watchdog: str | None) -> Limits:
    """The options of time, read."""
    from solver.runs.stop import CHECKPOINT_SECONDS, Limits, read_duration

    every = CHECKPOINT_SECONDS if checkpoint_every is None else read_duration("--checkpoint-every", checkpoint_every)
    return Limits(None if time_limit is None else read_duration("--time-limit", time_limit), every,
                  None if watchdog is None else read_duration("--watchdog", watchdog))


@app.command()
def compare(problem: ProblemName, out: Out = None, force: Force = False, resume: Resume = False, set_: Set = None,
            quiet: Quiet = False, time_limit: TimeLimit = None,
            checkpoint_every: CheckpointEvery = None, watchdog: Watchdog = None,
            verdict: Annotated[bool, typer.Option(help="Judge agreement with extra, coarser runs.")] = True,
            accuracy: Annotated[float | None, typer.Option(metavar="W2", help="Choose cells, degree, tokens and steps by "
                                                           "refinement, so that the W2 errors of density and tokens are below "
                                                           "this.")] = None) -> int:
    """Solve for density and particles, and compare both with each other and with the target."""
    from solver.commands.run import run_compare

    return run_compare(problem, set_, out, force, resume, quiet, verdict, limits(time_limit, checkpoint_every, watchdog),
                       accuracy)


@app.command()
def solve(problem: ProblemName, out: Out = None, force: Force = False, resume: Resume = False, set_: Set = None,
          quiet: Quiet = False, time_limit: TimeLimit = None,
          checkpoint_every: CheckpointEvery = None, watchdog: Watchdog = None) -> int:
    """Solve for the density on its mesh."""
    from solver.commands.run import run_side

    return run_side("density", problem, set_, out, force, resume, quiet, limits(time_limit, checkpoint_every, watchdog))


@app.command()
def particles(problem: ProblemName, out: Out = None, force: Force = False, resume: Resume = False, set_: Set = None,
              quiet: Quiet = False, time_limit: TimeLimit = None,
              checkpoint_every: CheckpointEvery = None, watchdog: Watchdog = None) -> int:
    """Follow the token system, in any dimension."""
    from solver.commands.run import run_side

    return run_side("particles", problem, set_, out, force, resume, quiet, limits(time_limit, checkpoint_every, watchdog))


@app.command()
def target(problem: ProblemName, out: Out = None, force: Force = False, set_: Set = None, quiet: Quiet = False) -> int:
    """Show the eigen-analysis of V K^T Q, the projection map and the push-forward measure."""
    from solver.commands.inspect import show_target

    return show_target(problem, set_, out, force, quiet)


@app.command()
def sweep(problem: ProblemName,
          over: Annotated[list[str], typer.Option(
              "--over", metavar="KEY=V1,V2,..",
              help="Take these values of a key; repeat for a product of several. A name without a dot is a variable for --tie.")],
          tie: Annotated[list[str] | None, typer.Option(
              "--tie", metavar="KEY=FORMULA", help="Compute a key from the others, such as attention.beta=count^0.5.")] = None,
          side: Annotated[str, typer.Option("--side", metavar="compare|density|particles",
                                            help="Run this in each cell.")] = "compare",
          fit: Annotated[list[str] | None, typer.Option(
              "--fit", metavar="LAW:Y:X", help="Fit power, exponential or line to two columns of the table.")] = None,
          jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="Use so many processes; else the free cores.")] = None,
          verdict: Annotated[bool, typer.Option(help="Judge agreement with extra, coarser runs.")] = True,
          out: Out = None, force: Force = False, resume: Resume = False, set_: Set = None, quiet: Quiet = False,
          time_limit: TimeLimit = None, checkpoint_every: CheckpointEvery = None, watchdog: Watchdog = None) -> int:
    """Run the same problem for several values of several keys, in one table and figure."""
    from solver.commands.sweep import run_sweep

    return run_sweep(problem, over, tie or [], side, set_, out, force, resume, quiet, verdict, jobs, fit or [],
                     limits(time_limit, checkpoint_every, watchdog))


@app.command()
def distance(first: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
             second: Annotated[Path, typer.Argument(metavar="RUN", help="Another one in the same space.")],
             side: Annotated[str | None, typer.Option("--side", metavar="density|particles", help="Compare this law.")] = None,
             quiet: Quiet = False) -> int:
    """Measure the Wasserstein distances between two runs, at every depth that both have."""
    from solver.commands.distance import run_distance

    return run_distance(first, second, side, quiet)


@app.command()
def report(folders: Annotated[list[Path], typer.Argument(metavar="RUN_DIR..", help="Folders of runs, sweeps or claims.")],
           out: Annotated[Path | None, typer.Option("--out", help="Write to this file; default RUN_DIR/report.html.")] = None,
           ) -> int:
    """Write report.html, runs, sweeps and claims as one page to send, to print or to keep."""
    from solver.commands.inspect import write_run_report

    return write_run_report(folders, out)


@app.command()
def animate(run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A run folder.")],
            kind: Annotated[str, typer.Option("--as", metavar="[mp4|gif]",
                                               help="Write this kind of file; default: mp4 with ffmpeg, else gif.")] = "",
            seconds: Annotated[float, typer.Option("--seconds", min=0.1, max=600.0, help="Make it so long.")] = 10.0) -> int:
    """Make a film of a run, density and tokens from output to output."""
    from solver.commands.inspect import make_film

    return make_film(run_dir, kind, seconds)


@app.command()
def repeat(run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A run folder.")], quiet: Quiet = False) -> int:
    """Run again what a run folder holds, and say which numbers agree to how many digits."""
    from solver.commands.repeat import run_repeat

    return run_repeat(run_dir, quiet)


@app.command()
def check(problem: ProblemName, set_: Set = None) -> int:
    """Validate a problem and print what a run of it would cost."""
    from solver.commands.inspect import show_plan

    return show_plan(problem, set_)


@app.command()
def mesh(problem: ProblemName, out: Out = None, force: Force = False, set_: Set = None, quiet: Quiet = False) -> int:
    """Write the mesh of a problem and print its quality."""
    from solver.commands.inspect import show_mesh

    return show_mesh(problem, set_, out, force, quiet)


@app.command()
def new(name: Annotated[str | None, typer.Argument(metavar="NAME", help="Of the file, NAME.toml in the present folder.")] = None,
        space: Annotated[str, typer.Option("--space", help="circle, sphere, interval, rectangle, box, euclidean, "
                                                           "file.")] = "circle",
        schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of problem files for editors, and "
                                                              "write nothing.")] = False, force: Force = False) -> int:
    """Write a commented problem file to start from."""
    from solver.commands.new import write_problem

    return write_problem(name, space, schema, force)


@app.command()
def problems() -> int:
    """List the bundled problems."""
    from solver.commands.inspect import list_problems

    return list_problems()


@app.command()
def claims(names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]..", help="Claims such as LT1 or MS5.")] = None,
           all_: Annotated[bool, typer.Option("--all", help="Run every claim.")] = False,
           quick: Annotated[bool, typer.Option("--quick", help="Take the small settings.")] = False,
           set_: Set = None,
           out: Annotated[Path | None, typer.Option("--out", help="Write to this folder; default results/claims.")] = None,
           resume: Annotated[bool, typer.Option("--resume", help="Keep the runs that are in the folder already.")] = False,
           jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="Use so many processes; else the free cores.")] = None,
           write_docs: Annotated[bool, typer.Option("--write-docs", help="Write docs/claims.md from the latest results.")] =
           False,
           quiet: Quiet = False) -> int:
    """List the papers' claims, or run some: prediction beside measurement, with error bars and a verdict."""
    from solver.commands.claims import run_claims

    return run_claims(names or [], set_, out, quick, all_, resume, quiet, jobs, Path("docs/claims.md") if write_docs else None)


@app.command()
def doctor() -> int:
    """Examine this installation: versions, MPI, PETSc, compilers, threads."""
    from solver.commands.doctor import examine

    return examine()


@app.command()
def bench(what: Annotated[str, typer.Argument(metavar="[attention|density|transport|all]")] = "all",
          out: Annotated[Path | None, typer.Option("--out", help="Write to this folder; default results/bench.")] = None,
          quick: Annotated[bool, typer.Option("--quick", help="Measure small sizes only.")] = False) -> int:
    """Measure the throughput of kernels and solvers on this machine, beside the alternatives that are installed."""
    from solver.commands.bench import run_bench

    return run_bench(what, out, quick)


def split_petsc(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Arguments before and after the first `--`."""
    if "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1:]


def dispatch(arguments: list[str]) -> int:
    """Parse and run; a usage error becomes one line and exit code 2."""
    try:
        code = app(args=arguments or ["--help"], prog_name="coldflow", standalone_mode=False) or 0
        if code == INTERRUPTED:  # typer turns the exception into this
            raise KeyboardInterrupt
        return code
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.UsageError as error:
        words = " ".join(error.format_message().split())
        command = f" {error.ctx.info_name}" if error.ctx is not None and error.ctx.parent is not None else ""
        sys.stderr.write(f"coldflow{command}: {words} (see coldflow{command} --help)\n" if first_rank() else "")
        return 2
    except click.exceptions.Abort:
        raise KeyboardInterrupt from None
    except SystemExit as stop:  # click's answer to a reader that has gone
        if is_light(arguments) and isinstance(stop.__context__, BrokenPipeError):
            return 0
        raise


def first_rank() -> bool:
    """Whether this process is rank 0 of its job."""
    return world().rank == 0


def start_petsc(arguments: list[str]) -> None:
    """Start PETSc with the user's options.

    Raises:
        ProblemError: it is not installed, and how to get it.
    """
    need_density()
    import petsc4py

    # What lies in the current folder decides nothing unless it is named (-options_file), and a crash is ours to report.
    petsc4py.init(["coldflow", "-skip_petscrc", "-no_signal_handler", *arguments])
    keep_pipes_harmless()


def is_light(arguments: list[str]) -> bool:
    """Whether these arguments lead to no use of PETSc: help, completion, or one of the `LIGHT` commands."""
    return not arguments or arguments[0].startswith("-") or arguments[0] in LIGHT or not {"-h", "--help"}.isdisjoint(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the console script; ends the process with the exit codes that the README lists."""
    hold_streams()
    own, petsc = split_petsc(sys.argv[1:] if arguments is None else arguments)
    if "_COLDFLOW_COMPLETE" in os.environ:  # the shell asks for completions
        app(args=own, prog_name="coldflow")
    guard(own)
    comm = world()
    if comm.rank > 0 and is_light(own):
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (the help and the version are printed by click, on every rank)
    Termination.listen(comm)

    def work() -> int:
        private_cache()
        if petsc or not (is_light(own) or (own[0] in EITHER and not have_density())):
            start_petsc(petsc)
        return dispatch(own)

    code = run_together(work, comm)
    if code and (loaded := sys.modules.get("petsc4py.PETSc")) is not None:
        loaded.Options().setValue("options_left", "no")  # which options were not used is no news about a run that failed
    flush_output()
    sys.exit(code)
