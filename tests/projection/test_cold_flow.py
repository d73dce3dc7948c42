"""The zero-temperature line: where it is a law's own flow, and that it is not drawn where it is not."""

import numpy as np
import pytest

from problems import load
from solver.errors import RunError
from solver.projection.cold_flow import cold_flow
from solver.projection.target import target
from solver.projection.terminal import dominant_directions
from solver.ranks import Serial
from solver.runs.distances import TargetDistance
from solver.wasserstein.measure import Measure

CIRCLE = {"space.manifold": "circle", "attention": "{beta = 50.0}", "initial": '{law = "uniform"}',
          "particles.sampling": "quadrature"}


def circle(**changes):
    return load("misaligned_circle", {**CIRCLE, **{key.replace("__", "."): value for key, value in changes.items()}})


def test_the_misaligned_line_has_its_distances():
    """docs/theory.md §4.8."""
    problem = load("misaligned_circle")
    times, exact = np.array([0.0, 1.0, 2.0, 4.0]), [0.906900, 0.511370, 0.260565, 0.056437]
    goal = TargetDistance(problem, Serial())
    fine, coarse = (np.array([goal.local(Measure(x, masses))[2].value for x in points])
                    for points, masses in (cold_flow(problem, times), cold_flow(problem, times, coarser=2)))
    assert np.all(np.abs(fine - exact) <= 2 * np.abs(coarse - fine) + 1e-6)  # errors fall at first order or a little slower
    assert np.all(np.abs(coarse - fine) < 0.02 * fine)


def test_repulsion_keeps_points_where_they_are():
    """V = -I: a drift along x that rounding must not turn into a collapse."""
    problem = load("heat_circle")
    times = np.linspace(0.0, 50.0, 21)
    points, _ = cold_flow(problem, times)
    assert np.isfinite(points).all()
    assert np.abs(points - points[0]).max() < 1e-9


def test_a_flow_that_jumps_where_points_gather_ends():
    """A score of rank one, B^T x = (q . x) k with q . k < 0, drives points from both sides to q . x = 0, where drifts jump."""
    problem = circle(attention="{beta = 50.0, query = [[-0.5, -0.3]], key = [[1.0, 0.0]]}")
    with pytest.raises(RunError, match="does not get on"):
        cold_flow(problem, np.array([0.0, 0.3, 3.0]), coarser=64)


def test_layers_follow_one_another():
    problem = load("layered_circle")
    times = np.array(problem.time.outputs)
    points, masses = cold_flow(problem, times)
    assert len(points) == len(times) and masses.sum() == pytest.approx(1.0)
    switch = problem.attention.layers[0].until
    before = times < switch
    alone = load("layered_circle").attention.layers[0].weights
    from solver.projection.cold_flow import flow

    assert np.abs(flow(points[0], alone, times[before]) - points[before]).max() < 1e-9


@pytest.mark.parametrize("changes", [
    {"attention": '{beta = 5.0, normalization = "none"}'},
    {"noise__diffusivity": "0.1"},
])
def test_no_line_where_the_cold_law_is_another(changes):
    assert cold_flow(circle(**changes), np.array([0.0, 1.0])) is None


def test_no_line_for_atoms(tmp_path):
    (tmp_path / "t.csv").write_text("1,0,0.5\n0,1,0.5\n")
    problem = circle(initial='{law = "table", path = "%s"}' % (tmp_path / "t.csv"))
    assert cold_flow(problem, np.array([0.0, 1.0])) is None


def test_a_narrow_law_has_a_line():
    narrow = '{law = "von-mises-fisher", components = [{mean = [0.6, 0.8], concentration = 1e7}]}'
    points, masses = cold_flow(circle(initial=narrow), np.array([0.0, 1.0]))
    assert masses.sum() == pytest.approx(1.0) and np.linalg.norm(masses @ points[0] - [0.6, 0.8]) < 1e-6


def test_where_the_target_is_the_start_no_distance_is_measured():
    goal = target(load("heat_circle"))
    assert goal.exists and "start itself" in goal.unmeasured and goal.unmeasured in goal.words
    assert TargetDistance(load("heat_circle"), Serial()).local(Measure(np.eye(2), np.full(2, 0.5))) == {}
    assert not target(load("misaligned_circle")).unmeasured


def test_no_terminal_state_at_zero_temperature_or_for_multiples_of_the_identity():
    assert dominant_directions(load("misaligned_circle")) is not None
    assert dominant_directions(load("misaligned_circle", {"attention.beta": "inf"})) is None
    assert dominant_directions(load("heat_circle")) is None


def test_the_time_of_leaving_is_a_lower_bound():
    words = " ".join(target(load("misaligned_circle")).words)
    assert "not before t = log(beta)/(2 g_E)" in words
