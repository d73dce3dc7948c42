"""Runs on full disks, under limits on files and memory, in folders that cannot be written, and with numbers that go wrong.

    docker/run python3 tests/faults/limits.py disk        disks of ten sizes; needs root: mounts a tmpfs that only it sees
    docker/run python3 tests/faults/limits.py files       ten limits on the size of a file (ulimit -f)
    docker/run python3 tests/faults/limits.py memory      limits on memory (ulimit -v)
    docker/run python3 tests/faults/limits.py folder      folders that cannot be made or written
    docker/run python3 tests/faults/limits.py numbers     NaN, negative means, PETSc that gives up, blow-ups; 1 and 3 ranks

Every run must end by itself with exit code 1 and one line that says what, when and where, leave a true run.json and whole rows,
and go on to the right results once the limit is gone. Prints a line for every case; exit code 1 if one fails.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

if str(Path(__file__).resolve().parents[2]) not in sys.path:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.faults import support
from tests.faults.support import TABLES, command, differences, finish, recorded_rows, reference, rows

# What no user may be shown for a full disk: dumps of libraries, and the traces of a crash.
NOISE = ("Traceback", "PETSC ERROR", "HDF5-DIAG", "Segmentation", "terminate called", "Aborted", "ADIOS2 EXCEPTION",
         "Fatal Python")


def start(arguments: list[str], limit: Callable[[], None] | None = None) -> subprocess.Popen[str]:
    """Start a command under a limit."""
    return subprocess.Popen(arguments, env=support.environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            stdin=subprocess.DEVNULL, start_new_session=True, cwd="/tmp", preexec_fn=limit)


def judge(out: Path, whole: Path, tables: tuple[str, ...], code: int, words: str, ranks: int, known: str = "") -> list[str]:
    """What is wrong with the end of a run that met a fault; `known`: what the message has to name."""
    wrong = [f"shows {noise}: {words[-1500:]}" for noise in NOISE if noise in words]
    ours = [line for line in words.splitlines() if line.startswith("coldflow:")]
    wrong += [] if code in (1, 2) else [f"exit {code}"]
    wrong += [] if len(ours) == 1 else [f"{len(ours)} messages: {words[-800:]}"]
    wrong += [] if ranks > 1 or len(words.strip().splitlines()) <= 1 else [f"more than one line: {words[-800:]}"]
    wrong += [] if not ours or known in ours[0] else [f"{known!r} is not named"]
    begun = any(recorded_rows(out).values()) if out.exists() else False
    if begun and code == 2:
        wrong.append("refused after it had begun")
    if begun:
        try:
            reason = json.loads((out / "run.json").read_text())["exit_reason"]
            wrong += [] if reason not in ("running", "done") else [f"run.json says {reason!r}"]
            wrong += [] if "step" in reason else [f"run.json does not say where: {reason!r}"]
        except (OSError, ValueError) as error:
            wrong.append(f"run.json: {error}")
    for name in tables:
        if (out / name).exists() and (whole / name).exists():
            found, expected = rows(out / name), rows(whole / name)
            if found != expected[: len(found)]:
                wrong.append(f"{name}: rows differ from those of a run without the fault")
    return wrong


def go_on(out: Path, whole: Path, name: str, case: str, ranks: int) -> list[str]:
    """The limit is gone: the run goes on, or starts, and ends as it should."""
    code, words = finish(support.start(*command(name, case, out, "--resume", ranks=ranks)))
    wrong = [] if code == support.code_of(whole) else [f"resume: exit {code}: {words[-400:]}"]
    return wrong + differences(whole, out, TABLES[name], 0.0 if ranks == 1 else 1e-12)


def tell(label: str, code: int, words: str, wrong: list[str]) -> int:
    """One line for a case; 1 if it failed."""
    ours = [line for line in words.splitlines() if line.startswith("coldflow:")]
    print(f"{label}: exit {code}, {ours[-1] if ours else '-'}: {'; '.join(wrong) or 'as it should'}", flush=True)
    return bool(wrong)


def disk(base: Path) -> int:
    """Disks of ten sizes, up to nearly what the run takes."""
    place, failures = base / "disk", 0
    place.mkdir(exist_ok=True)
    for i, (name, ranks) in zip(range(10), itertools.cycle((("compare", 1), ("solve", 2), ("particles", 1), ("compare", 3),
                                                            ("solve", 1), ("particles", 2))), strict=False):
        whole = reference(base, name, "circle", ranks=ranks)
        # A tmpfs counts pages of 4 KiB, one for each file and folder too.
        takes = sum(4096 + -(-p.stat().st_size // 4096) * 4096 for p in whole.rglob("*"))
        size = int(takes * (0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85)[i]) // 4096 * 4096
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "none", str(place)], check=True)
        try:
            out = place / "run"
            process = start(command(name, "circle", out, ranks=ranks))
            full = None
            began = time.monotonic()
            while process.poll() is None and time.monotonic() - began < 120:
                if full is None and os.statvfs(place).f_bavail == 0:
                    full = time.monotonic()
                time.sleep(0.01)
            took = time.monotonic() - full if full is not None else 0.0
            code, words = finish(process, 1)
            if code:
                wrong = judge(out, whole, TABLES[name], code, words, ranks, "No space left")
            else:  # only pictures had no room
                wrong = differences(whole, out, TABLES[name], 0.0 if ranks == 1 else 1e-12)
            wrong += [] if took < 10 else [f"{took:.0f} s to end"]
            subprocess.run(["mount", "-o", "remount,size=1g", str(place)], check=True)
            wrong += go_on(out, whole, name, "circle", ranks)
            failures += tell(f"{name} on {ranks}, a disk of {size // 1024} KiB of {takes // 1024}", code, words, wrong)
        finally:
            subprocess.run(["umount", str(place)], check=True)
    return failures


def limit_files(process: subprocess.Popen[str], out: Path, ranks: int, size: int) -> None:
    """Limit the size of files as soon as the run has begun: MPI's own shared memory needs more of it to start."""
    until = time.monotonic() + 60
    while not (out / "run.json").exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.001)
    for pid in support.children(process.pid) if ranks > 1 else [process.pid]:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, size))


