"""A few of what tests/faults/campaign.py does many times: runs killed, stopped, damaged, and started together."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.faults import limits, support
from tests.faults.one_rank import FAULT, PLACES

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module", autouse=True)
def tiny():
    """Smaller than the campaign's."""
    kept = support.CASES["circle"]
    support.CASES["circle"] = ["misaligned_circle", "density.cells=32", "particles.count=32", "time.end=0.5", "time.outputs=5",
                                "attention.beta=8"]
    yield
    support.CASES["circle"] = kept


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def compared(base):
    return support.reference(base, "compare", "circle")


def test_a_killed_run_says_so_and_goes_on(base, compared):
    out = base / "killed"
    process = support.start(*support.command("compare", "circle", out))
    until = time.monotonic() + 100
    while not (out / "checkpoint" / "particles.ckpt").exists() and time.monotonic() < until:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    _, words = process.communicate()
    assert "was killed" in words and words.count("coldflow:") == 1
    assert "killed" in json.loads((out / "run.json").read_text())["exit_reason"]
    code, words = support.finish(support.start(*support.command("compare", "circle", out, "--resume")))
    assert code == 0, words
    assert not support.differences(compared, out, support.TABLES["compare"], 0.0)


KILLED = """
import os, signal, sys
from solver.comparison import refinement
members = refinement.Extra.members
def killed(self, problem, name, label, **keywords):
    if name == "random-6":
        os.kill(os.getpid(), signal.SIGKILL)
    return members(self, problem, name, label, **keywords)
refinement.Extra.members = killed
from solver.cli import main
sys.argv = ["coldflow", *sys.argv[1:]]
main()
"""


def test_a_run_killed_in_its_last_extra_run_is_not_done(tmp_path):
    """Tables of the main runs are complete then, but not the verdict. Six random tokens are the last of the extra runs."""
    out = tmp_path / "run"
    words = ["compare", "smooth_circle", "--out", str(out), "--quiet"]
    for setting in ("density.cells=24", "particles.count=48", "time.end=0.2", "time.outputs=3"):
        words += ["--set", setting]
    code, said = support.finish(support.start(sys.executable, "-c", KILLED, *words))
    assert code == -signal.SIGKILL and "was killed" in said, said
    facts = json.loads((out / "run.json").read_text())
    assert "killed" in facts["exit_reason"] and "verdict" not in facts and not (out / "verdict.csv").exists()
    code, said = support.finish(support.start(sys.executable, "-m", "solver", *words, "--resume"))
    assert code in (0, 1), said  # so small meshes may be found not to resolve the law
    facts = json.loads((out / "run.json").read_text())
    assert facts["exit_reason"] == ("done" if code == 0 else "not resolved") and (out / "verdict.csv").exists()


def test_the_time_limit_stops_in_order(base, compared):
    out = base / "limited"
    code, words = support.finish(support.start(*support.command("compare", "circle", out, "--time-limit", "0.01s", ranks=2)))
    assert code == 3 and "time limit" in words
    assert json.loads((out / "run.json").read_text())["exit_reason"] == "stopped by the time limit"
    code, words = support.finish(support.start(*support.command("compare", "circle", out, "--resume")))
    assert code == 0, words
    assert not support.differences(compared, out, support.TABLES["compare"], 1e-12)


def test_a_signal_to_one_rank_stops_both(base):
    out = base / "signal"
    process = support.start(*support.command("solve", "circle", out, "--set", "time.outputs=400", ranks=2))
    until = time.monotonic() + 100
    while not (out / "checkpoint" / "density.ckpt").exists() and time.monotonic() < until:
        time.sleep(0.01)
    os.kill(support.children(process.pid)[-1], signal.SIGTERM)
    code, words = support.finish(process, 60)
    assert code == 143, words
    assert json.loads((out / "run.json").read_text())["exit_reason"] == "interrupted"


@pytest.mark.parametrize("kind", ["exception", "kill"])
def test_a_fault_of_one_rank_of_three_ends_all(base, kind):
    out = base / f"fault {kind}"
    module, place = PLACES["particles"]
    code = FAULT.format(module=module, place=place, kind=kind, rank=1)
    whole = support.command("particles", "circle", out, ranks=3)
    at = whole.index("-m")
    ended, words = support.finish(support.start(*whole[:at], "-c", code, *whole[at + 2:]), 100)
    assert ended == 1, words
    assert sum(line.startswith("coldflow:") for line in words.splitlines()) == 1, words
    reason = json.loads((out / "run.json").read_text())["exit_reason"]
    assert "step" in reason and ("a wrong turn" in reason or "was killed" in reason)
    assert len(support.rows(out / "particles.csv")) >= 2


