"""Noise against exact solutions: heat flow on circle and sphere, Gaussians in flat space, a mesh from a file."""

import meshio
import numpy as np
import pytest
from mpi4py import MPI
from scipy.integrate import solve_ivp

from meshes import spaces
from problems.problem import read_problem
from solver.density import DensitySolver
from solver.density.noise import laplacian
from solver.density.operator import DensityOperator


def final(space, attention, initial, end, diffusivity, **density):
    """The density at depth `end`."""
    solver = DensitySolver(read_problem({
        "space": space, "attention": attention, "initial": initial, "noise": {"diffusivity": diffusivity},
        "time": {"end": end, "outputs": [end]}, "density": {"rtol": 1e-8, "atol": 1e-8, **density}}))
    found = []
    solver.run(found.append)
    return found[-1]


def check_order(order_table, case, degree, cells, dimension, errors, least):
    sizes = [n ** (-1 / dimension) for n in cells]
    order = float(np.log(errors[-2] / errors[-1]) / np.log(sizes[-2] / sizes[-1]))
    order_table.add(case, degree, sizes, errors, [order])
    assert order >= least, f"{case}, degree {degree}: {errors}"


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_heat_on_the_circle(degree, order_table):
    """V = 0: the k-th mode decays like exp(-D k^2 t)."""
    D, t, cells = 0.2, 1.0, (16, 32) if degree else (64, 128)

    def exact(x):
        angle = np.arctan2(x[:, 1], x[:, 0])
        return (1 + 0.5 * np.exp(-D * t) * np.cos(angle) + 0.3 * np.exp(-4 * D * t) * np.sin(2 * angle)) / (2 * np.pi)

    law = {"law": "harmonics", "cos": [0.5], "sin": [0.0, 0.3]}
    errors = [final({"manifold": "circle"}, {"beta": 1.0, "value": [[0.0, 0.0], [0.0, 0.0]]}, law, t, D, cells=n,
                    degree=degree, geometry=max(2, degree)).l2_distance(exact) for n in cells]
    check_order(order_table, "heat, circle", degree, cells, 1, errors, degree + 0.85)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_heat_on_the_sphere(degree, order_table):
    """V = 0: degree-l harmonics decay like exp(-D l (l + 1) t)."""
    D, t, cells = 0.1, 1.0, (80, 320) if degree > 1 else (320, 1280)

    def exact(x):
        z = x[:, 2] / np.linalg.norm(x, axis=1)
        return (1 + 0.3 * np.exp(-2 * D * t) * z + 0.4 * np.exp(-6 * D * t) * (1.5 * z * z - 0.5)) / (4 * np.pi)

    law = {"law": "harmonics", "axis": [0.0, 0.0, 1.0], "legendre": [0.3, 0.4]}
    errors = [final({"manifold": "sphere"}, {"beta": 1.0, "value": np.zeros((3, 3)).tolist()}, law, t, D, cells=n,
                    degree=degree, geometry=max(2, degree)).l2_distance(exact) for n in cells]
    check_order(order_table, "heat, sphere", degree, cells, 2, errors, degree + 0.7)


def gaussian(mean, covariance):
    inverse, scale = np.linalg.inv(covariance), np.sqrt(np.linalg.det(2 * np.pi * np.array(covariance)))
    return lambda x: np.exp(-0.5 * np.einsum("ni,ij,nj->n", x - mean, inverse, x - mean)) / scale


def noisy_gaussian(V, mean, covariance, D, t):
    """docs/theory.md §5.4 at beta = 1, B = I, with noise, which adds 2 D I to Sigma'."""
    V, d = np.array(V), len(mean)

    def rate(_, y):
        a, S = y[:d], y[d:].reshape(d, d)
        return np.concatenate([V @ (a + S @ a), (V @ S @ S + S @ S @ V.T + 2 * D * np.eye(d)).ravel()])

    y = solve_ivp(rate, (0.0, t), np.concatenate([mean, np.ravel(covariance)]), rtol=1e-11, atol=1e-13).y[:, -1]
    return gaussian(y[:d], y[d:].reshape(d, d))


@pytest.mark.parametrize(("degree", "cells"), [(0, (160, 320)), (1, (60, 120)), (2, (30, 60)), (3, (20, 40))])
def test_noisy_gaussian_on_the_line(degree, cells, order_table):
    mean, covariance, t, D = [0.5], [[0.5]], 0.8, 0.1
    exact = noisy_gaussian([[-1.0]], mean, covariance, D, t)
    law = {"law": "normal", "components": [{"weight": 1.0, "mean": mean, "covariance": covariance}]}
    errors = [final({"manifold": "interval", "bounds": [[-5.5, 6.0]]}, {"beta": 1.0, "value": [[-1.0]]}, law, t, D,
                    cells=n, degree=degree).l2_distance(exact) for n in cells]
    check_order(order_table, "noisy Gaussian on the line", degree, cells, 1, errors, degree + 0.8)


@pytest.mark.parametrize(("degree", "cells"), [(1, (288, 1152))])
def test_noisy_gaussian_in_the_plane(degree, cells, order_table):
    V, mean, covariance, t, D = [[-0.6, 0.3], [0.0, -0.4]], [0.2, -0.1], [[0.4, 0.1], [0.1, 0.3]], 0.2, 0.1
    exact = noisy_gaussian(V, mean, covariance, D, t)
    law = {"law": "normal", "components": [{"weight": 1.0, "mean": mean, "covariance": covariance}]}
    errors = [final({"manifold": "rectangle", "bounds": [[-3.0, 3.4], [-2.9, 2.7]]}, {"beta": 1.0, "value": V}, law, t, D,
                    cells=n, degree=degree).l2_distance(exact) for n in cells]
    check_order(order_table, "noisy Gaussian in the plane", degree, cells, 2, errors, degree + 0.7)


def test_laplacian_on_a_curve_from_a_file(tmp_path):
    """A circle of radius 2 in a tilted plane of R^3: the first harmonic has eigenvalue -1/4."""
    flat = spaces.circle(24, 2)
    tilt = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    points = 2 * flat.points @ tilt[:2]
    meshio.write(tmp_path / "circle.vtu", meshio.Mesh(points, [("line3", flat.cells)]))
    problem = read_problem({
        "space": {"manifold": "file", "path": str(tmp_path / "circle.vtu")}, "attention": {"beta": 1.0},
        "initial": {"law": "normal", "components": [{"weight": 1.0, "mean": [0.0, 0.0, 0.0], "covariance": 25.0}]},
        "time": {"end": 1.0}, "density": {"degree": 3}})
    operator = DensityOperator(problem, MPI.COMM_SELF)
    height = operator.geometry.points @ tilt[0]
    r = operator.geometry.reference
    state, image = operator.create_vector(), operator.create_vector()
    right = np.einsum("cq,qi->ci", height * operator.geometry.measure * r.weights, r.basis)
    state.array[:] = np.linalg.solve(operator.geometry.mass, right[..., None]).ravel()
    laplacian(operator).mult(state, image)
    mass = operator.geometry.mass
    rows, images = state.array.reshape(-1, r.size), image.array.reshape(-1, r.size)
    quotient = np.einsum("ci,cij,cj->", rows, mass, images) / np.einsum("ci,cij,cj->", rows, mass, rows)
    assert quotient == pytest.approx(-0.25, rel=1e-4)
