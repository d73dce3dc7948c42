"""A density that goes on from a checkpoint, taken at any step, is the uninterrupted one, bit by bit."""

import numpy as np
import pytest
from mpi4py import MPI

from problems import load
from solver.density.evolve import DensitySolver, rounded

SMALL = {"density.cells": 32, "time.end": 0.3, "time.outputs": 3, "attention.beta": 8.0}


def whole(problem):
    """The final unknowns, and the state after every step."""
    solver, states = DensitySolver(problem, MPI.COMM_SELF), []
    solver.run(lambda snapshot: None, lambda info: states.append(solver.state_dict()))
    return solver, states


@pytest.mark.parametrize("change", [
    {},
    {"density.integrator": "ssprk104", "density.degree": 2},
    {"noise.diffusivity": 0.05, "density.integrator": "arkimex"},
    {"attention.beta": "inf"},
    {"density.integrator": "rk45", "density.degree": 2, "density.rtol": 1e-4},
], ids=["ssprk33", "ssprk104", "arkimex", "inf", "rk45"])
def test_it_goes_on_bit_by_bit(change):
    problem = load("misaligned_circle", {key: str(value) if not isinstance(value, str) else f'"{value}"'
                                         for key, value in {**SMALL, **change, "particles.sampling": "quadrature"}.items()})
    solver, states = whole(problem)
    assert len(states) > 3
    for state in (states[0], states[len(states) // 2]):
        again = DensitySolver(problem, MPI.COMM_SELF)
        again.load_state({key: np.array(value) for key, value in state.items()})
        assert again.time == state["time"] > 0.0
        again.run(lambda snapshot: None)
        assert again.time == solver.time and again.step == solver.step
        assert np.array_equal(again.state.array, solver.state.array)


@pytest.mark.parametrize("often", [100, 2])
@pytest.mark.parametrize(("integrator", "key", "value"), [("theta", "step", "0.01"), ("bdf", "rtol", "1e-4")])
def test_schemes_that_remember_go_on_bit_by_bit(integrator, key, value, often, monkeypatch):
    """Whether checkpoints are taken, and when, changes nothing."""
    monkeypatch.setattr("solver.density.evolve.STEPS_ANEW", often)
    problem = load("smooth_circle", {"density.cells": "16", "time.end": "0.1", "time.outputs": "[0.0, 0.05]",
                                     "noise.diffusivity": "0.05", "density.integrator": f'"{integrator}"',
                                     f"density.{key}": value})
    alone = DensitySolver(problem, MPI.COMM_SELF)
    alone.run(lambda snapshot: None)
    solver, states = whole(problem)
    assert solver.step == alone.step >= 4
    assert np.array_equal(alone.state.array, solver.state.array)
    for state in (states[1], states[-2]):
        again = DensitySolver(problem, MPI.COMM_SELF)
        again.load_state(state)
        again.run(lambda snapshot: None)
        assert again.step == solver.step
        assert np.array_equal(again.state.array, solver.state.array)


def test_what_is_not_known_yet_stays_unknown():
    """At depth 0 nobody has asked yet whether the law has full support; a restart must not take that for a no."""
    problem = load("misaligned_circle", {"attention.beta": '"inf"', "density.cells": "16"})
    first, second = DensitySolver(problem, MPI.COMM_SELF), DensitySolver(problem, MPI.COMM_SELF)
    assert first.operator.velocity.full_support is None
    second.load_state(first.state_dict())
    assert second.operator.velocity.full_support is None
    second.advance(0.01)
    assert second.operator.velocity.full_support is True


@pytest.mark.parametrize("changes", [{}, {"noise.diffusivity": "0.1"}])
def test_a_stationary_run_goes_on_bit_by_bit(changes):
    problem = load("misaligned_circle", {"density.cells": "16", "attention.beta": "1.0",
                                         "attention.value": "[[-1.0, 0.0], [0.0, -1.0]]",
                                         "time.end": '"stationary"', "time.outputs": "[0.0]",
                                         "particles.sampling": "quadrature", **changes})
    solver, states = whole(problem)
    again = DensitySolver(problem, MPI.COMM_SELF)
    again.load_state({key: np.array(value) for key, value in states[len(states) // 2].items()})
    again.run(lambda snapshot: None)
    assert (again.time, again.step) == (solver.time, solver.step)
    assert np.array_equal(again.state.array, solver.state.array)


@pytest.mark.parametrize("integrator", ["rk45", "arkimex"])
def test_chosen_steps_do_not_hang_on_rounding(integrator):
    """Where errors are small they are mostly rounding, which differs between numbers of ranks: steps are powers of 2^(1/64)."""
    problem = load("misaligned_circle", {"density.cells": "32", "time.end": "0.3", "time.outputs": "[0.0]",
                                         "attention.beta": "8.0", "density.integrator": f'"{integrator}"', "density.rtol": "1e-4",
                                         "noise.diffusivity": "0.0" if integrator == "rk45" else "0.05",
                                         "particles.sampling": '"quadrature"'})
    steps = []
    DensitySolver(problem, MPI.COMM_SELF).run(lambda snapshot: None, lambda info: steps.append(info.dt))
    powers = 64 * np.log2(steps[:-1])  # the last one lands on the end
    assert len(powers) > 3 and np.abs(powers - np.round(powers)).max() < 1e-6
    for dt in (1e-9, 0.0123, 7.0):
        assert 0.98 * dt < rounded(dt) <= dt * (1 + 1e-7) and rounded(rounded(dt) * (1 + 1e-9)) == rounded(dt)
