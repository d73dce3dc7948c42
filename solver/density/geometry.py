"""Where cells and facets lie: measures, Jacobians and shared conormals at quadrature points, and who meets whom."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import basix
import basix.ufl
import numpy as np

from meshes.build import TokenMesh
from meshes.simplicial import SimplicialManifold
from solver.density.reference import Reference, reference, tabulate
from solver.errors import RunError


class CellMap:
    """The polynomial maps from the reference cell to the cells of this rank, owned first, then ghosts."""

    def __init__(self, mesh: TokenMesh):
        names = ("point", "interval", "triangle", "tetrahedron")
        self.element = basix.ufl.element("Lagrange", names[mesh.tdim], mesh.geometry,
                                         lagrange_variant=basix.LagrangeVariant.equispaced)
        self.nodes = mesh.cell_nodes

    def points(self, local: np.ndarray, cells: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Images (cells, q, gdim) of reference points (q, tdim), the same in every cell."""
        return np.einsum("qn,cnd->cqd", tabulate(self.element, local), self.nodes[cells])

    def jacobian(self, local: np.ndarray, cells: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Jacobians (cells, q, gdim, tdim) at reference points (q, tdim)."""
        return np.einsum("qan,cnd->cqda", tabulate(self.element, local, 1), self.nodes[cells])


def pseudo_inverse(jacobian: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Left inverse (..., tdim, gdim) and measure (...,) of Jacobians (..., gdim, tdim)."""
    transposed = np.swapaxes(jacobian, -1, -2)
    metric = transposed @ jacobian
    return np.linalg.solve(metric, transposed), np.sqrt(np.linalg.det(metric))


def oblique_inverse(jacobian: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Left inverse (..., tdim, gdim) of Jacobians (..., gdim, tdim) that drops what is along the smooth normals.

    Args:
        direction: (..., gdim) unit normals of a surface, or tangents of a curve, which need not be those of the cell.
    """
    if jacobian.shape[-1] == 1:
        return direction[..., None, :] / np.einsum("...d,...da->...a", direction, jacobian)[..., None]
    return np.linalg.inv(np.concatenate([jacobian, direction[..., None]], axis=-1))[..., :-1, :]


@dataclass(frozen=True)
class Facets:
    """The facets through which mass flows: between two cells, at least one of them owned by this rank; walls are left out.

    Attributes:
        cells (f, 2), local (f, 2): the cells on the minus and plus side (smaller `cell_order` first, so that the sides do not
            depend on rank or numbering) and the facet's number in each.
        partner (f, r): for each quadrature point of the minus side, the number of the same point on the plus side.
        normal (f, r, gdim): conormal from minus to plus, the mean of the outward conormals n- and -n+ of the two cells (they
            differ on curved surfaces), normalised but on meshes from a file (see `Geometry`); measure (f, r): of the facet
            relative to the reference facet.
    """

    cells: np.ndarray
    local: np.ndarray
    partner: np.ndarray
    normal: np.ndarray
    measure: np.ndarray


class Geometry:
    """Geometric factors of the cells of this rank; local.

    A velocity is tangent to the manifold, not to each cell. On circle and sphere its orthogonal projection onto a cell is what
    moves the density there. Cells of a curve or surface from a file are the manifold; the velocity is tangent to their smooth
    normals (`meshes.directions`), and moves tokens along the cell by as much as leaves only a part along the normal. The density
    does the same: `inverse` and the conormals then include that oblique projection.

    Attributes:
        owned, total: cells owned, and owned plus ghosts; order (total,): their rank-independent numbers.
        points (owned, q, gdim), measure (owned, q): quadrature points and measure |J| there, ghosts left out.
        inverse (owned, q, tdim, gdim): left inverse of the Jacobian there.
        mass (owned, n, n): mass matrices of the density by that quadrature; mean (owned, n): its functional "cell average";
        volume (owned,): quadrature's volume of each cell.
    """

    def __init__(self, mesh: TokenMesh, degree: int):
        self.mesh, self.degree = mesh, degree
        self.map = CellMap(mesh)
        of = mesh.manifold
        self._normals = of.directions if isinstance(of, SimplicialManifold) and not of.solid else None
        self.reference: Reference = reference(mesh.tdim, degree, mesh.geometry == 1 and self._normals is None)
        self.owned, self.total = mesh.owned_cells, len(mesh.cell_order)
        self.order = np.asarray(mesh.cell_order)
        own, r = slice(0, self.owned), self.reference
        self.points = self.map.points(r.points, own)
        jacobian = self.map.jacobian(r.points, own)
        self.inverse, self.measure = pseudo_inverse(jacobian)
        if self._normals is not None:
            self.inverse = oblique_inverse(jacobian, self._directions(self.points))
        weighted = self.measure * r.weights
        self.volume = weighted.sum(axis=1)
        self.mass = np.einsum("cq,qi,qj->cij", weighted, r.basis, r.basis, optimize=True)
        self.mean = np.einsum("cq,qi->ci", weighted, r.basis) / self.volume[:, None]

    @property
    def affine(self) -> bool:
        return self.reference.affine

    @cached_property
    def facets(self) -> Facets:
        """The interior facets of owned cells; computed once, local."""
        cells, local = self._pairs()
        r = self.reference
        count, per = len(cells), len(r.facet_weights)
        sides = []
        for side in (0, 1):
            points, outward, measures = (np.empty((count, per, self.mesh.gdim)) for _ in range(3))
            for f in range(r.facets):
                here = np.flatnonzero(local[:, side] == f)
                points[here] = self.map.points(r.facet_points[f], cells[here, side])
                jacobian = self.map.jacobian(r.facet_points[f], cells[here, side])
                outward[here], measures[here, :, 0] = self._conormal(f, jacobian, points[here])
            sides.append((points, outward, measures[..., 0]))
        (minus, n_minus, measure), (plus, n_plus, _) = sides
        partner = np.linalg.norm(minus[:, :, None] - plus[:, None], axis=-1).argmin(axis=-1)
        normal = n_minus - np.take_along_axis(n_plus, partner[..., None], axis=1)
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True) if self._normals is None else 2.0
        return Facets(cells, local, partner, normal, measure)

    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Cells (f, 2) and local facet numbers (f, 2) on both sides of each interior facet of an owned cell."""
        topology, tdim = self.mesh.mesh.topology, self.mesh.tdim
        topology.create_connectivity(tdim, tdim - 1)
        facet_of = np.asarray(topology.connectivity(tdim, tdim - 1).array).reshape(-1, tdim + 1)[:self.total]
        cell = np.repeat(np.arange(self.total), tdim + 1)
        number = np.tile(np.arange(tdim + 1), self.total)
        facet = facet_of.ravel()
        sort = np.lexsort((self.order[cell], facet))
        cell, number, facet = cell[sort], number[sort], facet[sort]
        if len(facet) > 2 and np.any(facet[2:] == facet[:-2]):
            raise RunError("more than two cells meet in one facet of the mesh")
        first = np.flatnonzero(facet[1:] == facet[:-1])
        first = first[(cell[first] < self.owned) | (cell[first + 1] < self.owned)]
        both = np.column_stack([first, first + 1])
        return cell[both], number[both]

    def _directions(self, points: np.ndarray) -> np.ndarray:
        """Smooth normals or tangents (c, q, gdim) of a mesh from a file at points (c, q, gdim)."""
        if self._normals is None:
            raise TypeError("only the manifold of a mesh from a file has smooth normals")
        return self._normals(points.reshape(-1, points.shape[-1])).reshape(points.shape)

    def _conormal(self, facet: int, jacobian: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Outward conormal (c, r, gdim) and facet measure (c, r) from Jacobians at `points` (c, r, gdim) of one local facet."""
        cell = self.map.element.basix_element.cell_type
        outward = basix.cell.facet_outward_normals(cell)[facet]
        inverse, _ = pseudo_inverse(jacobian)
        normal = np.einsum("a,crad->crd", outward, inverse)
        length = np.linalg.norm(normal, axis=-1, keepdims=True)
        if self._normals is not None:
            normal = np.einsum("a,crad->crd", outward, oblique_inverse(jacobian, self._directions(points)))
        normal /= length
        if self.mesh.tdim == 1:
            return normal, np.ones(normal.shape[:2])
        vertices = basix.geometry(cell)[basix.topology(cell)[self.mesh.tdim - 1][facet]]
        tangents = jacobian @ (vertices[1:] - vertices[0]).T
        return normal, np.sqrt(np.linalg.det(np.swapaxes(tangents, -1, -2) @ tangents))
