"""Density and particles agree where both are right, and a drift wrong by two per cent is found out."""

import numpy as np
import pytest

from problems import load, register_score
from problems.problem import read_problem
from solver import compare
from solver.comparison.moments import curve_error, moment_gap
from solver.comparison.variations import other_meshes
from solver.comparison.verdict import VERDICT_COLUMNS
from solver.particles import drift
from tests.comparison.campaign import FACTORS, judged

SMOOTH = {
    "circle": ("smooth_circle", {"time.end": "1.0", "time.outputs": "3", "density.cells": "128", "density.degree": "1",
                                 "particles.count": "512"}),
    "sphere": ("smooth_sphere", {"time.end": "1.0", "time.outputs": "2", "density.cells": "500", "density.degree": "2",
                                 "particles.count": "1024"}),
}


@register_score("less-far")
def less_far(queries, keys, width=1.0):
    """Less for what is further away."""
    return -np.log1p(np.square(queries[:, None] - keys).sum(axis=2) / width**2)


@pytest.mark.parametrize("space", SMOOTH)
@pytest.mark.parametrize(("factor", "agree"), [(1.0, True), (1.02, False)])
def test_verdict_finds_a_wrong_drift(space, factor, agree, monkeypatch):
    right = drift.Drift.__call__
    monkeypatch.setattr(drift.Drift, "__call__", lambda self, points, *rest: factor * right(self, points, *rest))
    verdict = compare(load(*SMOOTH[space])).verdict
    assert verdict.agree is agree, verdict.words()
    assert verdict.rows[0]["verdict"] == "agree"
    assert set(verdict.rows[-1]) <= set(VERDICT_COLUMNS)
    if not agree:
        # Two per cent of a drift of order one: far above what the meshes and tokens of this size explain.
        last = verdict.rows[-1]
        assert last["moments_density_particles"] > 5 * last["moments_allowed"]
        assert "t = " in verdict.words()


@pytest.mark.parametrize("factor", FACTORS)
def test_verdict_on_the_sphere_sees_a_thousandth(factor):
    """More laws and weights in `tests/comparison/campaign.py`."""
    name, settings = SMOOTH["sphere"]
    verdict = judged(load(name, settings | {"density.cells": "800"}), factor)
    assert verdict.outcome == FACTORS[factor], verdict.words()


def test_random_tokens_agree_within_their_noise():
    """Four standard deviations: a false alarm in 16 000 per component, 5 components and 3 outputs; the seed is fixed."""
    name, settings = SMOOTH["circle"]
    found = compare(load(name, settings | {"particles.sampling": "random", "particles.count": "2048"}))
    assert found.verdict.agree, found.verdict.words()
    sizes, values = found.verdict.refinement.curves["random"]
    order = np.polyfit(np.log(sizes), np.log(values), 1)[0]
    # W2 on a curve falls like N^{-1/2}; three means of four samples of relative spread 1/4 know the slope to about .15.
    assert order == pytest.approx(-0.5, abs=0.45)


def test_distance_falls_with_the_mesh_down_to_a_thousandth():
    """W2(density, particles) at t = 1 on the circle: first order or better in h, tokens refined alike (docs/theory.md §7)."""
    name, settings = SMOOTH["circle"]
    cells = np.array([48, 96, 192])
    found = [compare(load(name, settings | {"density.cells": str(n), "particles.count": str(24 * n), "time.outputs": "2"}),
                     verdict=False).rows[-1]["w2_density_particles"] for n in cells]
    orders = np.log2(np.array(found[:-1]) / found[1:])
    assert np.all(orders > 0.9), (found, orders)
    assert found[-1] < 1e-3


def test_distance_falls_with_the_mesh_on_the_sphere():
    """On a surface N atoms are never closer than N^{-1/2} to a density, so tokens and cells are refined together."""
    name, settings = SMOOTH["sphere"]
    cells = np.array([80, 320, 1280])
    found = [compare(load(name, settings | {"density.cells": str(n), "particles.count": str(2 * n), "density.degree": "1"}),
                     verdict=False).rows[-1]["w2_density_particles"] for n in cells]
    orders = np.log2(np.array(found[:-1]) / found[1:])
    assert np.all(orders > 0.8), (found, orders)


def test_moment_gap_is_a_lower_bound_of_the_distance():
    """Two Diracs at an angle a on the circle: |difference of second moments| = sin a <= a = W1."""
    for angle in (0.1, 1.0, 2.0):
        x, y = np.array([1.0, 0.0]), np.array([np.cos(angle), np.sin(angle)])
        gap = moment_gap((x, np.outer(x, x)), (y, np.outer(y, y)), True)
        assert np.linalg.norm(x - y) <= gap <= angle
        assert gap == pytest.approx(max(2 * np.sin(angle / 2), np.sin(angle)), rel=1e-12)


