"""Runs killed, stopped, damaged and started together, many times over: what the suite does a few times.

    docker/run python3 tests/faults/campaign.py kills 60        SIGKILL at random moments, resumed, compared with a run left alone
    docker/run python3 tests/faults/campaign.py signals 20      staggered signals to two ranks, resumed on 1, 2 and 3
    docker/run python3 tests/faults/campaign.py damages 40      files of stopped and finished runs altered: repaired or refused
    docker/run python3 tests/faults/campaign.py starts          2, 4, 8 runs started into one folder, all combinations of flags
    docker/run python3 tests/faults/campaign.py ranks           faults of one rank of three

Each prints a line for every case and ends with exit code 1 if one fails. Results of the last whole round: tests/faults/README.md.
"""

from __future__ import annotations

import csv
import itertools
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["density.cells=48", "particles.count=96", "time.end=1.0", "time.outputs=9", "attention.beta=8"]
CASES = {
    "circle": ["misaligned_circle", *SMALL],
    "sphere": ["smooth_sphere", "density.cells=80", "density.degree=1", "particles.count=64", "time.end=0.4", "time.outputs=5"],
    "box": ["CWD/box.toml"],
}
BOX = """title = "A box"
[space]
manifold = "box"
bounds = [[-1.0, 1.0], [-1.0, 1.0], [-1.0, 1.0]]
[attention]
beta = 2.0
value = [[1.0, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, -0.5]]
[initial]
law = "uniform"
[time]
end = 0.2
outputs = 4
[density]
cells = 100
degree = 1
[particles]
count = 64
"""
TABLES = {"compare": ("diagnostics.csv", "particles.csv", "comparison.csv", "verdict.csv", "convergence.csv", "clusters.csv"),
          "solve": ("diagnostics.csv",), "particles": ("particles.csv", "clusters.csv")}
FAST = ["--checkpoint-every", "0.05"]


def environment() -> dict[str, str]:
    """One thread, this checkout first."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def command(name: str, case: str, out: Path, *flags: str, ranks: int = 1) -> list[str]:
    """The command line of one run."""
    problem, *settings = CASES[case]
    if problem.startswith("CWD"):
        problem = str(out.parent / "box.toml")
        Path(problem).write_text(BOX)
    options = [word for item in settings for word in ("--set", item)]
    launch = ["mpirun", "-n", str(ranks)] if ranks > 1 else []
    return [*launch, sys.executable, "-m", "solver", name, problem, *options, "--out", str(out), "--quiet", *FAST, *flags]


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start a command in a process group of its own."""
    return subprocess.Popen(arguments, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            stdin=subprocess.DEVNULL, start_new_session=True, cwd="/tmp")


