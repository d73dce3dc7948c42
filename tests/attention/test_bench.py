"""The attention benchmark at its smallest."""

import csv

from solver.bench import attention


def test_tables_files_and_figure(tmp_path, capsys):
    result = attention.run(tmp_path, quick=True, sizes=(200, 400), betas=(1.0, 1e3))
    assert {row["kernel"] for row in result["kernels"]} >= {"dense", "NumPy tiles"}
    assert len(result["growth"]) == 8
    assert all(row["error"] < 1e-9 for row in result["growth"])
    assert len(result["gathered"]) >= 4 * 4 * 3
    assert all(row["error"] < 1e-9 for row in result["gathered"])
    assert "Fast attention" in capsys.readouterr().out
    with (tmp_path / "attention_growth.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == 8
    assert (tmp_path / "attention.png").stat().st_size > 1000
