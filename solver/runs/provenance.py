"""Where and with what a run was made: versions, host, ranks, git state."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

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


def provenance(comm: MPI.Comm) -> dict[str, object]:
    """Facts for run.json; the same on every rank except those of the host, which are rank 0's."""
    return {
        "versions": package_versions(),
        "git": git_state(),
        "host": {"name": socket.gethostname(), "cpu": cpu_name(), "cores": os.cpu_count(),
                 "system": platform.platform()},
        "ranks": comm.size,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
