"""What users add, against solutions in closed form and against what is built in."""

import math

import numpy as np
import pytest
from mpi4py import MPI

from meshes.own import TokenSpace
from problems import (
    ProblemError,
    load,
    loads,
    register_diagnostic,
    register_law,
    register_manifold,
    register_score,
    register_velocity,
    registered,
)
from problems.attention import Head, Weights
from problems.loader import as_problem
from problems.registered import Named
from solver import compare, simulate, solve, target
from solver.attention import Attention
from solver.density.evolve import DensitySolver
from solver.errors import RunError
from solver.particles.solver import ParticleSolver
from solver.wasserstein.distance import Measure, distance

PLAIN = {"space": {"manifold": "circle"}, "attention": {"beta": 3.0, "value": [[1.0, 0.0], [0.3, 0.5]]},
         "initial": {"law": "harmonics", "cos": [0.4], "sin": [0.2]}, "time": {"end": 1.0, "outputs": 3},
         "density": {"cells": 32}, "particles": {"count": 48}}


@pytest.fixture(autouse=True)
def functions(monkeypatch):
    """The functions of this page, registered for one test."""
    for registry in registered.REGISTRIES:
        monkeypatch.setattr(registry, "functions", {})
    register_score("dot")(lambda queries, keys: queries @ keys.T)
    register_score("near")(lambda queries, keys, reach=1.0: np.where(
        np.linalg.norm(queries[:, None] - keys, axis=2) < reach, 0.0, -np.inf))
    register_velocity("turn", divergence=lambda points, speed=1.0: np.zeros(len(points)))(
        lambda points, speed=1.0: speed * points[:, ::-1] * [-1.0, 1.0])
    # The tangent part of a constant vector of length a along the first axis has divergence -a x_1 on the circle.
    register_velocity("pull", divergence=lambda points, size=1.0: -size * points[:, 0])(
        lambda points, size=1.0: np.broadcast_to([size, 0.0], points.shape))
    register_diagnostic("first")(lambda points, masses: masses @ points[:, 0])


def problem(**sections):
    return {name: {**PLAIN.get(name, {}), **sections.get(name, {})} for name in {**PLAIN, **sections}}


WEIGHTS = {
    "softmax": {}, "cold": {"beta": "inf"}, "hot": {"beta": 0.0}, "unnormalised": {"beta": 1.0, "normalization": "none"},
    "heads": {"heads": [{"query": [[1.0, 0.5]], "key": [[0.5, 1.0]]}, {"value": [[-0.5, 0.0], [0.0, 0.2]]}]},
    "layers": {"layers": [{"until": 0.5}, {"beta": 1.0, "value": [[0.0, 1.0], [0.5, 0.0]]}]},
}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_the_score_of_the_papers_registered_is_the_one_built_in(kind):
    plain, own = (problem(attention={**WEIGHTS[kind], **more}) for more in ({}, {"score": "dot"}))
    # At zero temperature the density knows where a law of full support attends to, whereas a score sees its quadrature points.
    for run in (simulate,) if kind == "cold" else (simulate, solve):
        same, found = run(plain), run(own)
        for name in ("mean_x", "second_xy", "log_energy"):
            # Adaptive steps of tokens that carry no density differ: their tolerance is 1e-8.
            assert found.column(name) == pytest.approx(same.column(name), rel=1e-6, abs=1e-6, nan_ok=True), name
    assert not target(own).exists
    assert "registered score" in target(own).reason


def test_the_field_of_a_score_is_the_sum_over_all_pairs():
    generator = np.random.default_rng(1)
    x, y, masses = generator.normal(size=(5, 3)), generator.normal(size=(300, 3)), generator.uniform(0.1, 1.0, 300)
    query, key, value = generator.normal(size=(3, 2, 3))[0], generator.normal(size=(2, 3)), generator.normal(size=(3, 3))
    cauchy = Named("attention.score", "cauchy", {"width": 0.7}, lambda q, k, width: -np.log1p(
        np.square(q[:, None] - k).sum(axis=2) / width**2))
    for beta in (0.0, 2.0, math.inf):
        for normalization in ("softmax", "none") if math.isfinite(beta) else ("softmax",):
            attention = Attention(Weights(beta, (Head(query, key, value),), normalization, cauchy))
            values, log_scale = attention.field(x, y, masses)
            scores = cauchy.function(x @ query.T, y @ key.T, 0.7)
            weight = masses * (np.exp(beta * scores) if math.isfinite(beta) else scores == scores.max(axis=1, keepdims=True))
            total = weight.sum(axis=1, keepdims=True) if normalization == "softmax" else 1.0
            assert values * math.exp(log_scale) == pytest.approx((weight @ y / total) @ value.T, rel=1e-12, abs=1e-13)


