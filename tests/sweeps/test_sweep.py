"""Sweeps: cells by lists and formulas, tables, failures that stay alone, and going on."""

import csv

import numpy as np
import pytest

from problems import ProblemError
from solver.commands.distance import read_run
from solver.commands.sweep import parse_fit, run_sweep
from solver.sweeps.cells import cells_of, parse_over, parse_ties
from solver.sweeps.table import write_tidy

TOKENS = ["particles.count=16", "time.end=0.5", "time.outputs=3", "density.cells=16"]


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_cells_are_a_product_with_tied_keys():
    cells = cells_of(parse_over(["particles.count=100,400", "a=0.5,1"]), parse_ties(["attention.beta=count^a"]))
    found = [(c.settings["particles.count"], float(c.settings["attention.beta"])) for c in cells]
    assert found == [("100", 10.0), ("100", 100.0), ("400", 20.0), ("400", 400.0)]


def test_random_matrices_are_tied_to_a_seed():
    cells = cells_of(parse_over(["seed=1,2"]), parse_ties(["attention.value=normal(seed, 2, 2)"]))
    assert cells[0].settings["attention.value"] != cells[1].settings["attention.value"]


@pytest.mark.parametrize("bad", [["beta"], ["attention.beta="], ["=3"]])
def test_bad_lists_and_ties_are_refused(bad):
    with pytest.raises(ProblemError):
        parse_ties(bad)


def test_tokens_alone_with_a_failure_and_going_on(tmp_path):
    """The folder of the middle cell cannot be made: a file is in its place."""
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "value=[[2.0]]").touch()
    options = {"settings": TOKENS, "out": tmp_path / "s", "quiet": True,
               "verdict": False, "workers": 1, "fits": []}
    over = ["attention.value=[[-1.0]],[[2.0]],[[-0.5]]"]
    assert run_sweep("gaussian_line", over, [], "particles", force=False, resume=False, **options) == 1
    found = rows(tmp_path / "s" / "sweep.csv")
    assert [row["status"][:6] for row in found] == ["done", "failed", "done"]
    assert len(rows(tmp_path / "s" / "history.csv")) == 6
    before = (tmp_path / "s" / "value=[[-1.0]]" / "run.json").stat().st_mtime_ns
    assert run_sweep("gaussian_line", over, [], "particles", force=False, resume=True, **options) == 1
    assert (tmp_path / "s" / "value=[[-1.0]]" / "run.json").stat().st_mtime_ns == before
    with pytest.raises(ProblemError, match="--resume"):
        run_sweep("gaussian_line", over, [], "particles", force=False, resume=False, **options)


def test_two_ranks_share_the_cells_and_a_failed_one_stays_alone(tmp_path, mpirun):
    """The first folder of three cannot be made; the tables are those of one rank."""
    over = "attention.value=[[2.0]],[[-1.0]],[[-0.5]]"
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "value=[[2.0]]").touch()
    assert run_sweep("gaussian_line", [over], [], "particles", TOKENS, tmp_path / "a", False, False, True, False, 1, []) == 1
    settings = [word for item in TOKENS for word in ("--set", item)]
    words = ["sweep", "gaussian_line", "--over", over, "--side", "particles", *settings, "--quiet", "--out", tmp_path / "b"]
    assert mpirun(2, "-m", "solver", *words, check=False).returncode == 1
    found, wanted = (rows(tmp_path / name / "sweep.csv") for name in "ba")
    assert [row["status"][:6] for row in found] == ["failed", "done", "done"]
    assert [{**row, "status": ""} for row in found] == [{**row, "status": ""} for row in wanted]


def test_tables_are_written_as_parquet_too(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="without pyarrow a sweep writes CSV alone, as it says")
    files = write_tidy(tmp_path / "t", [{"beta": 10, "note": "a"}, {"beta": 20, "note": None, "w1": 0.5}])
    assert [file.suffix for file in files] == [".csv", ".parquet"]
    table = parquet.read_table(files[1]).to_pydict()
    assert table == {"beta": [10.0, 20.0], "note": ["a", None], "w1": [None, 0.5]}
    assert [row["w1"] for row in rows(files[0])] == ["", "0.5"]


def test_a_run_can_be_read_back_for_distances(tmp_path):
    run_sweep("gaussian_line", ["attention.beta=1,2"], [], "particles", TOKENS, tmp_path / "s", False, False, True, False, 1, [])
    _, history, side = read_run(tmp_path / "s" / "beta=1", None)
    assert side == "particles" and np.allclose(history.times, [0.0, 0.25, 0.5])


def test_fits_are_parsed():
    assert parse_fit("power:closest_w1:attention.beta") == ("power", "closest_w1", "attention.beta")
    with pytest.raises(ProblemError, match="LAW"):
        parse_fit("cubic:a:b")


@pytest.mark.parametrize(("over", "words"), [("attention.beta=10,20,10.0", "each value once"), ("beta=10,20", "used by a --tie")])
def test_lists_that_would_run_a_cell_twice_are_refused(over, words):
    with pytest.raises(ProblemError, match=words):
        cells_of(parse_over([over]), parse_ties(["particles.count=64"]))


def test_long_values_that_begin_alike_have_folders_of_their_own():
    first = [[float(i + 5 * j) for i in range(5)] for j in range(5)]
    second = [*first[:-1], [*first[-1][:-1], 7.0]]
    labels = [cell.label for cell in cells_of({"attention.value": [str(first), str(second)]}, {})]
    assert len(set(labels)) == 2 and max(map(len, labels)) <= 120


def test_cells_of_another_problem_or_side_are_not_taken_up(tmp_path):
    """The cells of 16 tokens are no cells of 30, nor of the density."""
    options = {"out": tmp_path / "s", "quiet": True, "verdict": False, "workers": 1, "fits": []}
    over = ["attention.beta=1,2"]
    assert run_sweep("gaussian_line", over, [], "particles", settings=TOKENS, force=False, resume=False, **options) == 0
    before = (tmp_path / "s" / "sweep.csv").read_text()
    for side, settings in (("particles", [*TOKENS, "particles.count=30"]), ("density", TOKENS)):
        with pytest.raises(ProblemError, match="same problem"):
            run_sweep("gaussian_line", over, [], side, settings=settings, force=False, resume=True, **options)
    assert (tmp_path / "s" / "sweep.csv").read_text() == before
    assert run_sweep("gaussian_line", over, [], "particles", settings=TOKENS, force=False, resume=True, **options) == 0
