"""Speed and accuracy of the transport distances, beside POT's network simplex where that can still be run."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import numpy as np
from mpi4py import MPI

from meshes.manifold import sphere
from solver.runs.console import TerminalTable, make_console
from solver.wasserstein.distance import distance
from solver.wasserstein.measure import Distance, Measure

COLUMNS = ("space", "p", "atoms", "seconds", "W_p", "certified to", "method", "POT seconds")
CASES = ((2, (10_000, 1_000_000)), (3, (1_000, 5_000, 20_000, 80_000)), (16, (1_000, 5_000)))
QUICK = ((2, (10_000, 100_000)), (3, (1_000, 3_000)), (16, (1_000,)))
POT_ATOMS = 3_000


def run(out: Path, quick: bool = False) -> list[dict[str, float | str]]:
    """Time W_1 and W_2 on the unit sphere of R^d, d = 2, 3 and 16, between two random measures; rank 0 works.

    "certified to" is half the distance between the lower and the upper bound.

    Args:
        out: folder for transport.csv (written by rank 0).
        quick: only sizes of a few seconds.

    Returns:
        One mapping per line on rank 0, nothing on the others.
    """
    if MPI.COMM_WORLD.rank:
        return []
    cases = QUICK if quick else CASES
    rows = [measure(d, p, count) for d, counts in cases for count in counts for p in (1, 2)]
    table = TerminalTable("Transport distances between random measures", COLUMNS, keys=3)
    for row in rows:
        table.add(*(f"{row[name]:.3g}" if isinstance(row[name], float) else str(row[name]) for name in COLUMNS))
    table.print(make_console())
    with (Path(out) / "transport.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return rows


def measure(d: int, p: int, count: int) -> dict[str, float | str]:
    """One line: `count` atoms of unequal masses of a uniform law against as many of a law that leans one way."""
    rng = np.random.default_rng(0)
    laws = []
    for lean in (0.0, 1.0):
        points = rng.normal(size=(count, d))
        points[:, 0] += lean
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        masses = rng.random(count) + 0.1
        laws.append(Measure(points, masses / masses.sum()))
    seconds, found = timed(laws, p, d, "auto")
    slow = timed(laws, p, d, "network simplex")[0] if d > 2 and count <= POT_ATOMS else float("nan")
    return {
        "space": f"sphere of R^{d}",
        "p": p,
        "atoms": count,
        "seconds": seconds,
        "W_p": found.value,
        "certified to": 0.5 * (found.upper - found.lower),
        "method": found.method,
        "POT seconds": slow,
    }


def timed(laws: list[Measure], p: int, d: int, method: str) -> tuple[float, Distance]:
    """Wall time of one distance, after a small one that compiles what has to be compiled."""
    manifold = sphere(d)
    few = [Measure(law.points[:600], np.full(600, 1 / 600)) for law in laws]
    distance(*few, p=p, manifold=manifold)
    started = time.perf_counter()
    found = distance(*laws, p=p, manifold=manifold, method=method)
    return time.perf_counter() - started, found
