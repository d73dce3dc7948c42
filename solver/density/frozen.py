"""The transport for a frozen velocity as a sparse matrix: the Jacobian of the density's flow, less its nonlocal part."""

from __future__ import annotations

import numpy as np
from petsc4py import PETSc

from solver.density.blocks import BlockMatrix, inverse_mass
from solver.density.operator import DensityOperator
from solver.density.transport import LANES


class FrozenTransport:
    """T(X) with T rho = -M^{-1} div(rho X), upwind, exactly as `Transport.apply` does it; collective.

    The pattern is made once. Velocities are those the transport carries at the time of `assemble`.
    """

    def __init__(self, operator: DensityOperator):
        self.operator, g = operator, operator.geometry
        self._inverse = inverse_mass(operator)
        cells, own = g.facets.cells, np.arange(g.owned)
        self._sides = [(side, np.flatnonzero(cells[:, side] < g.owned)) for side in (0, 1)]
        rows, columns = [own], [own]
        for side, kept in self._sides:
            for other in (0, 1):
                rows.append(cells[kept, side])
                columns.append(cells[kept, other])
        self._rows = np.concatenate(rows)
        self._blocks = BlockMatrix(operator, self._rows, np.concatenate(columns))

    def assemble(self) -> PETSc.Mat:
        """The matrix for the transport's present velocity; the same object at every call."""
        g, r = self.operator.geometry, self.operator.geometry.reference
        volume, speed = self._velocity()
        blocks = [np.einsum("cqa,qai,qj->cij", volume, r.gradient, r.basis, optimize=True)]
        local, partner = g.facets.local, g.facets.partner
        plus = np.take_along_axis(r.facet_basis[local[:, 1]], partner[..., None], axis=1)
        traces = (r.facet_basis[local[:, 0]], plus)
        flux = (np.maximum(speed, 0.0), np.minimum(speed, 0.0))  # from minus to plus, of the upwind side's trace
        for side, kept in self._sides:
            sign = -1.0 if side == 0 else 1.0
            for other in (0, 1):
                blocks.append(sign * np.einsum("fr,fri,frj->fij", flux[other][kept], traces[side][kept],
                                               traces[other][kept], optimize=True))
        return self._blocks.set(self._inverse[self._rows] @ np.concatenate(blocks))

    def _velocity(self) -> tuple[np.ndarray, np.ndarray]:
        """(owned, q, tdim) weighted velocity in reference cells and (f, r) weighted speed through facets."""
        g, r, transport = self.operator.geometry, self.operator.geometry.reference, self.operator.transport
        U = np.moveaxis(transport.U, -1, 1).reshape(-1, len(r.weights), r.tdim)[: g.owned]
        per, facets = len(r.facet_weights), len(g.facets.cells)
        blocks = -(-facets // LANES)
        F = transport.F[: blocks * per * LANES].reshape(blocks, per, LANES)
        return U, np.moveaxis(F, -1, 1).reshape(-1, per)[:facets]
