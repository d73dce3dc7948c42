"""The predictions about the closest approach at low temperature, against closed forms and against the flow itself."""

from __future__ import annotations

import math

import numpy as np
import pytest

from solver.claims.claim import Quantity, read_claim
from solver.claims.evaluate import evaluate_claim, reduce_points
from solver.claims.predictions import PREDICTIONS
from solver.claims.predictions.approach import arrival, closest_delay_limit, closest_limit, cold_arcs, cold_bound_constant
from solver.claims.predictions.defective import jordan_distance, jordan_exponent
from solver.claims.work import Job, request
from solver.projection.cold_flow import flow
from solver.wasserstein.distance import distance
from solver.wasserstein.measure import Measure


def flagship(**settings):
    return read_claim("LT4", settings={"attention.beta": "[100.0]", **settings}).cells[0].case()


@pytest.mark.parametrize(("depth", "w1", "w2"), [(0.0, 0.785398, 0.906900), (1.0, 0.483621, 0.636382), (4.0, 0.058306, 0.158304)])
def test_arcs_at_zero_temperature_are_those_of_the_table(depth, w1, w2):
    case = flagship(**{"attention.key": "[[1.0, 0.0], [0.0, 1.0]]", "attention.value": "[[1.0, 0.0], [0.0, 0.0]]"})
    arcs, masses = cold_arcs(case, depth)
    assert abs(masses @ arcs - w1) < 1e-6 and abs(math.sqrt(masses @ arcs**2) - w2) < 1e-6


def test_arcs_follow_the_flow_for_weights_without_symmetry():
    case = flagship(**{"attention.value": "[[2.0, 0.3], [-0.2, 1.0]]"})
    found = arrival(case)
    e = np.linalg.eig(case.V @ case.B.T)
    direction = np.real(e.eigenvectors[:, np.argmax(e.eigenvalues.real)])
    start = np.arctan2(direction[1], direction[0]) + found.angles[::97]
    moved = flow(np.column_stack([np.cos(start), np.sin(start)]), case.weights, np.array([0.0, 3.0]))[1]
    arcs = np.arccos(np.clip(np.abs(moved @ direction), -1, 1))
    assert np.abs(cold_arcs(case, 3.0)[0][::97] - arcs).max() < 2e-5


@pytest.mark.parametrize("p", [1, 2])
def test_arcs_end_at_the_nearer_point_of_the_target(p):
    """Where attracting and repelling direction are 114 degrees apart: W_p is that of an even law to two equal masses, not that
    of each token to where its own start goes."""
    case = flagship(**{"attention.key": "[[0.8, 0.1], [0.3, 0.6]]"})
    angles = 2 * np.pi * (np.arange(20000) + 0.5) / 20000
    moved = flow(np.column_stack([np.cos(angles), np.sin(angles)]), case.weights, np.array([0.0, 2.0]))[1]
    numbers, vectors = np.linalg.eig(case.V @ case.B.T)
    e = np.real(vectors[:, np.argmax(numbers.real)])
    law, goal = Measure(moved, np.full(20000, 1 / 20000)), Measure(np.stack((e, -e)), np.array([0.5, 0.5]))
    arcs, masses = cold_arcs(case, 2.0)
    found = distance(law, goal, p=p, manifold=case.problem.manifold).value
    assert math.isclose((masses @ arcs**p) ** (1 / p), found, rel_tol=1e-4)


def test_what_has_no_second_moment_sets_no_limit_for_the_least_w2():
    """P(|Z| > z) falls like z^(-lambda/c), lambda/c = 1.71 here."""
    case = flagship(**{"attention.key": "[[0.8, 0.1], [0.3, 0.6]]"})
    assert math.isfinite(closest_limit(case, 1)) and math.isnan(closest_limit(case, 2))
    assert math.isfinite(closest_delay_limit(case, 1)) and math.isnan(closest_delay_limit(case, 2))


def test_the_displacement_is_that_of_the_wake_of_the_flow():
    """(log f)' at the attended point, from the flow itself, moves the stationary point of the drift."""
    case = flagship()
    at, width, h = math.atan2(1.5, 0.75), 1e-3, 1e-4
    # Law of what the zero-temperature flow carries past the attended point at depth 8, by differences of its starting angles.
    angles = np.array([at - width, at - width + h, at + width, at + width + h])
    points = np.column_stack([np.cos(angles), np.sin(angles)])

    x = points.copy()
    steps, dt = 16000, 8.0 / 16000

    def drift(y):
        z = y @ case.B
        z = (z / np.linalg.norm(z, axis=1, keepdims=True)) @ case.V.T
        return z - y * np.sum(z * y, axis=1, keepdims=True)

    for _ in range(steps):
        half = x - 0.5 * dt * drift(x)
        x = x - dt * drift(half)
        x /= np.linalg.norm(x, axis=1, keepdims=True)

    back = np.arctan2(x[:, 1], x[:, 0])
    log_density = np.log([(back[1] - back[0]) / h, (back[3] - back[2]) / h])
    steep = (log_density[1] - log_density[0]) / (2 * width)
    e, y = np.array([1.0, 1.0]) / math.sqrt(2), np.array([0.75, 1.5]) / math.sqrt(2)
    length = np.linalg.norm(y)
    across = np.array([-e[1], e[0]]) @ case.V @ np.array([-y[1], y[0]]) / length
    assert math.isclose(arrival(case).shift, steep * across / (length * (1 / length)), rel_tol=2e-3)


