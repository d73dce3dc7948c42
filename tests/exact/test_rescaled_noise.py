"""Noise in a run whose depth is rescaled: density and tokens count the diffusivity alike (docs/theory.md §8.1)."""

import math

import pytest
from mpi4py import MPI

from problems import loads
from solver.density import DensitySolver
from solver.particles.solver import ParticleSolver

BETA, DIFFUSIVITY, END, START = 3.0, 0.5, 2.0, 0.4
PROBLEM = f"""
title = "pure diffusion"
[space]
manifold = "circle"
[attention]
beta = {BETA}
value = [[0.0, 0.0], [0.0, 0.0]]
normalization = "none"
[noise]
diffusivity = {DIFFUSIVITY}
[initial]
law = "harmonics"
cos = [{2 * START}]
[time]
end = {END}
outputs = 2
rescaled = true
[density]
cells = 32
degree = 2
[particles]
count = 4096
sampling = "quadrature"
"""


def test_first_moment_decays_at_the_slow_rate():
    """V = 0: the mean decays like e^(-D t) with t = e^(-beta) s."""
    exact = START * math.exp(-DIFFUSIVITY * math.exp(-BETA) * END)
    problem, means = loads(PROBLEM), []
    DensitySolver(problem, MPI.COMM_WORLD).run(lambda snapshot: means.append(snapshot.row["mean"][0]))
    # Time integration to density.rtol = 1e-6; the mesh keeps the first mode to fifth order in h = 0.2.
    assert means[-1] == pytest.approx(exact, abs=1e-5)
    means.clear()
    ParticleSolver(problem, MPI.COMM_WORLD).run(lambda snapshot: means.append(snapshot.row["mean"][0]))
    # Five standard deviations of a mean of 4096 cosines whose angles have spread by sqrt(2 D t) = 0.32.
    assert means[-1] == pytest.approx(exact, abs=5 * 0.32 / math.sqrt(4096))
