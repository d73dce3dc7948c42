"""The transport operator with its velocity held fixed, as a PETSc matrix: Jacobians of implicit schemes, zero temperature."""

from __future__ import annotations

import numpy as np
from petsc4py import PETSc

from solver.density.operator import DensityOperator
from solver.density.transport import unblocked


def frozen_matrix(operator: DensityOperator, matrix: PETSc.Mat | None = None) -> PETSc.Mat:
    """A with d rho/dt = A rho for the velocity the operator carries at present (of its latest `rhs` or `set_velocity`).

    Args:
        operator: collective on its ranks.
        matrix: an earlier result for the same operator, to be filled again; None makes one.

    Returns:
        Square matrix distributed as `operator.create_vector()`, type AIJ, block size `operator.size`, inverse mass applied.
    """
    rows, columns, blocks = _blocks(operator)
    n = operator.size
    order = np.lexsort((columns, rows))
    rows, columns, blocks = rows[order], columns[order], blocks[order]
    counts = np.bincount(rows, minlength=operator.owned) * n
    start = np.concatenate([[0], np.cumsum(np.repeat(counts, n))]).astype(PETSc.IntType)
    # block rows to rows: all blocks of a cell side by side, then row after row
    values = np.empty(int(start[-1]))
    indices = np.empty(int(start[-1]), dtype=PETSc.IntType)
    first = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=operator.owned))])[:-1]
    within = np.arange(len(rows)) - first[rows]  # which block of its row
    place = (start[rows * n, None] + np.arange(n) * counts[rows, None])[:, :, None] + (within * n)[:, None, None] + np.arange(n)
    values[place.ravel()] = blocks.ravel()
    indices[place.ravel()] = np.broadcast_to(columns[:, None, None] * n + np.arange(n), place.shape).ravel()
    if matrix is None:
        size = (operator.unknowns, None)
        matrix = PETSc.Mat().createAIJ((size, size), bsize=n, csr=(start, indices, values), comm=operator.comm)
    else:
        matrix.setValuesCSR(start, indices, values)
    matrix.assemble()
    return matrix


def _blocks(operator: DensityOperator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Local row cells (k,), global column cells (k,) and blocks (k, n, n) of the matrix; local."""
    g, r, facets = operator.geometry, operator.geometry.reference, operator.geometry.facets
    inverse = np.linalg.inv(g.mass)
    U = unblocked(operator.transport.U, g.owned)  # (owned, q, tdim)
    own = np.einsum("cqa,qai,qj->cij", U, r.gradient, r.basis, optimize=True) if r.degree else np.zeros((g.owned, 1, 1))
    F = unblocked(operator.transport.F[:-8].reshape(-1, len(r.facet_weights), 8), len(facets.cells))
    plus = np.take_along_axis(r.facet_basis[facets.local[:, 1]], facets.partner[..., None], axis=1)
    traces = (r.facet_basis[facets.local[:, 0]], plus)  # both in the minus side's order of points
    cells = operator.mesh.mesh.topology.index_map(operator.mesh.tdim).local_to_global(np.arange(g.total, dtype=np.int32))
    rows, columns, blocks = [], [], []
    for side, sign in ((0, 1.0), (1, -1.0)):
        here = np.flatnonzero(facets.cells[:, side] < g.owned)
        cell, flux = facets.cells[here, side], sign * F[here]
        v, u = traces[side][here], traces[1 - side][here]
        np.subtract.at(own, cell, np.einsum("fq,fqi,fqj->fij", np.maximum(flux, 0.0), v, v, optimize=True))
        rows.append(cell)
        columns.append(cells[facets.cells[here, 1 - side]])
        blocks.append(-inverse[cell] @ np.einsum("fq,fqi,fqj->fij", np.minimum(flux, 0.0), v, u, optimize=True))
    rows.append(np.arange(g.owned))
    columns.append(cells[:g.owned])
    blocks.append(inverse @ own)
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(blocks)
