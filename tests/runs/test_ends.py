"""Both solvers go to the end of the problem, also where the last output comes before it."""

import pytest
from mpi4py import MPI

from problems import load

SMALL = {"density.cells": "24", "particles.count": "16", "time.end": "0.5", "time.outputs": "[0.0, 0.2]"}


@pytest.mark.parametrize("side", ["density", "particles"])
def test_the_end_is_reached_beyond_the_last_output(side):
    from solver.density.evolve import DensitySolver
    from solver.particles.solver import ParticleSolver

    solver = (DensitySolver if side == "density" else ParticleSolver)(load("smooth_circle", SMALL), MPI.COMM_WORLD)
    told = []
    solver.run(lambda snapshot: told.append(snapshot.time))
    assert told == [0.0, 0.2]
    assert solver.time == 0.5
