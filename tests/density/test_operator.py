"""The transport operator: kernel against matrix, conservation, positivity, bounds."""

import numpy as np
import pytest
from mpi4py import MPI

from problems.problem import read_problem
from solver.density.operator import DensityOperator
from solver.density.transport_matrix import frozen_matrix

SPACES = {"circle": 2, "sphere": 3, "interval": 1, "rectangle": 2, "box": 3}
CASES = [("circle", 0, 1), ("circle", 2, 2), ("circle", 3, 3),
         ("sphere", 0, 2), ("sphere", 1, 1), ("sphere", 2, 2), ("sphere", 3, 3),
         ("interval", 1, 1), ("interval", 3, 1), ("rectangle", 1, 1), ("rectangle", 3, 1), ("box", 0, 1), ("box", 2, 1)]


def problem(space, degree, geometry, cells=60, beta=3.0, **density):
    d = SPACES[space]
    V = np.eye(d) + 0.4 * np.random.default_rng(d).normal(size=(d, d))
    where = {"manifold": space} | ({} if space in ("circle", "sphere") else {"bounds": [[-2.0, 2.5]] * d})
    law = {"law": "von-mises-fisher", "components": [{"weight": 1.0, "mean": [1.0] + [0.0] * (d - 1), "concentration": 2.0}]} \
        if space in ("circle", "sphere") else \
        {"law": "normal", "components": [{"weight": 1.0, "mean": [0.1] * d, "covariance": (0.4 * np.eye(d)).tolist()}]}
    return read_problem({"space": where, "attention": {"beta": beta, "value": V.tolist()}, "initial": law, "time": {"end": 1.0},
                         "density": {"cells": cells, "degree": degree, "geometry": geometry, **density}})


@pytest.fixture(params=CASES, ids=lambda c: "-".join(map(str, c)), scope="module")
def operator(request):
    return DensityOperator(problem(*request.param), MPI.COMM_WORLD)


def rough(operator, seed=0):
    """A bounded density with jumps everywhere, positive at every check point."""
    state = operator.initial().reshape(-1, operator.size)
    noise = np.random.default_rng(seed).uniform(-1, 1, state.shape) * 0.3 * state[:, :1]
    noise[:, 0] *= 0.5
    state = (state + noise).ravel()
    operator.transport.limit(state)
    return state


def test_kernel_agrees_with_the_assembled_matrix(operator):
    """Two independent implementations: blocked C and NumPy."""
    state, out, other = rough(operator), operator.create_vector(), operator.create_vector()
    operator.rhs(0.0, state, out.array)
    given = operator.create_vector()
    given.array[:] = state
    frozen_matrix(operator).mult(given, other)
    assert np.allclose(out.array, other.array, atol=1e-11 * np.abs(other.array).max())


def test_mass_is_conserved_to_rounding(operator):
    state = rough(operator)
    out = np.empty_like(state)
    operator.rhs(0.0, state, out)
    moved = np.abs(operator.geometry.volume[:, None] * operator.geometry.mean * out.reshape(-1, operator.size)).sum()
    assert abs(operator.mass(out)) <= 1e-14 * max(moved, 1.0)


def test_forward_euler_keeps_averages_positive_up_to_the_bound(operator):
    """Zhang & Shu's bound: a full step of it leaves no negative average, from the worst of limited states."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        state = rng.normal(size=operator.unknowns).reshape(-1, operator.size)
        average = np.einsum("ci,ci->c", operator.geometry.mean, state)
        state[:, 0] += (rng.uniform(size=len(state)) ** 8 - average) / operator.geometry.reference.constant
        state = state.ravel()
        operator.transport.limit(state)
        state /= operator.mass(state)
        out = np.empty_like(state)
        operator.rhs(0.0, state, out)
        dt = operator.euler_bounds(0.0, state)[0]
        after = np.einsum("ci,ci->c", operator.geometry.mean, (state + dt * out).reshape(-1, operator.size))
        assert after.min() >= -1e-13 * after.max()


def test_limiter_keeps_mass_and_makes_every_point_positive(operator):
    g = operator.geometry
    state = np.random.default_rng(2).normal(size=operator.unknowns).reshape(-1, operator.size)
    average = np.einsum("ci,ci->c", g.mean, state)
    state[:, 0] += (np.random.default_rng(3).uniform(0.0, 1.0, len(state)) - average) / g.reference.constant
    before = np.einsum("ci,ci->c", g.mean, state)
    limited = state.ravel().copy()
    lowest, low, high, count = operator.transport.limit(limited)
    limited = limited.reshape(state.shape)
    values = limited @ g.reference.check_basis.T
    assert np.allclose(np.einsum("ci,ci->c", g.mean, limited), before, rtol=1e-13)
    assert values.min() >= 0.0 and low >= 0.0
    assert np.isclose(high, values.max(), rtol=1e-10) and np.isclose(lowest, before.min())
    untouched = (state @ g.reference.check_basis.T).min(axis=1) >= 0.0
    assert np.array_equal(limited[untouched], state[untouched])
    assert count == np.count_nonzero(~untouched)
    every = np.concatenate([limited @ g.reference.basis.T, *(limited @ f.T for f in g.reference.facet_basis)], axis=1)
    assert every.min() >= 0.0


def test_limiter_reports_negative_averages():
    operator = DensityOperator(problem("circle", 2, 2), MPI.COMM_WORLD)
    state = operator.initial()
    state[0] = -1.0
    lowest, *_ = operator.transport.limit(state)
    assert lowest < 0.0


def test_constant_density_in_constant_flow():
    """Away from the walls a constant density does not change under a constant velocity."""
    operator = DensityOperator(problem("rectangle", 2, 1), MPI.COMM_WORLD)
    X = np.tile([0.7, -0.3], (len(operator.velocity.nodes), 1))
    operator.transport.set_velocity(X)
    state = np.zeros((operator.geometry.total, operator.size))
    state[:, 0] = 1.0
    out = np.empty(operator.unknowns)
    operator.transport.apply(state.ravel(), out)
    x = operator.geometry.points
    inner = np.all((x > -1.2) & (x < 1.7), axis=(1, 2))
    assert inner.any() and np.abs(out.reshape(-1, operator.size)[inner]).max() < 1e-12


def test_smooth_extremum_keeps_the_order():
    """The limiter at a minimum that touches zero: projection error stays of order degree + 1 (Zhang & Shu 2010)."""
    for degree in (1, 2, 3):
        errors = []
        for cells in (24, 48):
            p = read_problem({"space": {"manifold": "circle"}, "attention": {"beta": 1.0}, "time": {"end": 1.0},
                              "initial": {"law": "harmonics", "cos": [1.0]},
                              "density": {"cells": cells, "degree": degree, "geometry": 3}})
            operator = DensityOperator(p, MPI.COMM_WORLD)
            rho = operator.initial().reshape(-1, operator.size) @ operator.geometry.reference.basis.T
            x = p.manifold.retract(operator.geometry.points.reshape(-1, 2))
            exact = p.initial.density(x).reshape(rho.shape)
            errors.append(np.abs(rho - exact).max())
        assert np.log2(errors[0] / errors[1]) > degree + 0.7
