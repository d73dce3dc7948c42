"""The target as a density on the mesh of E's circle or sphere: mass and order of the Galerkin projection."""

import numpy as np
import pytest
from mpi4py import MPI

from solver.projection.galerkin import project_density
from solver.projection.target import target
from tests.particles.support import problem

CIRCLE = {"attention": {"value": np.diag([1.0, 1.0, 0.0]).tolist()}, "law": "von-mises-fisher",
          "initial": {"components": [{"mean": [1.0, 0.3, 0.5], "concentration": 3.0}]}}
SPHERE = {"attention": {"value": np.diag([1.0, 1.0, 1.0, 0.0]).tolist()}, "law": "von-mises-fisher",
          "initial": {"components": [{"mean": [1.0, 0.3, 0.5, 0.4], "concentration": 2.0}]}}


def integral(density):
    import dolfinx.fem
    import ufl

    form = dolfinx.fem.form(density.function * ufl.dx(metadata={"quadrature_degree": density.quadrature_degree}))
    return density.mesh.comm.allreduce(dolfinx.fem.assemble_scalar(form))


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_order_on_the_great_circle(degree, order_table):
    """A von Mises-Fisher law pushed to a great circle: L2 error of order degree + 1, mass exact at any order of cells."""
    goal = target(problem("sphere", **CIRCLE))
    sizes = (16, 32, 64)
    found = [project_density(goal, n, degree=degree, geometry=max(1, degree), comm=MPI.COMM_WORLD) for n in sizes]
    errors = [f.error for f in found]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    order_table.add("target density, great circle", degree, [2 * np.pi / n for n in sizes], errors, orders)
    assert orders[-1] == pytest.approx(degree + 1, abs=0.25)
    for f in found:
        assert integral(f) == pytest.approx(1, abs=1e-13)
        assert abs(f.mass_defect) < 1e-7


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_order_on_the_great_sphere(degree, order_table):
    goal = target(problem("sphere", dimension=4, **SPHERE))
    found = [project_density(goal, n, degree=degree, geometry=max(1, degree), comm=MPI.COMM_WORLD) for n in (80, 320, 1280)]
    errors = [f.error for f in found]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    order_table.add("target density, great sphere", degree, [1, 0.5, 0.25], errors, orders)
    assert orders[-1] == pytest.approx(degree + 1, abs=0.3)
    assert integral(found[-1]) == pytest.approx(1, abs=1e-13)


def test_faceted_cells_keep_the_mass():
    goal = target(problem("sphere", **CIRCLE))
    coarse = project_density(goal, 7, degree=1, geometry=1, comm=MPI.COMM_WORLD)
    assert integral(coarse) == pytest.approx(1, abs=1e-13)


def test_lines_have_no_density():
    goal = target(problem("sphere", attention={"value": np.diag([2.0, 1.0, 0.0]).tolist()}))
    with pytest.raises(ValueError, match="dim E"):
        project_density(goal, 10)


def test_two_ranks_agree_with_one(mpirun):
    code = """
import numpy as np
from mpi4py import MPI
from solver.projection.galerkin import project_density
from solver.projection.target import target
from tests.particles.support import problem
from tests.projection.test_target_mesh import CIRCLE
found = project_density(target(problem("sphere", **CIRCLE)), 32, degree=1, comm=MPI.COMM_WORLD)
if MPI.COMM_WORLD.rank == 0:
    print(repr(found.error), repr(found.mass_defect))
"""
    one, two = (np.array(mpirun(n, "-c", code).stdout.split(), float) for n in (1, 2))
    assert two == pytest.approx(one, rel=1e-10, abs=1e-14)
