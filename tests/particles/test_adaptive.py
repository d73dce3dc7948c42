"""Adaptive tokens: cells that keep their mass, tokens added and taken out, the mean field reached."""

import json
import math

import numpy as np
import pytest
from mpi4py import MPI

from problems import ProblemError, load
from solver import compare
from solver.particles.chain import Chain, Profile
from solver.particles.solver import ParticleSolver
from solver.runs.distances import TargetDistance
from solver.wasserstein.measure import Measure
from tests.particles.support import SMOOTH_CIRCLE, problem, run

ADAPTIVE = {"sampling": "adaptive"}
# docs/theory.md §4.8, the mean field at beta = 100.
FLAGSHIP = {3.0: 0.12372, 4.0: 0.14885, 5.0: 0.20551}


def test_profile_has_its_ends_and_its_mass():
    """log rho = 1 + 2u - 3u^2 is a parabola, which the fit finds exactly."""
    u, w = np.polynomial.legendre.leggauss(40)
    mean = np.log(np.exp(1 + (u + 1) - 3 * ((u + 1) / 2) ** 2) @ w / 2)
    found = Profile.fit(np.array([1.0]), np.array([0.0]), np.array([mean]))
    assert found.at(np.array([0.3])) == pytest.approx(1 + 0.6 - 0.27, abs=1e-10)


@pytest.mark.parametrize(("count", "least"), [((40, 80), 3.5)])
def test_token_masses_integrate_to_fourth_order(count, least):
    """Uneven tokens on the circle: int cos(3 phi + 1) rho with rho ~ exp(cos phi)."""
    errors = []
    for n in count:
        angles = 2 * np.pi * np.arange(n) / n + 0.3 * np.sin(2 * np.pi * np.arange(n) / n)
        ends, (nodes, weights) = np.append(angles[1:], angles[0] + 2 * np.pi), np.polynomial.legendre.leggauss(10)
        inside = (angles + ends)[:, None] / 2 + np.outer((ends - angles) / 2, nodes)
        masses = (ends - angles) / 2 * (np.exp(np.cos(inside)) @ weights)
        logs = np.cos(angles) - np.log(masses.sum())
        points = np.column_stack([np.cos(angles), np.sin(angles)])
        chain = Chain(problem().manifold, True, masses / masses.sum())
        exact = np.sum(np.cos(3 * inside + 1) * np.exp(np.cos(inside)) * weights * (ends - angles)[:, None] / 2) / masses.sum()
        errors.append(abs(chain.token_masses(points, logs) @ np.cos(3 * angles + 1) - exact))
    assert np.log2(errors[0] / errors[1]) > least


def test_flagship_follows_the_mean_field():
    case = load("misaligned_circle", {"time.end": "5.0", "time.outputs": "[3.0, 4.0, 5.0]"})
    to_target, found = TargetDistance(case, MPI.COMM_SELF), []
    ParticleSolver(case, MPI.COMM_SELF).run(found.append)
    for snapshot in found:
        distance = to_target.local(Measure(snapshot.points, snapshot.masses))[2].value
        assert distance == pytest.approx(FLAGSHIP[snapshot.time], abs=1e-5)
        assert snapshot.masses.sum() == pytest.approx(1.0, abs=1e-15) and snapshot.masses.min() > 0
        assert snapshot.cell_masses.sum() == pytest.approx(1.0, abs=1e-15) and snapshot.cell_masses.min() > 0
        assert snapshot.row["largest_gap"] <= 0.2 * 0.1
        assert 300 < len(snapshot.masses) == snapshot.row["tokens"] < 2000


