"""The density solver as a whole: outputs, layers, heads, zero temperature, restarts, options, conservation."""

import dolfinx
import numpy as np
import pytest
import ufl
from mpi4py import MPI
from petsc4py import PETSc

from problems.errors import ProblemError
from problems.problem import read_problem
from solver.density import DensitySolver
from solver.density.evolve import StepInfo
from solver.density.schemes import forget
from solver.errors import RunError

V = [[1.0, 0.4], [-0.3, 0.2]]
BUMPS = {"law": "von-mises-fisher", "components": [{"weight": 0.6, "mean": [1.0, 0.2], "concentration": 6.0},
                                                  {"weight": 0.4, "mean": [-0.5, -1.0], "concentration": 3.0}]}


def problem(attention=None, initial=None, time=None, space="circle", folder=None, **density):
    where = space if isinstance(space, dict) else {"manifold": space}
    values = {"space": where, "attention": {"beta": 4.0, "value": V} | (attention or {}), "initial": initial or BUMPS,
              "time": time or {"end": 0.5, "outputs": 3}, "density": {"cells": 32} | density}
    return read_problem(values, path=folder / "problem.toml" if folder else None)


def run(*arguments, **keywords):
    solver, found, steps = DensitySolver(problem(*arguments, **keywords)), [], []
    solver.run(found.append, steps.append)
    return solver, found, steps


def test_outputs_and_steps():
    solver, found, steps = run(time={"end": 0.7, "outputs": [0.0, 0.1, 0.25, 0.7]})
    assert [s.time for s in found] == [0.0, 0.1, 0.25, 0.7]
    assert all(isinstance(s, StepInfo) for s in steps)
    assert steps[-1].step == found[-1].step == solver.step
    assert np.allclose(np.diff([0.0, *(s.time for s in steps)]), [s.dt for s in steps], rtol=1e-9)
    assert set(found[0].row) == {"mass", "minimum", "maximum", "energy", "log_energy", "entropy", "mean", "second"}
    for snapshot in found:
        assert abs(snapshot.row["mass"] - 1) < 1e-14 and snapshot.row["minimum"] >= 0
        assert np.trace(snapshot.row["second"]) == pytest.approx(1.0, abs=1e-12)
    assert found[0].row["energy"] < found[-1].row["energy"]


@pytest.mark.parametrize("integrator", ["euler", "ssprk22", "ssprk33", "ssprk104", "rk45"])
def test_integrators_agree(integrator):
    _, reference, _ = run(degree=2, integrator="ssprk104", cfl=0.2)
    _, found, _ = run(degree=2, integrator=integrator, cfl=0.05 if integrator == "euler" else 0.3)
    difference = np.abs(found[-1].row["mean"] - reference[-1].row["mean"]).max()
    assert difference < {"euler": 3e-3, "ssprk22": 1e-5, "rk45": 1e-5}.get(integrator, 1e-6)


@pytest.mark.parametrize(("integrator", "order"), [("ssprk22", 2), ("ssprk33", 3), ("ssprk104", 4)])
def test_order_in_time(integrator, order):
    """Fixed steps, no limiter: the orders of PETSc's schemes on the nonlinear problem."""
    ends = [run(time={"end": 0.4, "outputs": [0.4]}, degree=2, cells=8, integrator=integrator, step=h, limiter=False)[1][0].state
            for h in (0.04, 0.02, 0.01)]
    ratio = np.linalg.norm(ends[0] - ends[1]) / np.linalg.norm(ends[1] - ends[2])
    assert np.log2(ratio) == pytest.approx(order, abs=0.35)


def test_layers_switch_exactly():
    layers = [{"until": 0.3, "value": [[1.0, 0.0], [0.0, -1.0]]}, {"value": [[0.0, 1.0], [1.0, 0.0]], "beta": 2.0}]
    _, together, steps = run({"layers": layers}, time={"end": 0.5, "outputs": [0.5]}, degree=2, integrator="ssprk104")
    assert any(s.time == 0.3 for s in steps)
    first, _, _ = run({"value": layers[0]["value"]}, time={"end": 0.3, "outputs": [0.3]}, degree=2, integrator="ssprk104")
    second = DensitySolver(problem({"value": layers[1]["value"], "beta": 2.0}, time={"end": 0.2, "outputs": [0.2]}, degree=2,
                                   integrator="ssprk104"))
    second.load_state(first.state_dict() | {"time": 0.0, "step": 0})
    found = []
    second.run(found.append)
    assert np.allclose(found[-1].state, together[-1].state, atol=1e-12)


def test_heads_add_up():
    """Two heads of half the value are one head of the whole."""
    half = (np.array(V) / 2).tolist()
    _, one, _ = run()
    _, two, _ = run({"heads": [{"value": half}, {"value": half}]})
    assert np.allclose(one[-1].state, two[-1].state, atol=1e-12)


