"""Density and tokens on meshes from files: the same on any number of ranks, on the file's own geometry, consistent."""

import json
from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI

from meshes.simplicial import simplicial
from problems.errors import ProblemError
from problems.problem import read_problem
from solver.density import DensitySolver
from solver.particles.solver import ParticleSolver
from tests.meshes import shapes

FILES = {
    "torus.msh": shapes.torus(8, 6), "torus2.vtu": shapes.torus(6, 5, 2), "cube.xdmf": shapes.cube(2),
    "ellipse.msh": shapes.ellipse(16),
    "trefoil.vtu": shapes.trefoil(24, 2), "corner.msh": shapes.l_shape(2), "box.vtu": shapes.box(24),
}
V = np.array([[1.0, 0.2, 0.0], [0.1, 0.5, 0.3], [0.1, 0.0, -0.5]])
NORMAL = {"law": "normal", "components": [{"weight": 1.0, "mean": [-0.3, -0.2, 0.1], "covariance": 0.1}]}


def described(path, d, **density):
    law = {"law": "uniform"}
    if path.stem in ("corner", "box"):
        law = {**NORMAL, "components": [NORMAL["components"][0] | {"mean": NORMAL["components"][0]["mean"][:d]}]}
    return {"space": {"manifold": "file", "path": str(path)}, "attention": {"beta": 2.0, "value": V[:d, :d].tolist()},
            "initial": law, "time": {"end": 0.1, "outputs": 2}, "density": density, "particles": {"count": 60}}


def rows(folder, comm):
    """Diagnostics of the density and of the tokens on every mesh; collective."""
    every = {}
    for path in sorted(Path(folder).iterdir()):
        if path.name not in FILES:
            continue
        problem = read_problem(described(path, FILES[path.name].points.shape[1]))
        found: list[np.ndarray] = []

        def keep(snapshot, found=found):
            found.append(np.concatenate([np.ravel(value) for _, value in sorted(snapshot.row.items())]))

        DensitySolver(problem, comm).run(keep)
        ParticleSolver(problem, comm).run(keep)
        every[path.name] = np.nan_to_num(np.concatenate(found)).tolist()
    return every


CODE = """
import importlib.util, json, sys
from mpi4py import MPI
spec = importlib.util.spec_from_file_location("cases", sys.argv[1])
cases = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cases)
found = cases.rows(sys.argv[2], MPI.COMM_WORLD)
if MPI.COMM_WORLD.rank == 0:
    print("RESULT" + json.dumps(found))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("meshes")
    for name, cells in FILES.items():
        shapes.write(cells, place / name)
    return place


@pytest.fixture(scope="module")
def serial(folder):
    return rows(folder, MPI.COMM_SELF)


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_do_not_matter(ranks, folder, serial, mpirun, monkeypatch):
    """Tangent planes used to come from the nearest facet, a tie at shared nodes that rounding decided on each rank."""
    monkeypatch.setenv("OMPI_MCA_mpi_yield_when_idle", "1")  # more ranks than cores
    done = mpirun(ranks, "-c", CODE, __file__, folder)
    found = json.loads(next(text for text in done.stdout.splitlines() if text.startswith("RESULT")).removeprefix("RESULT"))
    assert set(found) == set(FILES)
    for name, expected in serial.items():
        assert np.allclose(found[name], expected, rtol=1e-10, atol=1e-10), (
            name, np.abs(np.array(found[name]) - np.array(expected)).max())


@pytest.mark.parametrize("name", FILES)
def test_mass_stays_one(name, folder):
    cells = FILES[name]
    problem = read_problem(described(folder / name, cells.points.shape[1]))
    masses, lows = [], []

    def keep(snapshot):
        masses.append(snapshot.row["mass"])
        lows.append(snapshot.row["minimum"])

    DensitySolver(problem, MPI.COMM_SELF).run(keep)
    assert np.abs(np.array(masses) - 1.0).max() < 1e-12 and min(lows) >= 0.0


def test_the_density_lives_on_the_curved_mesh(tmp_path):
    """Uniform on an ellipsoid: its second moments are those of the exact surface, not those of flat facets."""
    axes = np.array([1.2, 1.0, 0.7])
    path = shapes.write(shapes.ellipsoid(6, 2, axes), tmp_path / "ellipsoid.msh")
    fine = simplicial("file", shapes.ellipsoid(16, 3, axes))
    points, weights = fine.nodes(5120 * 16)
    exact = weights @ np.sum(points**2, axis=1) / weights.sum()
    problem = read_problem(described(path, 3) | {"time": {"end": 0.1, "outputs": [0.0, 0.1]}})
    flat = simplicial("file", shapes.ellipsoid(6, 1, axes)).nodes(6480)
    off = abs(flat[1] @ np.sum(flat[0] ** 2, axis=1) / flat[1].sum() - exact) / exact
    found = np.trace(DensitySolver(problem, MPI.COMM_SELF).snapshot().row["second"])
    tokens = np.trace(ParticleSolver(problem, MPI.COMM_SELF).snapshot().row["second"])
    assert off > 5e-3  # h^2
    assert abs(found / exact - 1.0) < 1e-4 and abs(tokens / exact - 1.0) < 1e-3  # h^4; one token for each of 60 cells or more


@pytest.mark.parametrize(("name", "cells"), [("ellipse", shapes.ellipse(12)), ("torus", shapes.torus(10, 6))])
def test_density_and_tokens_move_alike_on_flat_facets(name, cells, tmp_path):
    """On straight cells both follow one law, whatever the angles between them: their moments differ by their own errors
    only. Projections that disagree would leave angle^2 / 12 of the way, 5e-3 and more."""
    path, gaps = shapes.write(cells, tmp_path / "mesh.msh"), []
    for refine in (0, 1):
        values = described(path, 3 if name == "torus" else 2, degree=2)
        values["space"]["refine"] = refine
        values["time"] = {"end": 0.3, "outputs": 2}
        values["particles"] = {"count": 2000, "rtol": 1e-6}
        problem = read_problem(values)
        if refine == 0:
            tokens = ParticleSolver(problem, MPI.COMM_SELF)
            tokens.run()
            reference = tokens.snapshot().row["second"]
        density = DensitySolver(problem, MPI.COMM_SELF)
        found = []
        density.run(lambda snapshot, found=found: found.append(snapshot.row["second"]))
        gaps.append(np.abs(found[-1] - reference).max())
    assert max(gaps) < 1e-3, gaps


def test_what_a_file_brings_cannot_be_set(folder):
    for section, key, value in (("density", "cells", 100), ("density", "geometry", 2),
                                ("space", "grading", {"half_width": 0.2, "ratio": 2.0})):
        values = described(folder / "ellipse.msh", 2)
        values[section][key] = value
        with pytest.raises(ProblemError, match=rf"^{section}\.{key} = .*not for manifold = \"file\""):
            read_problem(values)


def test_resolved_problems_of_files_can_be_read_again(folder):
    from problems.problem import tabulate_problem

    values = described(folder / "torus2.vtu", 3)
    values["space"]["refine"] = 1
    problem = read_problem(values)
    assert (problem.density.cells, problem.density.geometry) == (4 * 60, 2)
    again = read_problem(tabulate_problem(problem))
    assert tabulate_problem(again) == tabulate_problem(problem) and again.space.refine == 1
