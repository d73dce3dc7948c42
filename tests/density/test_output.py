"""The density's files read back: values, geometry, times, whatever the degree and the number of ranks."""

import meshio
import numpy as np
import pytest
from mpi4py import MPI

from meshes import dolfinx_compat
from problems import load
from solver.density import DensitySolver
from solver.density.output import DensityWriter

FLAT = {"time.end": "0.1", "time.outputs": "3"}


def run(tmp_path, name, **settings):
    problem = load(name, {**FLAT, **{key.replace("__", "."): str(value) for key, value in settings.items()}})
    solver = DensitySolver(problem, MPI.COMM_WORLD)
    writer, snapshots = DensityWriter(tmp_path, solver.operator), []

    def output(snapshot):
        snapshots.append(snapshot)
        writer.write(snapshot)

    solver.run(output)
    writer.close()
    return solver, snapshots


def read(path):
    with meshio.xdmf.TimeSeriesReader(path) as reader:
        points, cells = reader.read_points_cells()
        steps = [reader.read_data(k) for k in range(reader.num_steps)]
    return points, cells, steps


@pytest.mark.parametrize("geometry", [1, 2, 3])
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_xdmf_reads_back(tmp_path, degree, geometry):
    solver, snapshots = run(tmp_path, "smooth_circle", density__cells=16, density__degree=degree,
                            density__geometry=geometry)
    points, cells, steps = read(tmp_path / "density.xdmf")
    assert [t for t, _, _ in steps] == pytest.approx([0.0, 0.05, 0.1], abs=1e-15)
    assert len(cells) == 1 and len(cells[0].data) == 16
    assert cells[0].type == ("line" if max(degree, geometry) == 1 else "line3")
    g = solver.operator.geometry
    ends = g.map.nodes[np.argsort(g.order[:g.owned])][:, :2]
    assert np.allclose(points[cells[0].data[:, :2], :2], ends, atol=1e-15)
    for snapshot, (_, point_data, cell_data) in zip(snapshots, steps, strict=True):
        at_ends = snapshot.plot_data(1)[1].reshape(16, 2)
        if cell_data:
            assert degree == 0 and geometry == 1
            assert np.allclose(cell_data["density"][0], at_ends[:, 0], atol=1e-14)
        else:
            assert np.allclose(point_data["density"][cells[0].data[:, :2]], at_ends, atol=1e-13)


@pytest.mark.skipif(not dolfinx_compat.has_vtx(), reason="dolfinx without ADIOS2")
@pytest.mark.parametrize("geometry", [1, 2])
def test_vtx_holds_the_polynomial(tmp_path, geometry):
    adios2 = pytest.importorskip("adios2", reason="reads what dolfinx wrote with ADIOS2")
    _, snapshots = run(tmp_path, "smooth_sphere", density__cells=320, density__degree=1,
                            density__geometry=geometry)
    with adios2.Stream(str(tmp_path / "density.bp"), "r") as file:
        steps, places = [], np.empty(0)
        for _ in file.steps():
            values = file.read("density").ravel()
            places = file.read("geometry") if not steps else places
            steps.append(values)
    assert len(steps) == 3 and len(values) == 320 * (3 if geometry == 1 else 6)
    assert np.abs(np.linalg.norm(places, axis=1) - 1).max() < 1e-14
    lowest, highest = snapshots[-1].plot_data(4)[1].min(), snapshots[-1].plot_data(4)[1].max()
    assert steps[-1].min() == pytest.approx(lowest, abs=2e-3)
    assert steps[-1].max() == pytest.approx(highest, abs=2e-3)


def test_resuming_appends(tmp_path):
    solver, snapshots = run(tmp_path, "smooth_circle", density__cells=16)
    writer = DensityWriter(tmp_path, solver.operator, append=True)
    writer.write(snapshots[-1])  # written before the stop: replaced, not doubled
    writer.close()
    assert [t for t, _, _ in read(tmp_path / "density.xdmf")[2]] == pytest.approx([0.0, 0.05, 0.1])
    if dolfinx_compat.has_vtx():
        assert (tmp_path / "density.bp").exists() and (tmp_path / "density-1.bp").exists()


PARALLEL = """
import sys
from pathlib import Path
from mpi4py import MPI
from problems import load
from solver.density import DensitySolver
from solver.density.output import DensityWriter
problem = load("smooth_sphere", {"time.end": "0.02", "time.outputs": "2", "density.cells": "80"})
solver = DensitySolver(problem, MPI.COMM_WORLD)
writer = DensityWriter(Path(sys.argv[1]), solver.operator)
solver.run(writer.write)
writer.close()
"""


def test_files_do_not_depend_on_the_ranks(tmp_path, mpirun):
    results = []
    for ranks in (1, 3):
        folder = tmp_path / str(ranks)
        folder.mkdir()
        mpirun(ranks, "-c", PARALLEL, folder)
        results.append(read(folder / "density.xdmf"))
    for points, cells, steps in results[1:]:
        assert np.allclose(points, results[0][0], atol=1e-15)
        assert np.array_equal(cells[0].data, results[0][1][0].data)
        assert np.allclose(steps[-1][1]["density"], results[0][2][-1][1]["density"], atol=1e-12)
