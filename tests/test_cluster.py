"""docker/slurm.sh passes Slurm's signal on, asks for another turn, and goes on where it stopped."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SIZES = {"density.cells": 64, "particles.count": 64, "time.end": 0.4, "time.outputs": 61}
OPTIONS = ["smooth_circle", *(word for key, value in SIZES.items() for word in ("--set", f"{key}={value}")), "--no-verdict",
           "--quiet"]


@pytest.fixture
def start(tmp_path):
    """Starts the script in a folder with a stand-in for `scontrol` that writes down its arguments."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    (programs / "scontrol").chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMPI_", "PMIX_", "PRTE_"))}
    environment = kept | {"PATH": f"{programs}:{kept['PATH']}", "PYTHONPATH": str(ROOT), "SLURM_JOB_ID": "7"}

    def run(command=f"{sys.executable} -m solver", **variables):
        return subprocess.Popen([str(ROOT / "docker" / "slurm.sh"), *OPTIONS], cwd=tmp_path,
                                env=environment | {"COLDFLOW": command} | variables,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    return run


def rows(path):
    """Rows of a table; none where it is not there yet."""
    return list(csv.DictReader(path.open())) if path.exists() else []


def test_signal_requeue_and_resume(start, tmp_path):
    table = tmp_path / "results" / "smooth_circle" / "diagnostics.csv"
    job = start()
    deadline = time.monotonic() + 120
    while len(rows(table)) < 3 and time.monotonic() < deadline:
        assert job.poll() is None, job.stdout.read()
        time.sleep(0.02)
    job.send_signal(signal.SIGTERM)
    output = job.communicate(timeout=60)[0]
    assert job.returncode == 143, output
    assert (tmp_path / "asked").read_text() == "requeue 7\n"
    assert len(rows(table)) < SIZES["time.outputs"]
    job = start()
    output = job.communicate(timeout=240)[0]
    assert job.returncode == 0, output
    times = [float(row["time"]) for row in rows(table)]
    assert len(times) == SIZES["time.outputs"]
    assert times == sorted(set(times))
    assert (tmp_path / "asked").read_text() == "requeue 7\n"


STAND_IN = """
import json, pathlib, signal, sys, time
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])

def stop(*_):
    if {reason!r}:
        out.mkdir(parents=True, exist_ok=True)
        (out / "run.json").write_text(json.dumps({{"exit_reason": {reason!r}}}, indent=2))
    sys.exit({code})

signal.signal(signal.SIGTERM, stop)
pathlib.Path("ready").touch()
time.sleep(60)
"""


@pytest.mark.parametrize(("reason", "code", "again"), [
    ("interrupted", 1, True),  # Open MPI's mpirun ends with 1 where its ranks end with 143
    ("", 1, True),  # stopped before the run had begun
    ("the step underflows", 1, False), ("done", 0, False), ("", 2, False),
])
def test_a_signal_leads_to_another_turn_unless_the_run_has_ended_by_itself(start, tmp_path, reason, code, again):
    job = stopped_job(start, tmp_path, reason, code)
    assert job.returncode == code
    assert (tmp_path / "asked").exists() == again


def test_code_of_a_run_that_ends_while_its_signal_is_passed_on(start, tmp_path):
    """The script's `kill` returns only when the run has long ended, so that there is nothing left to wait for."""
    (tmp_path / "slow_kill").write_text('kill() { builtin kill "$@"; local code=$?; sleep 1; return $code; }\n')
    job = stopped_job(start, tmp_path, "the step underflows", 1, BASH_ENV=str(tmp_path / "slow_kill"))
    assert job.returncode == 1
    assert not (tmp_path / "asked").exists()


def stopped_job(start, tmp_path, reason, code, **variables):
    """The script's process, ended after a signal, with a stand-in for the run that ends with a reason and a code."""
    (tmp_path / "stand_in.py").write_text(STAND_IN.format(reason=reason, code=code))
    job = start(f"{sys.executable} {tmp_path}/stand_in.py", **variables)
    deadline = time.monotonic() + 30
    while not (tmp_path / "ready").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    job.send_signal(signal.SIGTERM)
    job.communicate(timeout=30)
    return job
