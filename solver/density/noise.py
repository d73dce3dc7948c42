"""Noise: the Laplace-Beltrami operator on the density, by symmetric interior penalty (Arnold 1982).

With {d_n u} the mean of the two sides' outward derivatives along their own conormals, and [u] the jump in the same
direction,

    a(u, v) = int grad u . grad v - int_F {d_n u} [v] - int_F {d_n v} [u] + int_F sigma [u] [v].

Nothing changes when the sides of a facet are swapped, and a(u, 1) = 0 whatever the two conormals, so mass stays. Walls
appear nowhere: no mass crosses them.
"""

from __future__ import annotations

import dolfinx.fem
import dolfinx.fem.petsc
import numpy as np
import ufl
from petsc4py import PETSc

from meshes import geometry as shapes
from problems.errors import ProblemError
from solver.density.operator import DensityOperator


def laplacian(operator: DensityOperator) -> PETSc.Mat:
    """L = -M^{-1} a of the Laplace-Beltrami operator, on the solver's unknowns; collective.

    Returns:
        A square matrix distributed as `operator.create_vector()`, of block size `operator.size`.

    Raises:
        ProblemError: degree 0 in more than one dimension, where jumps alone do not tell gradients.
    """
    matrix = PETSc.Mat()
    stiffness(operator).copy(matrix)
    ...


def stiffness(operator: DensityOperator) -> PETSc.Mat:
    """The symmetric matrix of a(u, v) above, on the solver's unknowns; collective."""
    mesh, degree = operator.mesh, operator.geometry.degree
    if degree == 0 and mesh.tdim > 1:
        raise ProblemError("density.degree", degree, "must be 1, 2 or 3 with noise on surfaces and in solids")
    # On curved cells the integrands are not polynomials; two more orders per degree of the map are ample.
    order = 2 * degree + 2 * (mesh.geometry - 1)
    dx, dS = (ufl.Measure(kind, domain=mesh.mesh, metadata={"quadrature_degree": order}) for kind in ("dx", "dS"))
    u, v = ufl.TrialFunction(operator.space), ufl.TestFunction(operator.space)
    n, sigma = ufl.FacetNormal(mesh.mesh), ufl.avg(penalty(operator))

    def flux(w):
        return 0.5 * (ufl.dot(ufl.grad(w)("+"), n("+")) - ufl.dot(ufl.grad(w)("-"), n("-")))

    def jump(w):
        return w("+") - w("-")

    form = sigma * jump(u) * jump(v) * dS
    if degree:
        form += ufl.inner(ufl.grad(u), ufl.grad(v)) * dx - (flux(u) * jump(v) + flux(v) * jump(u)) * dS
    assembled = dolfinx.fem.petsc.assemble_matrix(dolfinx.fem.form(form))
    assembled.assemble()
    return in_solver_order(operator, assembled)


def penalty(operator: DensityOperator) -> dolfinx.fem.Function:
    """sigma of each cell: large enough for a(u, u) >= 0 (Shahbazi 2005, doubled for curved cells)."""
    mesh, degree = operator.mesh, operator.geometry.degree
    function = dolfinx.fem.Function(dolfinx.fem.functionspace(mesh.mesh, ("DG", 0)))
    nodes = mesh.cell_nodes
    volume = shapes.measures(nodes, mesh.tdim, mesh.geometry)
    if degree == 0:
        values = 1 / volume  # two points on a curve, (h_1 + h_2) / 2 apart: the harmonic choice is below
    else:
        values = 2 * (degree + 1) * (degree + mesh.tdim) / mesh.tdim * _surface(nodes[:, : mesh.tdim + 1]) / volume / 2
    function.x.array[np.asarray(function.function_space.dofmap.list)[: len(values), 0]] = values
    function.x.scatter_forward()
    return function