def finish(process: subprocess.Popen[str], seconds: float = 240.0) -> tuple[int, str]:
    """Exit code and all that was said; a run that hangs is an error."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return -999, "no end"
    return process.returncode, out + err


def rows(path: Path) -> list[list[str]]:
    """All cells of a table."""
    with path.open(newline="") as file:
        return list(csv.reader(file))


def differences(one: Path, two: Path, tables: tuple[str, ...], tolerance: float) -> list[str]:
    """How two run folders differ, in words; empty if they do not."""
    found = []
    for name in tables:
        if not (two / name).exists():
            found.append(f"{name} is missing")
            continue
        a, b = rows(one / name), rows(two / name)
        if len(a) != len(b):
            found.append(f"{name}: {len(a)} rows and {len(b)}")
            continue
        worst = 0.0
        for x, y in zip(itertools.chain(*a), itertools.chain(*b), strict=False):
            if x != y:
                try:
                    worst = max(worst, abs(float(x) - float(y)) / max(1.0, abs(float(x))))
                except ValueError:
                    worst = math.inf
        if worst > tolerance:
            found.append(f"{name} differs by {worst:.1e}")
    return found


def reference(base: Path, name: str, case: str) -> Path:
    """A run left alone, and how long it takes."""
    out = base / f"{name}-{case}"
    if not out.exists():
        began = time.monotonic()
        code, words = finish(start(*command(name, case, out)))
        if code not in (0, 1):
            raise SystemExit(f"{name} {case}: {words}")
        (out.parent / f"{out.name}.seconds").write_text(str(time.monotonic() - began))
    return out


def seconds(folder: Path) -> float:
    """How long the reference took."""
    return float((folder.parent / f"{folder.name}.seconds").read_text())


def kills(base: Path, count: int) -> int:
    """SIGKILL at random moments, up to three times in one run, then resumed to the end."""
    failures = 0
    for i in range(count):
        name, case = random.choice(list(TABLES)), random.choice(list(CASES))
        whole, out = reference(base, name, case), base / f"kill-{i}"
        moments = []
        for _ in range(random.randint(1, 3)):
            process = start(*command(name, case, out, *(["--resume"] if out.exists() else [])))
            moment = random.uniform(0.2, 1.0) * seconds(whole)
            moments.append(f"{moment:.2f}")
            time.sleep(moment)
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        ranks = random.choice((1, 1, 2, 3))
        code, words = finish(start(*command(name, case, out, "--resume", ranks=ranks)))
        wrong = differences(whole, out, TABLES[name], 0.0 if ranks == 1 else 1e-12)
        wrong += [] if code in (0, 1) else [f"exit {code}: {words[-300:]}"]
        failures += bool(wrong)
        print(f"{i}: {name} {case}, killed at {', '.join(moments)} s, resumed on {ranks}: {'; '.join(wrong) or 'the same'}",
              flush=True)
        shutil.rmtree(out, ignore_errors=True)
    return failures


def children(pid: int) -> list[int]:
    """The ranks of an mpirun."""
    return sorted(int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def signals(base: Path, count: int) -> int:
    """Signals to the ranks, milliseconds apart, or to mpirun; then resumed."""
    failures = 0
    for i in range(count):
        name, case = random.choice(list(TABLES)), "circle"
        whole, out = reference(base, name, case), base / f"signal-{i}"
        process = start(*command(name, case, out, ranks=2))
        until = time.monotonic() + 60
        while not (out / "run.json").exists() and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(random.uniform(0.0, 0.8) * seconds(whole))
        number = random.choice((signal.SIGTERM, signal.SIGINT))
        to = random.choice(("ranks", "one rank", "mpirun"))
        began = time.monotonic()
        try:
            ranks = children(process.pid) if to != "mpirun" else [process.pid]
            for pid in ranks[: 1 if to == "one rank" else None]:
                os.kill(pid, number)
                time.sleep(random.uniform(0.0, 0.01))
        except (ProcessLookupError, FileNotFoundError):
            pass
        code, words = finish(process, 60)
        took = time.monotonic() - began
        reason = json.loads((out / "run.json").read_text())["exit_reason"]
        expected = (128 + number,) if to != "mpirun" else (1, 128 + number, 128 + signal.SIGKILL)
        wrong = [] if code in (*expected, 0) or reason in ("done", "density and particles disagree") else [f"exit {code}"]
        wrong += [] if reason != "running" else ["run.json says running"]
        wrong += [] if took < 20 else [f"{took:.0f} s to end"]
        again, said = finish(start(*command(name, case, out, "--resume", ranks=random.choice((1, 2, 3)))))
        wrong += differences(whole, out, TABLES[name], 1e-12)
        wrong += [] if again in (0, 1) else [f"resume exit {again}: {said[-300:]}"]
        failures += bool(wrong)
        print(f"{i}: {name}, signal {number} to {to}: exit {code}, {reason!r} in {took:.1f} s: "
              f"{'; '.join(wrong) + words[-300:] if wrong else 'the same'}", flush=True)
        shutil.rmtree(out, ignore_errors=True)
    return failures


def damage(path: Path) -> str:
    """Alter a file in one of several ways; what was done."""
    content = path.read_bytes()
    kind = random.choice(("cut", "empty", "flip", "remove", "tail", "zeros"))
    if kind == "remove":
        path.unlink()
    elif kind == "flip" and content:
        at = random.randrange(len(content))
        path.write_bytes(content[:at] + bytes([content[at] ^ 64]) + content[at + 1:])
    else:
        at = random.randrange(len(content)) if content else 0
        path.write_bytes({"cut": content[:at], "empty": b"", "tail": content + b"rubbish\n", "flip": b"",
                          "zeros": content[:at] + bytes(len(content) - at)}[kind])
    return f"{kind} {path.name}"


def damages(base: Path, count: int) -> int:
    """Damage one or two files of a stopped or a finished run, resume: the same results, or a refusal in one line."""
    failures, name, case = 0, "compare", "circle"
    whole = reference(base, name, case)
    for i in range(count):
        out = base / f"damage-{i}"
        finished = i % 2 == 0
        if finished:
            shutil.copytree(whole, out)
        else:
            process = start(*command(name, case, out))
            time.sleep(random.uniform(0.5, 0.95) * seconds(whole))
            process.send_signal(signal.SIGTERM)
            finish(process)
        files = [p for p in out.rglob("*") if p.is_file() and p.parent.name != "figures"] if out.exists() else []
        done = [damage(p) for p in random.sample(files, min(len(files), random.randint(1, 2)))]
        code, words = finish(start(*command(name, case, out, "--resume")))
        refused = code == 2 and len(words.strip().splitlines()) == 1
        wrong = [] if refused else differences(whole, out, TABLES[name], 0.0)
        wrong += [] if code in (0, 1) or refused else [f"exit {code}: {words[-400:]}"]
        failures += bool(wrong)
        print(f"{i}: {'finished' if finished else 'stopped'}, {', '.join(done)}: "
              f"{'; '.join(wrong) or ('refused: ' + words.strip() if refused else 'repaired')}", flush=True)
        shutil.rmtree(out, ignore_errors=True)
    return failures


def starts(base: Path, _: int) -> int:
    """Several runs into one folder at once: one runs, the others are refused, and its results are right."""
    failures, name, case = 0, "solve", "circle"
    whole = reference(base, name, case)
    flags = ((), ("--force",), ("--resume",))
    for number in (2, 4, 8):
        for chosen in itertools.combinations_with_replacement(flags, 2):
            for earlier in (False, True):
                out = base / "starts"
                if earlier:
                    shutil.copytree(whole, out)
                processes = [start(*command(name, case, out, *chosen[k % 2], "--set", "time.outputs=200", "--set", "time.end=4"))
                             for k in range(number)]
                ends = [finish(process) for process in processes]
                ran = sum(code == 0 for code, _ in ends)
                refused = sum(code == 2 and len(words.strip().splitlines()) == 1 for code, words in ends)
                least = 1 if not earlier or ("--force",) in chosen else 0  # the earlier run is of another problem
                table = rows(out / "diagnostics.csv")
                wrong = [] if ran + refused == number and ran >= least else [f"{ran} ran, {refused} refused: {ends}"]
                wrong += [] if len(table) in (10, 201) else [f"{len(table)} rows"]
                wrong += [] if not list(out.parent.glob("starts.*")) else ["something is left beside"]
                failures += bool(wrong)
                print(f"{number} starts, {chosen}, {'over' if earlier else 'no'} earlier run: {ran} ran, {refused} refused: "
                      f"{'; '.join(wrong) or 'sound'}", flush=True)
                shutil.rmtree(out, ignore_errors=True)
    return failures


FAULT = """
import os, signal, sys, time
from mpi4py import MPI
import solver.{module} as module
rank, kind, original = MPI.COMM_WORLD.rank, "{kind}", module.{place}
calls = 0
def faulty(*arguments, **options):
    global calls
    calls += 1
    if calls == 20 and rank == {rank}:
        if kind == "exception": raise ValueError("a wrong turn")
        if kind == "exit": raise SystemExit(5)
        if kind == "memory": raise MemoryError
        if kind == "kill": os.kill(os.getpid(), signal.SIGKILL)
        if kind == "hang": time.sleep(1000)
        if kind == "stop": os.kill(os.getpid(), signal.SIGSTOP)
    return original(*arguments, **options)