def test_a_token_that_attends_to_nothing_is_an_error_with_its_place():
    far = [[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]]
    attention = Attention(Weights(1.0, (Head(np.eye(2), np.eye(2), np.eye(2)),), "softmax",
                                  Named("attention.score", "near", {}, registered.SCORES.find("near"))))
    points = np.array(far)[:, :2]
    with pytest.raises(RunError, match=r"target 1.*leaves nothing to attend to"):
        attention.field(np.array([[1.0, 0.0], [-1.0, 0.0]]), points, np.array([0.5, 0.5]))


def test_hard_local_averaging_moves_tokens_to_the_mean_of_those_near():
    # f = 0 within the reach and -inf beyond: whatever beta, the mean of the neighbours. Two far groups contract apart.
    angles = np.concatenate([np.linspace(-0.1, 0.1, 5), np.pi + np.linspace(-0.1, 0.1, 5)])
    start = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    values = problem(attention={"score": {"name": "near", "reach": 0.5}, "value": [[1.0, 0.0], [0.0, 1.0]]}, time={"end": 6.0})
    solver = ParticleSolver(as_problem(values), tokens=(start, np.full(10, 0.1)))
    solver.run()
    # Both groups are even about the first axis: their tokens end at its two ends, at the rate 1 of |m| close to 1.
    assert np.abs(solver.points[0, :5] - [1.0, 0.0]).max() < 2 * 0.1 * math.exp(-6 * 0.99)
    assert np.abs(solver.points[0, 5:] - [-1.0, 0.0]).max() < 2 * 0.1 * math.exp(-6 * 0.99)


STILL = {"beta": 1.0, "value": [[0.0, 0.0], [0.0, 0.0]]}


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_a_rotation_carries_the_density_around_at_the_order_of_the_scheme(degree):
    errors = []
    for cells in (24, 48):
        values = problem(attention=STILL, drift={"velocity": {"name": "turn", "speed": 2.0}},
                         density={"cells": cells, "degree": degree, "integrator": "ssprk33"})
        solver = DensitySolver(as_problem(values), MPI.COMM_WORLD)
        solver.advance(1.0)

        def exact(points):
            angle = np.arctan2(points[:, 1], points[:, 0]) - 2.0
            return (1.0 + 0.4 * np.cos(angle) + 0.2 * np.sin(angle)) / (2 * np.pi)

        errors.append(solver.snapshot().l2_distance(exact))
    assert math.log2(errors[0] / errors[1]) > degree + 0.8
    assert solver.operator.mass(solver.state.array) == pytest.approx(1.0, abs=1e-13)
    assert solver.minimum >= 0.0


def test_the_step_bound_knows_the_external_drift():
    steps = {}
    for speed in (2.0, 8.0):
        values = problem(attention=STILL, drift={"velocity": {"name": "turn", "speed": speed}}, time={"end": 0.5, "outputs": 2})
        solver = DensitySolver(as_problem(values), MPI.COMM_WORLD)
        solver.advance(0.5)
        steps[speed] = solver.step, solver.rejected
    # By the CFL bound four times the speed takes four times the steps, and none is repeated for a negative average.
    assert steps[8.0][0] == pytest.approx(4 * steps[2.0][0], rel=0.1)
    assert steps[8.0][1] == 0


