"""Fixed steps taken two at once: half as many, with the noise of both."""

import numpy as np
import pytest
from mpi4py import MPI

from solver.particles.solver import ParticleSolver
from tests.particles.support import SMOOTH_CIRCLE, problem


def final(stride, **options):
    solver = ParticleSolver(problem(beta=4.0, end=0.5, **SMOOTH_CIRCLE, **options), MPI.COMM_SELF, stride=stride)
    lengths = []
    solver.run(None, lambda info: lengths.append(info.dt))
    return solver, lengths


def test_two_at_once_are_steps_of_twice_the_length():
    two, lengths = final(2, particles={"count": 50, "integrator": "euler", "step": 0.1})
    assert lengths == pytest.approx([0.2, 0.2, 0.1]) and (two.time, two.step) == (0.5, 5)
    one, _ = final(1, particles={"count": 50, "integrator": "rk4", "step": 0.05})
    other, _ = final(2, particles={"count": 50, "integrator": "rk4", "step": 0.025})
    assert np.abs(one.points - other.points).max() < 1e-14


def test_they_take_the_noise_of_both():
    """The same Brownian paths: with D = .1 strong order 1/2 at least, far from the .3 that independent paths would differ by."""
    settings = {"particles": {"count": 400, "sampling": "random"}, "noise": 0.1}
    apart = []
    for step in (0.02, 0.01):
        settings["particles"]["step"] = step
        one, two = (final(stride, **settings)[0].points for stride in (1, 2))
        apart.append(np.sqrt(np.mean(np.sum((one - two) ** 2, axis=-1))))
    assert apart[0] < 0.03
    assert apart[1] < apart[0] / 1.2
