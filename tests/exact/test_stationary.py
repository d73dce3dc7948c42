"""Stationary states and the critical noise of docs/theory.md §5.6: V = B = I without normalisation."""

import numpy as np
import pytest
from mpi4py import MPI
from scipy.special import gamma, i0e, iv

from problems.problem import read_problem
from solver.density import DensitySolver
from solver.density import stationary as stationary_states
from solver.density.operator import DensityOperator
from solver.density.stationary import SteadyProblem
from solver.errors import RunError

CIRCLE = {"law": "harmonics", "cos": [0.5]}
SPHERE = {"law": "harmonics", "axis": [0.0, 0.0, 1.0], "legendre": [0.5]}


def problem(manifold, beta, kappa, initial, **density):
    return read_problem({
        "space": {"manifold": manifold}, "attention": {"beta": beta, "normalization": "none"}, "initial": initial,
        "noise": {"diffusivity": 1 / kappa}, "time": {"end": "stationary"}, "density": density})


def stationary(*arguments, **density):
    solver = DensitySolver(problem(*arguments, **density))
    found = []
    solver.run(found.append)
    assert len(found) == 2 and found[0].time == 0.0  # the start and the stationary state
    assert found[-1].row["mass"] == pytest.approx(1, abs=1e-12) and found[-1].row["minimum"] >= 0
    return found[-1]


@pytest.mark.parametrize(("beta", "kappa", "moment"), [
    (1.0, 2.5, 0.7815843072), (2.0, 2.0, 0.9146659452), (0.0, 2.5, 0.5897079878)])
def test_circle(beta, kappa, moment):
    row = stationary("circle", beta, kappa, CIRCLE, cells=48, degree=2).row
    assert np.hypot(*row["mean"]) == pytest.approx(moment, abs=1e-5)


def moment_on_sphere(beta, kappa):
    """First moment of rho ~ exp((kappa/beta) int e^{beta <x,y>} rho), by iteration on Gauss-Legendre nodes."""
    z, w = np.polynomial.legendre.leggauss(60)
    across = beta * np.sqrt(np.outer(1 - z * z, 1 - z * z))
    kernel = i0e(across) * np.exp(across + beta * np.outer(z, z))
    mass = w * np.exp(z)
    for _ in range(2000):
        mass = mass / mass.sum()
        mass = w * np.exp(kappa / beta * (kernel @ mass))
    return (mass @ z) / mass.sum()


def test_sphere():
    row = stationary("sphere", 1.0, 4.5, SPHERE, cells=320, degree=2, geometry=2).row
    assert row["mean"][2] == pytest.approx(moment_on_sphere(1.0, 4.5), abs=1e-4)
    assert np.abs(row["mean"][:2]).max() < 1e-6


def critical_noise(beta, d):
    return beta / (gamma(d / 2) * (2 / beta) ** (d / 2 - 1) * iv(d / 2, beta))


@pytest.mark.parametrize(("manifold", "beta", "cells"), [("circle", 1.0, 48), ("circle", 5.0, 48), ("sphere", 2.0, 320)])
def test_critical_noise(manifold, beta, cells):
    """Transport and noise of the first harmonic balance at kappa_c."""
    d = 2 if manifold == "circle" else 3
    small = {"law": "harmonics", "cos": [1e-3]} if d == 2 else {**SPHERE, "legendre": [1e-3]}
    operator = DensityOperator(problem(manifold, beta, 1.0, small, cells=cells, degree=3, geometry=3), MPI.COMM_SELF)
    steady = SteadyProblem(operator, 0.0, "critical_")
    state, transport, noise = (operator.create_vector() for _ in range(3))
    state.array[:] = operator.initial()
    operator.rhs(0.0, state.array_r, transport.array_w, limit=False)
    steady.noise.mult(state, noise)  # minus kappa = 1 times the Laplacian
    axis = operator.geometry.points[..., d - 1 if d == 3 else 0]
    r = operator.geometry.reference

    def moment(vector):
        density = vector.array_r.reshape(-1, r.size) @ r.basis.T
        return float(np.sum(axis * density * operator.geometry.measure * r.weights))

    kappa = moment(noise) / moment(transport)
    assert kappa == pytest.approx(critical_noise(beta, d), rel=1e-4)


@pytest.mark.parametrize(("factor", "moment"), [(0.97, 0.0), (1.03, None)])
def test_either_side_of_the_critical_noise(factor, moment):
    """Below kappa_c the law flattens out; beyond, even a tiny start leaves the unstable uniform law."""
    kappa = factor * critical_noise(1.0, 2)
    row = stationary("circle", 1.0, kappa, {"law": "harmonics", "cos": [1e-3 if moment is None else 0.5]},
                     cells=32, degree=2).row
    if moment is None:
        angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
        kernel, mass = np.exp(np.cos(angle[:, None] - angle)), np.exp(np.cos(angle))
        for _ in range(5000):
            mass = mass / mass.sum()
            mass = np.exp(kappa * (kernel @ mass))
        moment = (mass @ np.cos(angle)) / mass.sum()
    assert np.hypot(*row["mean"]) == pytest.approx(moment, abs=1e-4)


def test_repulsion_without_noise_comes_to_rest():
    solver = DensitySolver(read_problem({
        "space": {"manifold": "circle"}, "attention": {"beta": 1.0, "value": [[-1.0, 0.0], [0.0, -1.0]]},
        "initial": {"law": "harmonics", "cos": [0.4]}, "time": {"end": "stationary"},
        "density": {"cells": 16, "degree": 1}}))
    found = []
    solver.run(found.append)
    assert np.hypot(*found[-1].row["mean"]) < 1e-4


PARALLEL = """
import numpy as np
from mpi4py import MPI
from solver.density import DensitySolver
from tests.exact.test_stationary import CIRCLE, problem
solver, found = DensitySolver(problem("circle", 1.0, 2.5, CIRCLE, cells=48, degree=2)), []
solver.run(lambda snapshot: found.append(snapshot.row))
if MPI.COMM_WORLD.rank == 0:
    print(repr(float(np.hypot(*found[-1]["mean"]))))
"""


def test_a_law_that_goes_around_for_ever_is_no_stationary_state(monkeypatch):
    """V turns and attracts: the law gathers, and its peak goes around with the speed |V_21| for ever."""
    monkeypatch.setattr(stationary_states, "MOST_TURNS", 2.0)
    solver = DensitySolver(read_problem({
        "space": {"manifold": "circle"}, "attention": {"beta": 1.0, "value": [[0.5, -2.0], [2.0, 0.5]]}, "initial": CIRCLE,
        "time": {"end": "stationary"}, "density": {"cells": 16}}))
    with pytest.raises(RunError, match=r"no stationary state found: .* after going around [2-9]\.\d+ times"):
        solver.run(lambda snapshot: None)
    assert 2 * 2 * np.pi / 2.0 < solver.time < 100


def test_ranks(mpirun):
    assert float(mpirun(3, "-c", PARALLEL).stdout) == pytest.approx(0.7815843072, abs=1e-5)
