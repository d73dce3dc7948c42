"""Adaptive tokens on closed surfaces from mesh files: triangles that keep their mass, against the sphere and closed forms."""

import math

import numpy as np
import pytest
from mpi4py import MPI

from problems import ProblemError
from problems.problem import read_problem
from solver.particles.adaptive import largest_gap
from solver.particles.bisection import Edges
from solver.particles.solver import ParticleSolver
from tests.meshes.shapes import cube, ellipsoid, l_shape, torus, write
from tests.particles.support import problem, run

VALUE = [[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.5]]


def on_file(cells, folder, *, beta=4.0, end=1.0, gap=None, value=VALUE, sampling="adaptive", **attention):
    path = write(cells, folder / "surface.vtu")
    particles = {"sampling": sampling, "rtol": 1e-6}
    if sampling == "adaptive" and gap:
        particles["gap"] = gap
    if sampling != "adaptive":
        particles["count"] = 6000 if sampling == "quadrature" else 100
    return read_problem({
        "title": "surface", "space": {"manifold": "file", "path": str(path)},
        "attention": {"beta": beta, "value": value, **attention}, "initial": {"law": "uniform"},
        "time": {"end": end, "outputs": 3}, "particles": particles})


def intact(snapshot, characteristic):
    """Masses exact, and every edge of the closed surface between two triangles."""
    edges = Edges(snapshot.cells)
    assert math.fsum(snapshot.cell_masses) == pytest.approx(1.0, abs=4e-16)
    assert math.fsum(snapshot.masses) == pytest.approx(1.0, abs=4e-16)
    assert min(snapshot.masses.min(), snapshot.cell_masses.min()) > 0.0
    assert edges.joined().all()
    assert len(snapshot.points) - len(edges.ends) + len(snapshot.cells) == characteristic


def test_a_sphere_from_a_file_is_the_sphere(tmp_path):
    """Second moments on a sphere of curved cells against those of the sphere itself, of second order in the gap."""
    sphere = problem("sphere", dimension=3, beta=4.0, end=0.6, attention={"value": VALUE},
                     particles={"count": 20000, "rtol": 1e-7})
    exact, found = run(sphere)[-1].row["second"], []
    cells = ellipsoid(8, 2, (1.0, 1.0, 1.0))
    for gap in (0.4, 0.2):
        last = run(on_file(cells, tmp_path, gap=gap, end=0.6))[-1]
        intact(last, 2)
        assert np.linalg.norm(last.points, axis=1) == pytest.approx(1.0, abs=1e-4)  # as round as the file
        found.append(np.abs(last.row["second"] - exact).max())
    assert found[1] < 1e-3 and found[0] / found[1] > 2.5


def test_torus_stays_a_torus_while_tokens_gather(tmp_path):
    cells = torus(20, 10)
    fixed = run(on_file(cells, tmp_path, sampling="quadrature", beta=3.0, end=0.25))[-1]
    history = run(on_file(cells, tmp_path, beta=3.0, end=0.25))
    for snapshot in history:
        intact(snapshot, 0)
    # Both of second order in their gaps: .2 of the tokens' triangles, .04 of those at fixed places.
    assert history[-1].row["second"] == pytest.approx(fixed.row["second"], abs=5e-3)
    assert history[-1].log_density is None


@pytest.mark.parametrize("shape", [lambda: cube(6), lambda: ellipsoid(6, 1)], ids=["cube", "ellipsoid"])
def test_gathering_keeps_the_surface(tmp_path, shape):
    given = on_file(shape(), tmp_path, beta=8.0, end=0.5)
    last = run(given)[-1]
    intact(last, 2)
    assert last.row["largest_gap"] <= 1.001 * largest_gap(given)
    assert given.manifold.retract(last.points.copy()) == pytest.approx(last.points, abs=1e-9)


def test_tokens_of_a_fine_file_are_thinned(tmp_path):
    """A file of cells much finer than the kernel asks for makes no more tokens than a coarse one, and its law is as even."""
    counts = []
    for frequency in (6, 18):
        first = run(on_file(ellipsoid(frequency, 1, (1.0, 1.0, 1.0)), tmp_path, beta=1.0, end=0.01))[0]
        intact(first, 2)
        assert first.row["second"] == pytest.approx(np.eye(3) / 3, abs=1.5e-2)  # flat cells: 1/3 (1 - h^2 / 2), h = .19
        counts.append(len(first.points))
    assert counts[1] < 2.5 * counts[0]


def test_resume_goes_the_same_way(tmp_path):
    given = on_file(torus(16, 8), tmp_path, beta=3.0, end=0.3)
    whole, states = ParticleSolver(given, MPI.COMM_SELF), []
    whole.run(lambda snapshot: states.append(whole.state_dict()))
    again = ParticleSolver(given, MPI.COMM_SELF)
    again.load_state(states[1])
    again.run()
    # Places on a mesh are found from where tokens were last, up to rounding.
    assert np.array_equal(again.cells.cells, whole.cells.cells)
    assert again.points == pytest.approx(whole.points, abs=1e-10)


def test_domains_are_refused_and_take_other_tokens(tmp_path):
    value = [[-1.0, 0.0], [0.0, -1.0]]
    with pytest.raises(ProblemError, match="not between walls"):
        on_file(l_shape(3), tmp_path, value=value)
    last = run(on_file(l_shape(3), tmp_path, value=value, sampling="random", end=0.1))[-1]
    assert math.fsum(last.masses) == pytest.approx(1.0, abs=1e-15)
