"""Faults of one rank of three: exceptions, exits, no memory, signals, hangs, in the density and in the tokens."""

from __future__ import annotations

import itertools
import json
import shutil
import time
from pathlib import Path

from tests.faults.support import command, finish, start

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