def test_damage_is_mended_or_refused(base, compared):
    import shutil

    for names, refused in ((("diagnostics.csv", "particles.h5"), False), (("density.h5", "problem.toml"), False),
                           (("checkpoint/density.journal",), True), (("checkpoint/mesh-1-16.journal",), True)):
        out = base / "damaged"
        shutil.copytree(compared, out)
        for file in (out / name for name in names):
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        code, words = support.finish(support.start(*support.command("compare", "circle", out, "--resume")))
        if refused:
            assert code == 2 and len(words.strip().splitlines()) == 1, words
        else:
            assert code == 0, words
            assert not support.differences(compared, out, support.TABLES["compare"], 0.0)
        shutil.rmtree(out)


def test_a_limit_on_the_size_of_files(base, compared):
    out = base / "large"
    process = support.start(*support.command("compare", "circle", out))
    limits.limit_files(process, out, 1, 60_000)
    code, words = support.finish(process)
    assert code == 1 and "File too large" in words and words.count("\n") == 1, words
    reason = json.loads((out / "run.json").read_text())["exit_reason"]
    assert "step" in reason and "File too large" in reason
    code, words = support.finish(support.start(*support.command("compare", "circle", out, "--resume")))
    assert code == 0 and not support.differences(compared, out, support.TABLES["compare"], 0.0)


def test_two_starts_into_one_folder(base):
    out = base / "together"
    processes = [support.start(*support.command("solve", "circle", out, "--set", "time.outputs=300", *flags))
                 for flags in ((), ("--force",))]
    ends = sorted(support.finish(process)[0] for process in processes)
    assert ends == [0, 2]
    assert len(support.rows(out / "diagnostics.csv")) == 301


def test_what_was_run_can_be_repeated(compared):
    done = subprocess.run([sys.executable, "-m", "solver", "repeat", str(compared)], capture_output=True, text=True,
                          env=support.environment(), timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert "all numbers are the same to the last bit" in done.stdout


def test_what_one_rank_ran_can_be_repeated_on_two(base):
    out = support.reference(base, "solve", "circle")
    done = subprocess.run(["mpirun", "-n", "2", sys.executable, "-m", "solver", "repeat", str(out)], capture_output=True,
                          text=True, env=support.environment(), timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    words = done.stdout.split("all numbers ")[1]
    assert words.startswith("are the same") or int(words.split("agree to ")[1].split()[0]) >= 10, done.stdout


def test_run_json_tells_where_numbers_are_from(compared):
    facts = json.loads((compared / "run.json").read_text())
    assert len(facts["problem_sha256"]) == 64 and facts["seed"] == 0 and facts["exit_reason"] == "done"
    assert facts["versions"]["dolfinx"] != "missing" and {"mpi", "petsc"} <= set(facts["libraries"])
    assert facts["compiler"] and "commit" in facts["git"] and isinstance(facts["git"]["modified"], bool)
    assert facts["host"]["name"] and facts["ranks"] == 1 and facts["threads"] >= 1
    assert "--checkpoint-every" in facts["arguments"] and facts["petsc_options"] == {}
    assert set(facts["kernels"]) <= {"dense", "pruned", "relayed", "gathered", "fourier", "harmonics", "mean", "numpy"}
    assert sum(facts["kernels"].values()) > 10
    assert {"density", "particles", "distances", "extra runs", "verdict"} <= set(facts["wall_seconds_by_stage"])
    assert 50 < facts["peak_memory_mib"] < 4000 and 0 < facts["wall_seconds"] < 300


def test_petsc_reads_nothing_from_the_current_folder(tmp_path):
    (tmp_path / ".petscrc").write_text("-density_ts_type nonsense\n")
    done = subprocess.run([sys.executable, "-m", "solver", "solve", "misaligned_circle", "--set", "density.cells=16", "--set",
                           "time.end=0.1", "--quiet"], capture_output=True, text=True, cwd=tmp_path,
                          env=support.environment(), timeout=200, check=False)
    assert done.returncode == 0, done.stderr
