"""Plans of claims follow the parameters that --set changes, as the predictions do; nothing is run here."""

from __future__ import annotations

import math

import numpy as np
import pytest

from solver.claims.claim import Cell, Claim, read_claim
from solver.claims.predictions import PREDICTIONS
from solver.claims.work import applies, request

TWICE = "[[4.0, 0.0], [0.0, 2.0]]"


def plan(name: str, quick: bool = True, **settings: str) -> Claim:
    """A claim with KEY=VALUE settings, a double underscore standing for the dot."""
    return read_claim(name, quick=quick, settings={key.replace("__", "."): text for key, text in settings.items()})


def options(claim: Claim, part: str, kind: str = "predicted") -> list[dict[str, object]]:
    """The options of each quantity whose name has a part, in each run it is asked of."""
    return [request(kind, quantity, cell)[1][2] for quantity in claim.quantities if part in quantity.name
            for cell in claim.cells if applies(quantity, cell)]


def ends(claim: Claim) -> np.ndarray:
    """Last depth of each run."""
    return np.array([cell.case().times[-1] for cell in claim.cells])


def cell_where(claim: Claim, **values: object) -> Cell:
    """The first run whose variables have these values."""
    return next(cell for cell in claim.cells if all(cell.variables[key] == value for key, value in values.items()))


def test_formulas_of_quantities_know_the_ends_of_what_is_swept():
    claim = plan("LT3", attention__beta="[2e3, 1e4, 5e4]")
    assert {(found["low"], found["high"]) for found in options(claim, "exponent")} == {(2e3, 5e4)}
    noises = plan("EM1", start__noise="[1e-3, 1e-2, 1e-5]", start__seed="[0, 1]")
    assert {(found["low"], found["high"]) for found in options(noises, "slope")} == {(1e-5, 1e-2)}
    assert claim.cells[0].variables["least_beta"] == 2e3 and claim.cells[-1].variables["most_beta"] == 5e4


@pytest.mark.parametrize("kind", [1, 2])
@pytest.mark.parametrize("beta", [1.0, 9.0, 40.0, 100.0])
def test_noise_grows_to_saturation_within_the_run_of_em1(beta, kind):
    """V = gamma I and Q = c I move the rate of the fastest mode, and the depth with it; so does the number of tokens."""
    claim = plan("EM1", kind=str(kind), attention__beta=str(beta), attention__value="[[2.0, 0.0], [0.0, 2.0]]",
                 attention__query="[[0.5, 0.0], [0.0, 0.5]]", start__seed="0", start__count="256")
    for cell in claim.cells:
        case = cell.case()
        rate, waves = PREDICTIONS["fastest_rate"](case), PREDICTIONS["fastest_mode"](case)
        growth = rate * case.times[-1]
        noise = cell.variables["noise"]
        needed = math.log(0.3 / (2 * math.pi * waves * noise / 256**1.5))
        assert needed + 3 < growth < 1.1 * needed + 9


@pytest.mark.parametrize(("name", "most"), [("LT12", 0.1)])
def test_depths_are_those_of_the_rate_of_the_weights(name, most):
    """V -> 2 V halves all depths (up to their rounding)."""
    before, after = ends(plan(name)), ends(plan(name, attention__value=TWICE))
    assert np.allclose(after, before / 2, rtol=most)


def test_tokens_have_left_before_the_end_of_lt12():
    assert ends(plan("LT12", attention__beta="200.0"))[0] > 1.7 * ends(plan("LT12"))[0]
    outputs = {len(cell.case().times) for cell in plan("LT12", attention__beta="200.0").cells}
    assert outputs == {181}
