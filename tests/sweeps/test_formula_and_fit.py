"""Formulas are computed and nothing else; fits find the law they were made from, and refuse what the data cannot carry."""

import numpy as np
import pytest

from problems import ProblemError
from solver.sweeps.fit import crossing, fit, limit
from solver.sweeps.formula import evaluate, names
from solver.sweeps.pool import run_jobs


@pytest.mark.parametrize(("formula", "value"), [
    ("N^0.5", 4.0), ("2*log(beta)", 2 * np.log(3.0)), ("-N + 1", -15), ("max(N, 20)", 20), ("beta < 4", True),
    ("choose(2, 5, [1, N])", [1, 16]), ("diagonal(1, beta)", [[1.0, 0.0], [0.0, 3.0]]), ("N ** 2", 256),
])
def test_formulas(formula, value):
    assert evaluate(formula, {"N": 16, "beta": 3.0}) == value


@pytest.mark.parametrize("formula", [
    "__import__('os').system('true')", "beta.__class__", "open('x')", "[x for x in (1,)]", "lambda: 1",
    "beta if beta else 1", "log(0)",
    "1/0", "", "b", "(" * 200, "9**9**9**9",
])
def test_what_is_no_formula_is_refused(formula):
    with pytest.raises(ProblemError):
        evaluate(formula, {"beta": 3.0})


def test_the_rate_of_approach_is_that_of_the_spectrum():
    """The flagship: gap 1, |B^T e| = 1.1859."""
    weights = {"value": [[2.0, 0.0], [0.0, 1.0]], "query": [[1.0, 0.0], [0.0, 1.0]], "key": [[0.5, 0.5], [0.25, 1.0]]}
    rate = evaluate("approach_rate(value, query, key)", weights)
    assert rate == pytest.approx(1 / np.hypot(0.75, 1.5) * np.sqrt(2), rel=1e-12)
    great_circle = {"value": np.diag([2.0, 2.0, 0.5]).tolist(), "key": np.diag([3.0, 1.0, 1.0]).tolist()}
    assert evaluate("approach_rate(value, diagonal(1, 1, 1), key)", great_circle) == pytest.approx(4 / 3, rel=1e-12)
    great_circle["key"] = np.eye(3).tolist()
    assert evaluate("approach_rate(value, diagonal(1, 1, 1), key)", great_circle) == pytest.approx(1.5, rel=1e-12)
    turning = {"value": [[1.0, -0.7, 0.0], [0.7, 1.0, 0.0], [0.0, 0.0, 0.2]]}
    assert evaluate("approach_rate(value)", turning) == pytest.approx(0.8, rel=1e-12)
    with pytest.raises(ProblemError, match="nothing is approached"):
        evaluate("approach_rate(diagonal(2, 2), diagonal(1, 1), diagonal(1, 1))", {})
    assert evaluate("applied(rotation(pi/2), [1, 0])", {}) == pytest.approx([0.0, 1.0])
    assert evaluate("item([4, 5], 2)", {}) == 5


def test_names_of_a_formula():
    assert names("N^a + log(beta)*pi") == {"N", "a", "beta"}


def test_random_matrices_follow_their_seed():
    assert evaluate("normal(1, 2, 3)", {}) == evaluate("normal(1, 2, 3)", {}) != evaluate("normal(2, 2, 3)", {})


@pytest.mark.parametrize(("kind", "law", "slope"), [
    ("power", lambda x: 3 * x**-1.5, -1.5), ("exponential", lambda x: 2 * np.exp(-0.3 * x), -0.3),
    ("line", lambda x: 1 + 4 * x, 4.0)])
def test_fits_find_their_law(kind, law, slope):
    x = np.geomspace(1, 20, 8)
    found = fit(x, law(x), kind)
    assert found.slope == pytest.approx(slope, rel=1e-12) and not found.refusal and found.interval < 1e-10


def test_the_interval_covers_the_truth_of_noisy_data_about_as_often_as_it_says():
    x, covered = np.geomspace(1, 100, 12), 0
    for seed in range(400):
        y = x**-1.0 * np.exp(0.05 * np.random.default_rng(seed).standard_normal(12))
        found = fit(x, y, "power")
        covered += abs(found.slope + 1) <= found.interval
    # 95 % of 400 is 380, with a standard deviation of 4.4.
    assert 366 <= covered <= 394


def test_too_little_range_claims_nothing():
    assert "decade" in fit(np.linspace(1, 5, 9), np.linspace(1, 5, 9), "power").refusal
    assert "e-folds" in fit(np.linspace(0, 1, 9), np.exp(np.linspace(0, 1, 9)), "exponential").refusal
    with pytest.raises(ProblemError):
        fit(np.array([1.0, 2.0]), np.array([1.0, 2.0]), "line")


