"""Polynomials on simplices, evaluated at points that differ from cell to cell: positions, tangents, normals. NumPy only."""

from __future__ import annotations

import itertools

import numpy as np

from meshes.cells import lagrange_nodes


class CellMaps:
    """One vector-valued polynomial for each cell, in coordinates (n, dimension) of the reference simplex. Local.

    Args:
        values: (c, k, m) values at the equispaced Lagrange nodes of each cell, in basix's order.
        dimension: of the cells, 0 to 3; degree: of the polynomials, at least 1.

    Attributes:
        values, dimension, degree: as given.
    """

    def __init__(self, values: np.ndarray, dimension: int, degree: int):
        self.values, self.dimension, self.degree = values, dimension, degree
        every = itertools.product(range(degree + 1), repeat=dimension)
        self._powers = np.array([p for p in every if sum(p) <= degree], dtype=int).reshape(-1 if dimension else 1, dimension)
        nodes = lagrange_nodes(dimension, degree)[:, 1:] if dimension else np.zeros((1, 0))
        self._coefficients = np.einsum("jk,ckm->cjm", np.linalg.inv(self._monomials(nodes)), values)

    def __len__(self) -> int:
        return len(self.values)

    def value(self, cells: np.ndarray, xi: np.ndarray) -> np.ndarray:
        """(n, m) values in the given cells (n,) at reference points (n, dimension)."""
        return np.einsum("nj,njm->nm", self._monomials(xi), self._coefficients[cells])

    def derivative(self, cells: np.ndarray, xi: np.ndarray) -> np.ndarray:
        """(n, m, dimension) derivatives there."""
        coefficients = self._coefficients[cells]
        columns = []
        for a in range(self.dimension):
            lower = self._powers.copy()
            lower[:, a] = np.maximum(lower[:, a] - 1, 0)
            slope = self._powers[:, a] * np.prod(xi[:, None, :] ** lower, axis=2)
            columns.append(np.einsum("nj,njm->nm", slope, coefficients))
        return np.stack(columns, axis=-1) if columns else np.zeros((*xi.shape[:1], self.values.shape[-1], 0))

    def everywhere(self, xi: np.ndarray) -> np.ndarray:
        """(c, q, m) values in every cell at the same reference points (q, dimension)."""
        return np.einsum("qj,cjm->cqm", self._monomials(xi), self._coefficients)

    def _monomials(self, xi: np.ndarray) -> np.ndarray:
        return np.prod(xi[:, None, :] ** self._powers, axis=2)


def barycentric(xi: np.ndarray) -> np.ndarray:
    """(n, dimension + 1) barycentric coordinates of reference points (n, dimension)."""
    return np.column_stack([1.0 - xi.sum(axis=1), xi])
