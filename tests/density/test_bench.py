"""The density benchmark runs and finds rates that no broken build would reach."""

import csv

import numpy as np
from mpi4py import MPI

from solver.bench.density import COLUMNS, copy_bandwidth, measure, run


def test_bench_writes_its_table(tmp_path, capsys):
    rows = run(tmp_path, quick=True, cells=320, comm=MPI.COMM_SELF)
    with (tmp_path / "density.csv").open() as stream:
        written = list(csv.DictReader(stream))
    assert len(rows) == len(written) == 6 and set(written[0]) == set(COLUMNS)
    assert all(row["rhs M/s"] > 1.0 and np.isfinite(row["GB/s"]) for row in rows)
    assert "sphere" in capsys.readouterr().out


def test_right_hand_side_is_faster_than_assembly():
    row = measure(MPI.COMM_SELF, 2000, 2, 1, copy_bandwidth(MPI.COMM_SELF, 2**16))
    assert row["rhs M/s"] > row["UFL M/s"]
