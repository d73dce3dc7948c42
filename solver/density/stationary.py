"""Stationary states, `[time] end = "stationary"`: follow the flow until it slows down, then solve by Newton's method.

Following the flow first picks the state that the start leads to, and leaves unstable ones; Newton's method then finds it
to solver accuracy, however slow the last relaxation (docs/theory.md §5.6). With N the transport, D L the noise, m the mass,

    F(rho) = -N(rho) - D L rho + s (m(rho) - 1) 1 = 0.

The first two terms have no mass whatever rho is, so that the last one vanishes by itself: no multiplier is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from petsc4py import PETSc

from problems import Problem
from problems.errors import ProblemError
from solver.density.implicit import check_solver, linear_solver
from solver.density.noise import laplacian
from solver.density.nonlocal_jacobian import NonlocalJacobian
from solver.density.operator import DensityOperator, stage
from solver.density.snapshot import StepInfo
from solver.density.transport_matrix import frozen_matrix
from solver.errors import RunError

# All norms are in L1, where densities have size 1.
STRIDE = 0.1  # change of the density over a step in pseudo-time
SLOW = 3e-2  # d/dt of the density relative to the fastest seen: below it Newton's method is tried
AT_REST = 1e-4  # the same, without noise: fine modes relax ever more slowly, so that rest is never complete
FLOOR = 1e-8  # d/dt that counts as none
MOVED = 0.2  # farther away Newton's method has found another state than the flow was approaching
MOST_STEPS, LONGEST = 2_000, 1e5  # in pseudo-time; depth, without noise
MOST_TURNS = 50.0  # without noise: the way of the law, in units of that of its peak once through the whole space


class SteadyProblem:
    """F and its Jacobian for PETSc SNES, at the weights of one depth; collective.

    The Jacobian is exact (`NonlocalJacobian`); its assembled part, for a frozen velocity, is the preconditioner.

    Args:
        operator: of the density; depth: whose weights apply; prefix: of the PETSc options.

    Raises:
        ProblemError: PETSc does not know a type given in the options.
    """

    def __init__(self, operator: DensityOperator, depth: float, prefix: str):
        self.operator, self.depth = operator, depth
        self.scale = operator.problem.noise_rate
        self.noise = laplacian(operator)
        self.noise.scale(-self.scale)
        g = operator.geometry
        self._one = operator.create_vector()
        self._one.array[:] = np.linalg.solve(g.mass, (g.mean * g.volume[:, None])[..., None]).ravel()  # M^{-1} int phi
        self._work = operator.create_vector()
        self.frozen: PETSc.Mat | None = None
        self.snes = PETSc.SNES().create(operator.comm)
        self.snes.setFunction(self._function, operator.create_vector())
        state = operator.create_vector()
        state.array[:] = operator.initial()
        self._matrix = self._fill(state, None)
        self._whole = NonlocalJacobian(operator, depth, self._matrix, self.scale, self._one, self.scale)
        self.snes.setJacobian(self._jacobian, self._whole.matrix, self._matrix)
        self._configure(prefix, state.norm())
        check_solver(self.snes, self._matrix)

    def solve(self, state: PETSc.Vec) -> bool:
        """Newton's method from `state`, in place; whether it converged."""
        with stage("Newton"):
            try:
                self.snes.solve(None, state)
            except PETSc.Error as error:
                raise RunError(f"PETSc's Newton solver failed: {str(error).splitlines()[-1].strip()}") from None
        return self.snes.getConvergedReason() > 0

    def pseudo_step(self, state: PETSc.Vec, dt: float) -> None:
        """One backward Euler step of the flow with the velocity frozen, in place."""
        self._fill(state, self._matrix, 1.0 / dt)
        self._work.array[:] = state.array_r / dt
        ksp = self.snes.getKSP()
        ksp.setOperators(self._matrix, self._matrix)
        with stage("pseudo-time"):
            ksp.solve(self._work, state)
        if ksp.getConvergedReason() < 0:
            raise RunError(f"a linear solve in pseudo-time failed (PETSc's reason {ksp.getConvergedReason()})")

    def slope(self, state: PETSc.Vec) -> PETSc.Vec:
        """d rho/dt = N + D L rho at `state`; a work vector."""
        self.operator.rhs(self.depth, state.array_r, self._work.array_w, limit=False)
        self._work.scale(-1.0)
        self.noise.multAdd(state, self._work, self._work)
        self._work.scale(-1.0)
        return self._work

    def _function(self, snes: PETSc.SNES, x: PETSc.Vec, out: PETSc.Vec) -> None:
        self.slope(x).copy(out)
        out.scale(-1.0)
        out.axpy(self.scale * (self.operator.mass(x.array_r) - 1.0), self._one)

    def _jacobian(self, snes: PETSc.SNES, x: PETSc.Vec, A: PETSc.Mat, P: PETSc.Mat) -> None:
        with stage("Jacobian"):
            self._fill(x, P)
            self._whole.update(x)
            A.assemble()

    def _fill(self, x: PETSc.Vec, matrix: PETSc.Mat | None, shift: float | None = None) -> PETSc.Mat:
        """-T - D L + shift, by default D: it makes the matrix regular, which alone leaves the mass undetermined."""
        self.operator.set_velocity(self.depth, x.array_r)
        self.frozen = frozen_matrix(self.operator, self.frozen)
        pattern = PETSc.Mat.Structure.SUBSET_NONZERO_PATTERN
        if matrix is None:
            matrix, pattern = self.frozen.copy(), PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN
        matrix.zeroEntries()
        matrix.axpy(1.0, self.noise, pattern)
        matrix.axpy(-1.0, self.frozen, PETSc.Mat.Structure.SUBSET_NONZERO_PATTERN)
        matrix.shift(self.scale if shift is None else shift)
        matrix.assemble()
        return matrix

    def _configure(self, prefix: str, size: float) -> None:
        database = PETSc.Options()
        given = {key.removeprefix(prefix): value for key, value in database.getAll().items() if key.startswith(prefix)}
        # The residual cannot be made smaller than the rounding of its terms.
        rounding = 20 * np.finfo(float).eps * self.noise.norm(PETSc.NormType.INFINITY) * size
        wanted = {**linear_solver(self._one.getSize(), {"snes_mf_operator": ""}), "ksp_rtol": "1e-7",
                  "ksp_gmres_restart": "200", "snes_rtol": "1e-12", "snes_atol": f"{max(rounding, 1e-11):e}",
                  "snes_stol": "1e-12", "snes_max_it": "20", "snes_linesearch_type": "basic"}
        ours = {prefix + key: value for key, value in wanted.items() if key not in given}
        for key, value in ours.items():
            database.setValue(key, value)
        self.snes.setOptionsPrefix(prefix)
        try:
            self.snes.setFromOptions()
        except PETSc.Error as error:
            shown = ", ".join(f"-{prefix}{key} {value}" for key, value in given.items() if key.endswith("_type"))
            reason = str(error).splitlines()[-1].strip()
            raise ProblemError("PETSc options", shown, f"must be types this PETSc knows ({reason})") from None
        finally:
            for key in ours:
                database.delValue(key)


