"""The commands as a user types them: exit codes, one-line errors, files in the run folder."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["--set", "density.cells=48", "--set", "density.degree=1", "--set", "particles.count=256", "--set",
         "time.end=1.0", "--set", "time.outputs=3", "--set", "attention.beta=20"]
DIAGNOSTICS = ("time,step,mass,minimum,maximum,energy,log_energy,entropy,mean_x,mean_y,second_xx,second_xy,second_yy,"
               "w1_target,w2_target").split(",")
COMPARISON = ("time,w1_density_particles,w2_density_particles,w1_density_target,w2_density_target,"
              "w1_particles_target,w2_particles_target,kl_density_particles,l1_density_particles").split(",")


def environment():
    return dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1", COLUMNS="120")


def coldflow(*arguments, cwd=None):
    return subprocess.run([sys.executable, "-m", "solver", *map(str, arguments)], capture_output=True, text=True,
                          cwd=cwd or ROOT, env=environment(), timeout=240, stdin=subprocess.DEVNULL)


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """One small comparison that several tests read."""
    out = tmp_path_factory.mktemp("compare") / "run"
    return coldflow("compare", "misaligned_circle", *SMALL, "--out", out), out


def test_compare_ends_well_and_prints_its_table(compared):
    done, out = compared
    assert done.returncode == 0, done.stderr
    assert "to particles" in done.stdout and "noise" in done.stdout
    assert "verdict" in done.stdout
    assert str(out) in done.stdout
    assert done.stderr == ""


def test_tables_have_the_columns_of_the_contract(compared):
    _, out = compared
    assert list(rows(out / "diagnostics.csv")[0]) == DIAGNOSTICS
    particles = [c for c in DIAGNOSTICS if c not in ("minimum", "maximum")] + ["tokens", "largest_gap"]
    assert list(rows(out / "particles.csv")[0]) == particles
    comparison = rows(out / "comparison.csv")
    assert list(comparison[0]) == COMPARISON
    assert [float(row["time"]) for row in comparison] == [0.0, 0.5, 1.0]


def test_numbers_keep_full_double_precision(compared):
    _, out = compared
    value = rows(out / "comparison.csv")[-1]["w2_density_target"]
    assert repr(float(value)) == value and len(value) > 12


def test_second_moments_have_unit_trace_on_the_circle(compared):
    _, out = compared
    for name in ("diagnostics.csv", "particles.csv"):
        for row in rows(out / name):
            assert float(row["second_xx"]) + float(row["second_yy"]) == pytest.approx(1.0, abs=1e-12)


def test_run_folder_is_complete(compared):
    _, out = compared
    for name in ("problem.toml", "run.json", "particles.h5", "density.xdmf", "checkpoint", "figures/distances.png",
                 "figures/density.png", "figures/tokens.png", "verdict.csv"):
        assert (out / name).exists(), name
    facts = json.loads((out / "run.json").read_text())
    assert facts["exit_reason"] == "done" and facts["ranks"] == 1
    assert facts["versions"]["dolfinx"] != "missing"
    assert facts["summary"]["terminal_level_w2"] == pytest.approx(np.pi / 4, abs=1e-12)


def test_resolved_problem_gives_the_same_results_again(compared, tmp_path):
    _, out = compared
    again = coldflow("solve", out / "problem.toml", "--out", tmp_path / "again", "--quiet")
    assert again.returncode == 0 and again.stdout == ""
    assert (tmp_path / "again" / "diagnostics.csv").read_text() == (out / "diagnostics.csv").read_text()


def test_existing_folder_is_refused_and_left_alone(compared):
    _, out = compared
    before = (out / "comparison.csv").read_text()
    again = coldflow("compare", "misaligned_circle", *SMALL, "--out", out)
    assert again.returncode == 2
    assert "--force" in again.stderr and again.stderr.count("\n") == 1
    assert (out / "comparison.csv").read_text() == before


def test_report_is_one_page_with_its_figures(compared):
    _, out = compared
    done = coldflow("report", out)
    assert done.returncode == 0 and "report.html" in done.stdout
    page = (out / "report.html").read_text()
    assert page.count('<figcaption>') == len(list((out / "figures").glob("*.png"))) + 1  # and the slider
    assert page.count('"t":') == 3 and "<script src" not in page
    assert "coldflow compare problem.toml" in page and "w2_<wbr>density_<wbr>particles" in page
    assert "Misaligned weights" in page


def test_a_run_with_a_report_and_a_film_is_resumed_and_replaced(tmp_path):
    out = tmp_path / "run"
    run = ["particles", "smooth_circle", "--set", "time.end=0.1", "--set", "particles.count=16", "--out", out]
    for command in (run, ["report", out], ["animate", out, "--as", "gif", "--seconds", "0.1"], [*run, "--resume"]):
        done = coldflow(*command)
        assert done.returncode == 0, done.stderr
    assert (out / "report.html").exists() and (out / "figures" / "run.gif").exists()
    done = coldflow(*run, "--force")
    assert done.returncode == 0, done.stderr
    assert not (out / "report.html").exists() and not (out / "figures" / "run.gif").exists()  # they showed another run


def test_a_film_of_a_run(compared):
    _, out = compared
    done = coldflow("animate", out, "--as", "gif", "--seconds", "1")
    assert done.returncode == 0, done.stderr
    data = (out / "figures" / "run.gif").read_bytes()
    assert data[:6] == b"GIF89a" and len(data) > 5000 and "run.gif" in done.stdout


@pytest.mark.parametrize("kind", ["avi", ""])
def test_films_of_nothing_are_refused(kind, compared, tmp_path):
    done = coldflow("animate", *([compared[1], "--as", kind] if kind else [tmp_path]))
    assert done.returncode == 2 and done.stderr.strip().count("\n") == 0


def test_one_page_of_several_results(compared, tmp_path):
    _, out = compared
    (tmp_path / "claims" / "LT1").mkdir(parents=True)
    about = {"claim": "LT1", "title": "Best approach", "verdict": "shown", "command": "coldflow claims LT1 --quick"}
    (tmp_path / "claims" / "LT1" / "claim.json").write_text(json.dumps(about))
    (tmp_path / "claims" / "LT1" / "LT1.png").write_bytes(next((out / "figures").glob("*.png")).read_bytes())
    (tmp_path / "claims" / "claims.csv").write_text("claim,quantity,predicted,verdict\nLT1,W1 <b>,0.5,shown\n")
    done = coldflow("report", out, tmp_path / "claims", "--out", tmp_path / "all.html")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "all.html").read_text()
    assert "LT1: Best approach: shown." in page and "coldflow claims LT1 --quick" in page
    assert "2 results" in page and "LT1" in page and "W1 &lt;b&gt;" in page and "Misaligned" in page


def test_report_refuses_other_folders(tmp_path):
    done = coldflow("report", tmp_path)
    assert done.returncode == 2 and "RUN_DIR" in done.stderr


@pytest.mark.parametrize(("arguments", "named"), [
    (["compare", "no_such_problem.toml"], "no_such_problem.toml"),
    (["compare", "misaligned_circel"], "misaligned_circle"),
    (["solve", "misaligned_circle", "--set", "attention.beta=-1"], "attention.beta"),
    (["solve", "misaligned_circle", "--set", "attention.bta=1"], '"beta"'),
    (["solve", "misaligned_circle", "--set", "attention.value=[[1,0]]"], "attention.value"),
    (["solve", "misaligned_circle", "--set", "density.degree=7"], "density.degree"),
    (["solve", "misaligned_circle", "--set", "density.cfl=1.5"], "density.cfl"),
    (["solve", "misaligned_circle", "--set", "beta"], "--set"),
    (["compare"], "PROBLEM"),
    (["frobnicate"], "frobnicate"),
    (["compar", "misaligned_circle"], "did you mean 'compare'?"),
    (["solve", "misaligned_circle", "--frob"], "--frob"),
    (["sweep", "misaligned_circle", "--over", "attention.beta"], "--over"),
    (["bench", "everything"], "attention"),
])
def test_bad_input_gives_one_line_and_exit_code_2(arguments, named, tmp_path):
    done = coldflow(*arguments, cwd=tmp_path)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert named in done.stderr
    assert done.stderr.strip().count("\n") == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists() or arguments[0] == "bench"


@pytest.mark.parametrize("text", ["title = [", "space = 3\nattention = {beta = 1.0}\ninitial = {law = 'uniform'}\n", "\xff"])
def test_broken_files_give_one_line(text, tmp_path):
    (tmp_path / "broken.toml").write_bytes(text.encode("latin-1"))
    done = coldflow("check", "broken.toml", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.strip().count("\n") == 0, done.stderr


def test_bad_input_ends_all_ranks_together(mpirun, tmp_path):
    done = mpirun(2, "-m", "solver", "solve", "misaligned_circle", "--set", "attention.beta=-1", check=False,
                  timeout=60, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("coldflow: attention.beta") == 1


def test_two_ranks_write_the_same_diagnostics(compared, mpirun, tmp_path):
    _, out = compared
    mpirun(2, "-m", "solver", "solve", out / "problem.toml", "--out", tmp_path / "two", "--quiet")
    one, two = rows(out / "diagnostics.csv"), rows(tmp_path / "two" / "diagnostics.csv")
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        for name in DIAGNOSTICS:
            assert float(a[name]) == pytest.approx(float(b[name]), abs=1e-10, rel=1e-10), name


def test_resume_goes_on_to_the_same_end(compared, tmp_path):
    """A run to t = 0.5, its problem lengthened to 1.0: the rest is computed, the start is kept."""
    _, out = compared
    half = tmp_path / "half"
    process = subprocess.Popen([sys.executable, "-m", "solver", "compare", out / "problem.toml", "--out", half, "--no-verdict",
                                "--set", "time.outputs=60"], cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)
    table = half / "diagnostics.csv"
    until = time.monotonic() + 120
    while not (table.exists() and table.read_text().count("\n") > 3):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 130 and "--resume" in message
    assert json.loads((half / "run.json").read_text())["exit_reason"] == "interrupted"
    kept = len(rows(table))
    done = coldflow("compare", out / "problem.toml", "--out", half, "--no-verdict", "--set", "time.outputs=60", "--resume")
    assert done.returncode == 0, done.stderr
    assert 0 < kept < len(rows(table)) == 60
    last, reference = rows(half / "comparison.csv")[-1], rows(out / "comparison.csv")[-1]
    # Steps land on 60 outputs instead of 3, so the two runs agree to the error of the time integration.
    for name in COMPARISON[3:]:
        assert float(last[name]) == pytest.approx(float(reference[name]), abs=1e-4)


def test_problems_lists_the_flagship():
    done = coldflow("problems")
    assert done.returncode == 0 and "misaligned_circle" in done.stdout


def test_check_prints_a_plan_and_writes_nothing(tmp_path):
    done = coldflow("check", "misaligned_circle", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "unknowns" in done.stdout and not list(tmp_path.iterdir())


def test_doctor_finds_the_environment_sound():
    done = coldflow("doctor")
    assert done.returncode == 0, done.stdout
    assert "FAILED" not in done.stdout


def test_sweep_tabulates_every_value(tmp_path):
    done = coldflow("sweep", "misaligned_circle", *SMALL[:-2], "--over", "attention.beta=5,10", "--out", tmp_path / "s")
    assert done.returncode == 0, done.stderr
    found = rows(tmp_path / "s" / "sweep.csv")
    assert [row["attention.beta"] for row in found] == ["5", "10"]
    assert (tmp_path / "s" / "figures" / "sweep.png").exists()


def test_target_writes_the_two_points(tmp_path):
    done = coldflow("target", "misaligned_circle", "--out", tmp_path / "t")
    assert done.returncode == 0, done.stderr
    found = rows(tmp_path / "t" / "target.csv")
    assert [float(row["mass"]) for row in found] == pytest.approx([0.5, 0.5], abs=1e-12)
    assert all(abs(float(row["x"])) == pytest.approx(np.sqrt(0.5), abs=1e-12) for row in found)


def test_petsc_options_follow_two_dashes(tmp_path):
    done = coldflow("solve", "misaligned_circle", *SMALL, "--out", tmp_path / "p", "--", "-density_ts_type", "nonsense")
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "nonsense" in done.stderr and done.stderr.strip().count("\n") == 0


def test_bad_input_is_one_line_whatever_follows_two_dashes(tmp_path):
    done = coldflow("solve", "misaligned_circle", "--set", "attention.beta=-1", "--", "-density_snes_max_it", "1", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr


def test_version_and_help_in_whole_sentences():
    assert coldflow("--version").stdout.startswith("coldflow ")
    short, long = coldflow("-h"), coldflow("--help")
    assert short.returncode == 0 and short.stdout == long.stdout
    assert long.stdout.count("...") == 1 and "--install-completion" in long.stdout
    assert "[required]" in coldflow("compare", "-h").stdout and "\\[" not in coldflow("compare", "-h").stdout


WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("petsc4py", "mpi4py", "dolfinx", "basix", "ufl", "ffcx"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from solver.cli import main
main(sys.argv[1:])
"""


