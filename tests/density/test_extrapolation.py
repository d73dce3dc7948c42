"""The velocity within steps, extrapolated from earlier steps: exact for quartics, as accurate as at every stage, once a step."""

import numpy as np
import pytest
from mpi4py import MPI

from problems import load
from solver.density.evolve import DensitySolver
from solver.density.extrapolation import MOST, POINTS, REST, TOLERANCE, Extrapolation, extrapolate
from solver.density.velocity import Velocity

SMALL = {"density.cells": "96", "time.end": "1.0", "time.outputs": "2", "attention.beta": "20.0", "density.cfl": "0.25"}


def test_exact_for_quartics():
    rng = np.random.default_rng(3)
    coefficients = rng.normal(size=(POINTS, 5, 2))

    def field(t):
        return np.polynomial.polynomial.polyval(t, coefficients)

    times = [0.1, 0.13, 0.19, 0.2, 0.24]
    np.testing.assert_allclose(extrapolate(times, [field(t) for t in times], 0.27), field(0.27), atol=1e-12)


def test_trusted_only_while_it_is_right():
    """A field that jumps is seen one step later, and not trusted again before a rest, or before history begins anew."""
    follow, dt = Extrapolation(MPI.COMM_SELF), 0.01
    trusted = []
    for step in range(12 + REST[0]):
        values = np.full((3, 2), np.sin(step * dt) + (step >= 10))
        follow.begin(step * dt, np.zeros(4), values, np.ones(3) / 3, 1.0)
        trusted.append(follow.trusted)
    # The sixth start is the first that five earlier ones foretell; the jump comes with the eleventh.
    assert trusted == [False] * 5 + [True] * 5 + [False] * REST[0] + [True] * 2
    follow.forget()
    for step in range(6):
        follow.begin(step * dt, np.zeros(4), np.full((3, 2), np.cos(step * dt)), np.ones(3) / 3, 1.0)
    assert follow.trusted
    assert np.abs(follow.at(5.5 * dt) - np.cos(5.5 * dt)).max() < TOLERANCE


def solved(monkeypatch, changes):
    calls = []
    evaluate = Velocity.__call__
    with monkeypatch.context() as patch:
        patch.setattr(Velocity, "__call__", lambda self, *arguments: calls.append(1) or evaluate(self, *arguments))
        solver = DensitySolver(load("misaligned_circle", {**SMALL, **changes}), MPI.COMM_SELF)
        solver.run(lambda snapshot: None)
    return solver, len(calls)


def test_rarely_where_steps_are_short(monkeypatch):
    """Steps of a hundredth of the time in which the velocity changes: it is evaluated every few of them."""
    changes = {"density.cells": "24", "density.step": "0.001", "attention.beta": "3.0"}
    once, few = solved(monkeypatch, changes)
    every, _ = solved(monkeypatch, {**changes, "density.extrapolate": "false"})
    # Five starts at each of the distances 1, 2, 4 and 8 steps, then MOST.
    assert few < 4 * 5 + 5 * (POINTS - 1) + 1.5 * once.step / MOST
    assert np.abs(once.state.array - every.state.array).max() / every.top < TOLERANCE * 2.0 * np.exp(2.0)


@pytest.mark.parametrize(("integrator", "stages"), [("ssprk22", 2), ("ssprk33", 4), ("ssprk104", 10)])
def test_one_evaluation_a_step(monkeypatch, integrator, stages):
    """The law moves by less than the tolerance times the strength of attention, 2 here, times the depth, and what neighbouring
    tokens' distances grow by in it; steps are the same."""
    scheme = {"density.integrator": f'"{integrator}"'}
    every, all_stages = solved(monkeypatch, {**scheme, "density.extrapolate": "false"})
    once, few = solved(monkeypatch, scheme)
    assert once.step == every.step > 50
    # Some evaluate the first stage of a step, where the limiter has changed the state, once more.
    assert all_stages >= stages * every.step
    assert few <= 1.05 * once.step + POINTS * stages
    error = np.abs(once.state.array - every.state.array).max() / every.top
    assert 0.0 < error < TOLERANCE * 2.0 * 1.0 * np.exp(2.0)


def test_order_in_the_step(monkeypatch):
    """The polynomial has order 5, more than the scheme: with attention at every start errors against very short steps fall as
    with attention at every stage."""
    monkeypatch.setattr("solver.density.extrapolation.MOST", 1)
    errors = {}
    for kind in ("true", "false"):
        found = [solved(monkeypatch, {"density.extrapolate": kind, "density.step": step, "density.limiter": "false",
                                      "density.cells": "24", "attention.beta": "3.0"})[0].state.array.copy()
                 for step in ("0.02", "0.01", "0.005", "0.0025")]
        errors[kind] = [np.abs(state - found[-1]).max() for state in found[:3]]
    # Order 3 against steps half as long as the last: log2(511/7)/2 = 3.1 on the mean of two halvings.
    for e in errors.values():
        assert 0.5 * np.log2(e[0] / e[2]) > 2.8
    assert all(once < 1.5 * every for once, every in zip(errors["true"], errors["false"], strict=True))


def test_layers_begin_anew(monkeypatch):
    """Across a change of weights nothing is extrapolated: the density is the one with attention at every stage."""
    text = {"time.end": "0.6", "density.cells": "48"}
    calls = {}
    for kind in ("true", "false"):
        solver = DensitySolver(load("layered_circle", {**text, "density.extrapolate": kind}), MPI.COMM_SELF)
        solver.run(lambda snapshot: None)
        calls[kind] = solver.state.array.copy(), solver.top
    assert len(load("layered_circle", text).attention.layers) > 1
    difference = np.abs(calls["true"][0] - calls["false"][0]).max() / calls["false"][1]
    assert difference < 1e-5
