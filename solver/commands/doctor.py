"""`coldflow doctor`: is this install sound?"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable

import numpy as np
from rich.markup import escape

from solver.compiled import usable_cores
from solver.ranks import keep_pipes_harmless, world
from solver.runs.console import TerminalTable, print_pairs
from solver.runs.progress import rank_console
from solver.runs.provenance import package_versions


def ranks(count: int) -> str:
    """A number of ranks in words."""
    return f"{count} rank{'s' * (count != 1)}"


def check_dolfinx() -> str:
    """A mesh on all ranks, with ghosts."""
    import dolfinx

    if tuple(map(int, dolfinx.__version__.split(".")[:2])) < (0, 9):
        raise RuntimeError(f"dolfinx {dolfinx.__version__} is too old, 0.9 or later is needed")
    mesh = dolfinx.mesh.create_unit_square(world(), 4, 4)
    return f"{dolfinx.__version__}, {mesh.topology.index_map(2).size_global} cells over {ranks(world().size)}"


def check_petsc() -> str:
    """A vector norm through PETSc, in real double precision."""
    from petsc4py import PETSc

    if PETSc.ScalarType != np.float64:
        raise RuntimeError(f"PETSc's scalar is {PETSc.ScalarType.__name__}, real float64 is needed")
    keep_pipes_harmless()  # PETSc has been started just now
    vector = PETSc.Vec().createMPI(8 * world().size)
    vector.set(1.0)
    if abs(vector.norm() ** 2 - 8 * world().size) > 1e-12:
        raise RuntimeError("a vector norm is wrong")
    return ".".join(map(str, PETSc.Sys.getVersion())) + f", {np.dtype(PETSc.IntType).itemsize * 8}-bit indices"


def check_mpi() -> str:
    """A reduction over all ranks."""
    from mpi4py import MPI

    comm = world()
    if comm.allreduce(comm.rank) != comm.size * (comm.size - 1) // 2:
        raise RuntimeError("a reduction over the ranks is wrong")
    return f"{MPI.Get_library_version().split(',')[0].splitlines()[0]}, {ranks(comm.size)}"


def check_kernels() -> str:
    """The compiled kernels against NumPy."""
    from problems import load
    from solver.attention import Attention

    problem = load("misaligned_circle")
    points, masses = problem.initial.quadrature(256)
    weights = problem.attention.at(0.0)
    started = time.perf_counter()
    fast, _ = Attention(weights, method="dense").field(points, points, masses)
    seconds = time.perf_counter() - started
    slow, _ = Attention(weights, method="numpy").field(points, points, masses)
    difference = float(np.abs(fast - slow).max())
    if difference > 1e-12:
        raise RuntimeError(f"the compiled attention differs from NumPy's by {difference:.1e}")
    return f"compiled with {shutil.which('cc') or shutil.which('gcc')}, ready in {seconds:.2f} s, agree to {difference:.0e}"


def check_forms() -> str:
    """The form compiler of dolfinx and its cache."""
    import dolfinx
    import ufl

    mesh = dolfinx.mesh.create_unit_square(world(), 2, 2)
    started = time.perf_counter()
    area = dolfinx.fem.assemble_scalar(dolfinx.fem.form(1.0 * ufl.dx(domain=mesh)))
    if abs(world().allreduce(area) - 1.0) > 1e-12:
        raise RuntimeError("an assembled area is wrong")
    return f"ready in {time.perf_counter() - started:.1f} s; cache in {os.environ.get('XDG_CACHE_HOME', '~/.cache')}"


def check_threads() -> str:
    """Threads per rank against the cores this job may use."""
    threads = os.environ.get("OMP_NUM_THREADS", "unset")
    cores = usable_cores()
    if world().size > 1 and threads != "1":
        raise RuntimeError(f"OMP_NUM_THREADS is {threads}; set it to 1 when running under mpirun")
    return f"{cores} core{'s' * (cores != 1)}, {ranks(world().size)}, OMP_NUM_THREADS {threads}"


def check_adios2() -> str:
    """Optional: VTX output."""
    import dolfinx

    return "VTX output available" if dolfinx.has_adios2 else "missing: only XDMF will be written"


CHECKS: dict[str, Callable[[], str]] = {
    "MPI": check_mpi, "PETSc": check_petsc, "dolfinx": check_dolfinx, "form compiler": check_forms,
    "kernels": check_kernels, "threads": check_threads, "ADIOS2": check_adios2,
}
MARKS = {"ok": "[green]ok[/green]", "missing": "[yellow]missing[/yellow]", "FAILED": "[red]FAILED[/red]"}


def examine() -> int:
    """Run every check on all ranks; exit code 1 when one fails. What is not installed is said, and is no failure: tokens and
    the target need no MPI, PETSc or dolfinx."""
    comm = world()
    made = TerminalTable("coldflow doctor", ["part", "state", "found"], sentences=["found"], keys=2)
    states = []
    for name, test in CHECKS.items():
        try:
            found = "ok", test()
        except ImportError as error:
            found = "missing", f"{error.name or error} is not installed"
        except Exception as error:
            found = "FAILED", f"{type(error).__name__}: {error}"
        everywhere = comm.allgather(found)
        state, words = next(((s, f"rank {rank}: {text}") for rank, (s, text) in enumerate(everywhere) if s != "ok"), found)
        states.append(state)
        made.add(name, MARKS[state], escape(words.removeprefix("rank 0: ") if comm.size == 1 else words))
    console = rank_console(comm)
    if console:
        made.print(console)
        versions = [("versions", ", ".join(f"{name} {value}" for name, value in package_versions().items()))]
        if "missing" in states:
            versions.insert(0, ("without them", "the density cannot be solved for: compare, solve, mesh and bench need them; "
                                                "particles, target and check do not"))
        print_pairs(console, versions)
    return 1 if "FAILED" in states else 0
