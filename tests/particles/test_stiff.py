"""Implicit steps of gathered tokens: the Jacobian, the order of the scheme, and long metastable runs."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from problems import register_score, register_velocity, registered
from solver.attention import Attention
from solver.particles.jacobian import drift_jacobian
from solver.particles.solver import ParticleSolver
from solver.particles.stiff import StiffSteps, serves, step_rodas
from solver.ranks import alone
from tests.particles.support import problem

# Five tokens at beta = 4, V = B = I: the angles of the metastable run of docs/theory.md §4.4's setting.
ANGLES = [0.06219714, 0.21432297, 1.81912262, 2.91107101, -3.09524835]


def on_circle(angles):
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def drift(weights, manifold, points, masses, shift=0.0):
    """X of the retracted points, by the dense reference."""
    places = points / np.linalg.norm(points, axis=1, keepdims=True) if manifold.normalised else points
    values, log_scale = Attention(weights, method="numpy").field(places, places, masses)
    return manifold.project(places, values * np.exp(log_scale - shift))


@pytest.mark.parametrize("normalization", ["softmax", "none"])
@pytest.mark.parametrize(("space", "d"), [("circle", None), ("sphere", 4), ("euclidean", 3)])
def test_jacobian_is_the_derivative(space, d, normalization):
    random = np.random.default_rng(3)
    size = d or 2
    matrices = [random.normal(size=(size, size)) / 2 for _ in range(6)]
    heads = [dict(zip(("query", "key", "value"), (m.tolist() for m in matrices[i:i + 3]), strict=True)) for i in (0, 3)]
    case = problem(space, dimension=d, beta=1.3, attention={"heads": heads, "normalization": normalization},
                   law="normal" if space == "euclidean" else "uniform",
                   initial={"components": [{"mean": [0.0] * size, "covariance": np.eye(size).tolist()}]}
                   if space == "euclidean" else None)
    points = random.normal(size=(6, size)) / 2
    if case.manifold.normalised:
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    masses = random.random(6)
    masses /= masses.sum()
    weights = case.attention.at(0.0)
    found = drift_jacobian(weights, case.manifold, points, masses, 0.7)
    shift = 0.7 if normalization == "none" else 0.0
    h = 1e-5
    for column in range(points.size):
        ends = []
        for sign in (1, -1):
            moved = points.copy()
            moved.flat[column] += sign * h
            ends.append(drift(weights, case.manifold, moved, masses, shift).ravel())
        # Central differences: h^2 of the third derivative and rounding over h.
        assert np.allclose((ends[0] - ends[1]) / (2 * h), found[:, column], atol=1e-8)


def test_rodas_has_order_four():
    """On a stiff pair with exact solution y = (cos t, cos^2 t + slow): Prothero and Robinson's test, autonomous."""

    def rate(y):
        return np.array([-y[1], y[0], -50.0 * (y[2] - y[0]) - y[1]])

    jacobian = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [50.0, -1.0, -50.0]])
    errors = []
    for steps in (20, 40, 80):
        y = np.array([1.0, 0.0, 1.0])
        for _ in range(steps):
            y, _ = step_rodas(rate, jacobian, y, 1.0 / steps)
        errors.append(np.abs(y - [np.cos(1), np.sin(1), np.cos(1)]).max())
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(orders > 3.7), orders


def test_rodas_has_order_four_where_the_jacobian_changes():
    """y' = y^2 from -1: y = -1/(1 + t)."""
    errors = []
    for steps in (10, 20, 40):
        y = np.array([-1.0])
        for _ in range(steps):
            y, _ = step_rodas(lambda y: y**2, np.diag(2 * y), y, 1.0 / steps)
        errors.append(abs(y[0] + 0.5))
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(orders > 3.7), orders


def merge_times(beta, angles, level, end):
    """When neighbours come to cosine `level`, from SciPy's Radau on the angles: theta_i' = sum_j p_ij sin(theta_j - theta_i)."""

    def rate(_, theta):
        gaps = theta[None] - theta[:, None]
        weights = np.exp(beta * (np.cos(gaps) - 1))
        return (weights * np.sin(gaps)).sum(axis=1) / weights.sum(axis=1)

    run = solve_ivp(rate, (0.0, end), np.sort(angles), method="Radau", rtol=1e-10, atol=1e-12, dense_output=True)
    found = []
    for i in range(len(angles)):
        j = (i + 1) % len(angles)

        def apart(t, i=i, j=j):
            theta = run.sol(t)
            return level - np.cos(theta[j] - theta[i])

        if apart(0.0) > 0 > apart(end):
            found.append(brentq(apart, 0.0, end))
    return sorted(found)


