"""Tables and folders keep what was written, in full precision, whatever comes after."""

import json

import numpy as np
import pytest
from mpi4py import MPI

from problems import ProblemError
from solver.runs.folder import RunFolder, clean_json
from solver.runs.history import HistoryStore
from solver.runs.tables import CsvTable, diagnostics_columns, flatten_row, read_columns, read_rows
from solver.wasserstein.measure import Measure


def test_columns_follow_the_dimension():
    assert diagnostics_columns(3, density=True)[8:17] == [
        "mean_x", "mean_y", "mean_z", "second_xx", "second_xy", "second_xz", "second_yy", "second_yz", "second_zz"]
    assert diagnostics_columns(1, density=False) == ["time", "step", "mass", "energy", "log_energy", "mean_x", "second_xx",
                                                     "w1_target", "w2_target"]
    assert "second_x1x4" in diagnostics_columns(4, density=False)


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


def test_a_resumed_table_keeps_rows_up_to_its_start(tmp_path):
    CsvTable(tmp_path / "t.csv", ["time"]).write_all({"time": float(i)} for i in range(5))
    table = CsvTable(tmp_path / "t.csv", ["time"], keep_until=2.0)
    table.write_all([{"time": 2.5}])
    assert [row["time"] for row in read_rows(tmp_path / "t.csv")] == ["0.0", "1.0", "2.0", "2.5"]


def test_json_has_no_infinities(tmp_path):
    assert clean_json({"a": np.inf, "b": np.array([1.0, np.nan]), "c": 1 + 2j, "d": np.int64(3)}) == {
        "a": "inf", "b": [1.0, "nan"], "c": [1.0, 2.0], "d": 3}
    folder = RunFolder(tmp_path / "run", MPI.COMM_SELF, "title = 1")
    folder.record(value=np.float64(np.inf), exit_reason="done")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["value"] == "inf"


def test_folders_are_refused_replaced_or_resumed(tmp_path):
    path = tmp_path / "run"
    RunFolder(path, MPI.COMM_SELF, "a = 1").checkpoint("density", time=np.array(2.0))
    (path / "notes.txt").write_text("mine")
    with pytest.raises(ProblemError, match="--force"):
        RunFolder(path, MPI.COMM_SELF, "a = 1")
    with pytest.raises(ProblemError, match="same resolved problem"):
        RunFolder(path, MPI.COMM_SELF, "a = 2", resume=True)
    assert RunFolder(path, MPI.COMM_SELF, "a = 1", resume=True).restore("density")["time"] == 2.0
    replaced = RunFolder(path, MPI.COMM_SELF, "a = 2", force=True)
    assert not replaced.resumed and replaced.restore("density") is None
    assert not (path / "checkpoint" / "density.npz").exists()
    assert (path / "notes.txt").read_text() == "mine", "what a run did not write is not its to remove"


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ProblemError, match="a folder, not a file"):
        RunFolder(tmp_path / "file", MPI.COMM_SELF, "a = 1")


def test_history_comes_back_from_disk(tmp_path):
    store = HistoryStore(tmp_path / "h.h5")
    table = CsvTable(tmp_path / "t.csv", ["time", "step", "mass", "w2_target"])
    points, masses = np.eye(2), np.array([0.25, 0.75])
    for i in range(3):
        store.append(Measure(points, masses, 0.5), (points, masses, None), float(i))
        table.write({"time": float(i), "step": i, "mass": 1.0 / 3.0})
    found = store.load(tmp_path / "t.csv", 1.0)
    assert found.times == [0.0, 1.0]
    assert found.rows[1] == {"time": 1.0, "step": 1, "mass": 1.0 / 3.0}
    assert np.isnan(found.column("w2_target")).all()
    assert np.array_equal(found.measures[1].masses, masses) and found.measures[1].spread == 0.5
    assert found.pictures[1][2] is None
