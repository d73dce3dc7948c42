"""Sizes are compared with the memory and time there is before anything is allocated."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from problems import ProblemError, load
from solver.commands.admission import admit

ROOT = Path(__file__).resolve().parents[2]
TOO_MUCH = [
    ({"density.cells": "1000000000"}, "density.cells"),
    ({"particles.count": "1000000000"}, "particles.count"),
    ({"particles.ensemble": "1000000", "particles.count": "100000"}, "particles.ensemble"),
    ({"time.end": "1e29"}, "time.end"),
    ({"time.end": "1e12"}, "time.end"),
    ({"time.outputs": "1000000", "density.cells": "100000"}, "time.outputs"),
    ({"density.step": "1e-13"}, "density.step"),
    ({"particles.step": "1e-13", "particles.integrator": "euler"}, "particles.step"),
]
CANNOT_START = [
    ({"space.dimension": "5", "initial": "{law = 'uniform'}"}, ("density",), "space.manifold"),
    ({"space.dimension": "8", "initial": "{law = 'uniform'}"}, ("particles",), "particles.sampling"),
    ({"initial": "{law = 'von-mises-fisher', components = [{mean = [0.0, 0.0, 1.0], concentration = 1e8}]}"}, ("particles",),
     "particles.count"),
    ({"initial": "{law = 'von-mises-fisher', components = [{mean = [0.0, 0.0, 1.0], concentration = 1e8}]}"}, ("density",),
     "density.cells"),
    ({"space.grading": "{half_width = 0.2, ratio = 4.0}",
      "attention.value": "[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]]"}, ("density",), "space.grading"),
    ({"time.end": "stationary", "particles.integrator": "rk4"}, ("particles",), "particles.integrator"),
    ({"time.end": "stationary", "noise.diffusivity": "0.1"}, ("particles",), "time.end"),
]


NORMAL = '{law = "normal", components = [{mean = %s, covariance = 0.3}]}'
NO_MESH = [*(({"space": f'{{manifold = "euclidean", dimension = {d}}}', "initial": NORMAL % ([0.0] * d)},
              "all of R^d has no mesh") for d in (1, 2, 3)),
           ({"space.dimension": "5", "initial": "{law = 'uniform'}"}, "a sphere of 5 coordinates has no mesh")]


@pytest.mark.parametrize(("settings", "why"), NO_MESH)
def test_the_reason_for_no_mesh_is_the_right_one(settings, why):
    """Not the number of coordinates, where there are three at most."""
    with pytest.raises(ProblemError) as caught:
        admit(load("smooth_sphere", settings), ("density",))
    assert why in str(caught.value)


def test_a_grading_is_named_as_given():
    settings = next(settings for settings, _, field in CANNOT_START if field == "space.grading")
    with pytest.raises(ProblemError, match=r"^space\.grading = \{half_width = 0\.2, ratio = 4(\.0)?\}; V K\^T Q has no target"):
        admit(load("smooth_sphere", settings), ("density",))


@pytest.mark.parametrize(("settings", "field"), TOO_MUCH)
def test_too_much_is_refused_with_the_number(settings, field):
    with pytest.raises(ProblemError) as caught:
        admit(load("smooth_circle", settings))
    assert field in [error.field for error in caught.value.errors]
    assert all("--large" in error.allowed for error in caught.value.errors)


@pytest.mark.parametrize(("settings", "sides", "field"), CANNOT_START)
def test_what_cannot_start_is_refused(settings, sides, field):
    with pytest.raises(ProblemError) as caught:
        admit(load("smooth_sphere", settings), sides)
    assert field in [error.field for error in caught.value.errors]


def test_large_is_an_option_of_every_command_that_reads_a_problem(tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))

    command = [sys.executable, "-m", "solver", "check", "smooth_circle", "--set", "density.cells=100000000"]
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    refused, large = (subprocess.run([*command, *more], capture_output=True, text=True, cwd=tmp_path, env=environment,
                                     preexec_fn=limit, timeout=60) for more in ([], ["--large"]))
    assert refused.returncode == 2 and "density.cells" in refused.stderr, refused.stderr
    assert large.returncode == 0 and "100000000 cells" in large.stdout, large.stderr
    assert not list(tmp_path.iterdir())
