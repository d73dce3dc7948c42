"""Phases are found in laws whose phases are known."""

import itertools

import numpy as np
import pytest

from problems import load
from problems.problem import read_problem
from solver.projection.target import target
from solver.runs.phases import (
    Expectation,
    Phase,
    crossing_depth,
    expectation,
    expectation_of_tokens,
    find_phases,
    timeline,
)


def moments_of(angle):
    return np.column_stack([np.cos(angle), np.sin(angle)])


def names(phases):
    return [phase.name for phase in phases]


def test_alignment_metastability_and_departure():
    """A distance that falls like e^{-t} to .1, stays to t = 6 and rises to pi/4."""
    t = np.linspace(0.0, 12.0, 121)
    w = 0.1 + 0.8 * np.exp(-t) + 0.685 / (1 + np.exp(-(t - 8.0) / 0.3))
    found = find_phases(t, w, moments_of(w), np.zeros(121), Expectation(leaves=True))
    assert names(found) == ["alignment", "metastable", "terminal"]
    # within a tenth of .8: .8 e^{-t} = .08 at t = ln 10, and the sigmoid passes .08 at 8 - .3 ln(.685/.08 - 1)
    assert found[0].end == pytest.approx(np.log(10), abs=0.1)
    assert found[1].end == pytest.approx(8.0 - 0.3 * np.log(0.685 / 0.08 - 1), abs=0.1)
    assert timeline(found).startswith("0 alignment 2.")


def test_heat_clusters_and_their_merging():
    t = np.concatenate([[0.0], np.geomspace(1.0, 1e4, 80)])
    clusters = np.select([t < 20, t < 500, t < 5000], [0, 3, 2], 1)
    angle = np.where(t < 20, 0.02 * t, 0.4) + np.where(t > 500, 0.5, 0.0) + np.where(t > 5000, 0.5, 0.0)
    found = find_phases(t, np.full(81, np.nan), moments_of(angle), clusters.astype(float), Expectation(heats=True))
    assert names(found)[:2] == ["heat", "metastable"] and names(found)[-1] == "terminal"
    assert names(found).count("pairing") == 2
    assert found[0].end == pytest.approx(20, rel=0.15)


def test_a_law_that_reaches_a_great_circle_heats_at_once():
    """W2 to the target falls like e^{-t} and stays small; the law gathers until t = 20, in three clusters that pair at 400."""
    t = np.concatenate([[0.0], np.geomspace(0.1, 1e3, 160)])
    clusters = np.select([t < 20, t < 400], [0, 3], 2)
    angle = np.where(t < 20, 0.02 * t, 0.4) + np.where(t > 400, 0.5, 0.0)
    found = find_phases(t, 0.4 * np.exp(-t), moments_of(angle), clusters.astype(float), Expectation(heats=True))
    assert names(found)[:4] == ["alignment", "heat", "metastable", "pairing"]
    assert found[0].end == pytest.approx(np.log(10), rel=0.1) and found[1].end == pytest.approx(20, rel=0.1)


def test_a_law_at_rest_is_terminal():
    t = np.linspace(0, 5, 11)
    found = find_phases(t, np.full(11, np.nan), np.ones((11, 2)), np.zeros(11), Expectation())
    assert names(found) == ["terminal"] and (found[0].start, found[0].end) == (0.0, 5.0)


def test_zero_temperature_ends_on_the_target():
    t = np.linspace(0, 8, 81)
    found = find_phases(t, 0.9 * np.exp(-t), moments_of(np.exp(-t)), np.full(81, np.nan), Expectation(stays=True))
    assert names(found) == ["alignment", "terminal"] and found[0].end == pytest.approx(np.log(10), abs=0.1)


def test_few_tokens_that_move_freely_are_no_clusters_that_stay():
    """Six tokens gather like e^{-t} from the start on, and are one cluster from t = 5 on; slow ones stay for long."""
    t = np.linspace(0.0, 10.0, 41)
    clusters = np.where(t < 5, 6.0, 1.0)
    found = find_phases(t, np.full(41, np.nan), moments_of(np.exp(-t)), clusters, Expectation(), 1.0)
    assert names(found)[0] == "alignment" and names(found)[-2:] == ["pairing", "terminal"] and found[0].end >= 2
    late = find_phases(t, np.full(41, np.nan), moments_of(np.exp(5 * (t - 5) - np.log1p(np.exp(5 * (t - 5))))), clusters,
                       Expectation(), 1.0)
    assert names(late) == ["metastable", "pairing", "terminal"]


def test_a_law_that_moves_is_not_at_rest_however_short_the_run():
    """.03 per unit of depth over half a unit; 1/|V| is the unit, and a law with another V has another."""
    t = np.array([0.0, 0.25, 0.5])
    moments = (0.15 + 0.03 * t)[:, None]
    assert names(find_phases(t, np.full(3, np.nan), moments, np.zeros(3), Expectation(), 1.0)) == ["alignment"]
    assert names(find_phases(t, np.full(3, np.nan), moments, np.zeros(3), Expectation(), 0.1)) == ["terminal"]
    assert crossing_depth(load("smooth_circle")) == 1.0
    assert crossing_depth(load("misaligned_circle")) == pytest.approx(0.5)
    assert crossing_depth(load("usa_circle")) == 0.0


def test_phases_tile_the_run():
    rng = np.random.default_rng(1)
    for _ in range(50):
        t = np.cumsum(rng.exponential(size=30))
        found = find_phases(t, rng.random(30), rng.random((30, 3)), rng.integers(0, 5, 30).astype(float),
                            Expectation(*map(bool, rng.integers(0, 2, 3))))
        assert found[0].start == t[0] and found[-1].end == t[-1]
        assert all(a.end == b.start and a.name != b.name for a, b in itertools.pairwise(found))


def test_what_theory_expects():
    assert expectation(target(load("misaligned_circle"))) == Expectation(leaves=True)
    assert expectation(target(load("heat_circle"))) == Expectation(heats=True)
    assert expectation(target(load("sphere_great_circle"))) == Expectation(stays=True)
    assert expectation(target(load("layered_circle"))) == Expectation()


def test_finitely_many_tokens_leave_at_zero_temperature_too():
    """300 tokens of hardmax gather at 45 degrees by t = 3 and then turn to E(V); adaptive ones stand for a law that rests."""
    cold = load("misaligned_circle").with_("attention.beta=inf")
    tokens = read_problem({**cold.given, "particles": {"sampling": "quadrature", "count": 300}})
    assert expectation_of_tokens(target(cold)) == expectation(target(tokens)) == Expectation(stays=True)
    assert expectation_of_tokens(target(tokens)) == Expectation(leaves=True)
    aligned = tokens.with_("attention.key=[[1, 0], [0, 1]]", "attention.query=[[1, 0], [0, 1]]")
    assert expectation_of_tokens(target(aligned)) == Expectation(stays=True)


def test_few_outputs_have_no_phases():
    assert find_phases(np.array([0.0, 1.0]), np.ones(2), np.ones((2, 1)), np.ones(2), Expectation()) == []
    assert timeline([]) == "" and Phase("heat", 0.0, 1.0).summary()["name"] == "heat"
