"""The command line: `coldflow COMMAND PROBLEM [OPTIONS] [-- PETSC OPTIONS]`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import click
import typer

from solver.ranks import INTERRUPTED, Termination, run_together

app = typer.Typer(add_completion=False, context_settings={"max_content_width": 110}, rich_markup_mode=None,
                  pretty_exceptions_enable=False,
                  help="The mean-field law of transformer tokens at low temperature: as a density on a mesh, as "
                       "particles, and as a push-forward. What follows -- goes to PETSc's options database.")

ProblemName = Annotated[str, typer.Argument(metavar="PROBLEM", help="A problem file, or the name of a bundled problem.")]
Out = Annotated[Path | None, typer.Option("--out", help="Run folder; default results/<problem>.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an earlier run in that folder.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in that folder.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE",
                                               help="Change one key of the problem, such as attention.beta=200.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Nothing on the terminal but errors.")]


@app.command()
def compare(problem: ProblemName, out: Out = None, force: Force = False, resume: Resume = False, set_: Set = None,
            quiet: Quiet = False,
            verdict: Annotated[bool, typer.Option(help="Judge agreement with extra, coarser runs.")] = True) -> int:
    """Density, particles and target, with the Wasserstein distances between all three, and figures."""
    from solver.commands.run import run_compare

    return run_compare(problem, set_, out, force, resume, quiet, verdict)


@app.command()
def solve(problem: ProblemName, out: Out = None, force: Force = False, resume: Resume = False, set_: Set = None,
          quiet: Quiet = False) -> int:
    """The density on its mesh."""
    from solver.commands.run import run_side

    return run_side("density", problem, set_, out, force, resume, quiet)


@app.command()
def particles(problem: ProblemName, out: Out = None, force: Force = False, resume: Resume = False, set_: Set = None,
              quiet: Quiet = False) -> int:
    """The token system."""
    from solver.commands.run import run_side

    return run_side("particles", problem, set_, out, force, resume, quiet)


@app.command()
def target(problem: ProblemName, out: Out = None, force: Force = False, set_: Set = None, quiet: Quiet = False) -> int:
    """Eigen-analysis of V K^T Q, the projection map and the push-forward measure."""
    from solver.commands.inspect import show_target

    return show_target(problem, set_, out, force, quiet)


@app.command()
def sweep(problem: ProblemName,
          over: Annotated[list[str], typer.Option("--over", metavar="KEY=V1,V2,..",
                                                  help="Values of one key; repeat for a product of several.")],
          out: Out = None, force: Force = False, resume: Resume = False, set_: Set = None, quiet: Quiet = False) -> int:
    """The same comparison for several values of a key, in one table and figure."""
    from solver.commands.sweep import run_sweep

    return run_sweep(problem, over, set_, out, force, resume, quiet)


@app.command()
def report(run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A run folder.")]) -> int:
    """Write report.html for a run folder."""
    from solver.commands.inspect import write_run_report

    return write_run_report(run_dir)


@app.command()
def check(problem: ProblemName, set_: Set = None) -> int:
    """Validate a problem and print the plan: unknowns, memory, time."""
    from solver.commands.inspect import show_plan

    return show_plan(problem, set_)


@app.command()
def mesh(problem: ProblemName, out: Out = None, force: Force = False, set_: Set = None, quiet: Quiet = False) -> int:
    """Write the mesh of a problem and print its quality."""
    from solver.commands.inspect import show_mesh

    return show_mesh(problem, set_, out, force, quiet)


@app.command()
def problems() -> int:
    """List the bundled problems."""
    from solver.commands.inspect import list_problems

    return list_problems()


@app.command()
def doctor() -> int:
    """Versions, MPI, PETSc, compilers, threads: is this install sound?"""
    from solver.commands.doctor import examine

    return examine()


@app.command()
def bench(what: Annotated[str, typer.Argument(metavar="[attention|density|transport|all]")] = "all",
          out: Annotated[Path | None, typer.Option("--out", help="Folder; default results/bench.")] = None,
          quick: Annotated[bool, typer.Option("--quick", help="Small sizes only.")] = False) -> int:
    """Throughput of kernels and solvers on this machine, beside the alternatives that are installed."""
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


def first_rank() -> bool:
    """Whether this process is rank 0 of its job."""
    from mpi4py import MPI

    return MPI.COMM_WORLD.rank == 0


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the console script; ends the process with the exit codes that the README lists."""
    own, petsc = split_petsc(sys.argv[1:] if arguments is None else arguments)
    import petsc4py

    petsc4py.init(["coldflow", *petsc])
    from mpi4py import MPI

    Termination.listen()
    code = run_together(lambda: dispatch(own), MPI.COMM_WORLD)
    sys.stdout.flush()
    sys.exit(code)
