"""Time integrators: orders, staying on the manifold, exact landing, layers, walls, blow-up, resuming."""

import numpy as np
import pytest
from mpi4py import MPI
from scipy.linalg import expm

from solver.errors import RunError
from solver.particles.integrators import TABLES
from solver.particles.solver import ParticleSolver
from tests.particles.support import SMOOTH_CIRCLE, on_circle, problem, run

TILTED = {"value": [[1.2, 0.5, 0.0], [-0.3, 0.8, 0.2], [0.1, 0.0, 0.5]],
          "key": [[1.0, 0.2, 0.0], [0.0, 0.7, 0.4], [0.3, 0.0, 1.0]]}


@pytest.mark.parametrize("name", sorted(TABLES))
def test_tables_satisfy_their_order_conditions(name):
    """Quadrature conditions up to the order of the scheme, and consistent rows."""
    table = TABLES[name]
    nodes = np.array([sum(row) for row in table.stages])
    for power in range(table.order):
        assert np.dot(table.weights, nodes**power) == pytest.approx(1 / (power + 1), abs=1e-14)
    if table.error:
        assert sum(table.error) == pytest.approx(0, abs=1e-15)
        assert np.dot(table.error, [*nodes, 1.0]) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize(("integrator", "order", "steps"), [("euler", 1, (0.04, 0.02, 0.01)), ("rk4", 4, (0.2, 0.1, 0.05))])
def test_fixed_steps_converge_at_their_order(integrator, order, steps, order_table):
    """On the sphere with weights that commute with nothing."""
    common = {"beta": 3.0, "end": 1.0, "attention": TILTED, "law": "harmonics", "initial": {"legendre": [0.3, 0.4]}}
    exact = run(problem("sphere", particles={"count": 72, "rtol": 1e-12}, **common))[-1].points
    errors = [np.abs(run(problem("sphere", particles={"count": 72, "integrator": integrator, "step": h}, **common))[-1].points
                     - exact).max() for h in steps]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    order_table.add(f"particles {integrator}", order, steps, errors, orders)
    assert orders == pytest.approx(order, abs=0.15 if order == 1 else 0.3)


def test_adaptive_error_follows_the_tolerance():
    common = {"beta": 20.0, "end": 1.0, "attention": TILTED, "law": "uniform"}
    exact = run(problem("sphere", particles={"count": 72, "rtol": 1e-12}, **common))[-1].points
    for rtol in (1e-5, 1e-7, 1e-9):
        found = run(problem("sphere", particles={"count": 72, "rtol": rtol}, **common))[-1].points
        assert np.abs(found - exact).max() < 200 * rtol


@pytest.mark.parametrize("integrator", ["dopri5", "rk4", "euler"])
def test_tokens_stay_on_the_sphere_and_outputs_are_met(integrator):
    times = [0.0, 0.1, 0.37, 1.0]
    found = run(problem("sphere", dimension=4, beta=10.0, outputs=times, particles={"count": 100, "integrator": integrator}))
    assert [s.time for s in found] == times
    for s in found:
        assert np.abs(np.linalg.norm(s.points, axis=1) - 1).max() < 1e-15
        assert s.masses.sum() == pytest.approx(1, abs=1e-15)


def test_published_euler_steps_are_repeated_exactly():
    """x <- (x + h P_x V m)/|.|, step by step, against a loop in plain NumPy."""
    h, beta = 0.1, 9.0
    x = on_circle(np.linspace(0, 5, 7))
    found = run(problem(beta=beta, end=1.0, particles={"integrator": "euler", "step": h}), (x, np.full(7, 1 / 7)))[-1]
    for _ in range(10):
        k = np.exp(beta * (x @ x.T - 1))
        m = k @ x / k.sum(axis=1, keepdims=True)
        x = x + h * (m - np.sum(m * x, axis=1, keepdims=True) * x)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
    assert found.step == 10
    assert np.abs(found.points - x).max() < 1e-13


