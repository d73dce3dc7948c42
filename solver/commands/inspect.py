"""`coldflow check`, `mesh`, `target`, `problems` and `report`: what a problem or a run folder holds."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.markup import escape

from problems import ProblemError, bundled, dumps
from solver.commands.common import load_shared, run_path, usable_folder
from solver.ranks import world
from solver.runs.console import TerminalTable, print_pairs
from solver.runs.contents import refuse_links
from solver.runs.progress import rank_console


def list_problems() -> int:
    """The bundled problems with their titles."""
    console = rank_console(world())
    if console:
        made = TerminalTable("Bundled problems", ["name", "title"], sentences=["title"])
        for name, title in bundled():
            made.add(name, escape(title))
        made.print(console)
        console.print("[dim]coldflow compare NAME runs one; coldflow check NAME shows it in full[/dim]")
    return 0


def show_plan(name: str, settings: list[str] | None) -> int:
    """Validate and print what a run would do; nothing is solved."""
    from problems import describe
    from solver.commands.plan import plan
    from solver.runs.resolution import unresolved

    problem = load_shared(name, settings)
    findings = [("not resolved" if i == 0 else "", finding.words) for i, finding in enumerate(unresolved(problem))]
    print_pairs(rank_console(world()), [*describe(problem), *plan(problem, world().size), *findings])
    return 0


def show_mesh(name: str, settings: list[str] | None, out: Path | None, force: bool, quiet: bool) -> int:
    """Write the mesh and print its quality."""
    from meshes.quality import mesh_report
    from problems.space import LAW
    from solver.density.mesh import density_mesh
    from solver.particles.cell_sizes import foresight

    problem = load_shared(name, settings, sides=("density",))
    comm = world()
    folder = usable_folder(run_path(problem, out))
    existing = comm.bcast(sorted(str(p) for p in folder.glob("mesh.*")) if comm.rank == 0 else None)
    if existing and not force:
        raise ProblemError("--out", str(folder), "a folder without a mesh (or use --force to replace it)")
    refuse_links(folder, ["mesh.xdmf", "mesh.h5", "mesh.bp"])
    if comm.rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
    comm.barrier()
    stage, which = None, []
    if problem.space.grading == LAW:
        found = foresight(problem, comm)
        stage = found.narrowest
        start = found.stages[stage - 1].end if stage else 0.0
        which = [("cells follow the law", f"mesh {stage + 1} of {len(found.stages)}, where it is narrowest: "
                                          f"from t = {start:.4g} to {found.stages[stage].end:.4g}")]
    print_pairs(rank_console(comm, quiet), [*which, *mesh_report(density_mesh(problem, comm, stage=stage), folder)])
    return 0


def show_target(name: str, settings: list[str] | None, out: Path | None, force: bool, quiet: bool) -> int:
    """Print the eigen-analysis and write target.csv: points and masses of the push-forward."""
    from solver.projection.target import target
    from solver.runs.folder import RunFolder
    from solver.runs.tables import CsvTable, axis_names

    problem = load_shared(name, settings, sides=())
    comm = world()
    console = rank_console(comm, quiet)
    found = target(problem)
    if console:
        console.print(f"[bold]{escape(problem.title)}[/bold]", highlight=False)
        for line in found.words:
            console.print(line, highlight=False)
    path = run_path(problem, out)
    kept = comm.bcast((path / "run.json").exists() and (path / "comparison.csv").exists() if comm.rank == 0 else None)
    if not kept or out is not None or force:  # else beside the comparison it belongs to, of which nothing is touched
        folder = RunFolder(path, comm, dumps(problem), force=force)
        folder.record(command="target", title=problem.title, exit_reason="done", target=found.summary())
    if found.exists:
        points, masses = found.measure(4096)
        names = [*axis_names(points.shape[1]), "mass"]
        written = CsvTable(path / "target.csv" if comm.rank == 0 else None, names)
        for line in np.column_stack([points, masses]):
            written.write(dict(zip(names, line, strict=True)))
        written.close()
        if console:
            shown = min(len(masses), 4)
            heavy = np.argsort(-masses, kind="stable")[:shown]
            if len(masses) <= 4:
                for i in heavy:
                    console.print(f"mass {masses[i]:.6f} at ({', '.join(f'{c:+.6f}' for c in points[i])})")
            console.print(f"[dim]{len(masses)} weighted points in {escape(str(path))}/target.csv[/dim]")
    return 0


def write_run_report(folders: list[Path], out: Path | None = None) -> int:
    """One page of run, sweep and claims folders, and where it is."""
    def write() -> Path:
        from solver.report.page import write_report

        return write_report(folders, out)

    return on_first_rank(write)


def make_film(folder: Path, kind: str, seconds: float) -> int:
    """figures/run.mp4 or run.gif of a run folder, and where it is."""
    if not math.isfinite(seconds):  # which no range keeps out
        raise ProblemError("--seconds", seconds, "must be a number from 0.1 to 600")

    def write() -> Path:
        from solver.report.film import animate

        return animate(folder, seconds=seconds, kind=kind)

    return on_first_rank(write)


def on_first_rank(write: Callable[[], Path]) -> int:
    """Let rank 0 write a file and say where; its mistakes of the user are everybody's (collective)."""
    comm = world()
    found = error = None
    if comm.rank == 0:
        try:
            found = write()
        except ProblemError as bad:
            error = (bad.field, bad.value, bad.allowed)
    error = comm.bcast(error)
    if error is not None:
        raise ProblemError(*error)
    console = rank_console(comm)
    if console:
        console.print(escape(str(found)), highlight=False, soft_wrap=True)
    return 0
