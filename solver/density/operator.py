"""The spatial discretisation of the density: unknowns, right-hand side, limiter, positivity bound."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache

import dolfinx.fem
import dolfinx.la
import numpy as np
from mpi4py import MPI
from petsc4py import PETSc

from meshes.build import TokenMesh
from problems import Problem
from problems.attention import Weights
from solver.density.gather import Gather
from solver.density.geometry import Geometry
from solver.density.initial import initial_state
from solver.density.mesh import density_mesh
from solver.density.reference import density_element
from solver.density.transport import Transport
from solver.density.velocity import Velocity

ROUNDING = 1e-13


@cache
def _stage(name: str) -> PETSc.Log.Stage:
    return PETSc.Log.Stage(name)


@contextmanager
def stage(name: str):
    """A named stage of PETSc's -log_view."""
    handle = _stage(name)
    handle.push()
    try:
        yield
    finally:
        handle.pop()


class DensityOperator:
    """d rho/dt = -div(rho X[rho]) on the cells of this rank. Collective unless said otherwise.

    Unknowns: `size` per cell, coefficients of an orthonormal basis of the reference cell, the first one constant. Vectors hold
    the owned cells in dolfinx's order, cell by cell, so that block matrices of block size `size` fit (`create_vector`). They
    are also the unknowns of `space`, a dolfinx function space, through `dofs`.

    Args:
        problem: the resolved problem; comm: communicator; mesh: a mesh to use instead of the problem's own.

    Attributes:
        mesh, geometry, transport, velocity: the parts (`TokenMesh`, `Geometry`, `Transport`, `Velocity`).
        size: unknowns per cell; owned: cells of this rank.
        field (k, d): the velocity of the latest `set_velocity` at this rank's nodes, see `Velocity`; local.
        space, dofs (owned + ghosts, size): dolfinx function space of the density, and its degree-of-freedom numbers per cell.
    """

    def __init__(self, problem: Problem, comm: MPI.Comm, mesh: TokenMesh | None = None):
        self.problem, self.comm, section = problem, comm, problem.density
        self.mesh = mesh if mesh is not None else density_mesh(problem, comm)
        self.geometry = Geometry(self.mesh, section.degree)
        self.velocity = Velocity(problem, self.geometry)
        self.transport = Transport(self.geometry, self.velocity.cell_nodes, self.velocity.facet_nodes)
        self.size, self.owned = self.geometry.reference.size, self.geometry.owned
        self.space = dolfinx.fem.functionspace(self.mesh.mesh, density_element(self.mesh.tdim, section.degree))
        self.dofs = np.asarray(self.space.dofmap.list)[:self.geometry.total]
        self.gather = Gather(comm, self.geometry.order[:self.owned], self.size)
        index_map = self.mesh.mesh.topology.index_map(self.mesh.tdim)
        self.work = dolfinx.la.vector(index_map, self.size)
        self._known: tuple[Weights, np.ndarray] | None = None
        self.field = np.empty((0, 0))
        self.scale = 1.0

    @property
    def unknowns(self) -> int:
        """Number of unknowns on this rank."""
        return self.owned * self.size

    def create_vector(self) -> PETSc.Vec:
        """A PETSc vector of the unknowns, block size `size`."""
        return PETSc.Vec().createMPI((self.unknowns, None), bsize=self.size, comm=self.comm)

    def initial(self) -> np.ndarray:
        """Unknowns of the initial law, limited, of mass 1."""
        return self.limited(initial_state(self.problem, self.geometry))

    def limited(self, state: np.ndarray, mass: float = 1.0) -> np.ndarray:
        """The unknowns `state`, limited if the problem says so, and of the given mass; changes `state`."""
        if self.problem.density.limiter:
            self.transport.limit(state)
        return state * (mass / self.mass(state))

    def mass(self, state: np.ndarray) -> float:
        """int rho of the unknowns `state`; global."""
        g = self.geometry
        local = float(np.einsum("ci,ci,c->", g.mean, state.reshape(-1, self.size), g.volume))
        return self.comm.allreduce(local, op=MPI.SUM)

    def node_masses(self, state: np.ndarray) -> np.ndarray:
        """(k,) masses at this rank's velocity nodes, a cell's in equal parts at its nodes: over all ranks the mass."""
        g, nodes = self.geometry, self.velocity.cell_nodes
        cells = np.einsum("ci,ci,c->c", g.mean, state.reshape(-1, self.size), g.volume)
        return np.bincount(nodes.ravel(), np.repeat(cells / nodes.shape[1], nodes.shape[1]), len(self.velocity.nodes))

    def rhs(self, t: float, state: np.ndarray, out: np.ndarray, *, limit: bool = True, field: np.ndarray | None = None) -> float:
        """out = d rho/dt of the limited `state` (which stays as it is), with the weights of depth t; `limit` False: as it is.

        `field`: the velocity (k, d) at this rank's nodes, in the place of that of `state`.

        Returns the least cell average of `state` on this rank: forward Euler steps of the limited density have the same averages
        as those of the density itself, so that non-negative averages at every stage prove the step positive (Zhang & Shu 2010).
        """
        work, n = self.work.array, self.unknowns
        work[:n] = state
        lowest = 0.0
        if limit and self.problem.density.limiter:
            with stage("limiter"):
                lowest = self.transport.limit(work, tiny=ROUNDING * self.scale)[0]
        if field is None:
            self.set_velocity(t, work[:n])
        else:
            with stage("transport"):
                self.transport.set_velocity(field)
            self._known = None
        with stage("transport"):
            self.work.scatter_forward()
            self.transport.apply(work, out)
        return lowest

    def limit_state(self, state: np.ndarray) -> tuple[float, float, float, float]:
        """Limit the unknowns in place (if the problem says so); global least average before, minimum after, mass and maximum."""
        with stage("limiter"):
            on = self.problem.density.limiter
            lowest, low, high, _ = self.transport.limit(state, tiny=ROUNDING * self.scale, scale=on)
            g = self.geometry
            mass = float(np.einsum("ci,ci,c->", g.mean, state.reshape(-1, self.size), g.volume))
            lowest, low, high = self.extremes(lowest, low, high)
            self.scale = max(high, 0.0)
            return lowest, low, self.comm.allreduce(mass, op=MPI.SUM), high

    def lowest_average(self, lowest: float, state: np.ndarray) -> float:
        """Global least of `lowest` (local, over the stages of a step) and of the cell averages of `state`."""
        if self.owned:
            averages = np.einsum("ci,ci->c", self.geometry.mean, state.reshape(-1, self.size))
            lowest = min(lowest, float(averages.min()))
        return self.comm.allreduce(lowest, op=MPI.MIN)

    def euler_bounds(self, t: float, state: np.ndarray) -> tuple[float, float, float]:
        """For the velocity of `state`, global: the largest forward Euler step that keeps averages non-negative; the largest
        outflow of a cell relative to its measure (a rate); the greatest length of the attention field before projection,
        in units of the size of the space (a rate)."""
        self.set_velocity(t, state)
        rates = np.array([*self.transport.rates(), self.velocity.strength / self.problem.manifold.reach])
        self.comm.Allreduce(MPI.IN_PLACE, rates, op=MPI.MAX)
        r = self.geometry.reference
        outflow = rates[1] / r.volume
        if r.degree == 0:
            positive = 1.0 / outflow if outflow > 0 else np.inf
        else:
            positive = r.positivity / rates[0] if rates[0] > 0 else np.inf
        return float(positive), float(outflow), float(rates[2])

    def gather_cells(self, state: np.ndarray) -> np.ndarray:
        """(cells, size) unknowns in canonical order, on every rank."""
        return self.gather(state.reshape(-1, self.size))

    def scatter_cells(self, everything: np.ndarray) -> np.ndarray:
        """(owned * size,) this rank's unknowns out of (cells, size) in canonical order; local."""
        return self.gather.local(everything).ravel()

    def function(self, state: np.ndarray, name: str = "density") -> dolfinx.fem.Function:
        """The density as a dolfinx function, ghosts included."""
        function = dolfinx.fem.Function(self.space, name=name)
        function.x.array[self.dofs[:self.owned].ravel()] = state
        function.x.scatter_forward()
        return function

    def set_velocity(self, t: float, state: np.ndarray, field: np.ndarray | None = None) -> None:
        """Make `transport` carry the velocity at depth t of the unknowns `state`, already limited: `field` (k, d) at this rank's
        nodes, or computed, if it has changed."""
        weights = self.problem.attention.at(t)
        if field is None and self._known is not None and self._known[0] is weights:
            if self.velocity.frozen(t):
                return
            same = np.array_equal(self._known[1], state)
            if self.comm.allreduce(same, op=MPI.LAND) if self.comm.size > 1 else same:
                return
        if field is None:
            with stage("attention"):
                field = self.velocity(t, state)
        with stage("transport"):
            self.transport.set_velocity(field)
        self.field = field
        self._known = weights, state.copy()

    def extremes(self, lowest: float, low: float, high: float) -> tuple[float, float, float]:
        """Global least of `lowest` and `low`, greatest of `high`."""
        values = np.array([lowest, low, -high])
        self.comm.Allreduce(MPI.IN_PLACE, values, op=MPI.MIN)
        return float(values[0]), float(values[1]), float(-values[2])
