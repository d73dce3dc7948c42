"""Small problems for the tests of particles and target, built in memory."""

import numpy as np

from problems.problem import read_problem


def problem(space="circle", *, beta=5.0, end=1.0, outputs=2, law="uniform", initial=None, dimension=None, bounds=None,
            attention=None, particles=None, noise=0.0, rescaled=False):
    """A resolved problem from a few keywords; `attention`, `initial`, `particles` are extra keys of their tables."""
    where = {"manifold": space}
    if dimension is not None:
        where["dimension"] = dimension
    if bounds is not None:
        where["bounds"] = bounds
    table = dict(attention or {})
    if beta is not None:
        table.setdefault("beta", "inf" if np.isinf(beta) else beta)
    return read_problem({
        "title": "test",
        "space": where,
        "attention": table,
        "noise": {"diffusivity": noise},
        "initial": {"law": law, **(initial or {})},
        "time": {"end": end, "outputs": outputs, "rescaled": rescaled},
        "particles": {"rtol": 1e-11, **(particles or {})},
    })


SMOOTH_CIRCLE = {"law": "harmonics", "initial": {"cos": [0.3, 0.0, 0.1], "sin": [0.0, 0.2]}}
SMOOTH_SPHERE = {"law": "harmonics", "initial": {"axis": [0.0, 0.0, 1.0], "legendre": [0.3, 0.4]}}


def run(problem, tokens=None, **options):
    """All snapshots of a run on this rank alone."""
    from mpi4py import MPI

    from solver.particles.solver import ParticleSolver

    found = []
    ParticleSolver(problem, MPI.COMM_SELF, tokens=tokens, **options).run(found.append)
    return found


def on_circle(angles):
    """Unit vectors (n, 2) at angles in radians."""
    return np.column_stack((np.cos(angles), np.sin(angles)))


def rotation(d, seed=0):
    """A random rotation of R^d."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))
    q *= np.sign(np.diag(r))
    if np.linalg.det(q) < 0:
        q[:, 0] *= -1
    return q
