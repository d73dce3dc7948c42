"""Implicit integration: Jacobians, the types and solvers PETSc offers, sign and mass, options, ranks."""

import numpy as np
import pytest
from mpi4py import MPI
from petsc4py import PETSc

import solver.density.implicit as implicit
from problems.errors import ProblemError
from problems.problem import read_problem
from solver.density import DensitySolver
from solver.errors import RunError


def problem(integrator="arkimex", manifold="circle", end=0.5, diffusivity=0.3, rtol=1e-6, initial=None, **density):
    first = {"circle": {"cos": [0.5], "sin": [0.0, 0.3]}, "sphere": {"legendre": [0.3, 0.4]}}[manifold]
    return read_problem({
        "space": {"manifold": manifold}, "attention": {"beta": 2.0}, "noise": {"diffusivity": diffusivity},
        "initial": initial or {"law": "harmonics", **first}, "time": {"end": end, "outputs": [0.0, end]},
        "density": {"cells": 24, "degree": 2, "integrator": integrator, "rtol": rtol, "atol": rtol, **density}})


def final(*arguments, **keywords):
    found = []
    solver = DensitySolver(problem(*arguments, **keywords))
    solver.run(found.append)
    return solver, found[-1]


@pytest.fixture
def options():
    """Sets PETSc options for one test: `options(density_ts_type="bdf")`."""
    database, keys = PETSc.Options(), []

    def set_all(**values):
        for key, value in values.items():
            database.setValue(key, value)
            keys.append(key)

    yield set_all
    for key in keys:
        database.delValue(key)


@pytest.fixture(scope="module")
def reference():
    return final(rtol=1e-9, step=0.01)[1].row["mean"]


@pytest.mark.parametrize("integrator", ["arkimex", "bdf", "theta"])
def test_integrators_agree(integrator, reference):
    solver, snapshot = final(integrator, rtol=1e-7)
    assert solver.ts.getType() == integrator
    assert snapshot.row["mean"] == pytest.approx(reference, abs=3e-5)
    assert snapshot.row["mass"] == pytest.approx(1, abs=1e-13) and snapshot.row["minimum"] >= 0


NARROW = {"law": "wrapped-normal", "components": [{"mean": 0.3, "deviation": 0.1}, {"mean": 2.0, "deviation": 0.1}]}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("integrator", ["bdf", "theta"])
def test_steps_grow_after_a_rough_start(integrator):
    """A narrow start leaves most cells empty, where the limiter acts at every step: the error estimate must not see it."""
    keywords = {"end": 0.02, "diffusivity": 0.02, "initial": NARROW,
                "rtol": 1e-6, "atol": 1e-9, "degree": 1}
    expected = final(**keywords)[1].row["mean"]
    solver, snapshot = final(integrator, **keywords)
    # A second-order scheme takes steps of about rtol^(1/2) of the time scale h^2/D = 3; limited states took 1e-9.
    assert solver.step < 4000
    assert snapshot.row["mean"] == pytest.approx(expected, abs=(2 * np.pi / 24) ** 2)
    assert snapshot.row["mass"] == pytest.approx(1, abs=1e-13) and snapshot.row["minimum"] >= 0


@pytest.mark.parametrize("values", [
    {"density_ts_type": "rosw"}, {"density_ts_type": "bdf", "density_ts_bdf_order": "3"},
    {"density_ts_arkimex_type": "3"},
    {"density_ksp_type": "gmres", "density_pc_type": "gamg", "density_ksp_rtol": "1e-10"},
    {"density_ksp_type": "bcgs", "density_pc_type": "bjacobi", "density_ksp_rtol": "1e-10"},
])
def test_other_types_from_the_options_database(values, reference, options):
    options(**values)
    _, snapshot = final("bdf" if "density_ts_type" in values else "arkimex", rtol=1e-6, step=0.02)
    assert snapshot.row["mean"] == pytest.approx(reference, abs=2e-4)
    assert snapshot.row["mass"] == pytest.approx(1, abs=1e-13)


def test_matrix_free_attention_takes_fewer_newton_steps(options):
    frozen, _ = final("bdf", step=0.1)
    options(density_snes_mf_operator="")
    whole, snapshot = final("bdf", step=0.1)
    assert whole.ts.getSNESIterations() < frozen.ts.getSNESIterations()
    assert snapshot.row["mass"] == pytest.approx(1, abs=1e-13)