class Flow(Protocol):
    """What is asked of a density solver here: its state, its depth, steps of the flow, and taking a new state."""

    problem: Problem
    operator: DensityOperator
    options_prefix: str
    state: PETSc.Vec
    time: float
    step: int
    settling: dict[str, float]

    @property
    def top(self) -> float: ...

    def advance(self, target: float, on_step: Callable[[StepInfo], None] | None = None) -> None: ...
    def accept(self, state: np.ndarray) -> None: ...


def run_to_stationary(solver: Flow, on_step: Callable[[float], None],
                      on_flow: Callable[[StepInfo], None] | None = None) -> None:
    """Take a `DensitySolver` from its present state to the stationary state it tends to; collective.

    With noise, backward Euler steps in pseudo-time, the velocity frozen over each, then Newton's method; `solver.time`
    ends at the pseudo-depth reached. Without noise there is only the flow itself: laws then tend to point masses,
    which no mesh resolves, unless attention repels.

    Args:
        on_step: called after each step in pseudo-time with its size.
        on_flow: called after each step of the flow itself, as in `DensitySolver.run`.

    Raises:
        RunError: the density does not come to rest.
    """
    switches = [t for t in solver.problem.attention.switch_times if t > solver.time]
    for switch in switches:
        solver.advance(switch, on_flow)
    if solver.problem.noise.diffusivity > 0.0:
        _settle_with_noise(solver, on_step)
    else:
        _settle_by_flow(solver, on_flow)


