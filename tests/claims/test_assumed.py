"""Settings beyond what predictions and measurements assume are refused in one line; nothing is run."""

from __future__ import annotations

import pytest

from solver.claims.assumed import ASSUMED, check_assumptions
from solver.claims.measurements import MEASUREMENTS
from solver.claims.predictions import PREDICTIONS
from tests.claims.plans import plan, refused


def test_every_assumption_is_of_a_prediction_or_measurement():
    assert set(ASSUMED) <= set(PREDICTIONS) | set(MEASUREMENTS)


@pytest.mark.parametrize("name", ["MS2", "MS4", "MS5", "EM2", "MP2"])
def test_weights_that_are_no_multiple_of_i_are_refused_before_anything_runs(name):
    assert "attention.value" in refused(name, attention__value="[[1.0, 0.0], [0.0, 2.0]]" if name != "MP2" else
                                        "[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 2.0]]")


def test_the_mean_of_a_poisson_kernel_is_known_on_circle_and_sphere_alone():
    four = {"space__manifold": "sphere", "space__dimension": "4", "attention__value": '"= identity(4)"'}
    assert "space.dimension = 4" in refused("QC2", case="[3]", **four, **{"initial__components[0]__mean": "[0.2, 0, 0, 0]"})


def test_a_denominator_that_a_prediction_needs_or_does_not_know_is_refused():
    for name in ("LT10", "LT11", "MS2", "MS5", "MS8", "MS1", "QC3"):
        assert 'must be "softmax"' in refused(name, attention__normalization="none")
    for name in ("NT1", "NT2"):
        assert 'must be "none"' in refused(name, attention__normalization="softmax")
    assert "[[a, b], [0, a]]" in refused("LT9", case="2", attention__value="[[1, 0], [0, 2]]")
    assert "plane of the first" in refused("MS8", attention__value="[[1, 0, 0], [0, 2, 0], [0, 0, 0]]")


REFUSED = [
    ("QC2", "attention.beta = 1", {"attention__beta": "1"}),
    ("QC2", "initial.components = 2", {"case": "1", "initial__components": "[{mean=[0.3,0.1]},{mean=[-0.1,0.3]}]"}),
    ("QC3", "weight = 0.5", {"initial__components[0]__weight": "0.5", "initial__components[1]__weight": "0.5"}),
    ("QC3", "opposite", {"initial__components[1]__mean": "2.5"}),
    ("QC4", "start.clusters = 4", {"start__clusters": "4"}),
    ("QC4", "negative multiple", {"attention__query": "[[1, 0], [0, 1]]"}),
    ("QC1", "a mean that is not zero", {"start__concentration": "0"}),
    ("GF1", "no variance grows", {"case": "4", "attention__value": "[[-1]]"}),
    ("MS5", "closest", {"start__angles": "[0.0, 2.0, 3.1]"}),
    ("LT5", "must be even",
     {"initial__law": "von-mises-fisher", "initial__components": "[{mean = [1, 0.2], concentration = 1.0}]"}),
    ("MS5", "must be 2 numbers", {"start__angles": "[0.0, 1.0]"}),
    ("MS5", "at least three", {"start__angles": "[0.0, 1.0]", "start__masses": "[1.0, 1.0]"}),
    ("LT10", "not negative", {"start__masses": "[-1.0, 3.0]"}),
    ("LT10", "one angle", {"start__angles": "[1.1, 2.0]"}),
    ("LT9", "must be inf", {"case": "1", "attention__beta": "5"}),
    ("LT9", "complex leading pair", {"case": "1", "attention__value": "[[1, 0, 0], [0, 0.5, 0], [0, 0, 0.2]]"}),
    ("LT9", "not defective", {"case": "3", "attention__query": "[[1, 0.5, 0], [0, 1, 0.1], [0, 0, 2]]"}),
    ("QC2", "attention.layers = 2", {"case": "1", "attention__layers": "[{until = 1.0}, {value = [[1, 0], [0, 2]]}]"}),
    ("MS1", "attention.heads = 2", {"attention__heads": "[{value = [[1, 0], [0, 1]]}, {value = [[1, 0], [0, 2]]}]"}),
    ("MP2", "two masses, not 3", {"start__masses": "[0.2, 0.3, 0.5]", "start__angles": "[0, 1, 2]"}),
    ("MP1", "do not meet", {"attention__value": '"= scaled(identity(dimension), -1)"'}),
    ("MP1", "beyond the largest number", {"attention__beta": "900"}),
    *((name, "noise.diffusivity = 0.1", {"noise__diffusivity": "0.1"}) for name in ("MP2", "MS2", "QC5", "GF1", "DM1", "LT5")),
]


@pytest.mark.parametrize(("name", "words", "settings"), REFUSED)
def test_what_a_claim_is_not_about_is_refused(name, words, settings):
    assert words in refused(name, **settings)


def test_starts_that_a_claim_is_about_are_taken_as_tables_too():
    """Two opposite bumps, the smaller one first, and a law on the sphere, each as one value of --set."""
    small = "{weight = 0.3, mean = 1.0, deviation = 0.05}"
    large = "{weight = 0.7, mean = [-0.5403023058681398, -0.8414709848078965], deviation = 0.04}"
    claim = plan("QC3", initial__components=f"[{small}, {large}]")
    check_assumptions([claim])
    assert claim.cells[0].case().mixture.weights.tolist() == pytest.approx([0.3, 0.7])
    d = "[[-1.0, 0.5, 0.0], [0.5, -2.0, 0.3], [0.0, 0.3, 1.0]]"
    check_assumptions([plan("QC5", space__manifold="sphere", attention__value=d, attention__query=d,
                            initial__components="[{mean = [1, 0, 0], concentration = 2.0}]")])


def test_formulas_of_numbers_alone_stand_for_what_they_give():
    one = '"= identity(5)"'
    claim = plan("MP2", space__dimension="5", attention__value=one, attention__query=one, attention__key=one)
    assert claim.cells[0].case().multiples == (1.0, 1.0) and claim.cells[0].variables["sharp"] == 4.0


def test_settings_for_which_a_prediction_or_a_coarser_run_cannot_be_made_are_refused():
    assert "cannot be predicted with these settings" in refused("MS4", attention__beta="0")
    assert "particles.count = 1.5" in refused("MS1", particles__count="3")
