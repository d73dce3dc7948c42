"""The table of docs/theory.md §3.4: the zero-temperature density on graded meshes against the push-forward target.

On the circle V = diag(1, 0) the target is half a unit mass at 0 and 180 degrees; on the sphere V = diag(1, 1, 0) it is uniform
on the equator. By symmetry the nearest-point map transports the law to the target, and no coupling is shorter, so that W_p is
the p-mean of the distance to E. The printed digits of the table are good to 5e-7.
"""

import numpy as np
import pytest
from mpi4py import MPI

from problems import loads
from solver.density import DensitySolver
from solver.wasserstein.distance import distance
from solver.wasserstein.measure import Measure

TIMES = [0.0, 1.0, 2.0, 4.0]
CIRCLE_W2 = [0.906900, 0.636382, 0.413607, 0.158304]
CIRCLE_W1 = [0.785398, 0.483621, 0.259712, 0.058306]
SPHERE_W2 = [0.683667, 0.388947, 0.191253, 0.036451]


def zero_temperature(manifold, value, cells, degree, half_width):
    return loads(f"""
        title = "zero temperature"
        [space]
        manifold = "{manifold}"
        grading = {{half_width = {half_width}, ratio = 8}}
        [attention]
        beta = "inf"
        value = {value}
        [initial]
        law = "uniform"
        [time]
        end = 4.0
        outputs = {TIMES}
        [density]
        cells = {cells}
        degree = {degree}
        geometry = 3
        """)


def p_means(problem, arcs):
    """Mean and root mean square of `arcs`(points) under the density at every output, by its own quadrature."""
    found, solver = [], DensitySolver(problem, MPI.COMM_WORLD)
    shape = solver.operator.geometry.points.shape
    values = arcs(problem.manifold.retract(solver.operator.geometry.points.reshape(-1, shape[2]))).reshape(shape[:2])
    solver.run(lambda snapshot: found.append((snapshot.integral(values), np.sqrt(snapshot.integral(values**2)))))
    return np.array(found).T


def test_circle_to_two_points():
    problem = zero_temperature("circle", "[[1.0, 0.0], [0.0, 0.0]]", 128, 2, 0.3)
    w1, w2 = p_means(problem, lambda x: np.arctan2(np.abs(x[:, 1]), np.abs(x[:, 0])))
    assert w2 == pytest.approx(CIRCLE_W2, abs=2e-6)
    assert w1 == pytest.approx(CIRCLE_W1, abs=2e-6)


def test_circle_by_the_distances_users_see():
    """The same through atoms and `distance`, 16 atoms per cell: their error is second order in their spacing."""
    problem = zero_temperature("circle", "[[1.0, 0.0], [0.0, 0.0]]", 128, 2, 0.3)
    ends = Measure(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([0.5, 0.5]))
    found = []
    DensitySolver(problem, MPI.COMM_WORLD).run(lambda snapshot: found.append(
        [distance(Measure(*snapshot.atoms(16)), ends, p=p, manifold=problem.manifold).value for p in (1, 2)]))
    w1, w2 = np.array(found).T
    assert w1 == pytest.approx(CIRCLE_W1, abs=1e-4)
    assert w2 == pytest.approx(CIRCLE_W2, abs=1e-4)


def test_sphere_to_the_great_circle():
    problem = zero_temperature("sphere", "[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]", 7000, 3, 0.1)
    w2 = p_means(problem, lambda x: np.arctan2(np.abs(x[:, 2]), np.hypot(x[:, 0], x[:, 1])))[1]
    assert w2 == pytest.approx(SPHERE_W2, abs=1e-4)
