"""Settings that a claim's author did not have in mind: signs, modes, and what the file says about other settings."""

from __future__ import annotations

import numpy as np
import pytest

from solver.claims.case import execute
from solver.claims.evaluate import Result
from solver.claims.judge import judge
from solver.claims.predictions import PREDICTIONS
from solver.commands.claims import report
from solver.projection.cold_flow import flow
from tests.claims.plans import ends, options, plan


def test_heat_runs_either_way_as_far_as_it_goes():
    """Attraction of MS2 stops well before the collapse at beta sigma^2/2; repulsion of MS3 takes as long as its attraction."""
    case = plan("MS2", attention__value="[[1, 0], [0, 1]]").cells[0].case()
    assert case.times[-1] / PREDICTIONS["collapse_depth"](case, 0.45) == pytest.approx(0.04 / (0.45**2 / 2), rel=1e-9)
    assert np.allclose(ends(plan("MS3", attention__value='"= scaled(identity(dimension), -1)"')), ends(plan("MS3")))


def test_em2_follows_the_mode_of_its_lattice_and_repulsion():
    """Mode 2 of four clusters grows at another pace than mode 1; V = -I takes as long as V = I."""
    settings = {"start__clusters": "[4]", "attention__beta": "[3]", "case": "2", "attention__normalization": '["softmax"]'}
    claim = plan("EM2", start__mode="2", **settings)
    growth = PREDICTIONS["lattice_growth"](claim.cells[0].case(), 4, 2)
    assert growth > 0 and ends(claim)[0] == pytest.approx(5 / growth)
    assert {found["mode"] for found in options(claim, "of the lattice")} == {2}
    assert np.allclose(ends(plan("EM2", attention__value="[[-1, 0], [0, -1]]", **settings)), ends(plan("EM2", **settings)))


def test_what_is_known_of_a_verdict_excuses_no_other_settings(capsys):
    claim = plan("MS2")
    assert claim.known
    verdict = judge(1.0, 2.0, 0.1).verdict
    row = {"claim": "MS2", "quantity": "rate", "predicted": 1.0, "measured": 2.0, "error": 0.1, "relation": "equal", "tell": 1.05,
           "reach": None, "note": "", "verdict": verdict, "factor": 2.0}
    results = {"MS2": Result([row], [], [])}  # type: ignore[list-item]
    assert report([claim], results) == 0
    assert report([claim], results, changed=True) == 1
    assert "MS2 is contradicted" in capsys.readouterr().err


def test_what_one_case_needs_does_not_refuse_another():
    """The blow-up of GF1 on the line divides by the first entry of V, which may be 0 in R^3."""
    claim = plan("GF1", case="3", attention__value="[[0, 1, 0], [-1, 0, 0], [0, 0, -0.5]]")
    assert np.allclose(ends(claim), 1.0)


def test_the_even_law_of_ct1_is_even_whatever_concentration_is_set():
    claim = plan("CT1", **{"initial__components[0]__concentration": "6.0"})
    kappas = [[part.kappa for part in cell.case().problem.initial.components] for cell in claim.cells]
    assert kappas == [[6.0, 1.0], [6.0, 1.0], [6.0, 1.0], [6.0, 6.0]]
    law = claim.cells[3].case().problem.initial
    x = np.stack((np.cos(np.arange(7.0)), np.sin(np.arange(7.0))), axis=1)
    assert np.allclose(law.density(x), law.density(-x))


def test_cold_tokens_of_a_law_attend_to_the_whole_sphere():
    """With B = I a token of hardmax attends to itself, as under the law; with another B to the next one."""
    case = plan("LT9", case="1", attention__query="[[1, 0.2, 0], [0, 1, 0], [0, 0, 1]]", particles__count="64",
                time__end="0.5", time__outputs="2").cells[0].case()
    assert case.charges and not plan("LT10").cells[0].case().charges
    run = execute(case, "tokens")
    assert np.allclose(run.points[-1], flow(run.points[0], case.weights, run.times)[-1], atol=1e-5)


@pytest.mark.parametrize("name", ["QC4", "EM2"])
def test_the_width_of_clusters_is_in_the_bar(name):
    """Rates of clusters of two tokens are off by O(split^2): the coarser run has clusters twice as wide."""
    claim = plan(name, start__split="0.01")
    for cell, coarse in zip(claim.cells, claim.coarse, strict=True):
        assert cell.start["split"] == 0.01 and coarse.start["split"] == 0.02


@pytest.mark.parametrize("case", ["1", "3"])
def test_lt9_takes_as_long_as_its_scores_ask_for(case):
    """B = diag(2, 2, 1): the gap of V B^T is 1.8 and |B^T e| = 2, a pace of .9 instead of .8."""
    assert np.allclose(ends(plan("LT9", case=case)), 40.0)
    assert np.allclose(ends(plan("LT9", case=case, attention__query="[[2, 0, 0], [0, 2, 0], [0, 0, 1]]")), 40.0 * 0.8 / 0.9)