def test_extra_runs_that_miss_the_law_end_no_comparison():
    """Half of 32 quadrature nodes do not resolve this law on the sphere: random samples tell the sampling error instead."""
    problem = read_problem({
        "space": {"manifold": "sphere"}, "attention": {"beta": 2.0},
        "initial": {"law": "poisson-kernel", "components": [{"mean": [0.4, 0.0, 0.0]}]}, "time": {"end": 0.1, "outputs": 2},
        "density": {"cells": 80}, "particles": {"count": 32}})
    assert "independent samples" in compare(problem).verdict.reason


@pytest.mark.parametrize(("factor", "agree"), [(1.0, True), (1.02, False)])
def test_fixed_steps_have_an_error_of_their_own(factor, agree, monkeypatch):
    """Euler steps move moments by some 1e-4, which quadrature tokens would see; a drift wrong by 2 % still moves them more."""
    right = drift.Drift.__call__
    monkeypatch.setattr(drift.Drift, "__call__", lambda self, points, *rest: factor * right(self, points, *rest))
    name, settings = SMOOTH["circle"]
    verdict = compare(load(name, settings | {"particles.integrator": "euler"})).verdict
    assert verdict.agree is agree, verdict.words()
    last = verdict.rows[-1]
    assert last["moments_density_particles"] > 5e-5
    assert 0.0 < last["step_error"] < 1e-2 and "steps twice as long" in verdict.reason


@pytest.mark.parametrize("seed", [6, 10])
def test_sobol_points_do_not_judge_themselves(seed):
    """Half of these points are as wrong as all of them, to a thousandth: they say nothing of their error."""
    name, settings = SMOOTH["circle"]
    verdict = compare(load(name, settings | {"time.end": "0.1", "time.outputs": "2", "particles.sampling": "sobol",
                                             "particles.count": "1024", "particles.seed": f"{seed}"})).verdict
    assert verdict.agree, verdict.words()


def test_the_error_of_a_mesh_is_no_less_where_two_meshes_err_alike_by_chance():
    """Mass that has reached a wall is in its last cell, an error of first order. Here that of 16 cells is 1.64e-3 at t = .2 and
    differs from that of 8 by 6e-5."""
    problem = read_problem({
        "space": {"manifold": "interval", "bounds": [[-1.0, 1.0]]}, "time": {"end": 0.3, "outputs": 4},
        "attention": {"beta": 4.0, "value": [[1.0]], "score": {"name": "less-far", "width": 0.8}},
        "initial": {"law": "normal", "components": [{"mean": [0.2], "covariance": 0.3}]},
        "density": {"cells": 16, "degree": 2, "integrator": "theta", "rtol": 1e-4, "atol": 1e-6},
        "particles": {"count": 32, "integrator": "rk4", "step": 0.02}})
    found = compare(problem).verdict
    row = found.rows[2]
    assert found.outcome != "disagree", found.words()
    assert row["moments_density_particles"] > 1e-3


def test_error_of_a_mesh_from_two_changes():
    """Errors C h^p of the main mesh, halved cells: exact for p = 1, the change itself for more, more than C h^p for less."""
    sizes = np.array([1.0, 2.0, 4.0])
    for power in (0.7, 1.0, 2.0, 3.0):
        error = np.outer([1.0, 0.3, 2.0], sizes**power)
        near, far = error[:, 1] - error[:, 0], error[:, 2] - error[:, 1]
        assert np.all(curve_error(near, far) >= 0.99 * error[:, 0]), power
        assert curve_error(near, far) == pytest.approx(near / min(1.0, 2**power - 1)), power
    # A change that vanishes at one output is that of the others there, by the change before it.
    found = curve_error(np.array([1e-3, 0.0, 2e-3]), np.array([2e-3, 2e-3, 4e-3]))
    assert found[1] > 8e-4
    assert not curve_error(np.zeros(2), np.ones(2)).any()


def test_few_random_tokens_can_be_compared():
    name, settings = SMOOTH["circle"]
    rows = compare(load(name, settings | {"particles.sampling": "random", "particles.count": "2", "density.cells": "32",
                                          "time.end": "0.1", "time.outputs": "2"})).verdict.rows
    assert rows[-1]["sampling_error"] > 0.1


def test_steps_in_depth_follow_the_mesh():
    """On cells twice as wide steps are twice as long, or chosen with ten times the tolerance."""
    table = {"space": {"manifold": "circle"}, "attention": {"beta": 2.0}, "initial": {"law": "uniform"},
             "time": {"end": 0.1, "outputs": 2}, "density": {"cells": 64, "integrator": "rk45", "step": 0.01, "rtol": 1e-6}}
    found = [(level, varied.density) for level, varied in other_meshes(read_problem(table))]
    assert [(level, d.cells, d.step, d.rtol) for level, d in found] == [
        (1, 32, pytest.approx(0.02), pytest.approx(1e-5)), (2, 16, pytest.approx(0.04), pytest.approx(1e-4))]