def test_layers_switch_exactly_at_until():
    """A Dirac follows e^{(1-s)V_2} e^{sV_1}, with the switch off every grid of steps."""
    first, second, switch = np.array([[0.3, -1.0], [1.0, 0.2]]), np.array([[1.5, 0.4], [0.0, -0.5]]), 0.37123
    x0 = np.array([0.6, 0.8])
    layers = [{"until": switch, "value": first.tolist()}, {"value": second.tolist()}]
    for integrator, tolerance in (("dopri5", 1e-9), ("rk4", 1e-7)):
        p = problem(attention={"layers": layers}, particles={"integrator": integrator, "step": 0.01})
        found = run(p, (x0[None], np.ones(1)))[-1].points[0]
        exact = expm((1 - switch) * second) @ expm(switch * first) @ x0
        assert np.abs(found - exact / np.linalg.norm(exact)).max() < tolerance


def test_heads_add_up():
    """Two heads with the same scores are one head with the sum of the values."""
    heads = [{"value": [[1.0, 0.2], [0.0, 0.5]]}, {"value": [[0.3, 0.0], [-0.6, 0.1]]}]
    two = run(problem(attention={"heads": heads}, particles={"count": 40}, **SMOOTH_CIRCLE))[-1]
    one = run(problem(attention={"value": [[1.3, 0.2], [-0.6, 0.6]]}, particles={"count": 40}, **SMOOTH_CIRCLE))[-1]
    assert np.abs(two.points - one.points).max() < 1e-12


def test_hard_attention_goes_to_the_favourite():
    """beta = inf, B = -I: each token attends to the one farthest away."""
    p = problem(beta=np.inf, end=0.1, attention={"key": [[-1.0, 0], [0, -1]]}, particles={"integrator": "euler", "step": 0.1})
    x = on_circle(np.array([0.0, 1.0, 2.5]))
    found = run(p, (x, np.full(3, 1 / 3)))[-1].points
    favourite = x[[2, 2, 0]]
    moved = x + 0.1 * (favourite - np.sum(favourite * x, axis=1, keepdims=True) * x)
    assert np.abs(found - moved / np.linalg.norm(moved, axis=1, keepdims=True)).max() < 1e-14


def test_hard_attention_crosses_jumps():
    """Misaligned weights at zero temperature: favourites change all the time; tokens still follow the linear flow."""
    value, transposed = np.diag([2.0, 1.0]), np.array([[0.5, 0.25], [0.5, 1.0]])
    p = problem(beta=np.inf, end=0.5, attention={"value": value.tolist(), "key": transposed.T.tolist()},
                particles={"count": 400, "rtol": 1e-6})
    found = run(p)
    cold = run(problem(beta=4000.0, end=0.5, attention={"value": value.tolist(), "key": transposed.T.tolist()},
                       particles={"count": 400, "rtol": 1e-6}))
    assert np.abs(found[-1].points - cold[-1].points).max() < 0.02
    assert found[-1].step < 2000


def test_walls_hold_tokens_and_let_them_slide():
    """A repelled token reaches the wall at x = 1 and slides along it; nothing leaves the box."""
    p = problem("rectangle", bounds=[[-1, 1], [-1, 1]], beta=0.0, end=3.0, outputs=7,
                attention={"value": [[1.0, 0.0], [0.0, 0.2]]}, particles={"rtol": 1e-9})
    x0, masses = np.array([[0.5, 0.1], [0.7, 0.3]]), np.array([0.5, 0.5])
    found = run(p, (x0, masses))
    for s in found:
        assert np.abs(s.points).max() <= 1
        # All tokens feel V mean, so that heights move by dy/dt = .2 mean(y).
        assert s.points[:, 1] - x0[:, 1] == pytest.approx(np.full(2, 0.2 * (np.exp(0.2 * s.time) - 1)), abs=1e-8)
    assert np.array_equal(found[-1].points[:, 0], [1.0, 1.0])


