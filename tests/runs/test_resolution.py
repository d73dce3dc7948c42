"""What a mesh, tokens or steps cannot show is said, and nothing else."""

import json
import os
import subprocess
import sys

import meshio
import numpy as np
import pytest

from problems import bundled, load, loads
from solver.comparison.resolved import not_resolved
from solver.runs.resolution import drift_rate, extent, kernel_width, unresolved


@pytest.mark.parametrize("name", [name for name, _ in bundled()])
def test_bundled_problems_are_resolved(name):
    assert unresolved(load(name)) == []


@pytest.mark.parametrize(("settings", "side", "words"), [
    ({"attention.beta": "1e4", "density.cells": "8"}, "density", "attention kernel"),
    ({"attention.beta": "1e6", "particles.count": "100"}, "particles", "attention kernel"),
    ({"initial": "{law='wrapped-normal', components=[{mean=0.0,deviation=1e-3}]}","density.cells":"64"}, "density",
     "initial law"),
    ({"particles.integrator": "rk4"}, "particles", "take particles.step = 0.008 or less"),
    ({"particles.integrator": "euler", "particles.step": "0.1"}, "particles", "do not resolve the drift"),
    ({"density.step": "10.0"}, "density", "stability bound of ssprk33"),
    ({"density.limiter": "false"}, "density", "may become negative"),
])
def test_what_is_too_coarse_is_named(settings, side, words):
    found = unresolved(load("misaligned_circle", settings))
    assert any(finding.side == side and words in finding.words for finding in found), found


COLD = ('{space}\n[attention]\nbeta = 1e4\n[initial]\nlaw = {law}\n[density]\ncells = 8\n'
        '[particles]\ncount = 8\nsampling = "random"\n')
NORMAL = '"normal"\ncomponents = [{mean = [0.0, 0.0], covariance = [[1.0, 0.0], [0.0, 1.0]]}]'
SPACES = {
    "circle": ('[space]\nmanifold = "circle"', '"uniform"'),
    "sphere": ('[space]\nmanifold = "sphere"', '"uniform"'),
    "interval": ('[space]\nmanifold = "interval"\nbounds = [[-1.0, 1.0]]', '"uniform"'),
    "rectangle": ('[space]\nmanifold = "rectangle"\nbounds = [[-1.0, 1.0], [-1.0, 1.0]]', '"uniform"'),
    "box": ('[space]\nmanifold = "box"\nbounds = [[-1.0, 1.0], [-1.0, 1.0], [-1.0, 1.0]]', '"uniform"'),
    "a sphere of 8 dimensions": ('[space]\nmanifold = "sphere"\ndimension = 8', '"uniform"'),
    "the plane": ('[space]\nmanifold = "euclidean"\ndimension = 2', NORMAL),
}


@pytest.mark.parametrize("space", SPACES)
def test_cold_attention_on_eight_cells_and_tokens_is_seen_in_every_space(space):
    problem = loads(COLD.format(space=SPACES[space][0], law=SPACES[space][1]))
    found = unresolved(problem)
    sides = {"density", "particles"} if problem.space.meshable else {"particles"}
    assert {finding.side for finding in found if finding.severe} == sides
    assert all("attention kernel" in finding.words for finding in found)


def test_cells_of_a_file_are_counted_as_they_are(tmp_path):
    angle = 2 * np.pi * np.arange(24) / 24
    cells = np.column_stack([np.arange(24), np.roll(np.arange(24), -1)])
    meshio.Mesh(np.column_stack([np.cos(angle), np.sin(angle)]), [("line", cells)]).write(tmp_path / "a.vtu")
    space = f'[space]\nmanifold = "file"\npath = "{tmp_path}/a.vtu"'
    plain = COLD.format(space=space, law='"uniform"').replace("cells = 8\n", "")
    assert {finding.side for finding in unresolved(loads(plain))} == {"density", "particles"}
    assert not [finding for finding in unresolved(loads(plain.replace("1e4", "20.0"))) if finding.side == "density"]


def test_the_extent_of_a_gaussian():
    problem = loads(COLD.format(space=SPACES["the plane"][0], law=NORMAL))
    # 512 samples know a covariance to some 5 %.
    assert extent(problem) == pytest.approx(2 * np.pi * np.e, rel=0.3)


def test_eight_cells_at_low_temperature_are_no_verdict(tmp_path):
    """Said by `check`, on the terminal, in run.json and in the verdict, with exit code 1."""
    out, settings = tmp_path / "run", [word for key, value in {
        "attention.beta": "1e4", "density.cells": "8", "particles.sampling": "quadrature", "particles.count": "512",
        "time.end": "0.02", "time.outputs": "2"}.items() for word in ("--set", f"{key}={value}")]
    call = [sys.executable, "-m", "solver"]
    told = {"capture_output": True, "text": True, "check": False, "timeout": 120, "env": {**os.environ, "OMP_NUM_THREADS": "1"}}
    checked = subprocess.run([*call, "check", "misaligned_circle", *settings], **told)
    assert checked.returncode == 0 and "not resolved" in checked.stdout and "do not resolve" in " ".join(checked.stdout.split())
    done = subprocess.run([*call, "compare", "misaligned_circle", *settings, "--out", str(out)], **told)
    assert done.returncode == 1 and "coldflow: not resolved: cells of width" in done.stderr, done.stderr
    assert "NOT RESOLVED" in done.stdout and " agree" not in done.stdout
    facts = json.loads((out / "run.json").read_text())
    assert facts["exit_reason"] == facts["verdict"]["outcome"] == "not resolved" and not facts["verdict"]["agree"]
    assert facts["resolution"] and facts["verdict"]["unresolved"]
    assert "agree" not in (out / "verdict.csv").read_text().replace("disagree", "")


def test_kernel_width_and_rate_of_known_weights():
    p = load("smooth_circle", {"attention.beta": "25.0", "attention.value": "[[2.0, 0.0], [0.0, 1.0]]"})
    assert kernel_width(p) == pytest.approx(0.2)
    assert drift_rate(p) == pytest.approx(2.0 * 26.0)


def test_rate_of_unnormalised_attention_counts_the_outermost_token():
    """int e^(beta x y) of a normal law of deviation 1 is e^(beta^2 x^2/2): at beta = 1 the steps of 64 tokens resolve nothing."""
    settings = {"attention.normalization": '"none"', "particles.count": "8", "particles.integrator": '"rk4"',
                "space": '{manifold = "euclidean", dimension = 1}',
                "initial.components": "[{mean = [0.0], covariance = [[1.0]]}]"}
    p = load("gaussian_line", settings | {"attention.beta": "0.1"})
    far = np.abs(p.initial.quadrature(8)[0]).max()
    assert far > 4.0
    assert drift_rate(p) == pytest.approx(1.1 * np.exp(0.1**2 * far**2 / 2), rel=1e-6)
    p = load("gaussian_line", settings | {"attention.beta": "1.0", "particles.count": "64"})
    assert any("do not resolve the drift" in finding.words and finding.severe for finding in unresolved(p))


@pytest.mark.parametrize(("floor", "reasons"), [(0.1, 0), (0.3, 1), (0.6, 2)])
def test_a_noise_floor_of_the_size_of_what_is_measured_is_no_verdict(floor, reasons):
    rows = [{"time": 0.0, "w2_density_target": 0.8}]
    assert len(not_resolved(load("misaligned_circle"), rows, [{"time": 0.0, "noise_floor": floor}])) == reasons