def test_a_constant_pull_carries_tokens_and_their_density_as_in_closed_form():
    # theta' = -a sin theta: tan(theta/2) = e^{-at} tan(theta_0/2).
    a, t = 1.5, 1.0
    values = problem(attention=STILL, drift={"velocity": {"name": "pull", "size": a}}, initial={"law": "uniform"},
                     time={"end": t, "outputs": 2}, particles={"count": 64})
    del values["initial"]["cos"], values["initial"]["sin"]
    solver = ParticleSolver(as_problem(values))
    start = solver.points[0, :, :2].copy()
    solver.run()
    half = np.arctan2(start[:, 1], start[:, 0]) / 2
    angle = 2 * np.arctan(math.exp(-a * t) * np.tan(half))
    density = math.exp(a * t) / (np.cos(angle / 2) ** 2 + math.exp(2 * a * t) * np.sin(angle / 2) ** 2) / (2 * np.pi)
    # The tolerance of the tokens is 1e-8 a step, over some fifty steps.
    assert np.abs(solver.points[0, :, :2] - np.stack([np.cos(angle), np.sin(angle)], axis=1)).max() < 1e-6
    assert solver.points[0, :, 2] == pytest.approx(np.log(density), abs=1e-5)
    without = as_problem(values)
    velocity = without.drift.velocity
    velocity.function.divergence = None
    assert not ParticleSolver(without).carries


def test_a_drift_in_rescaled_time_is_slowed_down_like_everything_else():
    # The same flow in another clock: step sizes differ, by which the density is off 1e-5 and tokens 1e-8.
    beta = 0.5
    for run, tolerance in ((solve, 1e-4), (simulate, 1e-7)):
        found = []
        for rescaled in (False, True):
            time = {"end": 0.4 * math.exp(beta * rescaled), "outputs": 2, "rescaled": rescaled}
            values = problem(attention={"beta": beta, "normalization": "none"}, drift={"velocity": "turn"}, time=time)
            found.append(run(values).column("mean_x")[-1])
        assert found[0] == pytest.approx(found[1], abs=tolerance)


def test_a_diagnostic_is_a_column_of_both_sides():
    values = problem(diagnostics={"columns": ["first"]})
    comparison = compare(values, verdict=False)
    for history in (comparison.density, comparison.particles):
        assert history.column("first") == pytest.approx(history.column("mean_x"), abs=1e-15)


def test_a_failing_diagnostic_ends_the_run_with_its_place():
    register_diagnostic("fragile")(lambda points, masses: 1 / 0 if len(points) > 10 else 0.0)
    with pytest.raises(RunError, match=r'fragile.*ZeroDivisionError'):
        simulate(problem(diagnostics={"columns": ["fragile"]}))


def pairs(points):
    return points.reshape(len(points), 2, 2)


def flat_torus():
    def retract(points):
        return (pairs(points) / np.linalg.norm(pairs(points), axis=2, keepdims=True)).reshape(points.shape)

    def project(points, vectors):
        radial = np.einsum("npi,npi->np", pairs(points), pairs(vectors))
        return vectors - (radial[..., None] * pairs(points)).reshape(points.shape)

    return TokenSpace(4, intrinsic=2, retract=retract, project=project)


def table(folder, points):
    np.savetxt(folder / "points.csv", np.column_stack([points, np.ones(len(points))]), delimiter=",")
    return {"law": "table", "path": str(folder / "points.csv")}


def test_tokens_on_a_product_of_circles_are_those_of_both_circles(tmp_path):
    # At beta = 0 every token follows the mean, and each circle sees its own part of it alone.
    register_manifold("torus")(flat_torus)
    angles = np.random.default_rng(2).uniform(-1.5, 1.5, (2, 12))
    points = np.stack([np.cos(angles), np.sin(angles)], axis=2)  # (circle, token, coordinate)
    common = {"time": {"end": 1.0, "outputs": 2}, "particles": {"integrator": "rk4", "step": 0.1}}
    torus = simulate({"space": {"manifold": "torus"}, "attention": {"beta": 0.0},
                      "initial": table(tmp_path, points.transpose(1, 0, 2).reshape(12, 4)), **common}).law().points
    for circle in range(2):
        alone = simulate({"space": {"manifold": "circle"}, "attention": {"beta": 0.0}, "initial": table(tmp_path, points[circle]),
                          **common}).law().points
        assert torus[:, 2 * circle:2 * circle + 2] == pytest.approx(alone, abs=1e-13)


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_circle_of_ones_own_is_the_one_built_in(noise, tmp_path):
    def unit(points):
        return points / np.linalg.norm(points, axis=1, keepdims=True)

    register_manifold("ring")(lambda: TokenSpace(2, retract=unit, project=lambda x, v: v - np.sum(x * v, axis=1)[:, None] * x))
    angles = np.random.default_rng(3).uniform(0.0, 6.0, 16)
    start = table(tmp_path, np.stack([np.cos(angles), np.sin(angles)], axis=1))
    found = [simulate({**problem(noise={"diffusivity": noise}, particles={"integrator": "euler", "step": 0.05}), "initial": start,
                       "space": {"manifold": name}}).law().points for name in ("circle", "ring")]
    assert found[1] == pytest.approx(found[0], abs=1e-13)


