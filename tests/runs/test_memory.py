"""What a run keeps in memory, rank by rank."""

import json

CODE = """
import json, sys
import numpy as np
from mpi4py import MPI
from problems import load
from solver.runs.history import owner
from solver.runs.recorders import DensityRecorder, ParticleRecorder
from solver.runs.solve import run_density, run_particles

comm = MPI.COMM_WORLD

def held(recorder):
    history = recorder.history
    items = [item for kept in (history.measures, history.pictures, history.carried) for item in kept._items if item is not None]
    arrays = [array for item in items for array in
              (item.values() if isinstance(item, dict) else vars(item).values() if hasattr(item, "masses") else item)]
    return sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))

found = {}
for outputs in (9, 17):
    problem = load("smooth_circle", {"time.end": "0.02", "time.outputs": str(outputs), "density.cells": "24",
                                     "particles.count": "60"})
    for shared in (False, True):
        for run, kind in ((run_density, DensityRecorder), (run_particles, ParticleRecorder)):
            recorder = kind(problem, comm, shared=shared)
            run(problem, comm, [recorder])
            assert len(recorder.history.rows) == len(recorder.history.measures) == outputs
            assert len(set(recorder.history.counts)) == 1 and len(recorder.history.spreads) == outputs
            mine = sum(owner(i, comm.size) == comm.rank for i in range(outputs))
            found[f"{kind.__name__} {outputs} {shared}"] = comm.gather((held(recorder), mine))
if comm.rank == 0:
    json.dump(found, open(sys.argv[1], "w"))
"""


def test_atoms_and_pictures_are_kept_where_they_are_used(mpirun, tmp_path):
    """Rank 0 has every output; another rank none of a run by itself, and of a run to be compared those that it compares."""
    mpirun(2, "-c", CODE, tmp_path / "held.json")
    found = json.loads((tmp_path / "held.json").read_text())
    for kind in ("DensityRecorder", "ParticleRecorder"):
        for outputs in (9, 17):
            (alone, _), (other, _) = found[f"{kind} {outputs} False"]
            assert alone > 0 and other == 0
            (first, _), (second, mine) = found[f"{kind} {outputs} True"]
            assert first == alone
            assert second * outputs == first * mine  # the same for every output
            assert abs(mine - outputs / 2) <= 1
