"""The density on meshes that follow the law, one after the other."""

import numpy as np
import pytest
from mpi4py import MPI

from problems import ProblemError
from problems.loader import as_problem
from solver.density import DensitySolver
from solver.density.following import FollowingSolver

COMM = MPI.COMM_WORLD
# V = diag(1, 0), B = I: tokens gather at two points of the circle.
GATHERING = {"space": {"manifold": "circle", "grading": "law"}, "attention": {"beta": 20.0, "value": [[1.0, 0.0], [0.0, 0.0]]},
             "initial": {"law": "uniform"}, "time": {"end": 6.0, "outputs": 4}, "density": {"cells": 240, "degree": 1}}


def outputs_of(solver):
    """Depth, entropy and mass of all outputs."""
    found = []
    solver.run(lambda snapshot: found.append((snapshot.time, snapshot.row["entropy"], snapshot.row["mass"])))
    return np.array(found)


def test_few_cells_that_follow_the_law_do_as_well_as_many():
    problem = as_problem(GATHERING)
    fine = outputs_of(DensitySolver(problem.with_({"space.grading": {"half_width": 0.3, "ratio": 8.0}, "density.cells": 4000})))
    even = as_problem({**GATHERING, "space": {"manifold": "circle"}})
    solver = FollowingSolver(problem, COMM)
    assert len(solver.stages) > 1
    found, plain = outputs_of(solver), outputs_of(DensitySolver(even))
    assert found[:, 0] == pytest.approx([0.0, 2.0, 4.0, 6.0], abs=0.0)
    assert found[:, 2] == pytest.approx(1.0, abs=1e-12)
    # Both are of second order; cells that follow the law are several times smaller where it is at the end.
    assert abs(found[-1, 1] - fine[-1, 1]) < 0.1 * abs(plain[-1, 1] - fine[-1, 1])


def test_a_restart_goes_on_as_if_it_had_never_stopped():
    problem = as_problem(GATHERING)
    whole, states = FollowingSolver(problem, COMM), []
    at_end = []
    whole.run(lambda snapshot: states.append(whole.state_dict()), None)
    at_end.append(whole.state_dict()["coefficients"])
    for state in states:
        again = FollowingSolver(problem, COMM)
        again.load_state(state)
        assert again.time == float(state["time"])
        again.run(lambda snapshot: None)
        assert np.array_equal(again.state_dict()["coefficients"], at_end[0])


@pytest.mark.parametrize("changes", [{"noise.diffusivity": 0.1}, {"time.end": "stationary"}])
def test_where_tokens_know_no_density_cells_cannot_follow_it(changes):
    with pytest.raises(ProblemError, match=r"space\.grading = \"law\"; not"):
        as_problem(GATHERING).with_(changes)
