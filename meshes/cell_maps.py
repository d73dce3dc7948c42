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
        self._linear = [int(np.argmax(self._powers[:, a] * (self._powers.sum(axis=1) == 1))) for a in range(dimension)]
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
        if self.degree == 1:  # constant
            return np.swapaxes(coefficients[:, self._linear], 1, 2)
        slopes = np.empty((self.dimension, len(xi), len(self._powers)))
        for a in range(self.dimension):
            lower = self._powers.copy()
            lower[:, a] = np.maximum(lower[:, a] - 1, 0)
            slopes[a] = self._powers[:, a] * _products(xi, lower)
        return np.einsum("anj,njm->nma", slopes, coefficients)

    def everywhere(self, xi: np.ndarray) -> np.ndarray:
        """(c, q, m) values in every cell at the same reference points (q, dimension)."""
        return np.einsum("qj,cjm->cqm", self._monomials(xi), self._coefficients)

    def _monomials(self, xi: np.ndarray) -> np.ndarray:
        return _products(xi, self._powers)


def _products(xi: np.ndarray, powers: np.ndarray) -> np.ndarray:
    """(n, j) products of the coordinates xi (n, k) to whole powers (j, k)."""
    result = np.ones((len(xi), len(powers)))
    for j, row in enumerate(powers):
        for a, power in enumerate(row):
            for _ in range(power):
                result[:, j] *= xi[:, a]
    return result


def barycentric(xi: np.ndarray) -> np.ndarray:
    """(n, dimension + 1) barycentric coordinates of reference points (n, dimension)."""
    return np.column_stack([1.0 - xi.sum(axis=1), xi])
