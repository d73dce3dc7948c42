"""Tables and folders keep what was written, in full precision, whatever comes after."""

import json
import threading

import numpy as np
import pytest
from mpi4py import MPI

from problems import ProblemError
from solver.runs.folder import RunFolder, clean_json
from solver.runs.history import History
from solver.runs.journal import Journal
from solver.runs.lock import Lock
from solver.runs.tables import CsvTable, diagnostics_columns, flatten_row, read_columns, read_rows
from solver.wasserstein.measure import Distance, Measure


def test_columns_follow_the_dimension():
    assert diagnostics_columns(3, density=True)[8:17] == [
        "mean_x", "mean_y", "mean_z", "second_xx", "second_xy", "second_xz", "second_yy", "second_yz", "second_zz"]
    assert diagnostics_columns(1, density=False) == ["time", "step", "mass", "energy", "log_energy", "entropy", "mean_x",
                                                     "second_xx", "w1_target", "w2_target", "tokens", "largest_gap"]
    assert "second_x1x4" in diagnostics_columns(4, density=False)


def test_in_high_dimensions_second_moments_are_those_of_each_coordinate():
    """All pairs at d = 10^4 would be fifty million columns."""
    columns = diagnostics_columns(10_000, density=False)
    assert [name for name in columns if name.startswith("second_")] == [f"second_x{i}x{i}" for i in range(1, 10_001)]
    row = flatten_row({"mean": np.zeros(65), "second": np.arange(65.0)}, 65)
    assert row["second_x65x65"] == 64.0


def test_rows_are_flattened_by_name():
    row = flatten_row({"time": 1.0, "mean": np.array([1.0, 2.0]), "second": np.array([[3.0, 4.0], [4.0, 5.0]])}, 2)
    assert row == {"time": 1.0, "mean_x": 1.0, "mean_y": 2.0, "second_xx": 3.0, "second_xy": 4.0, "second_yy": 5.0}


def test_numbers_survive_the_table_bit_by_bit(tmp_path):
    values = [0.1 + 0.2, np.pi, 1e-308, np.nextafter(1.0, 2.0)]
    table = CsvTable(tmp_path / "t.csv", ["time", "value", "nothing"])
    for i, value in enumerate(values):
        table.write({"time": float(i), "value": value, "nothing": np.nan})
    table.close()
    columns = read_columns(tmp_path / "t.csv")
    assert columns["value"].tolist() == values
    assert np.isnan(columns["nothing"]).all()
    assert read_rows(tmp_path / "t.csv")[0]["nothing"] == ""


def test_a_row_is_on_disk_before_the_table_is_closed(tmp_path):
    table = CsvTable(tmp_path / "t.csv", ["time"])
    table.write({"time": 1.5})
    assert read_rows(tmp_path / "t.csv") == [{"time": "1.5"}]
    with pytest.raises(ValueError, match="no column"):
        table.write({"tiem": 2.0})


def test_a_resumed_table_begins_with_the_rows_it_is_given(tmp_path):
    rows = [{"time": float(i)} for i in range(5)]
    CsvTable(tmp_path / "t.csv", ["time"], rows)
    table = CsvTable(tmp_path / "t.csv", ["time"], rows[:3])
    table.write_all([{"time": 2.5}])
    assert not table.mended, "later rows are the ones that are computed again"
    assert [row["time"] for row in read_rows(tmp_path / "t.csv")] == ["0.0", "1.0", "2.0", "2.5"]
    (tmp_path / "t.csv").write_text("time\r\n0.0\r\n1.0")
    assert CsvTable(tmp_path / "t.csv", ["time"], rows[:3]).mended


def test_json_has_no_infinities(tmp_path):
    assert clean_json({"a": np.inf, "b": np.array([1.0, np.nan]), "c": 1 + 2j, "d": np.int64(3)}) == {
        "a": "inf", "b": [1.0, "nan"], "c": [1.0, 2.0], "d": 3}
    folder = RunFolder(tmp_path / "run", MPI.COMM_SELF, "title = 1")
    folder.record(value=np.float64(np.inf), exit_reason="done")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["value"] == "inf"


def test_folders_are_refused_replaced_or_resumed(tmp_path):
    path = tmp_path / "run"
    first = RunFolder(path, MPI.COMM_SELF, "a = 1")
    first.store("density").save({"time": 2.0})
    (path / "notes.txt").write_text("mine")
    with pytest.raises(ProblemError, match="no other run is under way"):
        RunFolder(path, MPI.COMM_SELF, "a = 1", force=True)
    first.close()
    with pytest.raises(ProblemError, match="--force"):
        RunFolder(path, MPI.COMM_SELF, "a = 1")
    with pytest.raises(ProblemError, match="same resolved problem"):
        RunFolder(path, MPI.COMM_SELF, "a = 2", resume=True)
    resumed = RunFolder(path, MPI.COMM_SELF, "a = 1", resume=True)
    assert resumed.store("density").restart.state["time"] == 2.0
    resumed.close()
    replaced = RunFolder(path, MPI.COMM_SELF, "a = 2", force=True)
    assert not replaced.resumed and not (path / "checkpoint" / "density.ckpt").exists()
    assert (tmp_path / "run.replaced" / "checkpoint" / "density.ckpt").exists(), "kept until the new run has begun"
    replaced.begun()
    assert not (tmp_path / "run.replaced").exists()
    assert (path / "notes.txt").read_text() == "mine", "what a run did not write is not its to remove"
    replaced.close()


