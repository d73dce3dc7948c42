"""Settings beyond what predictions and measurements assume are refused in one line; nothing is run."""

from __future__ import annotations

import pytest

from solver.claims.assumed import ASSUMED
from solver.claims.measurements import MEASUREMENTS
from solver.claims.predictions import PREDICTIONS
from tests.claims.plans import refused


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


def test_settings_for_which_a_prediction_or_a_coarser_run_cannot_be_made_are_refused():
    assert "cannot be predicted with these settings" in refused("MS4", attention__beta="0")
    assert "particles.count = 1.5" in refused("MS1", particles__count="3")
