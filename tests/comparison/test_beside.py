"""A second process beside a comparison makes the same runs, and nothing depends on it."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from problems import load
from solver import compare
from solver.comparison import beside
from solver.ranks import Stopped
from solver.runs.stop import Limits

SMALL = {"time.end": "1.0", "time.outputs": "5", "density.cells": "32", "particles.gap": "0.8", "compare.also": "[{count = 96}]"}
TABLES = ["diagnostics.csv", "particles.csv", "clusters.csv", "events.csv", "comparison.csv", "also.csv", "verdict.csv",
          "convergence.csv"]


def facts(folder):
    return json.loads((folder / "run.json").read_text())


def tables(folder):
    return {name: list(csv.reader((folder / name).open())) for name in TABLES}


@pytest.fixture
def two_cores(monkeypatch):
    """A second process, for small problems too, and a comparison that waits until it has begun."""
    begin = beside.Beside.__init__

    def begun(self, *arguments):
        begin(self, *arguments)
        while not self._states and self._process.poll() is None:
            time.sleep(0.005)

    monkeypatch.setenv("COLDFLOW_THREADS", "2")
    monkeypatch.setattr(beside, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(beside, "_petsc_options", lambda: False)  # whatever tests before have left in the database
    monkeypatch.setattr(beside.Lent, "cores", 0)
    monkeypatch.setattr(beside.Beside, "__init__", begun)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    out = tmp_path_factory.mktemp("beside") / "alone"
    compare(load("misaligned_circle", SMALL), out=out)
    assert facts(out)["second_process"] == []
    return tables(out)


def test_same_numbers_to_the_last_digit(two_cores, alone, tmp_path, capsys):
    compare(load("misaligned_circle", SMALL), out=tmp_path / "both", quiet=False)
    assert "damaged" not in "".join(capsys.readouterr())  # the tables are new: the second process writes checkpoints alone
    assert "particles" in facts(tmp_path / "both")["second_process"]
    assert tables(tmp_path / "both") == alone


def test_a_second_process_that_is_killed_is_not_missed(two_cores, alone, tmp_path, monkeypatch):
    def kill(self, order, folder, supervisor):
        begin(self, order, folder, supervisor)
        while not (folder.path / "checkpoint/particles.ckpt").exists():  # its first output
            time.sleep(0.005)
        os.kill(self._process.pid, signal.SIGKILL)

    begin = beside.Beside.__init__
    monkeypatch.setattr(beside.Beside, "__init__", kill)
    compare(load("misaligned_circle", SMALL), out=tmp_path / "killed")
    assert tables(tmp_path / "killed") == alone
    assert beside.Lent.cores == 0


def test_other_runs_are_made_while_one_is_waited_for(two_cores, alone, tmp_path, monkeypatch):
    """The second process is held in its first run until the comparison, which wants that run, has made another one."""
    states = {}

    def hold(self, order, folder, supervisor):
        begin(self, order, folder, supervisor)
        os.kill(self._process.pid, signal.SIGSTOP)
        states["now"] = self._states

        def release():
            for _ in range(6000):
                if "here" in self._states.values():
                    break
                time.sleep(0.01)
            os.kill(self._process.pid, signal.SIGCONT)

        threading.Thread(target=release, daemon=True).start()

    begin = beside.Beside.__init__
    monkeypatch.setattr(beside.Beside, "__init__", hold)
    compare(load("misaligned_circle", SMALL), out=tmp_path / "both")
    assert "here" in states["now"].values()
    assert "particles" in facts(tmp_path / "both")["second_process"]
    assert tables(tmp_path / "both") == alone


def test_stopped_by_the_time_limit_and_gone_on_with(two_cores, alone, tmp_path):
    problem, out = load("misaligned_circle", SMALL), tmp_path / "stopped"
    with pytest.raises(Stopped):
        compare(problem, out=out, limits=Limits(time_limit=0.05))
    assert facts(out)["exit_reason"] == "stopped by the time limit"
    compare(problem, out=out, resume=True)
    assert tables(out) == alone


def test_the_command_has_a_second_process_too(alone, tmp_path):
    """PETSc is started with options of our own there, which are none of the user's."""
    words = ["compare", "misaligned_circle", "--quiet", "--out", str(tmp_path / "run")]
    words += [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
    for given, expected in (([], True), (["--", "-ts_monitor_cancel"], False)):
        script = ("import sys; from solver.comparison import beside; beside.LEAST_SECONDS = 0.0\n"
                  "start = beside.Beside.start.__func__\n"
                  "def told(*a):\n    found = start(*a); print('second', found is not None); return found\n"
                  "beside.Beside.start = classmethod(told)\nfrom solver.cli import main; main(sys.argv[1:])")
        done = subprocess.run([sys.executable, "-c", script, *words, "--force", *given], capture_output=True, text=True,
                              env={**os.environ, "COLDFLOW_THREADS": "2"})
        assert f"second {expected}" in done.stdout, done.stdout + done.stderr
        assert tables(tmp_path / "run") == alone


def test_small_comparisons_have_none(tmp_path, monkeypatch):
    monkeypatch.setenv("COLDFLOW_THREADS", "2")
    assert not beside.worthwhile(load("misaligned_circle", SMALL), beside.foreseen(load("misaligned_circle", SMALL), True))
    assert beside.worthwhile(load("misaligned_circle"), beside.foreseen(load("misaligned_circle"), True))
    monkeypatch.setenv("COLDFLOW_THREADS", "1")
    assert not beside.worthwhile(load("misaligned_circle"), beside.foreseen(load("misaligned_circle"), True))
