"""The density on cells that follow the law: one mesh after the other, as a first run of tokens says (docs/numerics.md)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
from mpi4py import MPI

from problems import Problem
from solver.density.evolve import DensitySolver, State
from solver.density.initial import UNRESOLVED, projected
from solver.density.mesh import density_mesh
from solver.density.operator import DensityOperator
from solver.density.pointwise import density_at
from solver.density.snapshot import DensitySnapshot, StepInfo
from solver.errors import RunError
from solver.particles.cell_sizes import foresight


class FollowingSolver:
    """Density solvers on the meshes of all stages, one after the other, as one solver. Collective throughout.

    Args:
        problem: the resolved problem, with space.grading = "law". comm: communicator of the run.

    Attributes:
        stages: stretches of depth and the sizes of their cells (`solver.particles.cell_sizes.Stage`).
        stage, since: number of the present one, and the depth it began at. inner: its solver.

    Raises:
        ProblemError: there can be no first run, or the cells do not resolve the law; RunError.
    """

    def __init__(self, problem: Problem, comm: MPI.Comm = MPI.COMM_WORLD):
        self.problem, self.comm = problem, comm
        self.stages = foresight(problem, comm).stages
        self.stage = 0
        self.inner = DensitySolver(self._part(0), comm, operator=self._operator(0))
        self._earlier: tuple[int, DensityOperator] | None = None

    @property
    def operator(self) -> DensityOperator:
        """That of the present stage."""
        return self.inner.operator

    @property
    def time(self) -> float:
        """Depth reached."""
        return self.inner.time

    @property
    def step(self) -> int:
        """Steps taken."""
        return self.inner.step

    @property
    def since(self) -> float:
        """Depth at which the present stage began."""
        return self._start(self.stage)

    def operator_of(self, time: float) -> DensityOperator:
        """The operator that had the density at an output at depth `time`: at the end of a stage that of the stage."""
        k = next((k for k in range(len(self.stages) - 1) if time <= self._end(k)), len(self.stages) - 1)
        if k == self.stage:
            return self.operator
        if self._earlier is None or self._earlier[0] != k:
            self._earlier = k, self._operator(k)
        return self._earlier[1]

    def run(self, on_output: Callable[[DensitySnapshot], None], on_step: Callable[[StepInfo], None] | None = None) -> None:
        """Go on to the last output, as `DensitySolver.run`."""
        self._earlier = None
        while True:
            self.inner.run(on_output, on_step)
            if self.stage == len(self.stages) - 1:
                return
            self._follow()

    def snapshot(self) -> DensitySnapshot:
        """The present density, copied."""
        return self.inner.snapshot()

    def state_dict(self) -> State:
        """All a restart needs, as of `DensitySolver`."""
        return {**self.inner.state_dict(), "stage": self.stage, "total_mass": self.inner.total_mass}

    def load_state(self, saved: Mapping[str, float | np.ndarray]) -> None:
        """Go on from a `state_dict`."""
        if int(saved["stage"]) != self.stage:
            self.stage = int(saved["stage"])
            operator = self._operator(self.stage)
            self.inner = DensitySolver(self._part(self.stage), self.comm, operator=operator,
                                       start=operator.scatter_cells(np.asarray(saved["coefficients"])))
        self.inner.load_state(saved)
        self.inner.total_mass = float(saved["total_mass"])

    def _follow(self) -> None:
        """Carry the density over to the mesh of the next stage, by projection in L2.

        Raises:
            RunError: the new mesh misses a part of it.
        """
        before = self.inner
        points, values, _ = before.snapshot().plot_data()
        manifold, degree = self.problem.manifold, self.problem.density.degree
        operator = self._operator(self.stage + 1)
        state = projected(lambda x: density_at((points, values, None), degree, manifold, manifold.retract(x)), operator.geometry)
        mass = operator.mass(state)
        if not abs(mass / before.total_mass - 1.0) < UNRESOLVED:
            raise RunError(f"the mass of the density is {before.total_mass:.6g} on one mesh and {mass:.6g} on the next: "
                           "take more cells", step=before.step, time=before.time)
        state = operator.limited(state, before.total_mass)
        operator.velocity.full_support = before.operator.velocity.full_support
        self.stage += 1
        self.inner = DensitySolver(self._part(self.stage), self.comm, operator=operator, start=state)
        self.inner.total_mass = before.total_mass
        self.inner.begin_at(before.time, before.step, before.rejected)

    def _operator(self, stage: int) -> DensityOperator:
        return DensityOperator(self.problem, self.comm, density_mesh(self.problem, self.comm, stage=stage))

    def _start(self, stage: int) -> float:
        return 0.0 if stage == 0 else self._end(stage - 1)

    def _end(self, stage: int) -> float:
        return float(self.problem.time.end) if stage == len(self.stages) - 1 else self.stages[stage].end

    def _part(self, stage: int) -> Problem:
        """The problem up to the end of a stage, with the outputs within it; at its start there is none but at depth 0."""
        start, end = self._start(stage), self._end(stage)
        outputs = tuple(t for t in self.problem.time.outputs if (start < t or stage == 0) and t <= end)
        return dataclasses.replace(self.problem, time=dataclasses.replace(self.problem.time, end=end, outputs=outputs))
