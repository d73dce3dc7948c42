"""The initial law as a density on the mesh: L2 projection of a smooth law, binning of a sum of atoms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from mpi4py import MPI
from scipy.spatial import cKDTree

from problems import Problem
from problems.errors import ProblemError
from solver.density.geometry import Geometry, pseudo_inverse
from solver.density.reference import density_element, quadrature, tabulate

EXTRA_DEGREE = 8  # exactness of the projection's quadrature beyond twice the degree
UNRESOLVED = 0.05  # part of the mass that a projection may miss, before it is set right


def initial_state(problem: Problem, geometry: Geometry) -> np.ndarray:
    """Unknowns (owned * n,) of the initial law, not yet limited, of mass about 1. Collective.

    Raises:
        ProblemError: the mesh does not resolve the law (its mass on the mesh is off by more than 5 %).
    """
    law, g = problem.initial, geometry
    if law.is_atomic:
        points, masses = law.atoms()  # type: ignore[attr-defined]
        return binned(points, masses, problem, geometry)
    state = projected(lambda x: law.density(problem.manifold.retract(x)), geometry)
    mass = g.mesh.comm.allreduce(float(np.einsum("ci,ci,c->", g.mean, state.reshape(-1, g.reference.size), g.volume)), op=MPI.SUM)
    expected = 1.0
    if problem.manifold.volume is not None:  # flat cells inside a sphere have less area than it
        expected = g.mesh.comm.allreduce(float(g.volume.sum()), op=MPI.SUM) / problem.manifold.volume
    if not abs(mass / expected - 1.0) < UNRESOLVED:
        allowed = f"the mesh does not resolve this law: its mass comes out as {mass:.4g}; take more cells or a wider law"
        raise ProblemError("density.cells", problem.density.cells, allowed)
    return state


def projected(f: Callable[[np.ndarray], np.ndarray], geometry: Geometry, extra: int = EXTRA_DEGREE) -> np.ndarray:
    """Unknowns (owned * n,) of the projection in L2 of a function f of points (k, d), with values (k,); local."""
    g, r = geometry, geometry.reference
    points, weights = quadrature(r.tdim, 2 * r.degree + extra)
    own = slice(0, g.owned)
    x = g.map.points(points, own)
    _, measure = pseudo_inverse(g.map.jacobian(points, own))
    values = np.asarray(f(x.reshape(-1, x.shape[-1]))).reshape(measure.shape)
    right = (values * measure * weights) @ tabulate(density_element(r.tdim, r.degree), points)
    return np.linalg.solve(g.mass, right[..., None])[..., 0].ravel()


TIED_POINTS = 64  # quadrature points looked at for one atom


def binned(points: np.ndarray, masses: np.ndarray, problem: Problem, geometry: Geometry) -> np.ndarray:
    """Unknowns (owned * n,) of the cell-wise constant density that gives each atom (k, d) to its nearest cell. Collective."""
    g, r = geometry, geometry.reference
    own = problem.manifold.retract(g.points.reshape(-1, g.mesh.gdim))
    nobody = np.iinfo(np.int64).max
    # An atom at a corner of the mesh has as many nearest cells as meet there; ties go to the lowest of all ranks.
    near = min(TIED_POINTS, len(own))
    best = np.full(len(points), np.inf)
    orders: np.ndarray = np.full((len(points), 1), nobody)
    distance: np.ndarray = np.full((len(points), 1), np.inf)
    cells: np.ndarray = np.zeros((len(points), 1), int)
    if near:
        distance, place = (found.reshape(len(points), near) for found in cKDTree(own).query(points, k=near))
        cells = place // len(r.weights)
        orders = g.order[cells]
    g.mesh.comm.Allreduce(np.ascontiguousarray(distance[:, 0]), best, op=MPI.MIN)
    orders = np.where(distance <= best[:, None] * (1 + 1e-9), orders, nobody)
    choice = orders.argmin(axis=1)
    order = np.ascontiguousarray(orders[np.arange(len(points)), choice])
    cell = cells[np.arange(len(points)), choice]
    winner = np.empty_like(order)
    g.mesh.comm.Allreduce(order, winner, op=MPI.MIN)
    mine = order == winner
    density = np.bincount(cell[mine], weights=masses[mine], minlength=g.owned) / g.volume
    state = np.zeros((g.owned, r.size))
    state[:, 0] = density / r.constant
    return state.ravel()
