"""The claims: their files can be read, they judge rightly, and a wrong prediction is found out."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from problems import ProblemError
from problems.schedule import equally_spaced
from solver.claims.claim import claim_files, read_claim
from solver.claims.judge import judge
from solver.claims.library import answer_jobs, conclude, verdict_of
from solver.claims.measurements import MEASUREMENTS
from solver.claims.predictions import PREDICTIONS
from solver.claims.work import jobs_of

CHEAP = ["MP2", "LT10", "QC5"]


def test_the_last_output_is_the_end_exactly():
    end = 11.863899750017996
    assert equally_spaced(end, 201)[-1] == end


@pytest.mark.parametrize("name", list(claim_files()))
@pytest.mark.parametrize("quick", [False, True])
def test_every_claim_can_be_read_and_its_cells_are_problems(name, quick):
    claim = read_claim(name, quick=quick)
    assert claim.id == name and claim.source and claim.statement and claim.cost[0] >= claim.cost[1] > 0
    for cell in (*claim.cells, *filter(None, claim.coarse)):
        cell.case()
    jobs_of([claim])  # refuses measurements and predictions that do not exist


def test_every_measurement_and_prediction_says_what_it_is():
    for name, function in {**MEASUREMENTS, **PREDICTIONS}.items():
        assert function.__doc__, name


@pytest.mark.parametrize(("predicted", "measured", "error", "relation", "verdict"), [
    (1.0, 1.001, 0.002, "equal", "shown"),
    (1.05, 1.001, 0.002, "equal", "contradicted"),
    (1.0, 1.01, 0.2, "equal", "not resolved"),
    (1.0, math.nan, 0.1, "equal", "not resolved"),
    (1.0, 0.9, 0.05, "at most", "shown"),
    (1.0, 1.2, 0.05, "at most", "contradicted"),
    (1.0, 1.02, 0.05, "at most", "not resolved"),
    (1.0, 1.2, 0.05, "at least", "shown"),
])
def test_verdicts(predicted, measured, error, relation, verdict):
    assert judge(predicted, measured, error, relation=relation).verdict == verdict


def test_the_factor_is_the_least_one_that_would_have_been_contradicted():
    found = judge(2.0, 2.004, 0.006)
    assert judge(2.0 * found.factor * 1.0001, 2.004, 0.006).verdict == "contradicted"


@pytest.mark.parametrize("name", CHEAP)
def test_cheap_claims_are_shown_and_a_wrong_prediction_is_not(name, monkeypatch):
    claim = read_claim(name, quick=True)
    results = conclude([claim], *answer_jobs([claim], None, workers=1), None, quick=True)
    assert verdict_of(results[name]) == "shown", [row for row in results[name].rows if row["verdict"] != "shown"]
    for row in results[name].rows:
        assert judge(row["predicted"] * 1.05, row["measured"], row["error"], relation=row["relation"]).verdict == "contradicted"


def test_a_changed_parameter_moves_prediction_and_measurement():
    found = {}
    for beta in ("2.0", "4.0"):
        claim = read_claim("MP2", settings={"attention.beta": beta, "kind": "1", "start.masses": "[0.5, 0.5]"})
        assert len(claim.cells) == 1
        rows = conclude([claim], *answer_jobs([claim], None, workers=1), None, quick=False)["MP2"].rows
        found[beta] = rows[-1]["predicted"], rows[-1]["measured"]
    assert abs(found["2.0"][0] / found["4.0"][0] - 1) > 0.2
    assert all(math.isclose(p, m, rel_tol=1e-4) for p, m in found.values())


def test_results_are_kept_and_taken_up_again(tmp_path: Path):
    claim = read_claim("LT10", quick=True)
    answers, errors = answer_jobs([claim], tmp_path / "cells", workers=1)
    conclude([claim], answers, errors, tmp_path, quick=True)
    header, first = (tmp_path / "claims.csv").read_text().splitlines()[:2]
    assert header == "claim,quantity,predicted,measured,error,verdict,command" and first.startswith("LT10,")
    done = []
    again, _ = answer_jobs([claim], tmp_path / "cells", resume=True, workers=1, on_job=lambda *found: done.append(found))
    assert not done and again == answers


def test_a_claim_that_does_not_exist_is_refused_with_the_nearest():
    with pytest.raises(ProblemError, match="MS5"):
        read_claim("MS55")


RECORDED = Path(__file__).with_name("recorded.csv")
LEAST_TOLD = 24  # of the claims recorded so far


def test_a_prediction_wrong_by_a_factor_is_contradicted_all_over_the_library():
    """The measurements that `coldflow claims --all --quick` recorded, judged again with every prediction 5 % too large."""
    told = set()
    with RECORDED.open(newline="") as file:
        for row in csv.DictReader(file):
            predicted, measured, error = (float(row[key] or "nan") for key in ("predicted", "measured", "error"))
            if row["verdict"] == "shown" and predicted and judge(predicted, measured, error).verdict == "shown" and (
                    judge(1.05 * predicted, measured, error).verdict == "contradicted"):
                told.add(row["claim"])
    assert len(told) >= LEAST_TOLD, sorted(set(claim_files()) - told)