module.{place} = faulty
from solver.cli import main
sys.argv = ["coldflow", *sys.argv[1:]]
main()
"""
PLACES = {"density": ("density.operator", "DensityOperator.set_velocity"), "particles": ("particles.drift", "Drift.__call__")}


def ranks(base: Path, _: int) -> int:
    """A fault of one rank of three, six kinds, in the density and in the tokens, on the first and on another rank."""
    failures = 0
    for side, (module, place) in PLACES.items():
        for kind, rank in itertools.product(("exception", "exit", "memory", "kill", "hang", "stop"), (0, 1)):
            out = base / "fault"
            code = FAULT.format(module=module, place=place, kind=kind, rank=rank)
            whole = command("solve" if side == "density" else "particles", "circle", out, "--watchdog", "8", ranks=3)
            at = whole.index("-m")
            process = start(*whole[:at], "-c", code, *whole[at + 2:])
            began = time.monotonic()
            until = began + 60
            while not (out / "run.json").exists() and process.poll() is None and time.monotonic() < until:
                time.sleep(0.01)
            began = time.monotonic()
            ended, words = finish(process, 60)
            took = time.monotonic() - began
            reason = json.loads((out / "run.json").read_text())["exit_reason"] if (out / "run.json").exists() else "no run.json"
            ours = [line for line in words.splitlines() if line.startswith("coldflow:")]
            wrong = [] if ended in ((1,) if kind not in ("kill",) else (1, 137)) else [f"exit {ended}"]
            wrong += [] if reason not in ("running", "done", "no run.json") else [f"run.json says {reason!r}"]
            wrong += [] if len(ours) == 1 else [f"{len(ours)} messages: {words[-800:]}"]
            wrong += [] if took < 18 else [f"{took:.0f} s"]  # the watchdog's eight seconds and the steps before included
            failures += bool(wrong)
            print(f"{side}, {kind} on rank {rank}: exit {ended}, {took:.1f} s, {ours[-1] if ours else '-'} | {reason}: "
                  f"{'; '.join(wrong) or 'as it should'}", flush=True)
            shutil.rmtree(out, ignore_errors=True)
    return failures


def main() -> int:
    """Run one campaign."""
    what = {"kills": kills, "signals": signals, "damages": damages, "starts": starts, "ranks": ranks}
    if len(sys.argv) < 2 or sys.argv[1] not in what:
        print(__doc__)
        return 2
    random.seed(int(sys.argv[3]) if len(sys.argv) > 3 else 1)
    with tempfile.TemporaryDirectory(prefix="coldflow-faults-") as base:
        failures = what[sys.argv[1]](Path(base), int(sys.argv[2]) if len(sys.argv) > 2 else 10)
    print(f"{failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
