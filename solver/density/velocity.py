"""The velocity X[rho] = P_x sum_h V_h m_h at the nodes of a continuous Lagrange space, from the attention of the density."""

from __future__ import annotations

import math

import dolfinx.fem
import dolfinx.la
import numpy as np
from mpi4py import MPI

from problems import Problem
from problems.attention import Weights
from solver.attention import Attention, BoundAttention
from solver.density.gather import Gather
from solver.density.geometry import Geometry
from solver.density.reference import velocity_element
from solver.errors import RunError, own_values

# The logarithm of the largest velocity that is still computed with.
LARGEST_EXPONENT = 600.0
# Below this part of the largest density a point counts as outside the support of a law whose support is not full: the
# transport scheme spreads a little mass ahead of the law, which zero temperature must not attend to.
SUPPORT = 1e-8


class Velocity:
    """Attention of the density to itself, evaluated at velocity nodes. Collective.

    The nodes are those of the continuous Lagrange space one degree above the density; interpolated from there to quadrature
    points the velocity is single-valued on facets, its error is one order below the scheme's, and nodes are several times fewer
    than quadrature points. Nodes and sources are moved onto the exact manifold first.

    Attributes:
        nodes (k, d): velocity nodes of this rank's owned cells, on the manifold; local.
        cell_nodes (owned, .), facet_nodes (f, .): node numbers as `Transport` wants them; local.
        sources (m, d): all quadrature points of the density in canonical order; the same on every rank.
        strength: largest |sum_h V_h m_h + v|, v the external drift, met at this rank's nodes in the latest evaluation: in
            units of the size of the space a bound of the rates of the flow; local.
        external (k, d): v at the nodes, per unit of the run's depth; None without; local.
        full_support: whether the law charges the whole space, decided at its first evaluation, since a flow keeps full support
            for ever; None before.
        log_time: d log(physical depth)/d(depth of the run) that `time.rescaled` asks for: -beta, else 0.
    """

    def __init__(self, problem: Problem, geometry: Geometry):
        self.problem, self.geometry, self.manifold = problem, geometry, problem.manifold
        g, r = geometry, geometry.reference
        space = dolfinx.fem.functionspace(g.mesh.mesh, velocity_element(r.tdim, r.degree))
        nodes = np.asarray(space.dofmap.list)[:g.total]
        used, self.cell_nodes = np.unique(nodes[:g.owned], return_inverse=True)
        self.cell_nodes = self.cell_nodes.reshape(nodes[:g.owned].shape)
        number = np.full(int(nodes.max(initial=-1)) + 1, -1)
        number[used] = np.arange(len(used))
        facets = g.facets
        self._shared = dolfinx.la.vector(space.dofmap.index_map, g.mesh.gdim) if g.mesh.comm.size > 1 else None
        self._places = used
        rows = facets.cells[:, 0, None], r.facet_nodes[facets.local[:, 0]]
        self.facet_nodes = number[nodes[rows]]
        self.nodes = self.manifold.retract(np.asarray(space.tabulate_dof_coordinates())[used, :g.mesh.gdim])
        self._tangents = self.manifold.tangents(self.nodes)
        self.gather = Gather(g.mesh.comm, g.order[:g.owned], len(r.weights))
        local = self.manifold.retract(g.points.reshape(-1, g.mesh.gdim)).reshape(g.points.shape)
        wide = Gather(g.mesh.comm, g.order[:g.owned], local.shape[1] * local.shape[2])
        self.sources = wide(local.reshape(g.owned, -1)).reshape(-1, g.mesh.gdim)
        self._weights = (g.measure * r.weights)[:, :, None]
        self.volumes = self.gather(self._weights[..., 0]).ravel()
        self._bound: dict[int, BoundAttention] = {}
        self.full_support: bool | None = None
        self.strength = 0.0
        beta = problem.attention.layers[0].weights.beta
        self.log_time = -beta if problem.attention.rescaled_time else 0.0
        self.external: np.ndarray | None = None
        if problem.drift.velocity is not None:
            values = own_values(problem.drift.velocity, self.nodes.shape, self.nodes.copy())
            self.external = values * math.exp(self.log_time)

    def masses(self, state: np.ndarray) -> np.ndarray:
        """(m,) masses of the sources, of the owned cells' unknowns `state` (owned * n,); global and canonical."""
        r = self.geometry.reference
        values = state[:self.geometry.owned * r.size].reshape(-1, r.size) @ r.basis.T
        return self.gather(values * self._weights[..., 0]).ravel()

    def attended(self, state: np.ndarray) -> np.ndarray:
        """(m,) masses that tokens attend to: the law, less what `attention.support` calls empty; global and canonical."""
        masses, support = self.masses(state), self.problem.attention.support
        if support == 0.0:
            return masses
        # The density less a constant, not a cut: the velocity stays a continuous function of the law.
        return np.maximum(masses - support * self.volumes / self.volumes.sum(), 0.0)

    def bound(self, weights: Weights) -> BoundAttention:
        """The attention of one layer, bound to the nodes and sources of this mesh (see `Attention.bind`)."""
        key = id(weights)
        if key not in self._bound:
            attention = Attention(weights, accuracy=self.problem.attention.accuracy)
            # The sources, which every rank knows, stand for the nodes of all ranks when a method is chosen.
            self._bound[key] = attention.bind(self.nodes, self.sources, self.sources)
        return self._bound[key]

    def frozen(self, t: float) -> bool:
        """Whether the velocity at depth t depends on the layer only: zero temperature, normalised, full support."""
        weights = self.problem.attention.at(t)
        return (math.isinf(weights.beta) and weights.own_score is None and self.manifold.normalised
                and self.full_support is True)

    def __call__(self, t: float, state: np.ndarray) -> np.ndarray:
        """X (k, d) at this rank's nodes, tangent to the manifold, for the density `state` at depth t."""
        weights = self.problem.attention.at(t)
        if self.frozen(t):
            return self.tangent(Attention(weights).full_support_field(self.nodes))
        masses = self.attended(state)
        if self.full_support is None:
            self.full_support = bool(np.all(masses > 0.0))
            return self(t, state)
        if math.isinf(weights.beta):
            density = masses / self.volumes
            masses = np.where(density > SUPPORT * density.max(), masses, 0.0)
        values, log_scale = self.bound(weights).field(masses)
        if weights.normalization == "softmax":
            return self.tangent(values)
        exponent = log_scale + self.log_time
        largest = float(self.geometry.mesh.comm.allreduce(exponent, op=MPI.MAX))
        if not largest < LARGEST_EXPONENT:
            raise RunError(f"the velocity of unnormalised attention is about e^{largest:.4g}, beyond the range of numbers")
        return self.tangent(values * math.exp(exponent))

    def tangent(self, values: np.ndarray) -> np.ndarray:
        """The tangent part of values (k, d) at the nodes, with the external drift; collective."""
        if self.external is not None:
            values = values + self.external
        self.strength = float(np.sqrt(np.max(np.einsum("ki,ki->k", values, values), initial=0.0)))
        return self._owners(np.ascontiguousarray(self._tangents(values)))

    def _owners(self, values: np.ndarray) -> np.ndarray:
        """The values (k, d) that the owners of the nodes have; collective.

        Both cells of a facet so have one velocity to the last bit, also where a rounding of the node makes attention at zero
        temperature jump.
        """
        if self._shared is None:
            return values
        everyone = self._shared.array.reshape(-1, values.shape[1])
        everyone[self._places] = values
        self._shared.scatter_forward()
        return np.ascontiguousarray(everyone[self._places])
