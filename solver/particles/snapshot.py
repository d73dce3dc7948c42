"""What the token solver hands out: the tokens at one output, one step, the work of a run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from problems import Problem
from solver.particles.clusters import Clusters, find_clusters, linking_distance

Array = NDArray[np.float64]
# Numbers by name; "mean" (d,) and "second", (d, d) or beyond MOST_PAIRED coordinates its diagonal (d,), are arrays.
Row = dict[str, float | Array]


@dataclass(frozen=True)
class ParticleSnapshot:
    """The tokens at one output depth; the same on every rank.

    Attributes:
        time: depth t. step: steps taken so far.
        members: (M, N, d) tokens of every member of the ensemble, in the order of the initial law.
        masses: (N,) their masses, with sum one.
        rows: for each member {"mass", "energy", "log_energy", "mean" (d,), "second" (d, d)} (docs/theory.md §1.8; both energies
            are NaN where beta is 0 or infinite), and "entropy", int log rho dmu, where tokens carry their density.
        log_density: (M, N) log of the density of the law at each token, with respect to length, area or volume; NaN at tokens
            that a wall has caught; None where tokens do not carry it.
        cells: (c, k + 1) numbers of the tokens at the corners of each cell of adaptive tokens, cell_masses: (c,) its mass;
            else None.
    """

    time: float
    step: int
    members: Array
    masses: Array
    rows: tuple[Row, ...]
    problem: Problem
    log_density: Array | None = None
    cells: NDArray[np.int64] | None = None
    cell_masses: Array | None = None

    @property
    def points(self) -> Array:
        """Tokens (N, d) of the first member."""
        return self.members[0]

    @property
    def row(self) -> Row:
        """Diagnostics of the first member."""
        return self.rows[0]

    @property
    def carried(self) -> dict[str, np.ndarray]:
        """What tokens of the first member carry beside their masses: log_density (N,), cells and cell_masses, where they do."""
        found = {"cells": self.cells, "cell_masses": self.cell_masses,
                 "log_density": None if self.log_density is None else self.log_density[0]}
        return {name: part for name, part in found.items() if part is not None}

    def clusters(self, threshold: float | None = None, member: int = 0) -> Clusters:
        """Groups of tokens linked by distances up to `threshold`; None: a tenth of the width beta^{-1/2} of a cluster."""
        if threshold is None:
            threshold = linking_distance(self.problem, self.time)
        return find_clusters(self.members[member], self.masses, threshold, sphere=self.problem.manifold.normalised)


@dataclass(frozen=True)
class ParticleStep:
    """What one step did; the same on every rank. `error` is the largest local error over the tolerance (0: fixed step)."""

    time: float
    step: int
    dt: float
    error: float
    calls: int


@dataclass(frozen=True)
class ParticleStatistics:
    """Work of a run: steps accepted and rejected, evaluations of the drift, wall time, steps taken across jumps."""

    steps: int
    rejected: int
    calls: int
    seconds: float
    jumps: int
    tokens: int

    @property
    def words(self) -> str:
        speed = self.tokens * self.calls / max(self.seconds, 1e-9)
        jumps = f", {self.jumps} of them across jumps of hard attention" if self.jumps else ""
        return (f"{self.steps} steps ({self.rejected} rejected{jumps}), {self.calls} drift evaluations of {self.tokens} tokens "
                f"in {self.seconds:.2f} s: {speed:.3g} tokens per second.")
