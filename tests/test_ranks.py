"""Errors become exit codes, on all ranks at once."""

import json
import signal
import subprocess
import sys
import time

import pytest
from mpi4py import MPI

from problems import ProblemError
from problems.checks import number
from solver.errors import RunError
from solver.ranks import Termination, explain, run_together


def test_errors_and_their_exit_codes():
    code, words = explain(ProblemError("attention.beta", -1, "at least 0"))
    assert code == 2 and words == "coldflow: attention.beta = -1; at least 0"
    code, words = explain(RunError("the step underflows", step=7, time=0.5, place="cell 3"))
    assert code == 1 and words == "coldflow: the run failed: step 7, t = 0.5, cell 3: the step underflows"
    assert explain(KeyboardInterrupt())[0] == 130


def test_a_fault_of_the_program_is_one_line_too(monkeypatch):
    try:
        number("a word")
    except ValueError as error:
        error.add_note("step 3, t = 0.25")
        fault = error
    code, words = explain(fault)
    assert code == 1 and words.startswith("coldflow: the run failed: step 3, t = 0.25: ValueError: Unknown format code")
    assert "in number (problems/checks.py, line " in words and "fault of the program" in words and "\n" not in words
    monkeypatch.setenv("COLDFLOW_TRACEBACK", "1")
    assert explain(fault)[1].startswith("Traceback (most recent call last)")


def test_an_interrupt_that_petsc_turned_into_an_error_is_one(monkeypatch):
    """A signal inside a PETSc callback comes out as PETSc's error, and the run as failed, unless it is remembered."""
    monkeypatch.setattr(Termination, "asked", signal.SIGINT)
    code, words = explain(RunError("PETSc's ssp step failed", step=3))
    assert code == 130 and "--resume" in words
    monkeypatch.setattr(Termination, "asked", signal.SIGTERM)
    assert explain(RunError("PETSc's ssp step failed"))[0] == 143


def test_the_message_goes_to_standard_error(capsys):
    def work():
        raise RunError("no", step=1)

    assert run_together(work, MPI.COMM_SELF) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err == "coldflow: the run failed: step 1: no\n"
    assert run_together(lambda: 0, MPI.COMM_SELF) == 0
    assert run_together(lambda: sys.exit(3), MPI.COMM_SELF) == 1
    assert "sys.exit(3)" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_job_told_to_end_says_so(tmp_path, number):
    process = subprocess.Popen([sys.executable, "-m", "solver", "solve", "misaligned_circle", "--out", tmp_path / "run"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "run" / "diagnostics.csv").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, words = process.communicate(timeout=60)
    assert process.returncode == 143 and "--resume" in words
    assert json.loads((tmp_path / "run" / "run.json").read_text())["exit_reason"] == "interrupted"


@pytest.mark.parametrize(("command", "code"), [
    ("check nothing 2>&1 | true", 2), ("check smooth_circle >&-", 0), ("--help | true", 0)])
def test_nobody_has_to_listen(command, code):
    """Pipes that are closed and outputs that never were change no exit code, and nothing else is said."""
    line = f"set +o pipefail; {sys.executable} -m solver {command}; echo ${{PIPESTATUS[0]}} > /dev/fd/3"
    done = subprocess.run(["bash", "-c", f"{{ {line}; }} 3>&1 > /dev/null"], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == [str(code)] and done.stderr == ""


CODE = """
import sys, time
from mpi4py import MPI
from solver import ranks
from solver.errors import RunError
ranks.GRACE_SECONDS = 0.5
comm = MPI.COMM_WORLD
def work():
    if comm.rank == 1 or {everyone}:
        raise RunError("rank trouble", step=4)
    comm.allreduce(1)
    return 0
sys.exit(ranks.run_together(work, comm))
"""


@pytest.mark.parametrize("everyone", [True, False])
def test_no_rank_is_left_waiting(mpirun, everyone):
    done = mpirun(2, "-c", CODE.format(everyone=everyone), check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.count("step 4: rank trouble") == 1