def test_a_target_gives_its_folder_to_a_run(tmp_path):
    """`coldflow target X` and then `coldflow compare X` use one default folder."""
    first = RunFolder(tmp_path / "run", MPI.COMM_SELF, "a = 1")
    first.record(command="target", exit_reason="done", complete=True)
    first.close()
    second = RunFolder(tmp_path / "run", MPI.COMM_SELF, "a = 2")
    second.begun()
    second.record(command="solve", exit_reason="done", complete=True)
    second.close()
    with pytest.raises(ProblemError, match="a new folder"):
        RunFolder(tmp_path / "run", MPI.COMM_SELF, "a = 3")


def test_a_run_that_never_begins_leaves_everything_as_it_was(tmp_path):
    path = tmp_path / "run"
    RunFolder(path, MPI.COMM_SELF, "a = 1").close()
    before = sorted(p.relative_to(tmp_path) for p in path.rglob("*") if p.is_file())
    RunFolder(path, MPI.COMM_SELF, "a = 2", force=True).discard()
    assert sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file()) == before
    assert (path / "problem.toml").read_text() == "a = 1"
    RunFolder(tmp_path / "new" / "run", MPI.COMM_SELF, "a = 2").discard()
    assert not (tmp_path / "new").exists()


def test_a_force_that_was_killed_gives_the_earlier_run_back(tmp_path):
    path = tmp_path / "run"
    RunFolder(path, MPI.COMM_SELF, "a = 1").close()
    RunFolder(path, MPI.COMM_SELF, "a = 2", force=True).close()
    told = []
    again = RunFolder(path, MPI.COMM_SELF, "a = 1", resume=True, tell=told.append)
    assert again.resumed and "is back" in told[0] and not (tmp_path / "run.replaced").exists()


@pytest.mark.parametrize("name", ["problem.toml", "figures", "diagnostics.csv", "density.bp"])
@pytest.mark.parametrize("flags", [{}, {"force": True}, {"resume": True}])
def test_what_no_run_wrote_is_never_touched(tmp_path, name, flags):
    for kind in ("file", "link", "beside a run"):
        folder, elsewhere = tmp_path / kind, tmp_path / f"{kind} elsewhere"
        elsewhere.mkdir()
        if kind == "beside a run" and name != "problem.toml":
            first = RunFolder(folder, MPI.COMM_SELF, "a = 1")
            first.record(complete=True, exit_reason="done")
            first.close()
            (folder / "figures").rmdir()
        folder.mkdir(exist_ok=True)
        if kind == "link":
            (folder / name).symlink_to(elsewhere)
        elif "." in name:
            (folder / name).write_text("mine")
        else:
            (folder / name).mkdir()
            (folder / name / "mine.png").write_text("mine")
        before = sorted((str(p), p.is_symlink()) for p in folder.rglob("*"))
        with pytest.raises(ProblemError, match="no run of coldflow wrote"):
            RunFolder(folder, MPI.COMM_SELF, "a = 1", **flags)
        assert [item for item in sorted((str(p), p.is_symlink()) for p in folder.rglob("*")) if "lock" not in item[0]] == before


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ProblemError, match="a folder, not a file"):
        RunFolder(tmp_path / "file", MPI.COMM_SELF, "a = 1")


def test_history_comes_back_from_the_journal(tmp_path):
    points, masses = np.eye(2), np.array([0.25, 0.75])
    journal, history = Journal(tmp_path / "h.journal"), History()
    journal.begin()
    for i in range(3):
        bound = Distance(0.5, 0.1, "exact", 0.4, 0.6)
        history.keep({"time": float(i), "step": i, "mass": 1.0 / 3.0, "w2_target": np.float64(np.nan)},
                     Measure(points, masses, 0.5), (points, masses, None), {1: bound})
        journal.append(history.record())
    found = History()
    for record in Journal(tmp_path / "h.journal").read()[:2]:
        found.restore(record)
    assert found.times == [0.0, 1.0]
    assert found.rows[1]["mass"] == 1.0 / 3.0 and found.rows[1]["step"] == 1
    assert np.isnan(found.column("w2_target")).all()
    assert np.array_equal(found.measures[1].masses, masses) and found.measures[1].spread == 0.5
    assert found.pictures[1][2] is None and found.to_target[1] == {1: bound}


def test_a_start_waits_for_another_that_only_looks(tmp_path, monkeypatch):
    """Of several starts at once, one that will be refused must not keep out the one that may run."""
    first = Lock(tmp_path)
    timer = threading.Timer(0.3, first.release)
    timer.start()
    RunFolder(tmp_path, MPI.COMM_SELF, "a = 1\n").close()
    timer.join()
    monkeypatch.setattr("solver.runs.folder.PATIENCE", 0.1)
    held = Lock(tmp_path)
    with pytest.raises(ProblemError, match="no other run is under way"):
        RunFolder(tmp_path, MPI.COMM_SELF, "a = 1\n", force=True)
    held.release()
