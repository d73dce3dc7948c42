"""Sizes and shapes of curved simplices, in NumPy: used to check files and to judge meshes."""

from __future__ import annotations

from functools import cache

import basix
import numpy as np

BASIX_CELLS = {1: basix.CellType.interval, 2: basix.CellType.triangle, 3: basix.CellType.tetrahedron}


@cache
def _derivatives(dimension: int, degree: int, order: int) -> tuple[np.ndarray, np.ndarray]:
    """(dimension, q, k) derivatives of the Lagrange basis at quadrature points, and the (q,) weights."""
    cell = BASIX_CELLS[dimension]
    element = basix.create_element(basix.ElementFamily.P, cell, degree, basix.LagrangeVariant.equispaced)
    points, weights = basix.make_quadrature(cell, order)
    return element.tabulate(1, points)[1:, :, :, 0], weights


def jacobians(nodes: np.ndarray, dimension: int, degree: int,
              order: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """(c, q, gdim, dimension) Jacobians of cells at quadrature points, and (q,) weights.

    Args:
        nodes: (c, k, gdim) coordinates of the nodes of each cell, in basix's order.
        dimension: of the cells; degree: of their geometry; order: polynomials integrated exactly.
    """
    slopes, weights = _derivatives(dimension, degree, order)
    return np.einsum("dqk,ckg->cqgd", slopes, nodes, optimize=True), weights


def scale(jacobian: np.ndarray) -> np.ndarray:
    """Length, area or volume factor sqrt(det J^T J) of Jacobians (..., gdim, dimension)."""
    if jacobian.shape[-1] == jacobian.shape[-2]:
        return np.abs(np.linalg.det(jacobian))
    gram = np.swapaxes(jacobian, -1, -2) @ jacobian
    return np.sqrt(np.maximum(np.linalg.det(gram), 0.0))


def measures(nodes: np.ndarray, dimension: int, degree: int) -> np.ndarray:
    """(c,) length, area or volume of each cell with nodes (c, k, gdim)."""
    jacobian, weights = jacobians(nodes, dimension, degree)
    return scale(jacobian) @ weights


def radius_ratios(vertices: np.ndarray) -> np.ndarray:
    """(c,) d r_in / R_circ of straight simplices (c, d + 1, gdim): 1 if regular, 0 if degenerate."""
    count, corners, _ = vertices.shape
    if corners == 2:
        return np.ones(count)
    if corners == 3:
        a, b, c = (np.linalg.norm(vertices[:, i] - vertices[:, i - 1], axis=1) for i in range(3))
        product = np.maximum(a * b * c, np.finfo(float).tiny)
        return np.maximum((b + c - a) * (c + a - b) * (a + b - c) / product, 0.0)
    edges = vertices[:, 1:] - vertices[:, :1]
    volume = np.abs(np.linalg.det(edges)) / 6
    faces = [np.delete(vertices, i, axis=1) for i in range(4)]
    area = sum(0.5 * np.linalg.norm(np.cross(f[:, 1] - f[:, 0], f[:, 2] - f[:, 0]), axis=1) for f in faces)
    opposite = [np.linalg.norm(vertices[:, i] - vertices[:, j], axis=1)
                * np.linalg.norm(vertices[:, k] - vertices[:, m], axis=1)
                for i, j, k, m in ((0, 1, 2, 3), (0, 2, 1, 3), (0, 3, 1, 2))]
    p, q, r = opposite  # 24 V R = sqrt((p+q+r)(p+q-r)(p-q+r)(-p+q+r))
    heron = np.maximum((p + q + r) * (p + q - r) * (p - q + r) * (q + r - p), 0.0)
    return 3 * (3 * volume / area) * 24 * volume / np.maximum(np.sqrt(heron), np.finfo(float).tiny)
