"""The density solver: PETSc TS carries the density from output to output, under the positivity bound."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from mpi4py import MPI
from petsc4py import PETSc

from problems import Problem
from solver.density.extrapolation import Extrapolation
from solver.density.implicit import ImplicitTerms, attach, linear_solver
from solver.density.operator import DensityOperator
from solver.density.schemes import ADAPTIVE, configure, options_of, step_bounds
from solver.density.snapshot import DensitySnapshot, StepInfo
from solver.density.stationary import run_to_stationary
from solver.errors import RunError

SAFETY = 0.9  # of the positivity and stability bounds, if the problem does not say
ACCURATE = 0.1  # a step is at most this over the strength of attention, as a rate, also where tokens hardly move
SMALLEST = 1e-10  # of the time to the next output: steps below it mean that the run cannot go on
DRIFT = 2e-13  # largest relative change of mass in one step that is rounding: Runge-Kutta weights, averages of -1e-17 set to 0
# Types that estimate their error from earlier states: limiting the state between two steps would look like an error to them, and
# their steps would never grow again. They carry the density as the scheme leaves it; what is handed out is limited.
REMEMBERING = ("bdf", "theta")
# Types that PETSc cannot be given the earlier states of: they start anew at every output and after this many steps, in a run that
# is never stopped too, and a restart goes on from there.
ANEW = (*REMEMBERING, "alpha", "beuler", "cn")
STEPS_ANEW = 100
ROUNDING = 1e-13  # averages this far below zero, relative to the largest density, are rounding


# All a restart needs: arrays and numbers by name.
State = dict[str, float | np.ndarray]


def rounded(dt: float) -> float:
    """A step, or one up to 1 % shorter: errors that are mostly rounding choose the same one on any number of ranks."""
    return 2.0 ** (math.floor(math.log2(dt) * 64 + 1e-6) / 64) if 0.0 < dt < math.inf else dt


class DensitySolver:
    """The density of the token law on its mesh (docs/theory.md §1). Collective throughout.

    Args:
        problem: the resolved problem, the same on every rank.
        comm: communicator of the run.
        options_prefix: of this solver's PETSc options; options without it apply too, those with it go first.
        operator: with a mesh of its own. start: its unknowns at the start, instead of the initial law; local.

    Attributes:
        operator: the spatial discretisation (`DensityOperator`): layout of the unknowns, right-hand side, matrices.
        ts, state: PETSc integrator and solution vector, n unknowns per cell in dolfinx's order of cells.
        time, step: depth reached and steps taken.
        rejected: steps repeated with half the size, because they would have made a cell average negative.

    Raises:
        ProblemError: the space cannot be meshed, the law is not resolved, or PETSc does not know an option's type.
    """

    def __init__(self, problem: Problem, comm: MPI.Comm = MPI.COMM_WORLD, *, options_prefix: str = "density_",
                 operator: DensityOperator | None = None, start: np.ndarray | None = None):
        self.problem, self.comm, self.options_prefix = problem, comm, options_prefix
        self.operator = operator if operator is not None else DensityOperator(problem, comm)
        self.time, self.step, self.rejected = 0.0, 0, 0
        self.remembers = False
        self.implicit: ImplicitTerms | None = None
        self.settling: dict[str, float] = {}  # how far the search for a stationary state has come
        self._resumed = False
        self._cause: BaseException | None = None
        self.state = self.operator.create_vector()
        self.state.array[:] = self.operator.initial() if start is None else start
        self.total_mass = self.operator.mass(self.state.array)
        self._settle()
        self.ts = PETSc.TS().create(comm)
        self.ts.setProblemType(PETSc.TS.ProblemType.NONLINEAR)
        self.ts.setRHSFunction(self._rhs, self.operator.create_vector())
        self.ts.setTolerances(rtol=problem.density.rtol, atol=problem.density.atol)
        self.ts.setMaxSteps(10**9)
        options = options_of(options_prefix, problem.density.integrator)
        configure(self.ts, problem.density.integrator, options_prefix, linear_solver(self.state.getSize(), options))
        self.implicit = attach(self.ts, self.operator, lambda: self.time)
        self.remembers = self.ts.getType() in REMEMBERING
        self.radius, self.nu = step_bounds(self.ts, options, self.operator.geometry.reference)
        self.chooses = options.get("ts_adapt_type", "basic" if self.ts.getType() in ADAPTIVE else "none") != "none"
        self.ts.setSolution(self.state)
        self._suggested = self.implicit.first_step(self.state) if self.implicit is not None and self.chooses else np.inf
        self._lowest = np.inf
        self._kept: State | None = None
        self._since = 0
        self._past, self._follows = Extrapolation(comm), self.ts.getType() == "ssp" and problem.density.extrapolate
        self._begin_anew()

    def run(self, on_output: Callable[[DensitySnapshot], None], on_step: Callable[[StepInfo], None] | None = None) -> None:
        """Go on to the last output; every output depth and every change of layer is hit exactly.

        After `load_state` the present depth is no output any more: it was one before.

        Raises:
            RunError: the step underflows or the density is no longer finite.
        """
        if self.time in self.problem.time.outputs and not self._resumed:
            on_output(self.snapshot())
        outputs = [t for t in self.problem.time.outputs if t > self.time]
        # To the end of the problem, as tokens go: the last output may come before it.
        last = self.time if self.problem.time.stationary else max(float(self.problem.time.end), self.time)
        if self.problem.time.stationary and outputs:
            last = outputs[-1]
        switches = [t for t in self.problem.attention.switch_times if self.time < t < last]
        for target in sorted({*outputs, *switches, *([last] if last > self.time else [])}):
            self.advance(target, on_step)
            if target in outputs:
                on_output(self.snapshot())
        if self.problem.time.stationary:
            def stepped(dt: float) -> None:
                if on_step is not None:
                    on_step(StepInfo(self.time, self.step, dt, self.operator.mass(self.state.array), self.minimum))

            run_to_stationary(self, stepped, on_step)
            on_output(self.snapshot())
        if PETSc.Options(self.options_prefix).hasName("ts_view"):
            self.ts.view()

    def advance(self, target: float, on_step: Callable[[StepInfo], None] | None = None) -> None:
        """Integrate up to depth `target` exactly, within one layer of the attention."""
        start = self.time
        while self.time < target:
            dt = self._try_step(target, SMALLEST * (target - start))
            self.step += 1
            mass, minimum = self._settle()
            if not np.isfinite(mass):
                raise RunError(f"the mass of the density became {mass}", step=self.step, time=self.time)
            self._since += 1
            if self._since == STEPS_ANEW:
                self._begin_anew()
            if self.time in self.problem.attention.switch_times:
                self._past.forget()
            self.ts.monitor(self.step, self.time, self.state)
            if on_step is not None:
                on_step(StepInfo(self.time, self.step, dt, mass, minimum))
        self._begin_anew()

    def snapshot(self) -> DensitySnapshot:
        """The present density, copied."""
        return DensitySnapshot(self.operator, self.admissible(), self.time, self.step)

    def operator_of(self, time: float) -> DensityOperator:
        """The operator that had the density at depth `time`."""
        return self.operator

    def begin_at(self, time: float, step: int, rejected: int) -> None:
        """Let the start be at depth `time`, after so many steps."""
        self.time, self.step, self.rejected = time, step, rejected
        self._begin_anew()

    @property
    def top(self) -> float:
        """Largest value of the density, global."""
        return self._top

    def admissible(self) -> np.ndarray:
        """A copy of the unknowns, non-negative and of the mass of the start; collective."""
        state = self._repaired()
        if self.remembers:
            self.operator.limit_state(state)
        return state

    def _repaired(self) -> np.ndarray:
        """A copy of the unknowns; of schemes that remember earlier steps, which are not limited themselves, with non-negative
        averages and the mass of the start; collective."""
        state = self.state.array.copy()
        if self.remembers and self.implicit is not None:
            self.implicit.repair(state, self.total_mass)
        return state

    def state_dict(self) -> State:
        """All a restart needs, on any number of ranks: coefficients (cells, n) in canonical order, and numbers; the same on every
        rank. On the same ranks a run that goes on from it takes the very same steps. With schemes that remember earlier steps it
        is the state where they last started anew, at most `STEPS_ANEW` steps ago; what followed is done again."""
        kept = self._kept if self._kept is not None else self._present()
        past = self._past.saved(self.operator.gather_cells)
        return {**kept, **past, "coefficients": self.operator.gather_cells(np.asarray(kept["coefficients"])),
                **{f"settling_{name}": value for name, value in self.settling.items()}}

    def _present(self) -> State:
        """The present state; the coefficients are local."""
        support = self.operator.velocity.full_support
        return {"coefficients": self.state.array.copy(), "time": self.time, "step": self.step, "rejected": self.rejected,
                "full_support": -1 if support is None else int(support), "next_step": self._suggested,
                "scale": self.operator.scale, "top": self._top, "minimum": self.minimum}

    def _begin_anew(self) -> None:
        """Forget earlier steps, where the scheme remembers them, and keep the state for a restart."""
        if self.ts.getType() in ANEW:
            self.ts.restartStep()
            self._since, self._kept = 0, self._present()

    def load_state(self, saved: Mapping[str, float | np.ndarray]) -> None:
        """Go on from a `state_dict`; collective. Nothing is limited again: the state was when it was saved."""
        op = self.operator
        self.state.array[:] = op.scatter_cells(np.asarray(saved["coefficients"]))
        self.time, self.step, self.rejected = float(saved["time"]), int(saved["step"]), int(saved["rejected"])
        support = int(saved["full_support"])
        op.velocity.full_support = None if support < 0 else bool(support)
        op.scale, self._top, self.minimum = float(saved["scale"]), float(saved["top"]), float(saved["minimum"])
        self._suggested = float(saved["next_step"])
        settling = [key for key in saved if key.startswith("settling_")]
        self.settling = {key.removeprefix("settling_"): float(saved[key]) for key in settling}
        self._past.restore(saved, self.time, self._field_at)
        self._resumed = True
        self.ts.restartStep()
        self._begin_anew()

    def _field_at(self, time: float, everything: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Unknowns out of (cells, n) in canonical order, and their velocity at depth `time`; collective."""
        state = self.operator.scatter_cells(everything)
        self.operator.set_velocity(time, state)
        return state, self.operator.field

    def accept(self, state: np.ndarray) -> None:
        """Replace the density by the unknowns `state`, made non-negative and of the same mass."""
        self.state.array[:] = state
        if self.implicit is not None:
            self.implicit.repair(self.state.array, self.total_mass)
        self.ts.restartStep()
        self._past.forget()
        self._settle()
        self._kept = None  # by whoever searches for the state at rest, step by step

    def _rhs(self, ts: PETSc.TS, t: float, x: PETSc.Vec, out: PETSc.Vec) -> None:
        field = self._past.at(t) if self._past.trusted else None
        try:
            lowest = self.operator.rhs(self.time, x.array_r, out.array_w, field=field)
        except BaseException as error:
            self._cause = error  # PETSc passes on that there was an error, but not which
            raise
        self._lowest = min(self._lowest, lowest)

    def _settle(self) -> tuple[float, float]:
        """Limit the state in place; its mass and minimum, global.

        The scheme conserves mass but for the last digit of the Runge-Kutta weights, which do not add up to one exactly: that
        drift, 1e-16 a step and always the same way, is taken out. Anything larger than rounding stays to be seen.
        """
        if self.remembers:
            _, self.minimum, mass, self._top = self.operator.limit_state(self._repaired())
            return mass, self.minimum
        _, minimum, mass, self._top = self.operator.limit_state(self.state.array)
        self.minimum = minimum
        if 0.0 < abs(mass / self.total_mass - 1.0) <= DRIFT:
            self.state.array[:] *= self.total_mass / mass
            mass = self.operator.mass(self.state.array)
        return mass, minimum

    def _follow(self) -> None:
        """Take the velocity at the start and within this step from earlier ones, or evaluate it; collective."""
        op = self.operator
        if op.velocity.frozen(self.time):
            self._past.forget()
        elif self._past.due():
            op.set_velocity(self.time, self.state.array)
            strength = self.comm.allreduce(op.velocity.strength, op=MPI.MAX)
            self._past.begin(self.time, self.state.array, op.field, op.node_masses(self.state.array), strength)
        else:
            op.set_velocity(self.time, self.state.array, self._past.at(self.time))

    def _step_limit(self) -> float:
        """Largest step of this scheme from the present state, for its velocity; global."""
        cfl = self.problem.density.cfl or SAFETY
        if self.problem.density.step is not None:
            return self.problem.density.step
        positive, outflow, strength = self.operator.euler_bounds(self.time, self.state.array)
        bounds = [self.nu / outflow if outflow > 0.0 else np.inf]
        if strength > 0.0:
            bounds.append(ACCURATE / strength)
        if self.radius > 0.0 and self.problem.density.limiter:
            bounds.append(self.radius * positive)
        return cfl * min(bounds)

    def _try_step(self, target: float, smallest: float) -> float:
        """One accepted step towards `target`; returns its size."""
        if self._follows:
            self._follow()
        limit = self._step_limit()
        before, start = self.state.array.copy(), self.time
        dt = min(limit, self._suggested)
        while True:
            remaining = target - start
            if self.chooses:
                dt = rounded(dt)
            # equal steps up to the target, rather than a sliver at its end
            last = dt >= remaining * (1 - 1e-12)
            size = remaining if last else remaining / np.ceil(remaining / dt * (1 - 1e-12)) if not self.chooses else dt
            if self.ts.getType() == "rk":
                self.ts.restartStep()  # it would take the slope of its last stage, where the state had not been limited yet
            self.ts.setTime(start)
            self.ts.setTimeStep(size)
            self._lowest = np.inf
            try:
                self.ts.step()
            except PETSc.Error as error:
                raise self._failed(error, start) from self._cause
            done = self.ts.getTime() - start
            if self.remembers:
                break
            if self.chooses and done < size * (1 - 1e-9):  # PETSc has tried again with a shorter step, not a round one
                dt = done
                self.state.array[:] = before
                self.ts.restartStep()
                continue
            if self.implicit is not None:
                self.implicit.repair(self.state.array, self.total_mass)
            lowest = self.operator.lowest_average(self._lowest, self.state.array)
            if not self.problem.density.limiter or lowest >= -ROUNDING * self._top:
                break
            self.rejected += 1
            dt = size / 2
            self.state.array[:] = before
            self.ts.restartStep()
            if dt < smallest:
                raise RunError(f"the step underflows: even {size:.3e} makes a cell average negative ({lowest:.3e})",
                               step=self.step, time=start)
        self.time = target if last and done >= size * (1 - 1e-9) else self.ts.getTime()
        if self.chooses:
            self._suggested = self.ts.getTimeStep() if not last else max(self._suggested_or(size), self.ts.getTimeStep())
        return done

    def _failed(self, error: PETSc.Error, start: float) -> BaseException:
        """What a step that PETSc gave up on is reported as: the error inside a callback, where there was one."""
        cause = self._cause or (self.implicit.cause if self.implicit is not None else None)
        if cause is not None and not isinstance(cause, RunError | ArithmeticError):
            return cause
        words = f"PETSc's {self.ts.getType()} step failed: {str(error).splitlines()[-1].strip()}" if cause is None else str(cause)
        return RunError(words, step=self.step, time=start)

    def _suggested_or(self, size: float) -> float:
        return self._suggested if np.isfinite(self._suggested) else size