def _settle_with_noise(solver: Flow, on_step: Callable[[float], None]) -> None:
    operator = solver.operator
    steady = SteadyProblem(operator, solver.time, solver.options_prefix + "stationary_")
    now = size(operator, steady.slope(solver.state))
    kept = {"slow": SLOW, "fastest": 0.0, "dt": STRIDE / max(now, FLOOR), "tried": 0.0, **solver.settling}
    slow, fastest, dt = kept["slow"], kept["fastest"], kept["dt"]
    for count in range(int(kept["tried"]), MOST_STEPS):
        fastest = max(fastest, now)
        if now <= slow * fastest or now <= FLOOR:
            trial = solver.state.copy()
            converged = steady.solve(trial)
            if converged and size(operator, trial - solver.state) < MOVED:
                solver.accept(trial.array_r)
                return
            slow /= 10
        dt = min(dt, STRIDE / max(now, FLOOR))
        trial = solver.state.copy()
        steady.pseudo_step(trial, dt)
        solver.accept(trial.array_r)
        solver.time, solver.step, taken = solver.time + dt, solver.step + 1, dt
        before, now = now, size(operator, steady.slope(solver.state))
        dt *= min(max(before / max(now, FLOOR), 0.5), 2.0)
        solver.settling = {"slow": slow, "fastest": fastest, "dt": dt, "tried": count + 1.0}
        on_step(taken)
    raise RunError(f"no stationary state found: the density still changes by {now:.3e} per unit of depth",
                   step=solver.step, time=solver.time)


def _settle_by_flow(solver: Flow, on_flow: Callable[[StepInfo], None] | None) -> None:
    operator, slope = solver.operator, solver.operator.create_vector()
    kept = {"chunk": 1.0, "fastest": 0.0, "until": solver.time, "turns": 0.0, "before": 0.0, **solver.settling}
    chunk, fastest, turns = kept["chunk"], kept["fastest"], kept["turns"]
    volume = float(solver.problem.manifold.volume or 1.0)
    if kept["until"] > solver.time:  # stopped half way
        solver.advance(kept["until"], on_flow)
    while True:
        operator.rhs(solver.time, solver.state.array_r, slope.array_w)
        now = size(operator, slope)
        fastest = max(fastest, now)
        # A peak of height h that passes through all of the space changes the density by 2 h everywhere.
        turns += chunk / 1.5 * min(kept["before"], now) / (2 * volume * solver.top)
        kept["before"] = now
        if now <= max(AT_REST * fastest, FLOOR):
            return
        if solver.time >= LONGEST or turns > MOST_TURNS:
            around = f" after going around {turns:.3g} times" if turns > 1.0 else ""
            raise RunError(f"no stationary state found: the density still changes by {now:.3e} per unit of depth{around}",
                           step=solver.step, time=solver.time)
        until, chunk = solver.time + chunk, chunk * 1.5
        solver.settling = {"chunk": chunk, "fastest": fastest, "until": until, "turns": turns, "before": now}
        solver.advance(until, on_flow)


def size(operator: DensityOperator, vector: PETSc.Vec) -> float:
    """L1 norm of the cell averages of a density, or of its slope; global."""
    averages = np.einsum("ci,ci->c", operator.geometry.mean, vector.array_r.reshape(-1, operator.size))
    return float(operator.comm.allreduce(np.abs(averages) @ operator.geometry.volume))