def without_petsc(*arguments):
    return subprocess.run([sys.executable, "-c", WITHOUT, *map(str, arguments)], capture_output=True, text=True, cwd=ROOT,
                          env=environment(), timeout=240, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize(("arguments", "said"), [
    (["check", "misaligned_circle"], "tokens, "),
    (["problems"], "misaligned_circle"),
    (["doctor"], "missing"),
    (["target", "misaligned_circle", "--out", "FOLDER"], "0.500000"),
    (["particles", "misaligned_circle", *SMALL, "--out", "FOLDER"], "energy"),
    (["report", "FOLDER"], "RUN_DIR"),
    (["compare", "misaligned_circle", "--out", "FOLDER"], "dolfinx"),
])
def test_commands_without_a_mesh_need_no_petsc(arguments, said, tmp_path):
    done = without_petsc(*(str(tmp_path / "run") if a == "FOLDER" else a for a in arguments))
    assert done.returncode == {"report": 2, "compare": 2}.get(arguments[0], 0), done.stderr
    assert said in done.stdout + done.stderr and "Traceback" not in done.stderr
    if arguments[0] == "particles":
        assert len(rows(tmp_path / "run" / "particles.csv")) == 3


@pytest.mark.parametrize("command", ["problems", "doctor"])
def test_a_reader_that_leaves_early_is_no_error(command):
    process = subprocess.Popen([sys.executable, "-u", "-m", "solver", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               cwd=ROOT, env=environment(), text=True)
    process.stdout.close()
    message = process.stderr.read()
    assert process.wait(timeout=60) == 0 and message == ""