def long_case(end, rtol=1e-8):
    return problem(beta=4.0, end=end, attention={}, particles={"rtol": rtol, "count": 5})


def test_a_metastable_run_of_a_million_takes_few_steps():
    """Three clusters 120 degrees apart at beta = 9, one moved by 0.1: alive for e^{3 beta/2}, and then some."""
    angles = np.array([0.0, 1e-3, 2.0, 2.001, 4.3])
    case = problem(beta=9.0, end=1e6, particles={"rtol": 1e-8})
    solver = ParticleSolver(case, alone(), tokens=(on_circle(angles), np.full(5, 0.2)))
    statistics = solver.run()
    assert solver.stiff.active
    assert solver.time == 1e6
    # Explicit steps would be 3e5.
    assert statistics.steps < 3000
    points = solver.everything()
    assert np.allclose(np.linalg.norm(points, axis=1), 1.0, atol=1e-14)


def test_implicit_steps_agree_with_a_reference():
    """Equal positions at a depth between two merges, to the tolerance grown by what the flow makes of it."""
    case = long_case(200.0, rtol=1e-9)
    solver = ParticleSolver(case, alone(), tokens=(on_circle(ANGLES), np.full(5, 0.2)))
    solver.run()
    assert solver.stiff.active

    def rate(_, theta):
        gaps = theta[None] - theta[:, None]
        weights = np.exp(4.0 * (np.cos(gaps) - 1))
        return (weights * np.sin(gaps)).sum(axis=1) / weights.sum(axis=1)

    run = solve_ivp(rate, (0.0, 200.0), ANGLES, method="Radau", rtol=1e-11, atol=1e-13)
    assert np.allclose(solver.everything(), on_circle(run.y[:, -1]), atol=1e-7)


def test_stiff_steps_carry_the_density():
    """The log of the density along tokens that gather: the same by implicit and by explicit steps."""
    found = []
    for stiff in (True, False):
        case = problem("circle", beta=4.0, end=100.0, law="von-mises-fisher", particles={"rtol": 1e-8, "count": 24},
                       initial={"components": [{"mean": [1.0, 0.0], "concentration": 2.0}]})
        solver = ParticleSolver(case, alone())
        if not stiff:
            solver.stiff = None
        solver.run()
        assert not stiff or solver.stiff.active
        found.append(solver.snapshot())
    assert np.allclose(found[0].points, found[1].points, atol=1e-7)
    assert np.allclose(found[0].log_density, found[1].log_density, rtol=1e-5)


def test_going_on_takes_the_same_implicit_steps():
    tokens = on_circle(ANGLES), np.full(5, 0.2)
    whole = ParticleSolver(long_case(300.0), alone(), tokens=tokens)
    states = []
    whole.run(on_step=lambda step: states.append(whole.state_dict()))
    middle = next(state for state in states if state["implicit"] and state["time"] > 50.0)
    again = ParticleSolver(long_case(300.0), alone(), tokens=tokens)
    again.load_state(middle)
    again.run()
    assert np.array_equal(again.everything(), whole.everything())
    assert again.step == whole.step


def test_only_a_drift_that_is_known_is_followed_implicitly(monkeypatch):
    for registry in registered.REGISTRIES:
        monkeypatch.setattr(registry, "functions", {})
    register_score("dot")(lambda queries, keys: queries @ keys.T)
    register_velocity("turn")(lambda points: points[:, ::-1] * [-1.0, 1.0])
    case = long_case(1.0)
    assert serves(case)
    for change in ("attention.score=dot", "drift.velocity=turn", "noise.diffusivity=0.1", "particles.integrator=rk4",
                   "attention.beta=inf"):
        assert not serves(case.with_(change)), change


def test_groups_are_refused_where_there_are_too_many():
    case = problem(beta=4.0, end=1.0)
    steps = StiffSteps(case, 1e-8, carries=False)
    points = on_circle(np.linspace(0, 6, 400))
    control = type("Control", (), {"step": 1e3})()
    assert steps.advance(control, points, np.full(400, 1 / 400), 0.0, 19, 1.0) is None