def files(base: Path) -> int:
    """Limits on the size of a file, up to the largest of the run."""
    failures = 0
    for i, (name, ranks) in zip(range(10), itertools.cycle((("compare", 1), ("solve", 1), ("particles", 1), ("compare", 2),
                                                            ("solve", 3))), strict=False):
        whole, out = reference(base, name, "circle", ranks=ranks), base / "limited"
        largest = max(p.stat().st_size for p in whole.rglob("*") if p.is_file() and p.parent.name != "figures")
        size = int(largest * (0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8)[i])

        process = start(command(name, "circle", out, ranks=ranks))
        limit_files(process, out, ranks, size)
        code, words = finish(process, 120)
        wrong = judge(out, whole, TABLES[name], code, words, ranks, "File too large")
        wrong += go_on(out, whole, name, "circle", ranks)
        failures += tell(f"{name} on {ranks}, files of {size} bytes of {largest}", code, words, wrong)
        shutil.rmtree(out, ignore_errors=True)
    return failures


def memory(base: Path) -> int:
    """Limits on memory: too small to start, and to hold the run."""
    failures = 0
    for name, megabytes in itertools.product(("solve", "particles"), (150, 300, 450, 600, 900, 1500)):
        whole, out = reference(base, name, "circle"), base / "limited"

        def limit(size: int = megabytes * 2**20) -> None:
            resource.setrlimit(resource.RLIMIT_AS, (size, size))

        code, words = finish(start(command(name, "circle", out), limit), 120)
        wrong = judge(out, whole, TABLES[name], code, words, 1) if code else differences(whole, out, TABLES[name], 0.0)
        failures += tell(f"{name}, {megabytes} MiB", code, words, wrong)
        shutil.rmtree(out, ignore_errors=True)
    return failures


def folder(base: Path) -> int:
    """Places where no run folder can be: read-only file system, a file in the way, a folder of the system."""
    failures, whole = 0, reference(base, "solve", "circle")
    place = base / "read-only"
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", str(place)], check=True)
    (base / "file").write_text("a file")
    try:
        for out in (place / "run", place, base / "file", base / "file" / "run", Path("/proc/run"), Path("/dev/null")):
            for ranks in (1, 3):
                code, words = finish(start(command("solve", "circle", out, ranks=ranks)))
                wrong = judge(out if out.is_dir() else base / "none", whole, (), code, words, ranks)
                wrong += [] if code == 2 else [f"exit {code} and not 2"]
                failures += tell(f"{out} on {ranks}", code, words, wrong)
    finally:
        subprocess.run(["umount", str(place)], check=True)
    return failures