@pytest.mark.parametrize(("contrast", "most"), [(100.0, 80), (np.inf, None)])
def test_intervals_that_nothing_attends_to_are_left_alone(contrast, most):
    """At beta |B| = 100 a mass of 1e-200 is beyond e^{-2 beta |B|} times any rounding; without a bound it counts."""
    angles = 2 * np.pi * (np.arange(400) + 0.3) / 400
    masses = np.where(np.arange(400) < 200, 1 / 200, 1e-200)
    logs = np.log(masses * 400 / (2 * np.pi)) + np.where(np.arange(400) < 200, 0.0, 3.0 * np.sin(9 * angles))
    points = np.column_stack([np.cos(angles), np.sin(angles)])
    chain, largest = Chain(problem().manifold, True, masses.copy(), contrast), 2 * np.pi / 250
    for _ in range(12):
        points, logs, _ = chain.adapt(points, logs, largest, 10**6)
    empty = np.count_nonzero(points[:, 1] < -0.02)
    assert math.fsum(chain.masses) == pytest.approx(1.0, abs=4e-16)
    assert chain.largest(points) <= largest
    assert empty <= most if most else empty > 190


def test_zero_temperature_is_exact():
    """docs/theory.md §3.3: the law stays angular central Gaussian, and W2 to the target is known (§3.4)."""
    case = problem(beta=np.inf, end=2.0, attention={"value": [[1.0, 0.0], [0.0, 0.0]]},
                   particles={**ADAPTIVE, "gap": 0.5, "rtol": 1e-9})
    last, found = run(case)[-1], TargetDistance(case, MPI.COMM_SELF)
    exact = -2.0 - np.log(2 * np.pi) - np.log(np.sum((last.points * [np.exp(-2.0), 1.0]) ** 2, axis=1))
    # Tokens put in on the way take their log rho from a parabola: fourth order in the gap, .005.
    assert np.abs(last.log_density[0] - exact).max() < 1e-5
    assert found.local(Measure(last.points, last.masses))[2].value == pytest.approx(0.413607, abs=2e-6)


def test_unnormalised_attention_against_quadrature_tokens():
    usa = {"beta": 3.0, "end": 0.3, "attention": {"normalization": "none"}, **SMOOTH_CIRCLE}
    adaptive = run(problem(**usa, particles={**ADAPTIVE, "gap": 0.1}))[-1]
    fixed = run(problem(**usa, particles={"count": 400}))[-1]
    assert adaptive.row["mean"] == pytest.approx(fixed.row["mean"], abs=1e-7)
    assert adaptive.row["second"] == pytest.approx(fixed.row["second"], abs=1e-7)


@pytest.mark.parametrize("given", [[0.5], 0.5], ids=["list", "number"])
def test_gaussian_on_the_line(given):
    """docs/theory.md §5.4 with alpha_0 = Sigma_0 = .5, beta = 1, v = -1: alpha(2) and Sigma(2)."""
    case = problem("euclidean", dimension=1, beta=1.0, end=2.0, law="normal", attention={"value": [[-1.0]]},
                   initial={"components": [{"mean": given, "covariance": 0.5}]}, particles={**ADAPTIVE, "gap": 0.1})
    last = run(case)[-1]
    mean = float(last.row["mean"][0])
    assert mean == pytest.approx(0.0390679311, abs=1e-6)
    assert float(last.row["second"][0, 0]) - mean**2 == pytest.approx(1 / 6, abs=1e-6)


def test_interval_keeps_its_mass_at_the_walls():
    last = run(problem("interval", bounds=[[-1, 1]], beta=4.0, end=2.0, attention={"value": [[2.0]]},
                       particles={**ADAPTIVE, "rtol": 1e-6}))[-1]
    assert last.masses.sum() == pytest.approx(1.0, abs=1e-14)
    assert last.points.min() == -1 and last.points.max() == 1


def test_resumed_run_is_the_uninterrupted_one():
    case = load("misaligned_circle", {"time.end": "2.0", "time.outputs": "3"})
    whole, states, later = [], [], []
    solver = ParticleSolver(case, MPI.COMM_SELF)
    solver.run(lambda s: (whole.append(s), states.append(solver.state_dict())))
    again = ParticleSolver(case, MPI.COMM_SELF)
    again.load_state(states[1])
    again.run(later.append)
    assert np.array_equal(whole[-1].points, later[-1].points) and np.array_equal(whole[-1].masses, later[-1].masses)
    assert np.array_equal(whole[-1].cell_masses, later[-1].cell_masses)