def test_scale_of_query_and_beta():
    """Q -> cQ with beta -> beta/c changes nothing (docs/theory.md §6)."""
    _, one, _ = run()
    _, two, _ = run({"beta": 2.0, "query": [[2.0, 0.0], [0.0, 2.0]]})
    assert np.allclose(one[-1].state, two[-1].state, atol=1e-11)


def test_even_laws_stay_even():
    _, found, _ = run(initial={"law": "harmonics", "cos": [0.0, 0.4]}, degree=2)
    assert np.abs(found[-1].row["mean"]).max() < 1e-12


def test_hemisphere_is_invariant():
    """V = B = I: mass of an open half circle stays there (docs/theory.md §6); no mass crosses its ends."""
    law = {"law": "von-mises-fisher", "components": [{"weight": 1.0, "mean": [1.0, 0.0], "concentration": 20.0}]}
    _, found, _ = run({"value": [[1.0, 0.0], [0.0, 1.0]]}, law, {"end": 2.0, "outputs": 2}, degree=2, cells=64)
    outside = [float(m[x[:, 0] < 0].sum()) for x, m in (s.atoms(4) for s in found)]
    assert outside[1] <= outside[0] * (1 + 1e-6) + 1e-12


def test_zero_temperature_is_linear_and_frozen():
    solver, found, _ = run({"beta": "inf"}, degree=1)
    velocity = solver.operator.velocity
    assert velocity.frozen(0.0)
    B = np.eye(2)
    expected = velocity.tangent(velocity.nodes @ B @ np.array(V).T)
    assert np.allclose(velocity(0.0, solver.state.array), expected)
    assert found[-1].row["minimum"] > 0


def test_zero_temperature_of_atoms_attends_to_the_support(tmp_path):
    """Three atoms at infinite beta: every node moves towards the nearest one, and mass gathers there."""
    angles = np.array([0.1, 2.0, 4.0])
    rows = [f"{np.cos(a):.17g},{np.sin(a):.17g},{w}" for a, w in zip(angles.tolist(), (0.5, 0.3, 0.2), strict=True)]
    (tmp_path / "atoms.csv").write_text("x,y,mass\n" + "\n".join(rows) + "\n")
    p = problem({"beta": "inf", "value": [[1.0, 0.0], [0.0, 1.0]]}, {"law": "table", "path": str(tmp_path / "atoms.csv")},
                {"end": 1.0, "outputs": 2}, folder=tmp_path, cells=90, degree=1)
    solver, found = DensitySolver(p), []
    solver.run(found.append)
    assert not solver.operator.velocity.frozen(0.0)
    for snapshot in found:
        x, m = snapshot.atoms()
        angle = np.arctan2(x[:, 1], x[:, 0]) % (2 * np.pi)
        near = [m[np.abs(angle - a) < 0.25].sum() for a in angles]
        assert np.allclose(near, [0.5, 0.3, 0.2], atol=1e-6)


def test_restart_goes_on_as_before():
    _, found, _ = run(time={"end": 0.6, "outputs": [0.3, 0.6]})
    first, _, _ = run(time={"end": 0.3, "outputs": [0.3]})
    again = DensitySolver(problem(time={"end": 0.6, "outputs": [0.3, 0.6]}))
    again.load_state(first.state_dict())
    assert again.time == 0.3
    later = []
    again.run(later.append)
    assert np.allclose(later[-1].state, found[-1].state, atol=1e-12)
    assert later[-1].step == found[-1].step


def test_options_database():
    database = PETSc.Options()
    database.setValue("density_ts_type", "rk")
    try:
        solver, found, _ = run()
        assert solver.ts.getType() == "rk"
        database.setValue("density_ts_type", "nonsense")
        with pytest.raises(ProblemError, match="nonsense"):
            DensitySolver(problem())
    finally:
        database.delValue("density_ts_type")
    _, reference, _ = run()
    assert np.allclose(found[-1].row["mean"], reference[-1].row["mean"], atol=1e-4)


def test_options_without_prefix_apply_and_leave_no_trace():
    forget("density_")
    database = PETSc.Options()
    before = database.getAll()
    database.setValue("ts_type", "rk")
    database.setValue("ts_rk_type", "4")
    try:
        solver, _, _ = run()
        assert solver.ts.getType() == "rk" and solver.ts.getRKType() == "4"
        database.setValue("density_ts_type", "euler")  # with prefix goes first
        assert run()[0].ts.getType() == "euler"
        database.delValue("density_ts_type")
        database.setValue("ts_rk_type", "nonsense")
        with pytest.raises(ProblemError, match="-ts_rk_type nonsense"):
            DensitySolver(problem())
    finally:
        for key in ("ts_type", "ts_rk_type", "density_ts_type"):
            database.delValue(key)
    forget("density_")
    assert database.getAll() == before


