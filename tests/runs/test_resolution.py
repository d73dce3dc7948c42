"""What a mesh, tokens or steps cannot show is said, and nothing else."""

import pytest

from problems import bundled, load
from solver.comparison.resolved import not_resolved
from solver.runs.resolution import drift_rate, kernel_width, unresolved


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


def test_kernel_width_and_rate_of_known_weights():
    p = load("smooth_circle", {"attention.beta": "25.0", "attention.value": "[[2.0, 0.0], [0.0, 1.0]]"})
    assert kernel_width(p) == pytest.approx(0.2)
    assert drift_rate(p) == pytest.approx(2.0 * 26.0)


@pytest.mark.parametrize(("floor", "reasons"), [(0.1, 0), (0.3, 1), (0.6, 2)])
def test_a_noise_floor_of_the_size_of_what_is_measured_is_no_verdict(floor, reasons):
    rows = [{"time": 0.0, "w2_density_target": 0.8}]
    assert len(not_resolved(load("misaligned_circle"), rows, [{"time": 0.0, "noise_floor": floor}])) == reasons
