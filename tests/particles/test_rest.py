"""Tokens come to rest at any tolerance, or are said never to; jumps at zero temperature do not make steps crawl."""

import numpy as np
import pytest
from mpi4py import MPI

from solver.errors import RunError
from solver.particles import rest
from solver.particles.solver import ParticleSolver
from tests.particles.support import on_circle, problem, run

THREE = on_circle(np.array([0.0, 1.0, 2.0])), np.full(3, 1 / 3)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("rtol", [1e-4, 1e-8])
@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_rest_is_reached_at_any_tolerance(rtol, scale):
    """Errors of a step near rest would keep tokens moving: they are a part of the way made in it there."""
    p = problem(beta=4.0, end="stationary", outputs=[0.0], attention={"value": [[scale, 0.0], [0.0, scale]]},
                particles={"rtol": rtol})
    found = run(p, THREE)[-1]
    assert np.abs(found.points - found.points[0]).max() < 1e-8
    assert 5 < found.time * scale < 100
    assert found.step < 500


@pytest.mark.timeout(60)
def test_what_pushes_against_a_wall_is_at_rest():
    """All tokens follow the mean, which is positive, to the wall at 1, and are pushed against it ever after."""
    p = problem("interval", bounds=[[-1, 1]], beta=0.0, end="stationary", outputs=[0.0], attention={"value": [[1.0]]})
    found = run(p, (np.array([[0.5], [-0.2]]), np.full(2, 0.5)))[-1]
    assert found.points == pytest.approx(np.ones((2, 1)), abs=1e-12)


@pytest.mark.timeout(60)
def test_rotation_is_said_never_to_end():
    """V a rotation by a right angle: the tokens gather and go around for ever."""
    p = problem(beta=1.0, end="stationary", outputs=[0.0], attention={"value": [[0.0, -1.0], [1.0, 0.0]]},
                particles={"rtol": 1e-4})
    with pytest.raises(RunError, match="do not come to rest") as caught:
        run(p, THREE)
    assert caught.value.time == pytest.approx(rest.FARTHEST, rel=0.5)


def test_there_are_not_endless_steps(monkeypatch):
    monkeypatch.setattr(rest, "MOST_STEPS", 20)
    p = problem(beta=4.0, end="stationary", outputs=[0.0], particles={"rtol": 1e-8})
    with pytest.raises(RunError, match=r"do not come to rest: .* in 20 steps"):
        run(p, THREE)


def test_a_resumed_search_for_rest_is_the_uninterrupted_one():
    p = problem(beta=4.0, end="stationary", outputs=[0.0], particles={"rtol": 1e-8})
    states, first = [], ParticleSolver(p, MPI.COMM_SELF, tokens=THREE)
    first.run(None, lambda info: states.append(first.state_dict()))
    second = ParticleSolver(p, MPI.COMM_SELF, tokens=THREE)
    second.load_state(states[len(states) // 2])
    second.run()
    assert (second.step, second.time) == (first.step, first.time)
    assert np.array_equal(second.points, first.points)


def test_steps_do_not_shrink_at_every_jump():
    """Misaligned weights at zero temperature: some favourite changes in every step of 1e-3."""
    p = problem(beta=np.inf, end=0.1, attention={"value": [[1.0, 0.0], [0.0, 0.5]], "key": [[0.5, 0.5], [0.25, 1.0]]},
                particles={"count": 800, "rtol": 1e-8})
    solver, steps = ParticleSolver(p, MPI.COMM_SELF), []
    solver.run(None, lambda info: steps.append(info.dt))
    assert solver.jumps > 50
    assert len(steps) <= 0.1 / 1e-3 + 5


@pytest.mark.timeout(60)
def test_a_blow_up_at_zero_temperature_ends():
    p = problem("euclidean", dimension=1, beta=np.inf, end=400.0, law="normal", attention={"value": [[1.0]]},
                initial={"components": [{"mean": [0.5], "covariance": 0.5}]}, particles={"count": 30, "rtol": 1e-4})
    with pytest.raises(RunError, match="range of numbers") as caught:
        run(p)
    assert caught.value.time == pytest.approx(345, rel=0.05)  # 1e150 = e^345