def test_cap_is_said_on_the_terminal_and_in_the_verdict(tmp_path, capsys):
    case = load("misaligned_circle", {"time.end": "0.5", "time.outputs": "2", "particles.most": "400", "density.cells": "64",
                                      "compare.also": "[]"})
    found = compare(case, out=tmp_path / "run", quiet=False)
    assert found.verdict.outcome == "not resolved" and "particles.most = 400" in found.verdict.words()
    assert any("particles.most" in words for words in json.loads((tmp_path / "run/run.json").read_text())["resolution"])
    assert "particles.most = 400" in "".join(capsys.readouterr())
    wider = compare(case.with_({"particles.most": 100000}), out=tmp_path / "wider")
    assert not wider.verdict.unresolved


def test_cap_is_kept_and_said():
    last = run(load("misaligned_circle", {"time.end": "2.0", "time.outputs": "2", "particles.most": "400"}))[-1]
    assert len(last.masses) <= 400 and last.row["largest_gap"] > 0.02


@pytest.mark.parametrize(("options", "field"), [
    ({"space": "sphere", "dimension": 4}, "particles.sampling"), ({"noise": 0.1}, "particles.sampling"),
    ({"particles": {"gap": 0.1}}, "particles.gap"),
    ({"particles": {**ADAPTIVE, "most": 100}, "beta": 1e4}, "particles.most")])
def test_what_has_no_adaptive_tokens_is_refused(options, field):
    with pytest.raises(ProblemError) as error:
        ParticleSolver(problem(**{"particles": ADAPTIVE, **options}), MPI.COMM_SELF)
    assert error.value.field == field


def test_a_narrow_law_is_where_it_is():
    """A wrapped normal law narrower than all first intervals by far beside one that is not: half the mass each. The narrow one
    contracts as x' = -(x - mean) until its spread sees the kernel, so that log rho grows by t up to beta deviation^2 t."""
    width = 1e-4
    parts = [{"mean": 0.3, "deviation": width}, {"mean": 2.8, "deviation": 0.1}]
    for components in (parts, parts[:1]):
        case = problem(beta=20.0, end=0.5, law="wrapped-normal", initial={"components": components}, particles=ADAPTIVE)
        first, last = run(case)
        angles, shares = np.arctan2(first.points[:, 1], first.points[:, 0]), 1 / len(components)
        near = np.abs(angles - 0.3) < 8 * width
        assert first.masses[near].sum() == pytest.approx(shares, abs=1e-9)
        spread = np.sqrt(first.masses[near] @ (angles[near] - 0.3) ** 2 / shares)
        assert spread == pytest.approx(width, rel=0.03)  # tokens are one deviation apart
        assert np.isfinite(last.log_density).all()
    assert last.log_density.max() == pytest.approx(0.5 - np.log(width * np.sqrt(2 * np.pi)), abs=1 / 8)


def test_narrow_components_on_the_line_keep_their_shares():
    parts = [{"mean": [0.0], "covariance": 1e-12}, {"mean": [5.0], "covariance": 0.01}, {"mean": [9.0], "covariance": 1e-6}]
    first = run(problem("euclidean", dimension=1, beta=1.0, end=0.1, law="normal", attention={"value": [[-1.0]]},
                        initial={"components": parts}, particles=ADAPTIVE))[0]
    assert float(first.row["mean"][0]) == pytest.approx(14 / 3, abs=1e-9)


def test_a_law_that_cells_cannot_see_is_refused(monkeypatch):
    case = problem(beta=20.0, law="wrapped-normal", initial={"components": [{"mean": 0.3, "deviation": 1e-5}]},
                   particles=ADAPTIVE)
    monkeypatch.setattr("solver.particles.chain_start.summands", lambda law: [])
    with pytest.raises(ProblemError) as error:
        ParticleSolver(case, MPI.COMM_SELF)
    assert error.value.field == "initial.law"
