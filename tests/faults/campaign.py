"""Runs killed, stopped, damaged and started together, many times over: what the suite does a few times.

    docker/run python3 tests/faults/campaign.py kills 60        SIGKILL at random moments, resumed, compared with a run left alone
    docker/run python3 tests/faults/campaign.py signals 20      staggered signals to two ranks, resumed on 1, 2 and 3
    docker/run python3 tests/faults/campaign.py damages 40      files of stopped and finished runs altered: repaired or refused
    docker/run python3 tests/faults/campaign.py starts          2, 4, 8 runs started into one folder, all combinations of flags
    docker/run python3 tests/faults/campaign.py ranks           faults of one rank of three

Each prints a line for every case and ends with exit code 1 if one fails; a seed and a folder that keeps the runs left alone may
follow the number. Results of the last whole round: tests/faults/README.md.
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

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
        if len(a) != len(b) or [len(row) for row in a] != [len(row) for row in b]:
            found.append(f"{name}: {len(a)} rows and {len(b)}")
            continue
        worst = 0.0
        for x, y in zip(itertools.chain(*a), itertools.chain(*b), strict=True):
            if x != y:
                try:
                    worst = max(worst, abs(float(x) - float(y)) / max(1.0, abs(float(x))))
                except ValueError:
                    worst = math.inf
                    found.append(f"{name} has {y!r} for {x!r}")
        if not worst <= tolerance:
            found.append(f"{name} differs by {worst:.1e}")
    return found


def field_differences(one: Path, two: Path, tolerance: float, *, tokens_only: bool = False) -> list[str]:
    """How the tokens and fields on file differ, dataset by dataset; the order of the nodes depends on the number of ranks."""
    found = []
    for name in ("particles.h5",) if tokens_only else ("particles.h5", "density.h5"):
        if not (one / name).exists():
            continue
        with h5py.File(one / name) as a:
            expected: dict[str, np.ndarray] = {}
            a.visititems(lambda key, item, into=expected: into.update({key: item[()]} if isinstance(item, h5py.Dataset) else {}))
        try:
            with h5py.File(two / name) as b:
                for key, values in expected.items():
                    if key not in b or b[key].shape != values.shape:
                        found.append(f"{name}: {key} is missing or short")
                    elif values.dtype.kind == "f" and not np.allclose(values, b[key][()], rtol=0.0,
                                                                      atol=tolerance * max(1.0, float(np.abs(values).max()))):
                        found.append(f"{name}: {key} differs")
        except OSError as error:
            found.append(f"{name}: {error}")
    return found


def reference(base: Path, name: str, case: str, *settings: str, ranks: int = 1) -> Path:
    """A run left alone, how long it takes and its exit code beside it."""
    out = base / "-".join([name, case, str(ranks), *settings]).replace("/", "_")
    if not out.exists():
        began = time.monotonic()
        code, words = finish(start(*command(name, case, out, *more(settings), ranks=ranks)))
        if code not in (0, 1):
            raise SystemExit(f"{name} {case}: {words}")
        (out.parent / f"{out.name}.seconds").write_text(f"{time.monotonic() - began} {code}")
    return out


def more(settings: tuple[str, ...]) -> list[str]:
    """Further `--set` options."""
    return [word for item in settings for word in ("--set", item)]


def seconds(folder: Path) -> float:
    """How long the reference took."""
    return float((folder.parent / f"{folder.name}.seconds").read_text().split()[0])


def code_of(folder: Path) -> int:
    """How the reference ended."""
    return int((folder.parent / f"{folder.name}.seconds").read_text().split()[1])


def recorded_rows(out: Path) -> dict[str, int]:
    """How many outputs the tables of a run show."""
    return {side: len(rows(out / table)) - 1 for side, table in (("density", "diagnostics.csv"), ("particles", "particles.csv"))
            if (out / table).exists()}


def writes_checkpoint(out: Path) -> bool:
    """Whether a checkpoint is being written just now."""
    try:
        return any(entry.name.endswith((".part", ".new")) and ".ckpt" in entry.name for entry in os.scandir(out / "checkpoint"))
    except FileNotFoundError:
        return False


def kill(process: subprocess.Popen[str], out: Path, after: float, writing: bool) -> str:
    """SIGKILL after some seconds, and then while a checkpoint is on its way to the disk; what happened."""
    time.sleep(after)
    until = time.monotonic() + 60
    caught = False
    while writing and not caught and process.poll() is None and time.monotonic() < until:
        caught = writes_checkpoint(out)
    ended = process.poll() is not None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return "over" if ended else "writing" if caught else "any"


def repeated(out: Path, before: dict[str, int], lost: str) -> list[str]:
    """Whether more than the outputs since the last checkpoint were done again; `lost`: exit reason before the run went on."""
    wrong = []
    for words in json.loads((out / "run.json").read_text()).get("resumed", []):
        side, _, rest = words.partition(": ")
        count = re.search(r"(\d+) outputs? recorded", rest)
        if side in before and count and before[side] - int(count[1]) > 1:
            wrong.append(f"{side}: {before[side]} outputs were there, {count[1]} were taken up")
        depth, known = re.search(r"going on at t = (\S+),", rest), re.search(r"t = ([^,]+):", lost)
        if depth and known and side in before and float(known[1]) - float(depth[1]) > 0.2:
            wrong.append(f"{side}: reached t = {known[1]}, going on at {depth[1]}")
    return wrong


def kills(base: Path, count: int) -> int:
    """SIGKILL at random moments and while checkpoints are written, once or twice in one run, then resumed to the end."""
    failures, done, writing, i = 0, 0, 0, 0
    cases = itertools.cycle(random.sample(list(itertools.product(TABLES, CASES)), len(TABLES) * len(CASES)))
    while done < count:
        (name, case), i = next(cases), i + 1
        whole, out, moments, wrong = reference(base, name, case), base / f"kill-{os.getpid()}-{i}", [], []
        before, lost = {}, ""
        for _ in range(random.randint(1, 2)):
            process = start(*command(name, case, out, *(["--resume"] if out.exists() else [])))
            moment = random.uniform(0.1, 0.65) * seconds(whole)
            how = kill(process, out, moment, random.random() < 0.6)
            if (out / "run.json").exists() and json.loads((out / "run.json").read_text()).get("resumed"):
                wrong += repeated(out, before, lost) if moments else []
            done, writing = done + (how != "over"), writing + (how == "writing")
            moments.append(f"{moment:.2f} ({how})")
            time.sleep(0.3)  # the warden's last words
            before = recorded_rows(out)
            lost = json.loads((out / "run.json").read_text())["exit_reason"] if (out / "run.json").exists() else ""
        ranks = random.choice((1, 1, 2, 3))
        code, words = finish(start(*command(name, case, out, "--resume", ranks=ranks)))
        wrong += [] if code == code_of(whole) else [f"exit {code}: {words[-300:]}"]
        tolerance = 0.0 if ranks == 1 else 1e-12
        wrong += differences(whole, out, TABLES[name], tolerance)
        wrong += field_differences(whole, out, tolerance, tokens_only=ranks > 1)
        wrong += repeated(out, before, lost) if (out / "run.json").exists() else []
        failures += bool(wrong)
        print(f"{i}: {name} {case}, killed at {', '.join(moments)} s, resumed on {ranks}: {'; '.join(wrong) or 'the same'}",
              flush=True)
        shutil.rmtree(out, ignore_errors=True)
    print(f"{done} kills, {writing} of them while a checkpoint was written")
    return failures


def children(pid: int) -> list[int]:
    """The ranks of an mpirun."""
    return sorted(int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def signals(base: Path, count: int) -> int:
    """Signals to the ranks, milliseconds apart, or to mpirun, in the middle of a run; then resumed."""
    failures, middle, i = 0, 0, 0
    ways = list(itertools.product(TABLES, ("ranks", "one rank", "mpirun", "last rank")))
    choices, on = itertools.cycle(random.sample(ways, len(ways))), itertools.cycle((1, 2, 3))
    while middle < count and i < 3 * count:
        (name, to), case, i = next(choices), random.choice(("circle", "sphere")), i + 1
        whole = reference(base, name, case, ranks=2)
        out = base / f"signal-{os.getpid()}-{i}"
        process = start(*command(name, case, out, ranks=2))
        until = time.monotonic() + 60
        while not list(out.glob("checkpoint/*.ckpt")) and time.monotonic() < until:
            time.sleep(0.005)
        time.sleep(random.uniform(0.0, 0.4) * seconds(whole) if name == "compare" else random.uniform(0.0, 0.1) * seconds(whole))
        number = random.choice((signal.SIGTERM, signal.SIGINT))
        began = time.monotonic()
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            ranks = children(process.pid) if to != "mpirun" else [process.pid]
            for pid in {"one rank": ranks[:1], "last rank": ranks[-1:]}.get(to, ranks):
                os.kill(pid, number)
                time.sleep(random.uniform(0.0, 0.01))
        code, words = finish(process, 60)
        took = time.monotonic() - began
        reason = json.loads((out / "run.json").read_text())["exit_reason"]
        stopped = code not in (0, 1) or reason == "interrupted"
        middle += stopped
        expected = (128 + number,) if to != "mpirun" else (1, 128 + number)
        wrong = [] if code in expected or not stopped else [f"exit {code}"]
        wrong += [] if not stopped or reason == "interrupted" else [f"run.json says {reason!r}"]
        wrong += [] if took < 10 else [f"{took:.0f} s to end"]
        before, then = recorded_rows(out), next(on)
        again, said = finish(start(*command(name, case, out, "--resume", ranks=then)))
        wrong += differences(whole, out, TABLES[name], 1e-12) + repeated(out, before, "")
        wrong += field_differences(whole, out, 1e-12, tokens_only=then != 2)
        wrong += [] if again == code_of(whole) else [f"resume exit {again}: {said[-300:]}"]
        failures += bool(wrong)
        print(f"{i}: {name} {case}, signal {number} to {to}: exit {code}, {reason!r} in {took:.1f} s, resumed on {then}: "
              f"{'; '.join(wrong) + words[-300:] if wrong else 'the same'}", flush=True)
        shutil.rmtree(out, ignore_errors=True)
    print(f"{middle} runs were stopped in the middle")
    return failures + (middle < count)


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
        out = base / f"damage-{os.getpid()}-{i}"
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
        wrong = [] if refused else differences(whole, out, TABLES[name], 0.0) + field_differences(whole, out, 0.0)
        kept = refused or (out / "problem.toml").read_bytes() == (whole / "problem.toml").read_bytes()
        wrong += [] if kept else ["problem.toml differs"]
        wrong += [] if code == code_of(whole) or refused else [f"exit {code}: {words[-400:]}"]
        failures += bool(wrong)
        print(f"{i}: {'finished' if finished else 'stopped'}, {', '.join(done)}: "
              f"{'; '.join(wrong) or ('refused: ' + words.strip() if refused else 'repaired')}", flush=True)
        shutil.rmtree(out, ignore_errors=True)
    return failures


def starts(base: Path, _: int) -> int:
    """Several runs into one folder at once: one runs, the others are refused, and its results are right."""
    failures, name, case, longer = 0, "solve", "circle", ("time.outputs=100",)
    whole, other = reference(base, name, case, *longer), reference(base, name, case)
    flags = ("", "--force", "--resume")
    chosen = [c for number in (1, 2, 3) for c in itertools.combinations(flags, number)]
    stopped = base / "stopped"
    code, words = finish(start(*command(name, case, stopped, *more(longer), "--time-limit", "0.01s")))
    if code != 3:
        raise SystemExit(f"no stopped run: {code} {words}")
    for number, each, earlier in itertools.product((2, 4, 8), chosen, (None, other, stopped, whole)):
        if len(each) > number:
            continue
        out = base / "starts"
        if earlier is not None:
            shutil.copytree(earlier, out)
        processes = [start(*command(name, case, out, *filter(None, [each[k % len(each)]]), *more(longer))) for k in range(number)]
        ends = [finish(process) for process in processes]
        ran = sum(code == 0 for code, _ in ends)
        refused = sum(code == 2 and len(words.strip().splitlines()) == 1 for code, words in ends)
        # --force always may run, --resume where the problem is the same or nothing is there, no flag where nothing is there.
        may = earlier is None or "--force" in each or ("--resume" in each and earlier is not other)
        wrong = [] if ran + refused == number and ran >= may and (may or ran == 0) else [f"{ran} ran, {refused} refused: {ends}"]
        expected = whole if may else earlier
        wrong += differences(expected, out, TABLES[name], 0.0) + field_differences(expected, out, 0.0)
        wrong += [] if not list(out.parent.glob("starts.*")) and not list(out.glob(".*")) else ["something is left beside"]
        failures += bool(wrong)
        print(f"{number} starts with {', '.join(flag or 'no flag' for flag in each)}, earlier run: "
              f"{earlier.name if earlier is not None else 'none'}: {ran} ran, {refused} refused: "
              f"{'; '.join(wrong) or 'sound'}", flush=True)
        shutil.rmtree(out, ignore_errors=True)
    return failures


FAULT = """
import os, signal, sys, time
from solver.guardian import guard
guard(sys.argv[1:])
import solver.{module} as module
rank, kind, original = int(os.environ["OMPI_COMM_WORLD_RANK"]), "{kind}", module.{place}
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
            wrong = [] if ended == 1 else [f"exit {ended}"]
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
    count, seed = (int(sys.argv[k]) if len(sys.argv) > k else default for k, default in ((2, 10), (3, 1)))
    random.seed(seed)
    with contextlib.ExitStack() as stack:  # runs left alone can be kept in a folder for the next call
        base = Path(sys.argv[4]) if len(sys.argv) > 4 else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        base.mkdir(exist_ok=True)
        failures = what[sys.argv[1]](base, count)
    print(f"{failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
