"""Sparse matrices on the solver's unknowns, assembled from one dense block per pair of cells."""

from __future__ import annotations

import numpy as np
from petsc4py import PETSc
from scipy.sparse import bsr_array

from solver.density.operator import DensityOperator


def global_cells(operator: DensityOperator) -> np.ndarray:
    """(owned + ghosts,) numbers of this rank's cells in the order of the solver's vectors, over all ranks."""
    index_map = operator.mesh.mesh.topology.index_map(operator.mesh.tdim)
    return index_map.local_to_global(np.arange(operator.geometry.total, dtype=np.int32))


class BlockMatrix:
    """A PETSc matrix whose pattern stays and whose values change; collective.

    Args:
        operator: gives layout and block size n.
        rows, columns: (k,) local numbers of the cells of each block; rows are owned cells. Blocks of the same pair add.
    """

    def __init__(self, operator: DensityOperator, rows: np.ndarray, columns: np.ndarray):
        n, owned, number = operator.size, operator.owned, global_cells(operator)
        pairs, self._pair = np.unique(np.column_stack([rows, number[columns]]), axis=0, return_inverse=True)
        self._pair, self._shape = self._pair.ravel(), (len(pairs), n, n)
        starts = np.searchsorted(pairs[:, 0], np.arange(owned + 1))
        total = operator.comm.allreduce(owned)
        # Numbers of the entries, block by block, put into the order of a compressed-row matrix.
        entries = np.arange(len(pairs) * n * n).reshape(self._shape)
        pattern = bsr_array((entries, pairs[:, 1], starts), shape=(owned * n, total * n)).tocsr()
        self._order = pattern.data.astype(np.int64)
        self._rows, self._columns = pattern.indptr.astype(PETSc.IntType), pattern.indices.astype(PETSc.IntType)
        layout = (operator.unknowns, None)
        self.matrix = PETSc.Mat().createAIJ((layout, layout), bsize=n, comm=operator.comm,
                                            csr=(self._rows, self._columns, np.zeros(len(self._order))))

    def set(self, blocks: np.ndarray) -> PETSc.Mat:
        """Replace the values by blocks (k, n, n); returns the matrix."""
        summed = np.zeros(self._shape)
        np.add.at(summed, self._pair, blocks)
        self.matrix.setValuesCSR(self._rows, self._columns, summed.ravel()[self._order])
        self.matrix.assemble()
        return self.matrix


def inverse_mass(operator: DensityOperator) -> np.ndarray:
    """(owned, n, n) inverse mass matrices of this rank's cells."""
    return np.linalg.inv(operator.geometry.mass)


def in_solver_order(operator: DensityOperator, assembled: PETSc.Mat) -> PETSc.Mat:
    """A matrix that dolfinx assembled on `operator.space`, in the order of the solver's unknowns; collective."""
    start = operator.space.dofmap.index_map.local_range[0]
    numbers = start + operator.dofs[: operator.owned].ravel()
    order = PETSc.IS().createGeneral(numbers.astype(PETSc.IntType), comm=operator.comm)
    return assembled.createSubMatrix(order, order)
