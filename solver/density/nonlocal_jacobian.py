"""The exact Jacobian of the flow applied to a direction: an assembled part, and the change of velocity by differences."""

from __future__ import annotations

import numpy as np
from petsc4py import PETSc

from solver.density.operator import DensityOperator

STEP = 1e-6  # of the difference quotient, relative to the density


class NonlocalJacobian:
    """J v = A v - [N(rho; X(rho + eps v)) - N(rho; X(rho))] / eps + s m(v) 1 as a PETSc matrix; collective.

    A is assembled and holds noise and transport for the frozen velocity exactly. Only the velocity is differenced:
    differences of the whole residual lose all digits on fine meshes, where its terms are large and cancel.

    Args:
        operator, depth: the density and the depth whose weights apply.
        assembled: A plus `shift` times the identity, kept up to date by the caller.
        one: the constant function 1; weight: s, of the mass.
    """

    def __init__(self, operator: DensityOperator, depth: float, assembled: PETSc.Mat, shift: float, one: PETSc.Vec,
                 weight: float):
        self.operator, self.depth, self.assembled, self.shift = operator, depth, assembled, shift
        self.one, self.weight = one, weight
        self.state, self._base, self._moved = (operator.create_vector() for _ in range(3))
        layout = (operator.unknowns, None)
        self.matrix = PETSc.Mat().createPython((layout, layout), context=self, comm=operator.comm)
        self.matrix.setUp()

    def update(self, state: PETSc.Vec) -> None:
        """Linearise about `state`."""
        state.copy(self.state)
        self._scale = state.norm()
        self._carried(self.state.array_r, self._base)

    def mult(self, matrix: PETSc.Mat, direction: PETSc.Vec, out: PETSc.Vec) -> None:
        """out = J direction; called by PETSc."""
        self.assembled.mult(direction, out)
        out.axpy(-self.shift, direction)
        out.axpy(self.weight * self.operator.mass(direction.array_r), self.one)
        size = direction.norm()
        if size > 0.0:
            step = STEP * self._scale / size
            self._carried(self.state.array_r + step * direction.array_r, self._moved)
            self._moved.axpy(-1.0, self._base)
            out.axpy(-1.0 / step, self._moved)

    def _carried(self, source: np.ndarray, out: PETSc.Vec) -> None:
        """out = N(rho; X(source)): the density at which we linearise, carried by the velocity of `source`."""
        op = self.operator
        op.set_velocity(self.depth, source)
        op.work.array[: op.unknowns] = self.state.array_r
        op.work.scatter_forward()
        op.transport.apply(op.work.array, out.array_w)