NUMBERS = """
import sys
from mpi4py import MPI
import numpy as np
import solver.{module} as module
kind, calls, original = "{kind}", 0, module.{place}
def faulty(self, *arguments, **options):
    global calls
    calls += 1
    found = original(self, *arguments, **options)
    if calls > 20 and MPI.COMM_WORLD.rank == {rank}:
        if kind == "NaN in a callback": arguments[2][:1] = np.nan
        if kind == "negative means": return -1.0
        if kind == "NaN in the drift": found = np.array(found); found.flat[:1] = np.nan
        if kind == "cause": {{}}["lost"]
    return found
module.{place} = faulty
from solver.cli import main
sys.argv = ["coldflow", *sys.argv[1:]]
main()
"""
# What happens, in which command, at which place of the code, and what the message must name.
BY_HAND = {
    "NaN in a callback": ("solve", "density.operator", "DensityOperator.rhs", "finite"),
    "negative means": ("solve", "density.operator", "DensityOperator.rhs", "underflows"),
    "cause": ("solve", "density.operator", "DensityOperator.rhs", "KeyError"),
    "NaN in the drift": ("particles", "particles.drift", "Drift.__call__", "range of numbers"),
}
# Problems that cannot go on by themselves: command, settings, PETSc options, what the message must name.
BY_ITSELF = {
    "PETSc diverges": ("solve", ["noise.diffusivity=0.1", "density.integrator=theta", "particles.sampling=random"],
                       ["-density_snes_max_it", "1", "-density_snes_rtol", "1e-14", "-density_ts_max_snes_failures", "1"],
                       "PETSc"),
    "a linear solver stops": ("solve", ["noise.diffusivity=0.1", "density.integrator=arkimex", "particles.sampling=random"],
                              ["-density_ksp_type", "richardson", "-density_pc_type", "none", "-density_ksp_max_it", "1",
                               "-density_ksp_error_if_not_converged"], "PETSc"),
    "tokens blow up": ("particles", ["space={manifold='euclidean',dimension=2}", "attention.value=[[9.0,0.0],[0.0,9.0]]",
                                     "initial={law='normal',components=[{mean=[0.0,0.0],covariance=[[1.0,0.0],[0.0,1.0]]}]}",
                                     "time.end=100", "particles.sampling=random"], [], "range of numbers"),
}


def numbers(base: Path) -> int:
    """Numbers that go wrong, one kind after the other."""
    failures, out = 0, base / "wrong"
    for (kind, (name, module, place, known)), (ranks, rank) in itertools.product(BY_HAND.items(), ((1, 0), (3, 0), (3, 2))):
        whole = reference(base, name, "circle", ranks=ranks)
        line = command(name, "circle", out, ranks=ranks)
        at = line.index("-m")
        code = NUMBERS.format(module=module, place=place, kind=kind, rank=rank)
        failures += ended(kind, rank, [*line[:at], "-c", code, *line[at + 2:]], out, whole, name, ranks, known)
    for (kind, (name, settings, options, known)), ranks in itertools.product(BY_ITSELF.items(), (1, 3)):
        line = command(name, "circle", out, *support.more(tuple(settings)), *(["--", *options] if options else []), ranks=ranks)
        failures += ended(kind, None, line, out, base / "none", name, ranks, known)
    return failures


def ended(kind: str, rank: int | None, line: list[str], out: Path, whole: Path, name: str, ranks: int, known: str) -> int:
    """Run and judge one case."""
    began = time.monotonic()
    code, words = finish(start(line), 120)
    took = time.monotonic() - began
    wrong = judge(out, whole, TABLES[name] if ranks == 1 else (), code, words, ranks, known)
    wrong += [] if took < 40 else [f"{took:.0f} s"]
    shutil.rmtree(out, ignore_errors=True)
    where = "" if rank is None else f", rank {rank}"
    return tell(f"{kind}{where} of {ranks}", code, words, wrong)


def main() -> int:
    """Run one campaign."""
    what = {"disk": disk, "files": files, "memory": memory, "folder": folder, "numbers": numbers}
    if len(sys.argv) < 2 or sys.argv[1] not in what:
        print(__doc__)
        return 2
    with tempfile.TemporaryDirectory(prefix="coldflow-limits-") as base:
        failures = what[sys.argv[1]](Path(base))
    print(f"{failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