def test_laws_on_a_space_of_ones_own():
    def nodes(n):
        angles = 2 * np.pi * (np.arange(n) + 0.5) / n
        return 2.0 * np.stack([np.cos(angles), np.sin(angles)], axis=1), np.full(n, 4 * np.pi / n)

    def wide(nodes=None):
        return TokenSpace(2, retract=lambda x: 2.0 * x / np.linalg.norm(x, axis=1, keepdims=True), nodes=nodes,
                          project=lambda x, v: v - np.sum(x * v, axis=1)[:, None] * x / 4.0)

    register_manifold("wide")(lambda: wide(nodes))
    register_manifold("bare")(wide)
    register_law("lobe")(lambda points: np.exp(points[:, 0]))
    text = ('[space]\nmanifold = "{}"\n[attention]\nbeta = 1.0\n[initial]\nlaw = "{}"\n{}\n'
            '[particles]\nsampling = "{}"\ncount = 64\n')
    lobe = loads(text.format("wide", "lobe", "", "quadrature")).initial
    points, masses = lobe.quadrature(64)
    # int e^{2 cos} cos / int e^{2 cos} = I_1(2)/I_0(2), twice that in length.
    assert masses @ points[:, 0] == pytest.approx(2 * 1.5906368546373291 / 2.2795853023360673, rel=1e-12)
    assert loads(text.format("wide", "uniform", "", "quadrature")).initial.quadrature(8)[1] == pytest.approx(np.full(8, 0.125))
    component = "[[initial.components]]\nmean = [1.0, 0.5]\ncovariance = 0.2"
    samples = loads(text.format("bare", "normal", component, "random")).initial.sample(50, 0)
    assert np.linalg.norm(samples, axis=1) == pytest.approx(np.full(50, 2.0), rel=1e-14)
    for law, words in (("uniform", "initial.law"), ("lobe", "finite volume")):
        with pytest.raises(ProblemError, match=words):
            loads(text.format("bare", law, "", "quadrature"))
    assert not load("smooth_circle").space.options


def test_distances_are_those_that_a_space_gives():
    # On a circle of radius 2 the way is twice the angle; rotated by 0.3, every atom goes 0.6.
    def unit(points):
        return 2.0 * points / np.linalg.norm(points, axis=1, keepdims=True)

    def angle(x, y):
        return 2.0 * np.arccos(np.clip(np.sum(x * y, axis=1) / 4.0, -1.0, 1.0))

    wide = TokenSpace(2, retract=unit, project=lambda x, v: v - np.sum(x * v, axis=1)[:, None] * x / 4.0, distance=angle)
    angles = np.linspace(0.0, 1.0, 20)
    laws = [Measure(2.0 * np.stack([np.cos(angles + shift), np.sin(angles + shift)], axis=1), np.full(20, 0.05))
            for shift in (0.0, 0.3)]
    for p in (1, 2):
        found = distance(*laws, p=p, manifold=wide)
        assert found.value == pytest.approx(0.6, abs=1e-7)  # the arccosine loses half the digits
        assert distance(*laws, p=p, manifold=wide, metric="chordal").value < 0.6 - 1e-3
    many = Measure(unit(np.random.default_rng(0).normal(size=(2500, 2))), np.full(2500, 1 / 2500))
    with pytest.raises(ProblemError, match="4000"):
        distance(many, many, manifold=wide)