def test_token_leaves_a_wall_when_the_drift_turns():
    """Two layers: out to the wall, and back again from the moment of the switch."""
    layers = [{"until": 2.0, "value": [[1.0]]}, {"value": [[-1.0]]}]
    p = problem("interval", bounds=[[-1, 1]], beta=0.0, end=2.5, attention={"layers": layers})
    found = run(p, (np.array([[0.5]]), np.ones(1)))
    assert found[-1].points[0, 0] == pytest.approx(np.exp(-0.5), abs=1e-9)


def test_token_hits_the_wall_at_the_right_moment():
    """Before log 2 the token is free, afterwards at the wall, to the tolerance and however long the steps."""
    for t, expected in ((0.6, 0.5 * np.exp(0.6)), (np.log(2) + 1e-3, 1.0), (5.0, 1.0)):
        p = problem("interval", bounds=[[-1, 1]], beta=0.0, end=t, attention={"value": [[1.0]]}, particles={"rtol": 1e-6})
        found = run(p, (np.array([[0.5]]), np.ones(1)))[-1].points[0, 0]
        assert found == pytest.approx(expected, abs=1e-5)


def test_blow_up_ends_with_a_run_error():
    """docs/theory.md §5.4 with v b > 0: Sigma blows up at t = 1/(2 beta v b Sigma_0) = 1."""
    p = problem("euclidean", dimension=1, beta=1.0, end=3.0, law="normal",
                initial={"components": [{"mean": [0.5], "covariance": 0.5}]}, attention={"value": [[1e30]]},
                particles={"count": 30, "rtol": 1e-6, "integrator": "euler", "step": 0.2})
    with pytest.raises(RunError, match="range of numbers") as caught:
        ParticleSolver(p, MPI.COMM_SELF).run()
    assert caught.value.time is not None


def test_stationary_run_stops_by_itself():
    found = run(problem(beta=4.0, end="stationary", outputs=[0.0]), (on_circle(np.array([0.0, 1.0, 2.0])), np.full(3, 1 / 3)))
    x = found[-1].points
    assert np.abs(x - x[0]).max() < 1e-8
    assert found[-1].time > 5


@pytest.mark.parametrize("options", [{"rtol": 1e-8}, {"integrator": "euler", "step": 0.03}])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_resumed_runs_are_the_uninterrupted_ones(options, noise):
    def fresh():
        settings = {"count": 60, **options}
        return ParticleSolver(problem(beta=8.0, outputs=5, noise=noise, particles=settings, **SMOOTH_CIRCLE), MPI.COMM_SELF)

    whole, states = [], []
    first = fresh()
    first.run(lambda s: (whole.append(s), states.append(first.state_dict())))
    second, rest = fresh(), []
    second.load_state(states[2])
    second.run(rest.append)
    assert [s.time for s in rest] == [s.time for s in whole[3:]]
    assert np.array_equal(rest[-1].points, whole[-1].points)
    assert rest[-1].step == whole[-1].step


def test_steps_are_reported():
    seen = []
    stats = ParticleSolver(problem(particles={"count": 20}, **SMOOTH_CIRCLE), MPI.COMM_SELF).run(None, seen.append)
    assert stats.steps == len(seen) == seen[-1].step
    assert sum(s.dt for s in seen) == pytest.approx(1.0)
    assert all(s.error <= 1 for s in seen)
    assert "drift evaluations" in stats.words


def test_the_rate_of_the_density_is_asked_for_only_where_it_counts():
    """Tokens and their densities are those with the rate in every stage, up to rounding; one stage of six goes without."""
    case = problem("sphere", beta=8.0, end=0.3, attention=TILTED, particles={"count": 72, "rtol": 1e-7})
    everywhere, sparing = (ParticleSolver(case, MPI.COMM_SELF) for _ in range(2))
    asked = []
    plain, spare = everywhere.drift._evaluate, sparing.drift._evaluate
    everywhere.drift._evaluate = lambda *given: plain(*given[:-1], True)
    sparing.drift._evaluate = lambda *given: (asked.append(given[-1]), spare(*given))[1]
    everywhere.run(), sparing.run()
    np.testing.assert_allclose(sparing.points, everywhere.points, rtol=0, atol=1e-12)
    assert 6 * (len(asked) - sum(asked)) >= len(asked) - 6
