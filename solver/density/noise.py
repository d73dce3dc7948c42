"""Noise: the Laplace-Beltrami operator on the density, by symmetric interior penalty (Arnold 1982).

With {d_n u} the mean of the two sides' outward derivatives, each along its own conormal, and [u] the jump in the same
direction,

    a(u, v) = int grad u . grad v - int_F {d_n u} [v] - int_F {d_n v} [u] + int_F sigma [u] [v].

Nothing changes when the sides of a facet are swapped, and a(u, 1) = 0 whatever the conormals, so that mass stays. Walls
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
    """L = -M^{-1} a, the Laplace-Beltrami operator on the solver's unknowns; collective.

    Returns:
        A square matrix laid out as `operator.create_vector()`, of block size `operator.size`.

    Raises:
        ProblemError: degree 0 in more than one dimension, where values alone do not tell gradients.
    """
    product = _minus_inverse_mass(operator).matMult(stiffness(operator))
    product.setBlockSizes(operator.size, operator.size)
    return product


def stiffness(operator: DensityOperator) -> PETSc.Mat:
    """The symmetric matrix of a(u, v) on the solver's unknowns; collective. Raises as `laplacian` does."""
    mesh, degree = operator.mesh, operator.geometry.degree
    if degree == 0 and mesh.tdim > 1:
        raise ProblemError("density.degree", degree, "must be 1, 2 or 3 with noise, except on curves")
    # On curved cells the integrands are no polynomials; two more orders per degree of the map are ample.
    metadata = {"quadrature_degree": 2 * degree + 2 * (mesh.geometry - 1)}
    dx, dS = (ufl.Measure(kind, domain=mesh.mesh, metadata=metadata) for kind in ("dx", "dS"))
    u, v, n = ufl.TrialFunction(operator.space), ufl.TestFunction(operator.space), ufl.FacetNormal(mesh.mesh)
    size = cell_sizes(operator)

    def flux(w):
        return 0.5 * (ufl.dot(ufl.grad(w)("+"), n("+")) - ufl.dot(ufl.grad(w)("-"), n("-")))

    def jump(w):
        return w("+") - w("-")

    if degree == 0:  # on a curve: the difference over the distance of the midpoints
        form = jump(u) * jump(v) / ufl.avg(size) * dS
    else:
        # Coercive by the trace inequality on straight simplices (Shahbazi 2005); twice that for curved ones.
        sigma = (degree + 1) * (degree + mesh.tdim) / mesh.tdim * ufl.max_value(1 / size("+"), 1 / size("-"))
        form = (ufl.inner(ufl.grad(u), ufl.grad(v)) * dx
                + (2 * sigma * jump(u) * jump(v) - flux(u) * jump(v) - flux(v) * jump(u)) * dS)
    assembled = dolfinx.fem.petsc.assemble_matrix(dolfinx.fem.form(form))
    assembled.assemble()
    # dolfinx numbers the unknowns of a cell as it likes; the solver's vectors go cell by cell.
    start = operator.space.dofmap.index_map.local_range[0]
    numbers = start + operator.dofs[: operator.owned].ravel()
    order = PETSc.IS().createGeneral(numbers.astype(PETSc.IntType), comm=operator.comm)
    return assembled.createSubMatrix(order, order)


def _minus_inverse_mass(operator: DensityOperator) -> PETSc.Mat:
    """-M^{-1}, one block per cell."""
    n, owned = operator.size, operator.owned
    matrix = PETSc.Mat().createAIJ(((operator.unknowns, None), (operator.unknowns, None)), nnz=n, comm=operator.comm)
    first = matrix.getOwnershipRange()[0]
    rows = np.arange(owned * n + 1, dtype=PETSc.IntType) * n
    columns = first + np.arange(owned)[:, None, None] * n + np.broadcast_to(np.arange(n), (owned, n, n))
    values = -np.linalg.inv(operator.geometry.mass)
    matrix.setValuesCSR(rows, columns.ravel().astype(PETSc.IntType), values.ravel())
    matrix.assemble()
    return matrix


def cell_sizes(operator: DensityOperator) -> dolfinx.fem.Function:
    """2 |K| / |boundary of K| of each cell K: the length of an interval, the inradius of a triangle."""
    mesh = operator.mesh
    nodes, corners = mesh.cell_nodes, mesh.cell_nodes[:, : mesh.tdim + 1]
    if mesh.tdim == 1:
        boundary = np.full(len(nodes), 2.0)
    else:
        faces = [np.delete(corners, i, axis=1) for i in range(mesh.tdim + 1)]
        boundary = np.sum([shapes.measures(face, mesh.tdim - 1, 1) for face in faces], axis=0)
    function = dolfinx.fem.Function(dolfinx.fem.functionspace(mesh.mesh, ("DG", 0)))
    dofs = np.asarray(function.function_space.dofmap.list)[: len(nodes), 0]
    function.x.array[dofs] = 2 * shapes.measures(nodes, mesh.tdim, mesh.geometry) / boundary
    return function
