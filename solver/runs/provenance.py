"""Where and with what a run was made: versions, host, ranks, git state."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import resource
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from solver.compiled import CompilerError, compiler, threads

if TYPE_CHECKING:
    from mpi4py import MPI

VERSION = "0.1.0"
# Module -> name under which it is installed.
PACKAGES = {"dolfinx": "fenics-dolfinx", "basix": "fenics-basix", "ufl": "fenics-ufl", "ffcx": "fenics-ffcx",
            "petsc4py": "petsc4py", "mpi4py": "mpi4py", "numpy": "numpy", "scipy": "scipy", "cffi": "cffi", "meshio": "meshio",
            "ot": "POT", "h5py": "h5py", "matplotlib": "matplotlib"}


def package_versions() -> dict[str, str]:
    """Version of every package a result depends on, 'missing' where one is not installed; none is imported for it."""
    versions = {"coldflow": VERSION, "python": platform.python_version()}
    for module, name in PACKAGES.items():
        try:
            versions[module] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[module] = str(getattr(sys.modules.get(module), "__version__", "missing"))
    return versions


def git_state() -> dict[str, object]:
    """Commit of the checkout this code runs from and whether it was edited; empty outside of one."""
    root = Path(__file__).resolve().parent.parent.parent
    safe = ["git", "-c", f"safe.directory={root}", "-C", str(root)]
    try:
        commit = subprocess.run([*safe, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
        changed = subprocess.run([*safe, "status", "--porcelain", "--untracked-files=no"], capture_output=True,
                                 text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"commit": commit.stdout.strip(), "modified": bool(changed.stdout.strip())}


def cpu_name() -> str:
    """Processor model as the system names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def compiler_version() -> str:
    """First line of what the C compiler says of itself."""
    try:
        said = subprocess.run([*compiler(), "--version"], capture_output=True, text=True, timeout=5, check=True).stdout
        return said.partition("\n")[0]
    except (OSError, subprocess.SubprocessError, CompilerError):
        return "none"


def libraries() -> dict[str, str]:
    """MPI and PETSc, as far as they are loaded."""
    found = {}
    if (mpi := sys.modules.get("mpi4py.MPI")) is not None:
        found["mpi"] = str(mpi.Get_library_version()).splitlines()[0].split(",")[0].strip("\0 ")
    if (petsc := sys.modules.get("petsc4py.PETSc")) is not None:
        found["petsc"] = ".".join(map(str, petsc.Sys.getVersion()))
    return found


def petsc_options() -> dict[str, str]:
    """PETSc's options database, as given by the user."""
    petsc = sys.modules.get("petsc4py.PETSc")
    given = dict(petsc.Options().getAll()) if petsc is not None else {}
    return {key: value for key, value in given.items() if key not in ("skip_petscrc", "no_signal_handler")}


def peak_memory() -> float:
    """The most memory this process has had, in MiB."""
    unit = 1024.0 if sys.platform != "darwin" else 1024.0**2
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def provenance(comm: MPI.Comm) -> dict[str, object]:
    """Facts for run.json, as this rank sees them; local."""
    return {
        "versions": package_versions(),
        "libraries": libraries(),
        "compiler": compiler_version(),
        "git": git_state(),
        "host": {"name": socket.gethostname(), "cpu": cpu_name(), "cores": os.cpu_count(),
                 "system": platform.platform()},
        "ranks": comm.size,
        "threads": threads(),
        "arguments": sys.argv[1:],
        "petsc_options": petsc_options(),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
