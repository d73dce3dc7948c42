"""Weights that disagree, other than those of the flagship: density and adaptive tokens stay together while the law departs."""

import numpy as np
import pytest

from problems import load
from solver import compare
from solver.comparison import refinement
from solver.comparison.variations import Planned

SMALL = {"time.end": 5.0, "time.outputs": 6, "compare.also": [], "particles.rtol": 1e-4}
CASES = {
    "warm": {"attention.beta": 20.0, "density.cells": 96},
    "V not symmetric": {"attention.beta": 50.0, "density.cells": 144, "attention.value": [[2.0, 0.6], [-0.3, 1.0]]},
}


@pytest.mark.parametrize("name", CASES)
def test_density_and_adaptive_tokens_agree_over_the_whole_length(name):
    found = compare(load("misaligned_circle", {key: str(value) for key, value in (SMALL | CASES[name]).items()}))
    assert found.verdict.agree, found.verdict.words()
    assert all(row["verdict"] == "agree" for row in found.verdict.rows)
    # Both leave the target again, and together: much closer to each other than either is to where it began.
    target = found.column("w2_density_target")
    assert target.min() < 0.5 * target[0] and target[-1] > 1.2 * target.min()
    assert np.all(found.column("w2_density_particles") < 2 * np.pi / CASES[name]["density.cells"])


def test_wider_gaps_measure_the_sampling_error_even_with_as_many_tokens(monkeypatch):
    """Where a law bends, tokens are as many with wider gaps: the error was then taken from random samples."""
    monkeypatch.setattr(refinement, "token_runs", lambda problem: [Planned("particles", problem, "same", "as many tokens")])
    tiny = {"time.end": "0.5", "time.outputs": "2", "density.cells": "32", "particles.gap": "0.8", "compare.also": "[]"}
    found = compare(load("misaligned_circle", tiny)).verdict.refinement
    assert found.fewer is not None and found.random is None
