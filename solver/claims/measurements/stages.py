"""Measured phases: what the detector of `solver.runs.phases` finds in a run of tokens."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from solver.claims.case import Array, Run
from solver.claims.measurements.transport import w_span
from solver.particles.clusters import find_clusters
from solver.runs.phases import CLUSTERED, Expectation, Phase, find_phases

LIGHT = 0.02  # clusters of less mass are stragglers


def cluster_counts(run: Run) -> Array:
    """(T,) number of clusters narrower than the kernel, beta^{-1/2}; 0 where they hold less than nearly all of the mass."""
    width = run.case.beta**-0.5
    found = []
    for x, m in zip(run.points, run.masses, strict=True):
        made = find_clusters(x, m, 0.1 * width, sphere=run.case.problem.manifold.normalised)
        narrow = (made.radii < width) & (made.masses > LIGHT)
        found.append(int(narrow.sum()) if made.masses[narrow].sum() >= CLUSTERED else 0)
    return np.array(found, float)


@lru_cache(maxsize=1)
def phases(run: Run) -> list[Phase]:
    """The phases of a run whose target is a law on a circle or sphere, from W2 to that, first and second moments and clusters."""
    moments = np.column_stack([run.mean, run.second.reshape(len(run.times), -1)])
    return find_phases(run.times, w_span(run, 2), moments, cluster_counts(run), Expectation(heats=True))


def phases_in_order(run: Run) -> float:
    """1 if the run aligns, then heats, then pairs, each phase beginning after the one before; else 0."""
    names = [phase.name for phase in phases(run)]
    wanted = ("alignment", "heat", "pairing")
    places = [names.index(name) for name in wanted if name in names]
    return float(len(places) == len(wanted) and places == sorted(places))


def phase_end(run: Run, name: str, less: float = 0.0, logarithm: bool = False) -> float:
    """Depth at which the first phase of a name ends, or its natural logarithm, less a multiple of log beta; NaN without one."""
    end = next((phase.end for phase in phases(run) if phase.name == name), float("nan"))
    return float((np.log(end) if logarithm else end) - less * np.log(run.case.beta))


TABLE = (phases_in_order, phase_end)
