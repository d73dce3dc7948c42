"""`coldflow doctor`: is this install sound?"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable

import numpy as np

from solver.commands.common import table, world
from solver.runs.progress import rank_console
from solver.runs.provenance import package_versions


def check_dolfinx() -> str:
    """A mesh on all ranks, with ghosts."""
    import dolfinx
    from packaging.version import Version

    if Version(dolfinx.__version__) < Version("0.9"):
        raise RuntimeError(f"dolfinx {dolfinx.__version__} is too old, 0.9 or later is needed")
    mesh = dolfinx.mesh.create_unit_square(world(), 4, 4)
    return f"{dolfinx.__version__}, {mesh.topology.index_map(2).size_global} cells over {world().size} ranks"


def check_petsc() -> str:
    """A vector norm through PETSc, in real double precision."""
    from petsc4py import PETSc

    if PETSc.ScalarType != np.float64:
        raise RuntimeError(f"PETSc's scalar is {PETSc.ScalarType.__name__}, real float64 is needed")
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
    return f"{MPI.Get_library_version().split(',')[0].splitlines()[0]}, {comm.size} ranks"


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
    cores = len(os.sched_getaffinity(0))
    if world().size > 1 and threads != "1":
        raise RuntimeError(f"OMP_NUM_THREADS is {threads}; set it to 1 when running under mpirun")
    return f"{cores} cores, {world().size} ranks, OMP_NUM_THREADS {threads}"


def check_adios2() -> str:
    """Optional: VTX output."""
    import dolfinx

    return "VTX output available" if dolfinx.has_adios2 else "missing: only XDMF will be written"


CHECKS: dict[str, Callable[[], str]] = {
    "MPI": check_mpi, "PETSc": check_petsc, "dolfinx": check_dolfinx, "form compiler": check_forms,
    "kernels": check_kernels, "threads": check_threads, "ADIOS2": check_adios2,
}


def examine() -> int:
    """Run every check on all ranks; exit code 1 when one fails."""
    comm, console = world(), rank_console(world())
    made = table("coldflow doctor", ["", "state"])
    made.add_column("", justify="left", overflow="fold", no_wrap=False)
    sound = True
    for name, test in CHECKS.items():
        try:
            state, words = True, test()
        except Exception as error:
            state, words = False, f"{type(error).__name__}: {error}"
        states = comm.allgather((state, words))
        failed = next((f"rank {rank}: {text}" for rank, (ok, text) in enumerate(states) if not ok), None)
        sound = sound and failed is None
        made.add_row(name, "[green]ok[/green]" if failed is None else "[red]FAILED[/red]", failed or words)
    if console:
        console.print(made)
        versions = package_versions()
        console.print("[dim]" + ", ".join(f"{name} {value}" for name, value in versions.items()) + "[/dim]",
                      soft_wrap=True)
    return 0 if sound else 1
