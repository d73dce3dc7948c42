"""C kernels compiled on first use, cached for the machine, and safe under many ranks starting at once.

The compiler is the one dolfinx's own form compiler already needs (`$CC`, else `cc`, `gcc` or `clang`). A shared
object is built once per source, flags, compiler and processor, under `$XDG_CACHE_HOME/coldflow` (`~/.cache/coldflow`
by default), and loaded through cffi in ABI mode.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, cast

import cffi
import numpy as np

# No -ffast-math: the kernels round by adding and subtracting a large constant and compare with infinities.
BASE_FLAGS = ("-O3", "-std=gnu11", "-fPIC", "-shared", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast")


class CompilerError(RuntimeError):
    """No working C compiler, or a source it refuses: `str()` holds the command and the compiler's first lines."""


class Foreign(Protocol):
    """What is used of `cffi.FFI`."""

    NULL: cffi.FFI.CData

    def new(self, kind: str, /) -> cffi.FFI.CData: ...
    def gc(self, address: cffi.FFI.CData, free: Callable[..., int], /) -> cffi.FFI.CData: ...
    def from_buffer(self, kind: str, array: np.ndarray, /) -> cffi.FFI.CData: ...


class Library(Protocol):
    """An opened library: its functions by name. They take addresses and numbers, and give a number or nothing."""

    def __getattr__(self, name: str) -> Callable[..., int]: ...


def load_library(
    name: str, cdef: str, source: str | Path, *, flags: Sequence[str] = (), openmp: bool = False
) -> tuple[Foreign, Library]:
    """Compile C code into a shared object and open it: `(ffi, lib)`.

    Arguments: `name` of the object in the cache; `cdef` the declarations cffi reads; `source` C text or the path of a
    C file; `flags` extra compiler flags; `openmp` asks for threads and is dropped silently where the compiler has none
    (the `#pragma omp` lines then do nothing). Local to the rank, no communication: ranks that start together meet at a
    file lock, and an atomic rename publishes the finished object, so a file system without locks is safe as well.

    Pointers come from arrays as `ffi.from_buffer("double[]", array)`. Raises `CompilerError`.
    """
    text = source.read_text() if isinstance(source, Path) else source
    return _load(name, cdef, text, tuple(flags), openmp)


@functools.cache
def _load(name: str, cdef: str, text: str, flags: tuple[str, ...], openmp: bool) -> tuple[Foreign, Library]:
    ffi = cffi.FFI()
    ffi.cdef(cdef)
    failures = []
    for candidate in _flag_sets(flags, openmp):
        try:
            return cast(Foreign, ffi), cast(Library, ffi.dlopen(str(_build(name, text, candidate))))
        except CompilerError as error:
            failures.append(error)
    raise failures[0]


def _flag_sets(flags: tuple[str, ...], openmp: bool) -> list[tuple[str, ...]]:
    """From the fastest code to the most portable; the first set the compiler accepts is used."""
    native = ("-march=native", *(("-mprefer-vector-width=512",) if "avx512f" in processor().split() else ()))
    threads = [("-fopenmp",), ("-fopenmp-simd",)] if openmp else [("-fopenmp-simd",)]
    sets = [(*BASE_FLAGS, *tuning, *thread, *flags) for thread in threads for tuning in (native, ())]
    return [*sets, (*BASE_FLAGS, *flags)]


def _build(name: str, text: str, flags: tuple[str, ...]) -> Path:
    command = [*compiler(), *flags]
    identity = "\0".join([text, *command, _compiler_version(), processor()])
    target = cache_folder() / f"{name}-{hashlib.sha256(identity.encode()).hexdigest()[:20]}.so"
    if is_own_file(target):
        return target
    with _lock(target.with_suffix(".lock")):
        if is_own_file(target):
            return target
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{name}-") as folder:
            code, library = Path(folder) / f"{name}.c", Path(folder) / f"{name}.so"
            code.write_text(text)
            _run([*command, "-o", str(library), str(code), "-lm"])
            library.chmod(0o700)
            os.replace(library, target)
    return target


def _run(command: list[str]) -> None:
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise CompilerError(f"{command[0]}: {error}") from error
    if result.returncode:
        raise CompilerError(f"{shlex.join(command)}\n" + "\n".join(result.stderr.splitlines()[:10]))


