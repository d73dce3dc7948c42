"""The mesh of a problem, graded towards its target set or following its law where the problem file asks for that."""

from __future__ import annotations

import numpy as np
from mpi4py import MPI

from meshes.build import TokenMesh, build_mesh
from meshes.grading import distance_to_subspace
from problems import Problem
from problems.space import LAW
from solver.particles.cell_sizes import foresight
from solver.projection.target import target


def density_mesh(problem: Problem, comm: MPI.Comm, *, renumber_seed: int | None = None, stage: int | None = None) -> TokenMesh:
    """The mesh that `problem.space` and `problem.density` describe; collective.

    A graded mesh follows the leading eigenspace E of V K^T Q (docs/theory.md §3.2), of every layer that has one; or the law, as
    adaptive tokens say it beforehand (docs/numerics.md).

    Args:
        renumber_seed: number cells and nodes at random, for tests of invariance.
        stage: number of the stretch of depth whose mesh is made, where cells follow the law; None: one mesh for all depths.

    Raises:
        ProblemError: the space has no mesh, its file is unsound, or there is no E to grade towards.
        RunError: the tokens that are to say where the law will be cannot be followed.
    """
    toward, wanted, factor = None, None, None
    if problem.space.grading == LAW:
        found = foresight(problem, comm)
        wanted = (found.whole() if stage is None else found.stages[stage]).sizes
        factor = None if stage is None else comm.bcast(found.factor(problem.density.cells) if comm.rank == 0 else None)
    elif problem.space.grading is not None:
        distances = [distance_to_subspace(a.basis.T) for a in target(problem).analyses if a.exists]
        if distances:
            def toward(points: np.ndarray) -> np.ndarray:
                return np.min([distance(points) for distance in distances], axis=0)
    section = problem.density
    return build_mesh(problem.space, section.cells, section.geometry, comm, renumber_seed=renumber_seed,
                      distance_to_E=toward, wanted=wanted, factor=factor)