@pytest.mark.parametrize(("integrator", "preconditioner"), [("arkimex", "bjacobi"), ("bdf", "gamg")])
def test_large_systems_are_solved_iteratively(integrator, preconditioner, monkeypatch, reference):
    monkeypatch.setattr(implicit, "DIRECT_UNKNOWNS", 10)
    solver, snapshot = final(integrator, step=0.02)
    assert solver.ts.getSNES().getKSP().getPC().getType() == preconditioner
    assert snapshot.row["mean"] == pytest.approx(reference, abs=1e-4)
    assert snapshot.row["mass"] == pytest.approx(1, abs=1e-13)
    assert solver.ts.getKSPIterations() / solver.ts.getSNESIterations() < 25


def test_jacobian_of_noise_and_frozen_transport():
    solver = DensitySolver(problem("bdf"))
    terms, op = solver.implicit, solver.operator
    state, direction = solver.state.copy(), op.create_vector()
    rng = np.random.default_rng(3)
    direction.array[:] = rng.normal(size=op.unknowns)
    P = terms.matrix
    terms._jacobian(solver.ts, 0.0, state, state, 2.0, P, P)
    image = direction.duplicate()
    P.mult(direction, image)
    transport, noise = direction.duplicate(), direction.duplicate()
    op.set_velocity(0.0, state.array_r)
    op.transport.apply(direction.array, transport.array_w)
    terms.noise.mult(direction, noise)
    expected = 2.0 * direction.array - transport.array - noise.array
    assert image.array == pytest.approx(expected, abs=1e-10 * np.abs(expected).max())


def test_unused_explicit_solvers_cost_nothing():
    solver = DensitySolver(problem("ssprk33", diffusivity=0.0))
    assert solver.implicit is None


@pytest.mark.parametrize(("keywords", "message"), [
    ({"integrator": "ssprk33"}, "density.integrator.*with noise.*arkimex, bdf or theta"),
    ({"manifold": "sphere", "degree": 0, "cells": 80}, "density.degree = 0.*1, 2 or 3 with noise"),
])
def test_what_noise_does_not_go_with(keywords, message):
    with pytest.raises(ProblemError, match=message):
        DensitySolver(problem(**keywords))


@pytest.mark.parametrize("option", ["ts_type", "ksp_type", "pc_type", "snes_type", "pc_factor_mat_solver_type"])
def test_unknown_types(option, options):
    options(**{f"density_{option}": "nonsense"})
    with pytest.raises(ProblemError, match="nonsense") as caught:
        DensitySolver(problem("bdf"))
    assert "\n" not in str(caught.value)


def test_negative_averages_are_emptied():
    solver = DensitySolver(problem())
    state = solver.state.array.copy()
    cells = state.reshape(-1, solver.operator.size)
    cells[3] *= -1e-3
    clipped = solver.implicit.repair(state, 1.0)
    assert clipped > 0 and np.all(state.reshape(-1, solver.operator.size)[3] == 0)
    assert solver.operator.mass(state) == pytest.approx(1, abs=1e-15)
    cells[3:9] = -solver.state.array.reshape(-1, solver.operator.size)[3:9]
    with pytest.raises(RunError, match="negative"):
        solver.implicit.repair(state, 1.0)


def test_a_narrow_start_stays_non_negative():
    """A start narrower than a cell, at a step far below h^2 / D, is where implicit diffusion undershoots."""
    law = {"law": "von-mises-fisher", "components": [{"weight": 1.0, "mean": [1.0, 0.0], "concentration": 60.0}]}
    _, snapshot = final(initial=law, end=0.02, degree=1, rtol=1e-4)
    assert snapshot.row["minimum"] >= 0 and snapshot.row["mass"] == pytest.approx(1, abs=1e-13)


PARALLEL = """
from mpi4py import MPI
from solver.density import DensitySolver
from tests.density.test_implicit import problem
for arguments in (("arkimex", "sphere"), ("bdf", "circle")):
    found, solver = [], DensitySolver(problem(*arguments, end=0.2, rtol=1e-5, cells=80))
    solver.run(lambda snapshot: found.append(snapshot.row))
    if MPI.COMM_WORLD.rank == 0:
        row = found[-1]
        print(*map(repr, [float(row[k]) for k in ("mass", "energy", "entropy", "maximum")] + row["second"].ravel().tolist()))
"""


def test_ranks(mpirun):
    one, three = (np.array(mpirun(n, "-c", PARALLEL).stdout.split(), dtype=float) for n in (1, 3))
    assert one == pytest.approx(three, rel=1e-10, abs=1e-11)


def test_bad_type_on_the_command_line(mpirun, tmp_path):
    done = mpirun(2, "-m", "solver", "solve", "noisy_circle", "--out", tmp_path / "out", "--", "-density_pc_type",
                  "nonsense", check=False)
    assert done.returncode == 2
    assert MPI.COMM_WORLD.size > 1 or "nonsense" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
