"""The parent of a rank: passes signals on, returns what the child returned, and 1 for a child that a signal ended."""

import os
import signal
import subprocess
import sys
import time

import pytest

from solver.guardian import exit_code, is_needed
from solver.runs.warden import state

CODE = """
import os, signal, sys, time
from solver.guardian import guard
parent = os.getpid()
guard(["solve", "x"])
assert os.getppid() == parent
def stop(number, _):
    print("signal", number, flush=True)
    sys.exit(128 + number)
signal.signal(signal.SIGTERM, stop)
print("child", os.getpid(), flush=True)
{what}
time.sleep(30)
"""


def start(what="pass"):
    process = subprocess.Popen([sys.executable, "-c", CODE.format(what=what)], stdout=subprocess.PIPE, text=True,
                               env={**os.environ, "OMPI_COMM_WORLD_SIZE": "2"})
    return process, int(process.stdout.readline().split()[1])


@pytest.mark.parametrize(("what", "code"), [("sys.exit(3)", 3), ("os._exit(0)", 0), ("os.kill(os.getpid(), signal.SIGKILL)", 1),
                                            ("os.kill(os.getpid(), signal.SIGSEGV)", 1), ("os.abort()", 1)])
def test_what_the_child_returned(what, code):
    process, child = start(what)
    process.stdout.read()
    assert process.wait(20) == code and child != process.pid


def test_signals_are_passed_on():
    process, _ = start()
    process.send_signal(signal.SIGTERM)
    assert process.stdout.read() == "signal 15\n" and process.wait(20) == 143


def test_the_child_does_not_outlive_its_parent():
    process, child = start()
    process.kill()
    process.stdout.read()  # ends when nobody has the pipe any more
    process.wait(20)
    until = time.monotonic() + 10
    while state(child) not in ("", "Z") and time.monotonic() < until:
        time.sleep(0.01)
    assert state(child) in ("", "Z")


def test_only_runs_on_several_ranks_have_one(monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "1")
    assert not is_needed(["solve", "x"])
    assert [exit_code(code) for code in (0, 2, 130, -2, -15, -9, -11)] == [0, 2, 130, 130, 143, 1, 1]
