"""The axioms of a metric, and the invariances of the ground distance, as properties of random measures."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshes.manifold import flat
from solver.wasserstein.distance import distance
from solver.wasserstein.measure import Measure
from tests.wasserstein.support import SPACES, random_measure

cases = st.tuples(st.integers(0, 10**6), st.sampled_from(list(SPACES)), st.sampled_from([1, 1.5, 2]), st.booleans())


def several(seed: int, space: str, lattice: bool, count: int) -> list[Measure]:
    rng = np.random.default_rng(seed)
    return [random_measure(rng, int(rng.integers(1, 9)), space, lattice) for _ in range(count)]


@settings(max_examples=60, deadline=None)
@given(cases)
def test_symmetry_triangle_inequality_and_order_of_p(case):
    seed, space, p, lattice = case
    a, b, c = several(seed, space, lattice, 3)
    manifold = SPACES[space]
    ab, ba, bc, ac = (distance(*pair, p=p, manifold=manifold) for pair in ((a, b), (b, a), (b, c), (a, c)))
    assert ab.value == pytest.approx(ba.value, abs=1e-9)
    assert ac.value <= ab.value + bc.value + 1e-9
    assert distance(a, b, p=1, manifold=manifold).value <= ab.value + 1e-9


@settings(max_examples=60, deadline=None)
@given(cases)
def test_a_measure_is_at_distance_zero_from_itself_in_any_order_and_split(case):
    seed, space, p, lattice = case
    (a,) = several(seed, space, lattice, 1)
    order = np.random.default_rng(seed).permutation(len(a.masses))
    halves = Measure(np.concatenate([a.points, a.points[order]]), np.concatenate([a.masses, a.masses[order]]) / 2)
    for other in (Measure(a.points[order], a.masses[order]), halves):
        found = distance(a, other, p=p, manifold=SPACES[space])
        assert found.value <= 1e-7
        assert found.lower == 0.0


@settings(max_examples=40, deadline=None)
@given(cases, st.floats(0.1, 50.0))
def test_scaling_of_mass_and_of_flat_space(case, factor):
    seed, space, p, lattice = case
    a, b = several(seed, space, lattice, 2)
    manifold = SPACES[space]
    plain = distance(a, b, p=p, manifold=manifold).value
    heavy = [Measure(m.points, factor * m.masses) for m in (a, b)]
    assert distance(*heavy, p=p, manifold=manifold).value == pytest.approx(factor ** (1 / p) * plain, abs=1e-9)
    if not manifold.normalised:
        wide = [Measure(factor * m.points, m.masses) for m in (a, b)]
        assert distance(*wide, p=p, manifold=manifold).value == pytest.approx(factor * plain, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("unit", [1e-12, 1e-6, 1e6])
def test_units_of_length_do_not_matter(unit, p):
    """The cost of a pair is as small as 1e-24 where clouds, or tokens in a cluster, are 1e-12 wide."""
    rng, manifold = np.random.default_rng(0), flat(None, 3)
    x, y = rng.normal(size=(40, 3)), rng.normal(size=(50, 3))
    plain, scaled = (distance(Measure(c * x, np.full(40, 1 / 40)), Measure(c * y, np.full(50, 1 / 50)), p=p, manifold=manifold)
                     for c in (1.0, unit))
    assert scaled.value == pytest.approx(unit * plain.value, rel=1e-9)
    assert scaled.error <= 1e-9 * scaled.value


@settings(max_examples=40, deadline=None)
@given(cases)
def test_rotations_change_nothing(case):
    seed, space, p, lattice = case
    a, b = several(seed, space, lattice, 2)
    d = a.points.shape[1]
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]
    turned = [Measure(m.points @ turn.T, m.masses) for m in (a, b)]
    plain = distance(a, b, p=p, manifold=SPACES[space]).value
    assert distance(*turned, p=p, manifold=SPACES[space]).value == pytest.approx(plain, abs=1e-8)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(-3.0, 3.0), st.sampled_from([1, 2]))
def test_a_law_turned_on_the_circle_by_less_than_its_gap_moves_by_the_angle(seed, angle, p):
    """Most of the circle stays empty, so that the turn is an optimal coupling, as a shift of the line is."""
    rng = np.random.default_rng(seed)
    angles, masses = rng.uniform(0.0, np.pi / 2, 40) + 5.0 * rng.random(), rng.random(40) + 0.1
    angle *= np.pi / 12
    a, b = (Measure(np.stack([np.cos(t), np.sin(t)], 1), masses / masses.sum()) for t in (angles, angles + angle))
    assert distance(a, b, p=p, manifold=SPACES["circle"]).value == pytest.approx(abs(angle), abs=1e-12)
