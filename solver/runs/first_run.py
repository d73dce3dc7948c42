"""The first run of adaptive tokens that says how small the cells of a density must be: what watches it, and what it found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console

from problems import Problem
from solver.particles.cell_sizes import Foresight, SizesAt, wanted
from solver.particles.snapshot import ParticleSnapshot
from solver.runs.checkpoints import Store
from solver.runs.observers import Observer, Snapshot, Solver, Step

if TYPE_CHECKING:
    from solver.density.following import FollowingSolver
    from solver.density.operator import DensityOperator

NAME = "mesh"  # of its checkpoints


class SizesRecorder(Observer[ParticleSnapshot]):
    """Collects the sizes of cells that tokens ask for, and keeps them in a journal.

    Args:
        problem: whose density is to be solved. store: of the first run, None: nothing is kept.
    """

    def __init__(self, problem: Problem, store: Store | None):
        self.problem, self.store = problem, store
        self.outputs: list[SizesAt] = []

    @property
    def foresight(self) -> Foresight:
        """Of the run, once it has ended."""
        return Foresight(self.problem, self.outputs)

    def begin(self, solver: Solver | None) -> None:
        for record in self.store.earlier() if self.store is not None else ():
            self.outputs.append(SizesAt(float(record["time"]), record["points"], record["sizes"], record["spacings"]))

    def output(self, snapshot: ParticleSnapshot) -> None:
        found = wanted(snapshot)
        self.outputs.append(found)
        if self.store is not None:
            self.store.append({name: np.asarray(part) for name, part in found._asdict().items()})


class CellsLine(Observer[Snapshot]):
    """Says how many cells there are and how wide, whenever they are new; console: of rank 0, None says nothing."""

    def __init__(self, console: Console | None):
        self.console = console
        self.solver: FollowingSolver | None = None
        self.shown: DensityOperator | None = None

    def begin(self, solver: Solver) -> None:
        from solver.density.following import FollowingSolver

        if not isinstance(solver, FollowingSolver):
            raise TypeError("only these solvers change their cells")
        self.solver = solver
        self.show()

    def step(self, info: Step) -> None:
        self.show()

    def show(self) -> None:
        """Say it, if they are new (collective)."""
        if self.solver is None or self.solver.operator is self.shown:
            return
        self.shown, mesh = self.solver.operator, self.solver.operator.mesh
        low, high = mesh.size_range
        if self.console is not None:
            self.console.print(f"cells from t = {self.solver.since:.4g}: {mesh.global_cells}, {low:.3g} to {high:.3g} wide "
                               f"(mesh {self.solver.stage + 1} of {len(self.solver.stages)})", style="dim", highlight=False,
                               markup=False)
