"""The same trajectories on any number of ranks."""

import numpy as np
import pytest

CASES = """
import sys
import numpy as np
from mpi4py import MPI
from solver.particles.solver import ParticleSolver
from tests.particles.support import SMOOTH_CIRCLE, SMOOTH_SPHERE, problem

cases = {
    "circle": problem(beta=30.0, end=1.0, outputs=3, attention={"value": [[2.0, 0.5], [0, 1]]},
                      particles={"count": 200, "rtol": 1e-8}, **SMOOTH_CIRCLE),
    # Numbers of tokens at which one rank alone would choose another method than a third of them would.
    "turning": problem(beta=100.0, attention={"value": [[2.0, 0], [0, 1]], "key": [[0.5, 0.5], [0.25, 1]]},
                       particles={"count": 500, "rtol": 1e-6}),
    "many": problem("sphere", beta=100.0, end=0.2, outputs=[0.2], attention={"value": [[2, 0.5, 0], [0, 1, 0], [0.2, 0, -1]]},
                    particles={"count": 5000, "rtol": 1e-4, "sampling": "sobol"}),
    "few": problem(beta=5.0, end=1.0, particles={"count": 40, "rtol": 1e-8}, **SMOOTH_CIRCLE),
    "sphere": problem("sphere", beta=100.0, end=1.0, attention={"value": [[2, 0.5, 0], [0, 1, 0], [0.2, 0, -1]]},
                      particles={"count": 450, "rtol": 1e-6}, **SMOOTH_SPHERE),
    "flat": problem("rectangle", bounds=[[-1, 1], [-1, 1]], beta=2.0,
                    particles={"count": 300, "sampling": "random", "rtol": 1e-6}),
    "seven": problem("sphere", dimension=7, beta=20.0, end=0.5, particles={"count": 301, "sampling": "random", "rtol": 1e-6}),
    "usa": problem(beta=3.0, end=0.3, attention={"normalization": "none"}, **SMOOTH_CIRCLE,
                   particles={"count": 150, "rtol": 1e-8}),
    "noise": problem("sphere", beta=5.0, end=0.5, noise=0.2,
                     particles={"count": 200, "ensemble": 2, "sampling": "random", "step": 0.05}),
    "cold": problem(beta=np.inf, end=0.5, attention={"value": [[2.0, 0], [0, 1]]},
                    particles={"count": 130, "integrator": "rk4"}),
}
out = {}
for name, p in cases.items():
    solver, last = ParticleSolver(p, MPI.COMM_WORLD), []
    stats = solver.run(last.append)
    out[name], out[name + "_steps"] = last[-1].members, stats.steps
    out[name + "_energy"] = last[-1].row["energy"]
if MPI.COMM_WORLD.rank == MPI.COMM_WORLD.size - 1:
    np.savez(sys.argv[1], **out)
"""


@pytest.fixture(scope="module")
def results(mpirun, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    for ranks in (1, 2, 3):
        mpirun(ranks, "-c", CASES, folder / f"{ranks}.npz")
    return {ranks: dict(np.load(folder / f"{ranks}.npz")) for ranks in (1, 2, 3)}


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("case", ["circle", "turning", "many", "few", "sphere", "flat", "seven", "usa", "noise", "cold"])
def test_trajectories_do_not_depend_on_the_ranks(results, case, ranks):
    assert results[ranks][case + "_steps"] == results[1][case + "_steps"]
    assert np.abs(results[ranks][case] - results[1][case]).max() < 1e-12
    one, many = results[1][case + "_energy"], results[ranks][case + "_energy"]
    assert many == pytest.approx(one, rel=1e-12, nan_ok=True)


def test_errors_end_every_rank(mpirun):
    code = """
from mpi4py import MPI
from solver.errors import RunError
from solver.particles.solver import ParticleSolver
from tests.particles.support import problem
p = problem("euclidean", dimension=1, beta=1.0, end=3.0, law="normal", attention={"value": [[1e30]]},
            initial={"components": [{"mean": [0.5], "covariance": 0.5}]},
            particles={"count": 200, "integrator": "euler", "step": 0.2})
try:
    ParticleSolver(p, MPI.COMM_WORLD).run()
except RunError as error:
    print("caught", error.step, flush=True)
"""
    assert mpirun(2, "-c", code, timeout=60).stdout.count("caught") == 2
