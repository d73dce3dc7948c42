"""The push-forward as a density on a mesh of E's circle or sphere: a Galerkin projection that keeps its mass.

The mesh, of the unit circle or sphere in the coordinates of E's basis, is not quite the sphere. Its cells are carried onto
it by x -> x/|x|, and integrals of the target are taken with the length or area there: the cells then tile the sphere exactly,
and the projected density has the target's mass whatever the order of the cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from solver.errors import RunError
from solver.projection.target import Target

if TYPE_CHECKING:
    import basix.ufl
    import dolfinx.fem
    import ufl
    from mpi4py import MPI

    from meshes.build import TokenMesh

Array = NDArray[np.float64]

# Beyond the degree of the density: the target's own density is smooth but no polynomial.
EXTRA_DEGREE = 8
MASS_TOLERANCE = 1e-3


@dataclass(frozen=True)
class TargetDensity:
    """T_#mu_0 on a mesh, spread over the ranks.

    Attributes:
        mesh: the `meshes.TokenMesh` of the unit circle (k = 2) or sphere (k = 3) in R^k.
        function: discontinuous dolfinx Function; its integral over the mesh, by quadrature of degree `quadrature_degree`, is the
            mass, 1 to round-off (the length element of a curved cell is no polynomial, so other rules differ a little).
        basis: (d, k) carries coordinates on the mesh to tokens, x = basis c.
        mass_defect: how far the quadrature of the exact density was from 1 before it was scaled to it; global.
        error: L2 distance between `function` and the exact density, compared along rays; global.
    """

    mesh: TokenMesh
    function: dolfinx.fem.Function
    basis: Array
    mass_defect: float
    error: float
    quadrature_degree: int


def project_density(target: Target, cells: int, *, degree: int = 1, geometry: int = 2,
                    comm: MPI.Comm | None = None) -> TargetDensity:
    """The L2 projection of the target's density onto discontinuous polynomials; collective.

    Args:
        target: with dim E = 2 or 3 and an initial law that has a density.
        cells: about how many cells, over all ranks. degree: of the polynomials, 0 to 3. geometry: order of the cells, 1 to 3.
        comm: all ranks; default the world.

    Returns:
        The density; `error` falls like h^{degree + 1} for smooth targets and cells of order `geometry` >= `degree`.

    Raises:
        ValueError: E has neither circle nor sphere, or the target no density.
        RunError: the mesh does not resolve the target: its mass comes out wrong by more than 1e-3.
    """
    import basix.ufl
    import dolfinx.fem
    import ufl
    from mpi4py import MPI

    from meshes.build import PlainSpace, build_mesh

    comm = MPI.COMM_WORLD if comm is None else comm
    analysis = target.analysis
    k = 0 if analysis is None else analysis.dimension
    if not target.exists or k not in (2, 3) or target.density(np.eye(k)[:1]) is None:
        raise ValueError(f"a target density needs dim E = 2 or 3 (here {k}) and an initial law with a density")
    mesh = build_mesh(PlainSpace("circle" if k == 2 else "sphere"), cells, geometry, comm)
    domain = mesh.mesh
    space = dolfinx.fem.functionspace(domain, ("Discontinuous Lagrange", degree))
    rule = 2 * degree + EXTRA_DEGREE
    dx = ufl.Measure("dx", domain=domain, metadata={"quadrature_degree": rule})
    element = basix.ufl.quadrature_element(domain.basix_cell(), degree=rule)
    nodes = dolfinx.fem.functionspace(domain, element)
    exact, stretch = dolfinx.fem.Function(nodes), dolfinx.fem.Function(nodes)

    x = ufl.SpatialCoordinate(domain)
    points = _evaluate(domain, x, element)
    # Length or area on the sphere per length or area on the mesh, under x -> x/|x|.
    ratio = abs(ufl.dot(x, ufl.CellNormal(domain))) / ufl.dot(x, x) ** (k / 2)
    stretch.x.array[: len(points)] = _evaluate(domain, ratio, element)[:, 0]
    exact.x.array[: len(points)] = target.density(points / np.linalg.norm(points, axis=1, keepdims=True))
    exact.x.scatter_forward()
    stretch.x.scatter_forward()

    trial, test = ufl.TrialFunction(space), ufl.TestFunction(space)
    mass = comm.allreduce(dolfinx.fem.assemble_scalar(dolfinx.fem.form(exact * stretch * dx)), op=MPI.SUM)
    if not abs(mass - 1.0) < MASS_TOLERANCE:
        raise RunError(f"{mesh.global_cells} cells do not resolve the target: its mass comes out as {mass:.6g}")
    function = _block_solve(dolfinx.fem.form(trial * test * dx), dolfinx.fem.form(exact * stretch / mass * test * dx), space)
    difference = dolfinx.fem.form((function - exact) ** 2 * stretch * dx)
    error = np.sqrt(comm.allreduce(dolfinx.fem.assemble_scalar(difference), op=MPI.SUM))
    return TargetDensity(mesh, function, analysis.basis, mass - 1.0, float(error), rule)  # type: ignore[union-attr]


def _evaluate(domain: dolfinx.mesh.Mesh, expression: ufl.core.expr.Expr, element: basix.ufl._QuadratureElement) -> Array:
    """Values (owned cells * points, components) of a UFL expression at the points of a quadrature element."""
    import dolfinx.fem

    points, _ = element.custom_quadrature()
    owned = domain.topology.index_map(domain.topology.dim).size_local
    values = dolfinx.fem.Expression(expression, points).eval(domain, np.arange(owned, dtype=np.int32))
    return np.asarray(values).reshape(owned * len(points), -1)


def _block_solve(mass_form: dolfinx.fem.Form, load_form: dolfinx.fem.Form,
                 space: dolfinx.fem.FunctionSpace) -> dolfinx.fem.Function:
    """Solve the block-diagonal mass system cell by cell; local to each rank."""
    import dolfinx.fem

    function = dolfinx.fem.Function(space)
    load = dolfinx.fem.assemble_vector(load_form)
    matrix = dolfinx.fem.assemble_matrix(mass_form).to_scipy().tocsr()
    owned = space.mesh.topology.index_map(space.mesh.topology.dim).size_local
    cell_dofs = space.dofmap.list[:owned]
    n = cell_dofs.shape[1]
    rows = np.repeat(cell_dofs, n, axis=1).ravel()
    columns = np.tile(cell_dofs, (1, n)).ravel()
    blocks = np.asarray(matrix[rows, columns]).reshape(owned, n, n)
    function.x.array[cell_dofs] = np.linalg.solve(blocks, load.array[cell_dofs][..., None])[..., 0]
    function.x.scatter_forward()
    return function
