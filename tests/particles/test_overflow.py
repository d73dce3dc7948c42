"""Unnormalised attention beyond the range of numbers: refused where that is known before, one message where it is not."""

import numpy as np
import pytest

from problems.errors import ProblemError
from solver.errors import RunError
from tests.particles.support import problem, run


def test_rescaled_time_does_not_hide_large_weights():
    """The velocity is of the order e^(beta (|B| - 1)) there."""
    table = {"normalization": "none", "query": [[3.0, 0.0], [0.0, 1.0]]}
    with pytest.raises(ProblemError, match="scale query or key down"):
        problem(beta=500.0, attention=table, rescaled=True)
    problem(beta=300.0, attention=table, rescaled=True)


@pytest.mark.filterwarnings("error")
def test_tokens_in_flat_space_end_with_a_message():
    """beta |x|^2 = 1600: no NaN and no warning on the way to the error."""
    tokens = np.array([[40.0, 0.0], [-40.0, 1.0], [0.0, 0.0]]), np.full(3, 1 / 3)
    flat = problem("euclidean", dimension=2, beta=1.0, law="normal",
                   initial={"components": [{"mean": [0.0, 0.0], "covariance": 1.0}]},
                   attention={"normalization": "none"}, particles={"integrator": "euler", "step": 0.1})
    with pytest.raises(RunError, match="range of numbers"):
        run(flat, tokens)
