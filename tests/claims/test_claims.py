"""The claims: their files can be read, they judge rightly, and a wrong prediction is found out."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq

from problems import ProblemError
from problems.schedule import equally_spaced
from solver.claims.case import Value
from solver.claims.claim import Cell, Claim, claim_files, read_claim
from solver.claims.evaluate import evaluate_claim, through_middle
from solver.claims.judge import judge
from solver.claims.library import Kept, answer_jobs, conclude, latest, verdict_of
from solver.claims.measurements import MEASUREMENTS
from solver.claims.measurements.rates import slope
from solver.claims.page import claims_page
from solver.claims.predictions import PREDICTIONS
from solver.claims.starts import starting_tokens
from solver.claims.work import Job, applies, jobs_of, request
from solver.commands.claims import write_page
from solver.report.claim_figure import plot_claim
from solver.report.panels import Panel, Series

CHEAP = ["MP2", "LT10", "QC5"]


@functools.cache
def answered(name: str) -> tuple[Claim, tuple[Any, Any]]:
    """A claim in its quick setting, and the answers of its jobs, which several tests conclude from."""
    claim = read_claim(name, quick=True)
    return claim, answer_jobs([claim], None, workers=1)


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
    assert all(any(applies(quantity, cell) for cell in claim.cells) for quantity in claim.quantities)
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
    claim, answers = answered(name)
    results = conclude([claim], *answers, None, quick=True)
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
    kept = latest(tmp_path)["LT10"]
    assert kept["seconds"] > 0
    page = claims_page([Kept({**kept, "git": {"commit": "0123456789abcdef"}})], "2026-01-01")
    line = next(line for line in page.splitlines() if line.startswith("| [LT10]"))
    assert "shown" in line and "`coldflow claims LT10 --quick`" in line and "0123456789ab |" in line and line.endswith(" s |")


def test_a_prediction_that_has_changed_needs_no_run(tmp_path: Path):
    claim = read_claim("LT10", quick=True)
    answers, _ = answer_jobs([claim], tmp_path, workers=1)
    for path in tmp_path.glob("*.json"):
        kept = json.loads(path.read_text())
        kept["answers"] = {key: value for key, value in kept["answers"].items() if json.loads(key)[0] == "measured"}
        path.write_text(json.dumps(kept))
    done = []
    again, _ = answer_jobs([claim], tmp_path, resume=True, workers=1, on_job=lambda *found: done.append(found))
    assert not done and again == answers


def test_a_page_keeps_the_claims_that_were_not_measured_again(tmp_path: Path):
    for name in ("LT10", "MP2"):
        claim, answers = answered(name)
        conclude([claim], *answers, tmp_path / name, quick=True)
        assert write_page(tmp_path / name, tmp_path / "claims.md", None) == 0
    page = (tmp_path / "claims.md").read_text()
    assert write_page(tmp_path / "LT10", tmp_path / "claims.md", None) == 0
    assert (tmp_path / "claims.md").read_text() == page
    assert "**2 claims: 2 shown.**" in page and page.count("\n## ") == 2 and page.index("## LT10") < page.index("## MP2")


def made_up(claim: Claim, measured: Callable[[Cell, str], float]) -> dict[str, Any]:
    """Answers of a claim as its jobs would give them, with predictions as they are and measurements from a function."""
    answers: dict[str, Any] = {}
    for cell in (*claim.cells, *filter(None, claim.coarse)):
        found = answers.setdefault(Job(cell).key, {"times": [0.0], "answers": {}})["answers"]
        for quantity in claim.quantities:
            found[request("measured", quantity, cell)[0]] = {"value": measured(cell, quantity.measured), "error": 0.0}
            key, (_, name, options) = request("predicted", quantity, cell)
            value = PREDICTIONS[name](cell.case(), **options)
            value, error = value if isinstance(value, Value) else (value, 0.0)
            found[key] = {"value": float(value), "error": float(error)}
    return answers


@pytest.mark.parametrize(("away", "verdict"), [(2e-5, "shown"), (1e-3, "contradicted")])
def test_the_bar_of_a_prediction_counts_where_runs_are_combined(away, verdict):
    claim = read_claim("QC3", quick=True)
    threshold = 0.5 * math.log(3) * (1 + 3 * 0.05**2) + away
    answers = made_up(claim, lambda cell, name: threshold - cell.variables["beta"])
    row = evaluate_claim(claim, answers, {}).rows[0]
    assert row["verdict"] == verdict and math.isclose(row["measured"], threshold, rel_tol=1e-9)


def test_slopes_are_averaged_over_seeds_with_their_spread():
    claim = read_claim("EM1", quick=True, settings={"start.seed": "[0, 1, 2, 3]"})
    answers = made_up(claim, lambda cell, name: (1 + 0.1 * cell.variables["seed"]) * math.log(1 / cell.variables["noise"]))
    row = evaluate_claim(claim, answers, {}).rows[0]
    deviation = math.sqrt(0.05 / 3)
    assert math.isclose(row["measured"], 1.15, rel_tol=1e-9)
    assert math.isclose(row["error"], 1.96 * deviation / 2, rel_tol=1e-4) and "seed" not in row["quantity"]


def test_the_first_mode_out_of_noise_is_that_of_random_amplitudes():
    case = read_claim("EM1", quick=True).cells[0].case()
    modes = np.arange(1, 12)
    rates = np.array([PREDICTIONS["uniform_rate"](case, int(k)) for k in modes])
    for noise in (1e-2, 1e-4):
        size = np.sqrt(np.random.default_rng(0).exponential(size=(200_000, len(modes))))
        depths = np.log(0.3 / (modes * 2 * np.pi * noise / 128**1.5 * size)) / rates
        first = modes[np.argmin(np.where(rates > 0, depths, np.inf), axis=1)]
        error = 4 * first.std() / math.sqrt(len(first))
        assert abs(PREDICTIONS["expected_waves"](case, noise) - first.mean()) < error
    assert abs(PREDICTIONS["expected_waves"](case, 1e-40) - PREDICTIONS["fastest_mode"](case)) < 1e-3


def test_the_threshold_of_two_bumps_balances_the_drift_of_two_normal_laws():
    case = read_claim("QC3", quick=True).cells[0].case()
    nodes, weights = np.polynomial.hermite_e.hermegauss(30)
    x, weights = 0.05 * nodes, weights / weights.sum()
    gaps = x[:, None] - x[None, :]

    def widening(beta: float) -> float:
        pull = (0.75 * np.sin(gaps) * np.exp(-beta * np.cos(gaps)) - 0.25 * np.sin(gaps) * np.exp(beta * np.cos(gaps))) @ weights
        scale = (0.75 * np.exp(-beta * np.cos(gaps)) + 0.25 * np.exp(beta * np.cos(gaps))) @ weights
        return float(weights @ (x * pull / scale))

    value, error = PREDICTIONS["survival_beta"](case)
    assert abs(brentq(widening, 0.4, 0.7) - value) < error < 1e-4


@pytest.mark.parametrize(("dimension", "mean"), [(2, 0.446389965897), (3, 1 / math.tanh(1.0) - 1.0)])
def test_graded_tokens_are_a_von_mises_fisher_law(dimension, mean):
    """Mean of concentration 1: I_1(1)/I_0(1) on the circle, coth 1 - 1 on the sphere."""
    points, masses = starting_tokens({"tokens": "graded", "concentration": 1.0}, dimension)
    assert np.allclose(masses @ points, np.eye(dimension)[0] * mean, atol=1e-10)
    assert np.allclose(np.linalg.norm(points, axis=1), 1.0) and (points @ np.eye(dimension)[0]).min() < -1 + 1e-10
    with pytest.raises(ProblemError, match="circle and sphere"):
        starting_tokens({"tokens": "graded", "concentration": 1.0}, 4)


@pytest.mark.parametrize("second", [0.3, -0.3, 3.0])
def test_the_bar_of_a_rate_covers_a_faster_part_that_dies_out(second):
    t = np.linspace(0.0, 8.0, 81)
    found = slope(t, np.exp(-t) * (1 + second * np.exp(-1.5 * t)), 0.5)
    assert abs(found.value + 1) < found.error < 0.5


def test_the_bar_of_a_rate_covers_the_integration_of_small_differences():
    """|y| from 1e-4 to 4e-6, off by 1e-9 at its end: the slope is off by up to 2.5e-4 over its length."""
    t = np.linspace(0.0, 3.3, 34)
    y = 1e-4 * np.exp(-t) + 1e-9 * (t / 3.3)
    found = slope(t, y, uncertain=1e-9)
    assert 1e-6 < abs(found.value + 1) < found.error < 1e-3


def test_a_law_about_an_axis_concentrates_as_its_latitudes_say():
    claim = read_claim("MS6", settings={"attention.beta": "30.0", "case": "2", "particles.count": "800"})
    rows = conclude([claim], *answer_jobs([claim], None, workers=1), None, quick=False)["MS6"].rows
    row = next(row for row in rows if row["quantity"].startswith("rate of concentration"))
    assert row["verdict"] == "shown" and row["error"] < 2e-3 and row["factor"] < 1.005
    turned = read_claim("MS6", settings={"case": "2", "attention.value": "[[1.0, 0.0, 0.5], [0.0, 1.0, 0.0], [0.0, 0.0, 0.2]]"})
    assert math.isnan(PREDICTIONS["concentration_rate"](turned.cells[0].case()))


def test_figures_draw_predicted_slopes_and_limits(tmp_path):
    """y = 3 x^-2: the guide of the right exponent lies on the points, that of another one crosses them in their middle."""
    x = np.array([1.0, 10.0, 100.0])
    assert np.allclose(through_middle("power", x, 3 * x**-2.0, -2.0), 3 * x**-2.0)
    assert np.allclose(through_middle("power", x, 3 * x**-2.0, -1.0), [0.3, 0.03, 0.003])
    assert np.allclose(through_middle("exponential", x, np.exp(-x), -1.0), np.exp(-x))
    series = Series(label="", x=[0.1, 0.2], measured=[1.0, 1.1], error=[0.0, 0.0], predicted=[1.0, 1.0], limit=[0.98, 0.05])
    plot_claim(tmp_path / "c", "a claim", [Panel("a quantity", "1/beta", "a quantity", [series])])
    assert (tmp_path / "c.png").stat().st_size > 5000 and (tmp_path / "c.pdf").exists()


def test_a_matrix_for_a_key_tied_by_a_formula_is_one_value():
    """QC2 chooses its matrices by a formula of the case; LT11 its beta from a list."""
    text = "[[1.0, 0.3], [0.1, 0.8]]"
    claim = read_claim("QC2", settings={"attention.value": text, "case": "2"})
    assert [cell.case().V.tolist() for cell in claim.cells] == [[[1.0, 0.3], [0.1, 0.8]]]
    several = read_claim("QC2", settings={"attention.value": f"[{text}, [[1.0, 0.0], [0.0, 1.0]]]", "case": "2"})
    assert len(several.cells) == 2
    assert {cell.case().beta for cell in read_claim("LT11", settings={"attention.beta": "[2.0, 3.0]"}).cells} == {2.0, 3.0}


def test_lattices_with_a_cluster_at_half_a_turn_grow_as_predicted():
    """Four clusters: the third one lies where angles jump."""
    claim = read_claim("EM2", settings={"start.clusters": "4", "attention.beta": "1.0", "attention.normalization": '"softmax"'})
    rows = conclude([claim], *answer_jobs([claim], None, workers=1), None, quick=False)["EM2"].rows
    assert [row["verdict"] for row in rows] == ["shown", "shown"], rows


def test_what_settings_leave_no_run_of_is_no_part_of_the_verdict():
    """MS5 at one beta: pairing is judged, the rate over several beta is not."""
    claim = read_claim("MS5", settings={"attention.beta": "30.0"})
    results = conclude([claim], *answer_jobs([claim], None, workers=1), None, quick=False)
    assert verdict_of(results["MS5"]) == "shown"
    assert not any("deviation falls" in row["quantity"] for row in results["MS5"].rows)


def test_a_key_tied_to_its_own_value_follows_what_is_set():
    """CT1 divides beta by c and turns the means: both begin from what is set."""
    claim = read_claim("CT1", settings={"attention.beta": "6.0", "initial.components[0].mean": "[0.0, 2.0]"})
    assert [cell.case().beta for cell in claim.cells] == [6.0, 2.4, 6.0, 6.0]
    mean = claim.cells[2].values["initial"]["components"][0]["mean"]
    assert np.allclose(mean, 2 * np.array([-math.sin(0.7), math.cos(0.7)]))
    assert np.allclose(claim.cells[2].values["initial"]["components"][1]["mean"], -np.array(mean))


def test_predictions_for_multiples_of_the_identity_refuse_other_weights():
    with pytest.raises(ProblemError, match=r"attention\.query.*multiple of I"):
        read_claim("MS9", settings={"attention.query": "[[1.0, 0.2], [0.0, 1.0]]"})
    case = read_claim("LT10").cells[0].case()
    with pytest.raises(ProblemError, match="multiples of I"):
        PREDICTIONS["uniform_rate"](case, k=1)


def test_tokens_across_the_separatrix_carry_the_mass_of_both_sides():
    cell = next(cell for cell in read_claim("LT8", settings={"seed": "24"}).cells if cell.side == "tokens")
    case = cell.case()
    points, masses = case.start()
    numbers, left = np.linalg.eig((case.V @ case.B.T).T)
    e = np.linalg.eig(case.V @ case.B.T)
    ell = np.real(left[:, np.argmax(numbers.real)])
    forward = np.real(e.eigenvectors[:, np.argmax(e.eigenvalues.real)])
    forward = forward * np.sign(forward[np.argmax(np.abs(forward))])
    side = points @ ell * np.sign(ell @ forward)
    assert abs(masses[side > 0].sum() - PREDICTIONS["half_space_mass"](case)) < 1e-5 and np.abs(side).min() < 1e-8


@pytest.mark.parametrize(("rates", "slopes"), [((1.0, 1.6), 0.05), ((1.0, 1.02), 0.2)])
def test_a_fitted_rate_lies_in_the_interval_of_its_two_parts(rates, slopes):
    """int min(|Z| e^{-g t}, 1) dP with P(|Z| > z) = min(1, z^{-r/g}): its slope at t is within the interval that is predicted."""
    g, r = rates
    t = np.array([6.0, 9.0])
    tail = r / g
    value = (tail / (tail - 1) * (np.exp(-g * t) - np.exp(-r * t)) + np.exp(-r * t))
    found = -np.diff(np.log(value))[0] / 3
    below = (r - g) / math.expm1((r - g) * 6.0)
    assert g - below <= found <= g and below < slopes


def test_a_claim_that_does_not_exist_is_refused_with_the_nearest():
    with pytest.raises(ProblemError, match="MS5"):
        read_claim("MS55")
