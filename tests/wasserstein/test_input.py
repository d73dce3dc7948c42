"""Bad input to transport distances is refused with the offending value."""

import numpy as np
import pytest

from solver.wasserstein.distance import distance
from solver.wasserstein.measure import Measure
from tests.wasserstein.support import SPACES

PAIR = Measure([[1.0, 0.0], [0.0, 1.0]], [0.5, 0.5])


@pytest.mark.parametrize(
    ("points", "masses", "resolution", "words"),
    [
        ([[0.0], [1.0]], [0.5, -0.25], 0.0, "negative mass -0.25 at index 1"),
        ([[0.0], [1.0]], [0.5], 0.0, "do not match"),
        ([[0.0], [np.nan]], [0.5, 0.5], 0.0, "points hold nan at index 1, 0"),
        ([[0.0], [1.0]], [0.5, np.inf], 0.0, "masses hold inf at index 1"),
        ([[0.0], [1.0]], [0.0, 0.0], 0.0, "no mass"),
        ([[0.0], [1.0]], [0.5, 0.5], -1.0, "negative resolution"),
        ([[0.0], [1.0]], [0.5, 0.5], [1.0], "resolution"),
    ],
)
def test_measures(points, masses, resolution, words):
    with pytest.raises(ValueError, match=words):
        Measure(points, masses, resolution)


@pytest.mark.parametrize(
    ("other", "options", "words"),
    [
        (Measure([[1.0, 0.0]], [1.1]), {}, "different mass: 1 and 1.1"),
        (Measure([[1.0, 0.0, 0.0]], [1.0]), {}, "different dimensions: 2 and 3"),
        (Measure([[1.2, 0.0]], [1.0]), {}, "point 0 is not on the unit sphere: its norm is 1.2"),
        (PAIR, {"p": 0.5}, "at least 1, not 0.5"),
        (PAIR, {"metric": "taxicab"}, "not 'taxicab'"),
        (PAIR, {"method": "magic"}, "not 'magic'"),
        (PAIR, {"method": "sinkhorn", "epsilon": -1.0}, "epsilon is positive, not -1.0"),
    ],
)
def test_distances(other, options, words):
    with pytest.raises(ValueError, match=words):
        distance(PAIR, other, manifold=SPACES["circle"], **options)


def test_zero_masses_do_not_count_and_round_off_in_the_total_is_forgiven():
    padded = Measure([[1.0, 0.0], [3.0, 4.0], [0.0, 1.0]], [0.5, 0.0, 0.5 + 1e-12])
    assert distance(PAIR, padded, p=1, manifold=SPACES["circle"]).value == pytest.approx(0.0, abs=1e-11)