def test_the_least_distance_is_least():
    case = flagship()
    found = arrival(case)
    for p in (1, 2):
        size, least = found.closest(p)
        assert all(found.distance(size * factor, p) > least for factor in (0.8, 1.2))
        assert math.isclose(closest_limit(case, p), abs(found.shift) * least)
        assert math.isclose(math.exp(-found.rate * closest_delay_limit(case, p)), size * abs(found.shift), rel_tol=1e-12)
    mean, square = found.masses @ found.places, found.masses @ found.places**2
    assert math.isclose(found.closest(2)[1], math.sqrt(1 - mean**2 / square), rel_tol=1e-6)
    assert cold_bound_constant(case) >= found.masses @ np.abs(found.places)


def test_the_distance_of_a_jordan_block_is_that_of_its_quadrature():
    case = read_claim("LT9", quick=True, settings={"time.end": "30", "time.outputs": "5"}).cells[1].case()
    points, masses = case.problem.initial.quadrature(20000)
    up = masses[points[:, 1] > 0].sum()
    goal = Measure(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([up, 1 - up]))
    for t, value in zip(case.times, jordan_distance(case).value, strict=True):
        moved = points + t * np.outer(points[:, 1], case.V[0, 1] * np.array([1.0, 0.0]))
        moved /= np.linalg.norm(moved, axis=1, keepdims=True)
        assert abs(distance(Measure(moved, masses), goal, p=1, manifold=case.problem.manifold).value - value) < 3e-4
    assert -1.0 < jordan_exponent(case, 12.0) < -0.9


def test_a_key_may_be_absent_from_some_runs_of_a_sweep():
    claim = read_claim("LT2", quick=True)
    for cell in (*claim.cells, *filter(None, claim.coarse)):
        adaptive = cell.values["particles"]["sampling"] == "adaptive"
        assert ("gap" in cell.values["particles"]) == adaptive
        cell.case()


def test_profiles_of_tokens_and_of_the_heat_equation_are_those_of_their_laws():
    """A wrapped normal of deviation sigma becomes one of variance sigma^2 + 2 t/beta; at depth 0 tokens show their own law."""
    case = read_claim("MS2", settings={"start.centres": "[2.0]", "attention.beta": "100.0"}).cells[0].case()
    angles = 2 * np.pi * np.arange(180) / 180
    gap = np.angle(np.exp(1j * (angles - 2.0)))

    def normal(variance):
        return np.exp(-gap**2 / (2 * variance)) * math.sqrt(2 * np.pi / variance)

    near = np.abs(gap) < 1.5
    start, end = (PREDICTIONS[name](case) for name in ("initial_profile", "heat_profile"))
    assert np.allclose(start[near], normal(0.45**2)[near], rtol=2e-3)
    assert np.allclose(end[near], normal(0.45**2 + 2 * case.times[-1] / 100)[near], rtol=2e-3)
    cold = read_claim("LT4", settings={"attention.beta": "[100.0]", "attention.key": "[[1.0, 0.0], [0.0, 1.0]]",
                                       "attention.value": "[[1.0, 0.0], [0.0, 0.0]]", "time.end": "2.0"}).cells[0].case()
    t = cold.times[-1]
    assert np.allclose(PREDICTIONS["cold_profile"](cold), 1 / (np.cosh(t) - np.sinh(t) * np.cos(2 * angles)), rtol=2e-3)


def test_means_are_drawn_over_what_tells_their_groups_apart():
    """MS7 averages over seeds: the figure shows one mean with its bar for each number of tokens."""
    claim = read_claim("MS7", quick=True)
    answers = {}
    for cell in claim.cells:
        found = answers.setdefault(Job(cell).key, {"times": [0.0], "answers": {}})["answers"]
        for quantity in claim.quantities:
            value = cell.variables["count"] + 0.1 * cell.variables["seed"]
            found[request("measured", quantity, cell)[0]] = {"value": value, "error": 0.0}
            found[request("predicted", quantity, cell)[0]] = {"value": 2.0, "error": 0.0}
    for panel in evaluate_claim(claim, answers, {}).panels:
        assert panel.xlabel == "count"
        assert [series["x"] for series in panel.series] == [[300.0, 600.0]]
        assert np.allclose(panel.series[0]["measured"], [300.2, 600.2]) and panel.series[0]["error"][0] > 0


@pytest.mark.parametrize("count", [5, 6, 9])
def test_the_bar_of_an_exponent_in_a_limit_covers_what_the_limit_leaves(count):
    beta = 40.0 * 2.4 ** np.arange(count)
    y = (1 + 3 / beta) / beta
    found = {wide: reduce_points(Quantity("w", "w1", across="power", asymptotic=wide), beta, y) for wide in (False, True)}
    assert abs(found[True][0] + 1) < found[True][1] < 0.1
    assert abs(found[False][0] + 1) > found[False][1]


@pytest.mark.parametrize(("law", "excluded"), [("line", False), ("power", True)])
def test_the_misfit_of_a_law_exceeds_the_bars_only_where_the_law_is_wrong(law, excluded):
    quantity = Quantity("depth", "closest_time", across=f"{law} misfit", against="log(beta)")
    beta = np.geomspace(10, 1000, 9)
    depth = 1 + 0.6 * np.log(beta) + 1e-4 * (-1.0) ** np.arange(9)
    x = np.log(beta) if law == "line" else beta
    value = reduce_points(quantity, x, depth)[0]
    assert (value > 1e-3) == excluded
