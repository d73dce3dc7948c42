"""A density at one depth: its numbers, its atoms, its picture, its dolfinx function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import dolfinx.fem
import numpy as np
from mpi4py import MPI

from solver.density.diagnostics import Row, diagnostics
from solver.density.gather import Gather
from solver.density.geometry import pseudo_inverse
from solver.density.operator import ROUNDING, DensityOperator, stage
from solver.density.reference import density_element, quadrature, tabulate
from solver.density.subcells import composite_quadrature, edge_pieces, subdivision


@dataclass(frozen=True)
class StepInfo:
    """One accepted step; the same on every rank. time: at its end; mass, minimum: of the density then."""

    time: float
    step: int
    dt: float
    mass: float
    minimum: float


class DensitySnapshot:
    """The density at one depth. All properties and methods are collective; values are the same on every rank unless said
    otherwise.

    Attributes:
        time, step: depth and steps taken so far.
        state (owned * n,): unknowns of this rank, see `DensityOperator`.
    """

    def __init__(self, operator: DensityOperator, state: np.ndarray, time: float, step: int):
        self.operator, self.state, self.time, self.step = operator, state, time, step

    @cached_property
    def row(self) -> Row:
        """mass, minimum, maximum, energy, entropy (floats), mean (d,), second (d, d): docs/theory.md §1.8, docs/run-folder.md."""
        with stage("output"):
            return diagnostics(self.operator, self.state, self.time)

    @cached_property
    def function(self) -> dolfinx.fem.Function:
        """The density on the mesh, in the solver's own discontinuous space; distributed."""
        return self.operator.function(self.state)

    def atoms(self, per_cell: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """The density as point masses: each cell cut into about `per_cell` parts of equal size (n^2 on triangles; tetrahedra stay
        whole), each part's mass at its centre of mass, moved onto the manifold.

        Returns:
            points (m, d) and masses (m,) >= 0 with the sum of `row["mass"]`, in an order independent of the ranks.
        """
        op, r = self.operator, self.operator.geometry.reference
        pieces = edge_pieces(r.tdim, per_cell)
        local, weights = composite_quadrature(r.tdim, pieces, 2 * r.degree + 2)
        parts, per = weights.shape
        own, flat = slice(0, op.owned), local.reshape(-1, r.tdim)
        x = op.geometry.map.points(flat, own)
        _, measure = pseudo_inverse(op.geometry.map.jacobian(flat, own))
        rho = self.state.reshape(-1, op.size) @ tabulate(density_element(r.tdim, r.degree), flat).T
        volumes = measure * weights.ravel()
        # Between the points the limiter looks at the polynomial may dip below zero by a little: cut, and keep the cell's mass.
        mass = (np.maximum(rho, 0.0) * volumes).reshape(op.owned, parts, per)
        moment = np.einsum("cpq,cpqd->cpd", mass, x.reshape(op.owned, parts, per, -1))
        centre = np.einsum("cpq,cpqd->cpd", volumes.reshape(op.owned, parts, per), x.reshape(op.owned, parts, per, -1))
        centre /= volumes.reshape(op.owned, parts, per).sum(axis=2)[..., None]
        mass = mass.sum(axis=2)
        filled = mass > 0.0
        points = np.where(filled[..., None], moment / np.where(filled, mass, 1.0)[..., None], centre)
        g = op.geometry
        signed = np.einsum("ci,ci,c->c", g.mean, self.state.reshape(-1, op.size), g.volume)
        exact = np.maximum(signed, 0.0)
        kept, cut = op.comm.allreduce(np.array([exact.sum(), exact.sum() - signed.sum()]), op=MPI.SUM)
        if cut > ROUNDING * kept:  # cells of negative mass, which only a density without limiter has: the others make up for it
            exact *= 1.0 - cut / kept
        total = mass.sum(axis=1)
        mass *= (exact / np.where(total > 0.0, total, 1.0))[:, None]
        everything = Gather(op.comm, g.order[:op.owned], parts * (points.shape[2] + 1))(
            np.concatenate([points, mass[..., None]], axis=2).reshape(op.owned, -1))
        everything = everything.reshape(-1, points.shape[2] + 1)
        return op.problem.manifold.retract(everything[:, :-1]), everything[:, -1].copy()

    def plot_data(self, pieces: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Points (m, d) on the mesh, density (m,) there, and triangles (t, 3) between them (None on curves and in solids).

        Cells do not share points, since the density jumps. `pieces`: into how many parts edges are cut; by default the degree.
        """
        op, r = self.operator, self.operator.geometry.reference
        lattice, simplices = subdivision(r.tdim, pieces or max(1, r.degree))
        x = op.geometry.map.points(lattice, slice(0, op.owned))
        rho = self.state.reshape(-1, op.size) @ tabulate(density_element(r.tdim, r.degree), lattice).T
        together = np.concatenate([x, np.maximum(rho, 0.0)[..., None]], axis=2)
        width = together.shape[2]
        everything = Gather(op.comm, op.geometry.order[:op.owned], len(lattice) * width)(together.reshape(op.owned, -1))
        everything = everything.reshape(-1, width)
        triangles = None
        if r.tdim == 2:
            cells = len(everything) // len(lattice)
            triangles = (np.arange(cells)[:, None, None] * len(lattice) + simplices).reshape(-1, 3)
        return everything[:, :-1].copy(), everything[:, -1].copy(), triangles

    def l2_distance(self, f: Callable[[np.ndarray], np.ndarray], extra: int = 6) -> float:
        """L2 norm over the mesh of the density minus f, which takes points (n, d) of the manifold to values (n,).

        Quadrature exact for twice the degree plus `extra`: at the density's own points the error would look too small, since some
        of them are points of superconvergence.
        """
        op, r = self.operator, self.operator.geometry.reference
        points, weights = quadrature(r.tdim, 2 * r.degree + extra)
        own = slice(0, op.owned)
        x = op.geometry.map.points(points, own)
        _, measure = pseudo_inverse(op.geometry.map.jacobian(points, own))
        rho = self.state.reshape(-1, op.size) @ tabulate(density_element(r.tdim, r.degree), points).T
        exact = np.asarray(f(op.problem.manifold.retract(x.reshape(-1, x.shape[-1])))).reshape(rho.shape)
        return float(np.sqrt(op.comm.allreduce(float(np.sum((rho - exact) ** 2 * measure * weights)), op=MPI.SUM)))

    def integral(self, values: np.ndarray) -> float:
        """int values rho by the density's own quadrature; `values` (owned, q) at `operator.geometry.points`, local."""
        g, r = self.operator.geometry, self.operator.geometry.reference
        rho = self.state.reshape(-1, self.operator.size) @ r.basis.T
        return self.operator.comm.allreduce(float(np.sum(values * rho * g.measure * r.weights)), op=MPI.SUM)
