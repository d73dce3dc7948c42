"""Observed orders of convergence of the density against docs/theory.md §3.3, §5.1, §5.4; print them with `--order-table`."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from problems.problem import read_problem
from solver.density import DensitySolver

GENERAL_2 = [[1.0, 0.3], [-0.2, 0.2]]
GENERAL_3 = [[0.8, 0.3, 0.0], [-0.2, 0.2, 0.1], [0.1, 0.0, -0.3]]


def final(space, attention, initial, end, **density):
    """The density at depth `end`."""
    density = {"integrator": "ssprk104", **density}
    solver = DensitySolver(read_problem({
        "space": space, "attention": attention, "initial": initial, "time": {"end": end, "outputs": [end]}, "density": density}))
    found = []
    solver.run(found.append)
    return found[-1]


def check_order(order_table, case, degree, cells, tdim, errors, least):
    sizes = [n ** (-1.0 / tdim) for n in cells]
    orders = [float(np.log(a / b) / np.log(g / h)) for a, b, g, h in zip(errors, errors[1:], sizes, sizes[1:], strict=False)]
    order_table.add(case, degree, sizes, errors, orders)
    assert orders[-1] >= least, f"{case}, degree {degree}: errors {errors}, orders {orders}"


def zero_temperature(V, t):
    """docs/theory.md §3.3: the uniform law under V, B = I, as a density on circle or sphere."""
    d, back = len(V), expm(-t * np.array(V))
    scale = np.exp(-t * np.trace(V)) / (2 * np.pi if d == 2 else 4 * np.pi)
    return lambda x: scale * np.linalg.norm(x @ back.T, axis=1) ** -d


# The last pair of meshes must show nearly the order degree + 1 (sphere: degree + 0.7).
@pytest.mark.parametrize(("degree", "cells"), [(0, (256, 512, 1024)), (1, (64, 128, 256)), (2, (32, 64, 128)),
                                               (3, (32, 64, 128))])
def test_zero_temperature_circle(degree, cells, order_table):
    exact = zero_temperature(GENERAL_2, 1.0)
    errors = [final({"manifold": "circle"}, {"beta": "inf", "value": GENERAL_2}, {"law": "uniform"}, 1.0, cells=n, degree=degree,
                    geometry=3 if degree == 3 else 2).l2_distance(exact) for n in cells]
    check_order(order_table, "zero temperature, circle (3.3)", degree, cells, 1, errors, degree + 0.85)


@pytest.mark.parametrize(("degree", "cells"), [(0, (320, 1280)), (1, (320, 1280)), (2, (320, 1280)), (3, (320, 1280))])
def test_zero_temperature_sphere(degree, cells, order_table):
    exact = zero_temperature(GENERAL_3, 0.6)
    errors = [final({"manifold": "sphere"}, {"beta": "inf", "value": GENERAL_3}, {"law": "uniform"}, 0.6, cells=n, degree=degree,
                    geometry=3 if degree == 3 else 2).l2_distance(exact) for n in cells]
    check_order(order_table, "zero temperature, sphere (3.3)", degree, cells, 2, errors, degree + 0.7)


@pytest.mark.parametrize("geometry", [1, 3])
def test_zero_temperature_sphere_other_geometry(geometry, order_table):
    """Flat and cubic triangles carry degree 1 as well as quadratic ones do."""
    exact = zero_temperature(GENERAL_3, 0.6)
    errors = [final({"manifold": "sphere"}, {"beta": "inf", "value": GENERAL_3}, {"law": "uniform"}, 0.6, cells=n, degree=1,
                    geometry=geometry).l2_distance(exact) for n in (320, 1280)]
    check_order(order_table, f"zero temperature, sphere, geometry {geometry} (3.3)", 1, (320, 1280), 2, errors, 1.7)


def mean_length(r, d):
    """docs/theory.md §5.1: h_d, the length of the mean of f_w as a function of |w|."""
    return r if d == 2 else (1 + r * r) / (2 * r) - ((1 - r * r) ** 2 / (4 * r * r)) * np.log((1 + r) / (1 - r))


def kuramoto(V, w0, t):
    """docs/theory.md §5.1: w(t) of the family f_w at beta = 0."""
    V, d = np.array(V), len(w0)

    def rate(_, w):
        r = np.linalg.norm(w)
        m = mean_length(r, d) * w / r
        return (1 + r * r) / 2 * V @ m - (V @ m) @ w * w

    return solve_ivp(rate, (0.0, t), w0, rtol=1e-12, atol=1e-14).y[:, -1]


def family(w):
    area = 2 * np.pi if len(w) == 2 else 4 * np.pi
    return lambda x: ((1 - w @ w) / np.sum((x - w) ** 2, axis=1)) ** (len(w) - 1) / area


def test_kuramoto_reference_values():
    """The family's own equation reproduces the numbers of docs/theory.md §5.1."""
    assert np.linalg.norm(kuramoto(np.eye(2), [0.2, 0.0], 2.0)) == pytest.approx(0.4851827523, abs=1e-9)
    assert mean_length(np.linalg.norm(kuramoto(np.eye(3), [0.2, 0.0, 0.0], 1.0)), 3) == pytest.approx(0.4747500789, abs=1e-9)


