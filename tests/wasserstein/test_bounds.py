"""Every method brackets the exact distance; compression, resolution and couplings widen or sharpen as they must."""

from itertools import pairwise

import numpy as np
import pytest

import solver.wasserstein.general as general
from solver.compiled import CompilerError
from solver.wasserstein.cells import cells, compress, overlay
from solver.wasserstein.distance import distance
from solver.wasserstein.measure import Measure
from solver.wasserstein.network import UNIT, shortlist, whole_units
from tests.wasserstein.support import SPACES, exact_distance, ground_costs, random_measure, random_points

BRACKETING = ["auto", "network simplex", "multiscale", "sinkhorn", "max-sliced"]


@pytest.mark.parametrize("space", ["plane", "sphere"])
@pytest.mark.parametrize("method", BRACKETING)
def test_methods_bracket_the_exact_distance(space, method):
    rng = np.random.default_rng(20)
    for p in (1, 2):
        a, b = random_measure(rng, 130, space), random_measure(rng, 90, space)
        exact = exact_distance(a, b, p, SPACES[space].normalised)
        found = distance(a, b, p=p, manifold=SPACES[space], method=method)
        assert found.lower - 1e-12 <= exact <= found.upper + 1e-12
        assert found.lower <= found.value <= found.upper
        assert abs(found.value - exact) <= found.error + 1e-12


def test_sliced_is_below_and_says_so():
    rng = np.random.default_rng(21)
    a, b = random_measure(rng, 100, "sphere"), random_measure(rng, 100, "sphere")
    found = distance(a, b, manifold=SPACES["sphere"], method="sliced")
    assert found.value <= exact_distance(a, b, 2, True) <= found.upper
    assert "another distance" in found.method


def test_sinkhorn_tends_to_the_distance_with_epsilon_and_vanishes_for_equal_laws():
    rng = np.random.default_rng(22)
    a, b = random_measure(rng, 80, "sphere"), random_measure(rng, 80, "sphere")
    exact, manifold = exact_distance(a, b, 2, True), SPACES["sphere"]
    errors = [abs(distance(a, b, manifold=manifold, method="sinkhorn", epsilon=e).value - exact) for e in (1.0, 1e-3)]
    assert errors[1] < 2e-3 < errors[0]
    assert distance(a, a, manifold=manifold, method="sinkhorn", epsilon=0.1).value == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("limit", [60, 250])
def test_compressed_measures_still_bracket(limit, monkeypatch):
    monkeypatch.setattr(general, "ATOMS", limit)
    monkeypatch.setattr(general, "DENSE_PAIRS", 0)
    rng = np.random.default_rng(23)
    a, b = random_measure(rng, 400, "sphere"), random_measure(rng, 300, "sphere")
    exact = exact_distance(a, b, 2, True)
    found = distance(a, b, manifold=SPACES["sphere"])
    assert "representatives" in found.method
    assert found.lower <= exact <= found.upper
    assert abs(found.value - exact) <= found.error


def test_without_a_compiler_the_dense_simplex_takes_over(monkeypatch):
    def refused(*_):
        raise CompilerError("none")

    monkeypatch.setattr(general, "multiscale", refused)
    monkeypatch.setattr(general, "DENSE_ATOMS", 100)
    rng = np.random.default_rng(24)
    a, b = random_measure(rng, 600, "plane"), random_measure(rng, 600, "plane")
    found = distance(a, b, manifold=SPACES["plane"])
    assert found.lower <= exact_distance(a, b, 2, False) <= found.upper


def test_little_work_still_gives_bounds():
    rng = np.random.default_rng(25)
    a, b = (random_measure(rng, 700, "sphere").atoms(SPACES["sphere"]) for _ in range(2))
    full = general.multiscale(a, b, 2, "arc")
    for work in (1, 100_000, 400_000):
        early = general.multiscale(a, b, 2, "arc", work=work)
        assert "stopped early" in early.method
        assert early.lower <= full.lower + 1e-12
        assert full.upper <= early.upper + 1e-12
        assert abs(early.value - full.value) <= early.error
        assert early.lower > 0.4 * full.value


def test_resolution_covers_what_atoms_leave_out():
    """The uniform law of an interval as equal atoms of width h: rms distance h / sqrt(12) from their cells."""
    for count in (5, 40):
        h = 1.0 / count
        coarse = Measure((np.arange(count) + 0.5) * h, np.full(count, h), resolution=h / np.sqrt(12))
        fine = Measure((np.arange(20_000) + 0.5) / 20_000, np.full(20_000, 1 / 20_000))
        found = distance(coarse, fine, p=2, manifold=SPACES["line"])
        assert found.value == pytest.approx(h / np.sqrt(12), rel=1e-3)
        assert found.lower == pytest.approx(0.0, abs=1e-4 * h)
        point = Measure([[0.0]], [1.0])
        assert distance(coarse, point, p=2, manifold=SPACES["line"]).lower <= 1 / np.sqrt(3)
        assert 1 / np.sqrt(3) <= distance(coarse, point, p=2, manifold=SPACES["line"]).upper


def test_cells_are_nested_and_compression_error_is_the_cost_of_moving():
    rng = np.random.default_rng(26)
    points = random_points(rng, 333, "sphere")
    order, levels = cells(points)
    assert sorted(order) == list(range(333))
    assert all(set(coarse) <= set(fine) for coarse, fine in pairwise(levels))
    atoms = random_measure(rng, 333, "sphere").atoms(SPACES["sphere"])
    small, error = compress(atoms, 40, 2, "arc")
    assert small.count <= 40
    assert small.masses.sum() == pytest.approx(1.0, abs=1e-14)
    assert exact_distance(Measure(*atoms), Measure(*small), 2, True) <= error + 1e-12


def test_integer_masses_and_their_overlay():
    rng = np.random.default_rng(27)
    first, second = (whole_units(m / m.sum()) for m in (rng.random(17), rng.random(29)))
    assert first.sum() == second.sum() == UNIT
    i, _, flow = overlay(first, second)
    assert [int(flow[i == k].sum()) for k in range(17)] == first.tolist()
    assert len(flow) <= 17 + 29 - 1
    assert flow.sum() == UNIT


@pytest.mark.parametrize(("space", "p"), [("plane", 2), ("sphere", 1), ("sphere", 2), ("sphere", 3)])
def test_shortlist_finds_the_least_reduced_costs(space, p):
    rng = np.random.default_rng(28)
    x, y, g = random_points(rng, 50, space), random_points(rng, 333, space), rng.normal(size=333)
    arcs = SPACES[space].normalised
    reduced = ground_costs(x, y, arcs) ** p - g
    values, index = shortlist(x, y, g, 7, p, "arc" if arcs else "chord")
    np.testing.assert_allclose(values, np.sort(reduced, axis=1)[:, :7], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(np.take_along_axis(reduced, index, axis=1), values, rtol=1e-12, atol=1e-12)
    bar = np.sort(reduced, axis=1)[:, 2] + 1e-9
    _, few = shortlist(x, y, g, 7, p, "arc" if arcs else "chord", bar=bar)
    assert ((few >= 0).sum(axis=1) == 3).all()