def test_rejected_steps():
    """A fixed step far beyond the bound is halved until averages stay positive."""
    solver, found, _ = run({"beta": "inf"}, time={"end": 1.0, "outputs": 2}, degree=1, integrator="euler", step=0.5)
    assert solver.rejected > 0 and found[-1].row["minimum"] >= 0
    assert abs(found[-1].row["mass"] - 1) < 1e-13


def test_without_limiter_negative_values_are_allowed():
    law = {"law": "von-mises-fisher", "components": [{"weight": 1.0, "mean": [1.0, 0.0], "concentration": 200.0}]}
    _, free, _ = run({"beta": "inf", "value": np.eye(2).tolist()}, law, degree=2, cells=24, limiter=False)
    _, limited, _ = run({"beta": "inf", "value": np.eye(2).tolist()}, law, degree=2, cells=24)
    assert free[-1].row["minimum"] < 0 <= limited[-1].row["minimum"]


@pytest.mark.parametrize(("space", "geometry", "degree"), [("circle", 2, 2), ("sphere", 1, 1), ("sphere", 2, 2)])
def test_mass_over_many_steps(space, geometry, degree):
    """1e-13 per 1e4 steps is asked for; here the drift of every one of 200 steps is seen to be rounding."""
    value = np.diag([1.0, 0.3, -0.2][: 2 if space == "circle" else 3]).tolist()
    _, _, steps = run({"beta": "inf", "value": value}, {"law": "uniform"}, {"end": 0.2, "outputs": 2}, space,
                      cells=20, geometry=geometry, degree=degree, step=0.001, integrator="euler")
    assert len(steps) == 200
    assert max(abs(s.mass - 1.0) for s in steps) < 5e-15
    assert max(s.minimum for s in steps) >= 0 and min(s.minimum for s in steps) > 0


def test_unresolved_law_is_refused():
    law = {"law": "von-mises-fisher", "components": [{"weight": 1.0, "mean": [1.0, 0.0], "concentration": 1e7}]}
    with pytest.raises(ProblemError, match=r"density\.cells"):
        DensitySolver(problem(initial=law, cells=16))


def test_infinite_velocity_is_a_run_error():
    solver = DensitySolver(problem())
    solver.state.array[:] = np.nan
    with pytest.raises(RunError):
        solver.run(lambda snapshot: None)


def test_atoms_and_pictures():
    _, found, _ = run(space="circle", degree=2)
    for per_cell in (1, 4):
        points, masses = found[-1].atoms(per_cell)
        assert points.shape == (32 * per_cell, 2) and masses.min() >= 0
        assert masses.sum() == pytest.approx(1.0, abs=1e-14)
        assert np.allclose(np.linalg.norm(points, axis=1), 1.0)
        assert np.allclose(masses @ points, found[-1].row["mean"], atol=2e-3 / per_cell)
    points, values, triangles = found[-1].plot_data()
    assert points.shape == (len(values), 2) and triangles is None and values.min() >= 0
    _, found, _ = run({"value": np.eye(3).tolist()}, {"law": "uniform"}, space="sphere", cells=80)
    points, values, triangles = found[-1].plot_data()
    assert triangles.shape[1] == 3 and triangles.max() == len(points) - 1
    assert len(found[-1].atoms(4)[1]) == 4 * 80


def test_atoms_of_cells_with_negative_mass_keep_the_total():
    """What a density without limiter may come to: its distances ask for laws of equal mass."""
    _, found, _ = run(space="circle", degree=1, limiter=False)
    snapshot = found[-1]
    size = snapshot.operator.size
    snapshot.state[:size] *= -3.0
    mass = snapshot.operator.mass(snapshot.state)
    _, masses = snapshot.atoms()
    assert masses.min() == 0.0 and masses.sum() == pytest.approx(mass, rel=1e-13)


@pytest.mark.parametrize(("geometry", "tolerance"), [(1, 1e-13), (2, 1e-3)])
def test_function_integrates_to_one(geometry, tolerance):
    """dolfinx sees the same mass: exactly on flat cells, up to the solver's own quadrature on curved ones."""
    _, found, _ = run({"value": np.eye(3).tolist()}, {"law": "uniform"}, space="sphere", cells=80, geometry=geometry)
    total = dolfinx.fem.assemble_scalar(dolfinx.fem.form(found[-1].function * ufl.dx(metadata={"quadrature_degree": 8})))
    assert MPI.COMM_WORLD.allreduce(total) == pytest.approx(1.0, abs=tolerance)
