"""Plans of claims follow the parameters that --set changes, as the predictions do; nothing is run here."""

from __future__ import annotations

import math

import numpy as np
import pytest

from problems import ProblemError
from solver.claims.claim import Claim, read_claim
from solver.claims.predictions import PREDICTIONS
from solver.claims.work import applies, request
from solver.projection.cold_flow import flow

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


@pytest.mark.parametrize(("name", "most"), [("LT12", 0.1), ("LT5", 1e-9), ("LT6", 1e-9), ("LT7", 1e-9)])
def test_depths_are_those_of_the_rate_of_the_weights(name, most):
    """V -> 2 V halves all depths (up to their rounding)."""
    first = {"case": "1"} if name == "LT7" else {}
    before = ends(plan(name, attention__value="[[2.0, 0.0], [0.0, 1.0]]", **first))
    after = ends(plan(name, attention__value=TWICE, **first))
    assert np.allclose(after, before / 2, rtol=most)


def test_tokens_have_left_before_the_end_of_lt12():
    assert ends(plan("LT12", attention__beta="200.0"))[0] > 1.7 * ends(plan("LT12"))[0]
    outputs = {len(cell.case().times) for cell in plan("LT12", attention__beta="200.0").cells}
    assert outputs == {181}


def test_the_end_of_lt5_waits_for_the_slower_of_approach_and_departure():
    """V = diag(2, 1.8) has a gap of a fifth, V K^T Q one as large as before."""
    assert np.allclose(ends(plan("LT5", attention__value="[[2.0, 0.0], [0.0, 1.8]]")), 5 * ends(plan("LT5")), rtol=1e-9)


def test_aligned_weights_stay_aligned_when_v_is_set():
    case = plan("LT6", attention__value="[[3.0, 0.5], [0.5, 1.0]]").cells[0].case()
    assert np.allclose(case.B, case.V) and abs(PREDICTIONS["terminal_rise"](case, within=0.01) - 0.01) < 1e-7
    turned = plan("LT6", attention__key="[[0.5, 0.5], [0.25, 1.0]]", attention__query="[[1.0, 0.0], [0.0, 1.0]]",
                  attention__value="[[2.0, 0.0], [0.0, 1.0]]").cells[0].case()
    assert PREDICTIONS["terminal_rise"](turned, within=0.0) == pytest.approx(math.pi / 4 / 0.9069, rel=1e-3)


def test_distances_at_zero_temperature_hold_for_weights_without_symmetry():
    """A conjugate of V = diag(1, 0) by a rotation has the same distances; the arcs of the circle know B as well."""
    straight = plan("LT7", case="1", time__outputs="5").cells[0].case()
    turned = plan("LT7", case="1", time__outputs="5", attention__value="[[0.5, 0.5], [0.5, 0.5]]").cells[0].case()
    assert np.allclose(PREDICTIONS["cold_distance"](straight), PREDICTIONS["cold_distance"](turned), rtol=1e-9)
    skew = plan("LT7", case="1", time__end="2.0", time__outputs="5", attention__value="[[2.0, 0.3], [-0.2, 1.0]]",
                attention__key="[[0.5, 0.5], [0.25, 1.0]]").cells[0].case()
    numbers, vectors = np.linalg.eig(skew.V @ skew.B.T)
    e = np.real(vectors[:, np.argmax(numbers.real)])
    angles = 2 * np.pi * (np.arange(50000) + 0.5) / 50000
    moved = flow(np.column_stack((np.cos(angles), np.sin(angles))), skew.weights, skew.times)
    arcs = np.arccos(np.clip(np.abs(moved @ e), 0, 1))
    for p in (1, 2):
        value, error = PREDICTIONS["cold_distance"](skew, p=p)
        assert np.all(np.abs(value - np.mean(arcs**p, axis=1) ** (1 / p)) < 1e-5) and np.all(error <= 1e-5)
    with pytest.raises(ProblemError, match=r"attention\.beta.*inf"):
        PREDICTIONS["cold_distance"](plan("LT7", case="1", attention__beta="10.0").cells[0].case())
    turning = plan("LT7", case="1", attention__query="[[0.0, -1.0], [1.0, 1.0]]", attention__value="[[1.0, 0.0], [0.0, 0.9]]")
    with pytest.raises(ProblemError, match="different real parts"):
        PREDICTIONS["cold_distance"](turning.cells[0].case())


def test_three_eigenvalues_carry_the_sphere_to_one_of_two():
    """V = diag(1, 0, 0) by its closed form and, with the middle eigenvalue hardly off, by the points that are carried."""
    exact = plan("LT7", case="2", time__end="2.0", time__outputs="3").cells[0].case()
    near = plan("LT7", case="2", time__end="2.0", time__outputs="3",
                attention__value="[[1.0, 0.0, 0.0], [0.0, 1e-4, 0.0], [0.0, 0.0, 0.0]]")
    value, error = PREDICTIONS["cold_distance"](near.cells[0].case())
    assert np.all(np.abs(value - PREDICTIONS["cold_distance"](exact)) < error + 1e-4) and error.max() < 0.005