def test_crossings_and_limits_within_their_error():
    x = np.linspace(0.4, 1.2, 6)
    place, error = crossing(x, np.exp(x) - 2)
    assert abs(place - np.log(2)) <= error
    value, error = limit(1 / np.array([20.0, 40, 80, 160]), 3 + 1 / np.array([20.0, 40, 80, 160]) + np.exp(-1.0) * 400.0**-2)
    assert abs(value - 3) <= max(error, 1e-5)


@pytest.mark.parametrize("law", [
    lambda x: x + 0.4 * x**2, lambda x: x**0.5, lambda x: x**0.7, lambda x: x**0.3, lambda x: x**1.5, lambda x: x * np.log(x),
    lambda x: 1 / np.log(1 / x), lambda x: x + 0.2 * x**0.5, lambda x: x + x**2 * np.log(x), lambda x: x**2,
    lambda x: -5 * x + 30 * x**2 - 40 * x**3])
@pytest.mark.parametrize("beta", [(80.0, 160.0, 320.0, 640.0), (80.0, 160.0, 320.0, 800.0), (25.0, 50.0, 100.0)])
def test_the_error_of_a_limit_covers_convergence_that_is_not_polynomial(law, beta):
    x = 1 / np.array(beta)
    value, error = limit(x, 3 + law(x))
    assert abs(value - 3) <= error * (1 + 1e-6) + 1e-12
    assert error < 1.0


def test_the_limit_of_a_polynomial_keeps_a_narrow_error():
    x = 1 / np.array([80.0, 160.0, 320.0, 640.0])
    value, error = limit(x, 3 + x + 0.4 * x**2)
    assert abs(value - 3) < 1e-12 and error < 0.4 * x[1]**2 * 10


def half(x):
    """A job: half of an even number."""
    if x % 2:
        raise ProblemError("x", x, "must be even")
    return x // 2


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failed_job_does_not_sink_the_rest(workers):
    found = {outcome.index: outcome for outcome in run_jobs(half, [2, 3, 4], workers)}
    assert [found[i].result for i in range(3)] == [1, None, 2] and "even" in found[1].error


def test_matrices_have_growth_direction_and_multiple():
    weights = {"m": [[2.0, 0.3], [0.3, 0.8]], "q": [[1.0, 1.0], [0.0, 1.0]]}
    numbers, vectors = np.linalg.eigh(np.array(weights["m"]))
    assert evaluate("growth(m)", weights) == pytest.approx(numbers[1], rel=1e-14)
    assert np.allclose(evaluate("leading_direction(m)", weights), vectors[:, 1] * np.sign(vectors[0, 1]), rtol=1e-14)
    assert evaluate("multiple(diagonal(3, 3))", {}) == 3.0
    assert evaluate("growth([[1, -5], [5, 1]])", {}) == pytest.approx(1.0)
    with pytest.raises(ProblemError, match="a multiple of I"):
        evaluate("multiple(m)", weights)
    inverse = np.linalg.inv(np.array(weights["q"]).T) * 1.5
    assert evaluate("multiple(q, k)", {"q": weights["q"], "k": inverse.tolist()}) == pytest.approx(1.5, rel=1e-14)


def test_depths_of_a_meeting_are_those_of_its_equation():
    """Two equal Dirac masses without the denominator at beta = 0: rho' = 1 - rho^2, so that artanh rho is the depth."""
    depths = evaluate("two_dirac_times(0, 0, [1, 3], 5, 2, 'none')", {})
    assert depths == pytest.approx(np.arctanh(0.9999) * np.arange(5) / 4 / 2, rel=1e-6)
    equal, tokens = (evaluate(text, {}) for text in ("two_dirac_times(3, 0, [1, 1], 5)", "orthonormal_times(3, 2, 5)"))
    assert equal == pytest.approx(tokens, rel=1e-9)  # two orthonormal tokens are two Dirac masses


def test_the_pace_of_the_cold_flow_is_its_largest_slope():
    """V = diag(a, b), B = I: the angle moves at (b - a) sin(2 theta)/2."""
    assert evaluate("cold_pace(diagonal(3, 1), identity(2), identity(2))", {}) == pytest.approx(2.0, rel=1e-4)
    assert evaluate("cold_pace(diagonal(1, 1), identity(2), rotation(1))", {}) == pytest.approx(0.0, abs=1e-12)


def test_the_exceptional_set_is_left_at_the_gap_over_what_follows():
    """V = diag(3, 2, 1), B = diag(1, 4, 1): g = 3 - 2 * 4 < 0 makes e_2 lead, and e_1 follow."""
    given = "diagonal(3, 2, 1), diagonal(1, 4, 1), identity(3)"
    assert evaluate(f"leaving_rate({given})", {}) == pytest.approx(5.0)
    assert evaluate(f"approach_rate({given})", {}) == pytest.approx(1.25)
