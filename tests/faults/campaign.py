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
import itertools
import json
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

if str(Path(__file__).resolve().parents[2]) not in sys.path:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.faults.one_rank import ranks
from tests.faults.support import (
    CASES,
    TABLES,
    children,
    code_of,
    command,
    differences,
    field_differences,
    finish,
    more,
    recorded_rows,
    reference,
    seconds,
    start,
)


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