def compiler() -> list[str]:
    """The C compiler's command: `$CC` (flags allowed), else the first of cc, gcc, clang. Raises `CompilerError`."""
    if chosen := os.environ.get("CC", "").strip():
        return shlex.split(chosen)
    for candidate in ("cc", "gcc", "clang"):
        if path := shutil.which(candidate):
            return [path]
    raise CompilerError("no C compiler: set CC, or install gcc")


@functools.lru_cache(maxsize=1)
def _compiler_version() -> str:
    try:
        result = subprocess.run([*compiler(), "--version"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise CompilerError(str(error)) from error
    return result.stdout.partition("\n")[0]


@functools.lru_cache(maxsize=1)
def processor() -> str:
    """What `-march=native` depends on: the machine's name for its instruction set and, on Linux, the processor's flags.

    Home folders are often shared by unlike nodes of a cluster, hence part of the cache key.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return f"{platform.machine()} {line.split(':', 1)[1].strip()}"
    return f"{platform.machine()} {platform.processor()}"


def is_private(path: Path) -> bool:
    """Whether nobody but this user (and root) can put a file into an existing folder, or another folder in its place."""
    me = os.geteuid()
    for place in (path, *path.parents):
        found = place.lstat() if place == path else place.stat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (me, 0):
            return False
        open_to_others = found.st_mode & 0o022
        if open_to_others and (place == path or not found.st_mode & stat.S_ISVTX):
            return False
    return True


@functools.lru_cache(maxsize=1)
def private_cache() -> Path:
    """A folder for compiled code into which only this user can write: `$XDG_CACHE_HOME`, else a new one that goes at the end.

    What is loaded from a cache runs with the rights of its user, so a folder that somebody else has made, or can write to, is
    not used. dolfinx keeps its compiled forms beside ours: `$XDG_CACHE_HOME` is changed for this process where it must be.
    """
    root = Path(os.path.abspath(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"))
    for place in (root, root / "coldflow", root / "fenics"):
        with contextlib.suppress(OSError):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            if place != root and place.lstat().st_uid == os.geteuid() and not place.is_symlink():
                place.chmod(place.stat().st_mode & ~0o022)
    try:
        whole = root.resolve()
        if os.access(root / "coldflow", os.W_OK) and all(is_private(whole / name) for name in ("", "coldflow", "fenics")):
            return root
    except OSError:
        pass
    root = Path(tempfile.mkdtemp(prefix="coldflow-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    (root / "coldflow").mkdir(mode=0o700)
    os.environ["XDG_CACHE_HOME"] = str(root)
    return root


@functools.lru_cache(maxsize=1)
def cache_folder() -> Path:
    """Where objects are kept."""
    return private_cache() / "coldflow"


def is_own_file(path: Path) -> bool:
    """Whether a file is a plain one of this user's that nobody else can write to."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    with open(path, "a") as handle:
        # Some network file systems refuse locks; the atomic rename keeps the result right, only the work is repeated.
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


class Lent:
    """Cores that another process of this run has at the moment."""

    cores = 0


def threads() -> int:
    """Threads a kernel of this rank may start: all it may use, less those that are `Lent`."""
    return max(1, granted_threads() - Lent.cores)


def granted_threads() -> int:
    """Threads that a run of this process may use.

    `$COLDFLOW_THREADS` if set; 1 under `mpirun` with several ranks; else `$OMP_NUM_THREADS` if above one; else the
    number of processors this process may run on.
    """
    if (chosen := os.environ.get("COLDFLOW_THREADS", "")).isdigit() and int(chosen) > 0:
        return int(chosen)
    if (mpi := sys.modules.get("mpi4py.MPI")) is not None and mpi.Is_initialized() and mpi.COMM_WORLD.size > 1:
        return 1
    for variable in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_SIZE", "MV2_COMM_WORLD_SIZE", "MPI_LOCALNRANKS"):
        if (size := os.environ.get(variable, "")).isdigit() and int(size) > 1:
            return 1
    if (wanted := os.environ.get("OMP_NUM_THREADS", "")).isdigit() and int(wanted) > 1:
        return int(wanted)
    return usable_cores()


def usable_cores() -> int:
    """Processors this process may run on; all of the machine's where the system does not say (macOS)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
