"""Does the verdict see a drift wrong by a thousandth on the sphere? Random laws and weights, with the right and the wrong drift.

    docker/run python3 tests/comparison/campaign.py 20

Prints one line for each run; the exit code is 1 if one does not come out as it must: "agree" with the right drift, "disagree"
with the one that is 1.001 times as fast. About five seconds a seed on one core.
"""

from __future__ import annotations

import sys
from unittest.mock import patch

import numpy as np

from problems import Problem
from problems.problem import read_problem
from solver import compare
from solver.comparison.verdict import Verdict
from solver.particles.drift import Drift

FACTORS = {1.0: "agree", 1.001: "disagree"}


def random_sphere(seed: int) -> Problem:
    """Smooth law and weights of a seed, in sizes that take a second."""
    draw = np.random.default_rng(seed)
    value, key = np.eye(3) + 0.1 * draw.normal(size=(2, 3, 3))
    return read_problem({
        "title": f"Seed {seed}", "space": {"manifold": "sphere"},
        "attention": {"beta": draw.uniform(2.0, 6.0), "value": value.tolist(), "key": key.tolist()},
        "initial": {"law": "harmonics", "axis": draw.normal(size=3).tolist(), "legendre": draw.uniform(-0.3, 0.3, 2).tolist()},
        "time": {"end": 1.0, "outputs": 2}, "density": {"cells": 1200, "degree": 2}, "particles": {"count": 1024}})


def judged(problem: Problem, factor: float) -> Verdict:
    """The verdict with the drift of the tokens times a factor."""
    right = Drift.__call__
    with patch.object(Drift, "__call__", lambda self, points, *rest: factor * right(self, points, *rest)):
        return compare(problem).verdict


def main() -> int:
    bad = 0
    for seed in range(int(sys.argv[1])):
        for factor, expected in FACTORS.items():
            verdict = judged(random_sphere(seed), factor)
            last = verdict.rows[-1]
            well = verdict.outcome == expected
            bad += not well
            moments = f"moments {last['moments_density_particles']:.2e}, allowed {last['moments_allowed']:.2e}"
            print(f"seed {seed:2d}  drift x {factor:<5g}  {verdict.outcome:12s}  {moments}{'' if well else '  <--'}", flush=True)
    print(f"{bad} wrong")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