@pytest.mark.parametrize(("degree", "cells"), [(0, (128, 256, 512)), (1, (48, 96, 192)), (2, (24, 48, 96)), (3, (24, 48, 96))])
def test_beta_zero_circle(degree, cells, order_table):
    w0, t = np.array([0.3, 0.1]), 1.0
    exact = family(kuramoto(GENERAL_2, w0, t))
    errors = [final({"manifold": "circle"}, {"beta": 0.0, "value": GENERAL_2},
                    {"law": "poisson-kernel", "components": [{"weight": 1.0, "mean": w0.tolist()}]}, t, cells=n, degree=degree,
                    geometry=3 if degree == 3 else 2).l2_distance(exact) for n in cells]
    check_order(order_table, "beta = 0 family, circle (5.1)", degree, cells, 1, errors, degree + 0.85)


@pytest.mark.parametrize(("degree", "cells"), [(0, (320, 1280)), (1, (320, 1280)), (2, (320, 1280)), (3, (320, 1280))])
def test_beta_zero_sphere(degree, cells, order_table):
    w0, t = np.array([0.1, 0.1, 0.2]), 0.6
    exact = family(kuramoto(np.eye(3), w0, t))
    errors = [final({"manifold": "sphere"}, {"beta": 0.0},
                    {"law": "poisson-kernel", "components": [{"weight": 1.0, "mean": w0.tolist()}]}, t, cells=n, degree=degree,
                    geometry=3 if degree == 3 else 2).l2_distance(exact) for n in cells]
    check_order(order_table, "beta = 0 family, sphere (5.1)", degree, cells, 2, errors, degree + 0.7)


def gaussian(mean, covariance):
    inverse, scale = np.linalg.inv(covariance), np.sqrt(np.linalg.det(2 * np.pi * np.array(covariance)))
    return lambda x: np.exp(-0.5 * np.einsum("ni,ij,nj->n", x - mean, inverse, x - mean)) / scale


def gaussian_law(V, B, mean, covariance, beta, t):
    """docs/theory.md §5.4: mean and covariance at depth t."""
    V, B, d = np.array(V), np.array(B), len(mean)

    def rate(_, y):
        a, S = y[:d], y[d:].reshape(d, d)
        return np.concatenate([V @ (a + beta * S @ B.T @ a), (beta * (V @ S @ B.T @ S + S @ B @ S @ V.T)).ravel()])

    y = solve_ivp(rate, (0.0, t), np.concatenate([mean, np.ravel(covariance)]), rtol=1e-12, atol=1e-14).y[:, -1]
    return y[:d], y[d:].reshape(d, d)


def test_gaussian_reference_values():
    mean, covariance = gaussian_law([[-1.0]], [[1.0]], [0.5], [[0.5]], 1.0, 2.0)
    assert mean[0] == pytest.approx(0.0390679311, abs=1e-9)
    assert covariance[0, 0] == pytest.approx(1 / 6, abs=1e-10)


@pytest.mark.parametrize(("degree", "cells"), [(0, (256, 512)), (1, (80, 160)), (2, (40, 80, 160)), (3, (40, 80))])
def test_gaussian_line(degree, cells, order_table):
    mean, covariance, t = [0.5], [[0.5]], 1.0
    exact = gaussian(*gaussian_law([[-1.0]], [[1.0]], mean, covariance, 1.0, t))
    errors = [final({"manifold": "interval", "bounds": [[-5.5, 6.0]]}, {"beta": 1.0, "value": [[-1.0]]},
                    {"law": "normal", "components": [{"weight": 1.0, "mean": mean, "covariance": covariance}]}, t, cells=n,
                    degree=degree).l2_distance(exact) for n in cells]
    check_order(order_table, "Gaussian on the line (5.4)", degree, cells, 1, errors, degree + 0.85)


@pytest.mark.parametrize(("degree", "cells"), [(0, (800, 3200)), (1, (450, 1800)), (2, (512, 2048)), (3, (200, 800))])
def test_gaussian_plane(degree, cells, order_table):
    V, B = [[-0.6, 0.3], [0.0, -0.4]], [[1.0, 0.2], [0.0, 0.8]]
    mean, covariance, t = [0.2, -0.1], [[0.4, 0.1], [0.1, 0.3]], 0.2
    exact = gaussian(*gaussian_law(V, B, mean, covariance, 1.0, t))
    errors = [final({"manifold": "rectangle", "bounds": [[-2.8, 3.2], [-2.7, 2.5]]}, {"beta": 1.0, "value": V, "key": B},
                    {"law": "normal", "components": [{"weight": 1.0, "mean": mean, "covariance": covariance}]}, t, cells=n,
                    degree=degree).l2_distance(exact) for n in cells]
    check_order(order_table, "Gaussian in the plane (5.4)", degree, cells, 2, errors, degree + 0.7)
