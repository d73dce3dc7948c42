"""A wrong prediction is found out all over the library: what was measured, against predictions computed anew.

tests/claims/recorded.csv holds measurements with their bars and the commit they were made on, written from the results of
`coldflow claims --all --quick` by tests/claims/record.py. It holds no predictions: these are computed here from the parameters.
"""

from __future__ import annotations

import csv
import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from solver.claims.case import Measured, Value
from solver.claims.claim import Cell, Quantity, claim_files, read_claim
from solver.claims.evaluate import evaluate_claim
from solver.claims.judge import judge
from solver.claims.predictions import PREDICTIONS
from solver.claims.work import Job, applies, request

RECORDED = Path(__file__).with_name("recorded.csv")
WRONG = 1.05
# Claims that predict no rate or value whose error a factor could be: bounds, zeros, and findings without a prediction.
CANNOT_TELL = {
    "LT1": "a bound on an exponent, and findings",
    "LT2": "a law that is contradicted, and findings",
    "LT3": "exponents",
    "LT6": "a bound",
    "LT12": "findings",
    "MS7": "bounds",
    "CT1": "differences that are zero",
}


@cache
def recorded() -> dict[str, dict[str, dict[str, str]]]:
    """Claim -> quantity -> row of the record."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    with RECORDED.open(newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["claim"], {})[row["quantity"]] = row
    return found


def predictions_of(name: str) -> dict[str, tuple[float, str]]:
    """Quantity -> prediction and relation of a claim's table in the quick setting; nothing is run."""
    claim = read_claim(name, quick=True)
    answers: dict[str, dict] = {}
    for quantity in claim.quantities:
        curve = any("t = " in key.removeprefix(quantity.name) for key in recorded()[name] if key.startswith(quantity.name))
        cells = [cell for cell in claim.cells if applies(quantity, cell)]
        # Of runs that are combined, the first one's prediction is that of the table.
        first = PREDICTIONS[quantity.predicted](cells[0].case(), **options(quantity, cells[0])) if quantity.predicted else None
        curve = curve or np.ndim(first[0] if isinstance(first, Value) else first) > 0
        for cell in cells:
            alone = cell is cells[0] or quantity.across
            fill(quantity, cell, answers, curve, first if alone or first is None else
                 PREDICTIONS[quantity.predicted](cell.case(), **options(quantity, cell)))
    return {row["quantity"]: (row["predicted"], row["relation"]) for row in evaluate_claim(claim, answers, {}).rows}


def options(quantity: Quantity, cell: Cell) -> dict:
    """The options of a quantity's prediction in a cell."""
    return request("predicted", quantity, cell)[1][2]


def fill(quantity: Quantity, cell: Cell, answers: dict[str, dict], curve: bool, predicted: Measured | None) -> None:
    """The answer of one cell: its prediction, and measurements that are 1."""
    case = cell.case()
    times = np.array([0.0]) if case.problem.time.stationary else case.times
    found = answers.setdefault(Job(cell).key, {"times": times.tolist(), "answers": {}})["answers"]
    ones = np.ones(len(times)) if curve else np.ones(())
    found[request("measured", quantity, cell)[0]] = {"value": ones.tolist(), "error": (0 * ones).tolist()}
    if predicted is None:
        return
    value, error = predicted if isinstance(predicted, Value) else (predicted, 0.0)
    value = np.resize(value, len(times)) if np.ndim(value) else value
    error = np.resize(error, len(times)) if np.ndim(value) else error
    found[request("predicted", quantity, cell)[0]] = {"value": np.asarray(value, float).tolist(),
                                                      "error": np.asarray(error, float).tolist()}


def test_the_record_says_where_it_comes_from():
    assert set(recorded()) <= set(claim_files()) and len(recorded()) >= 29
    assert all(len(row["commit"]) >= 12 for rows in recorded().values() for row in rows.values())


@pytest.fixture(scope="module")
def told() -> dict[str, int]:
    """Claim -> quantities that are shown as recorded, and contradicted with a prediction 5 % too large."""
    found = {}
    for name, rows in recorded().items():
        found[name] = 0
        for quantity, (predicted, relation) in predictions_of(name).items():
            row = rows.get(without_depth(quantity, rows))
            if row is None or relation != "equal" or not predicted or not math.isfinite(predicted):
                continue
            measured, error = float(row["measured"] or "nan"), float(row["error"] or "nan")
            found[name] += (judge(predicted, measured, error).verdict == "shown"
                            and judge(WRONG * predicted, measured, error).verdict == "contradicted")
    return found


def without_depth(quantity: str, rows: dict[str, dict[str, str]]) -> str:
    """The recorded name of a quantity: where a run goes on until it is at rest, its depth is known by running alone."""
    if quantity in rows:
        return quantity
    stem = quantity.removesuffix("t = 0)")
    return next((key for key in rows if key.startswith(stem) and stem != quantity), quantity)


def test_a_prediction_wrong_by_a_factor_is_contradicted_all_over_the_library(told):
    assert sum(count > 0 for count in told.values()) >= 25, told


def test_claims_that_cannot_tell_a_factor_are_known(told):
    assert {name for name, count in told.items() if not count} <= set(CANNOT_TELL)
