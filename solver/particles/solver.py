"""The token system: weighted particles under attention to each other, in any dimension and on any number of ranks.

    solver = ParticleSolver(problem, comm)
    statistics = solver.run(on_output)

Tokens are dealt to the ranks; at each stage every rank gets all of them in one canonical order, so that trajectories do not
depend on the number of ranks. An ensemble of M members, each with its own seed, moves with one common step.
"""

from __future__ import annotations

import time as clock
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from problems import Problem
from problems.diagnostics import MOST_PAIRED
from solver.attention import energy_columns
from solver.errors import RunError, own_columns
from solver.particles.adaptive import Cells, largest_gap, start_adaptive
from solver.particles.density import carries_density, has_full_support
from solver.particles.drift import CAUGHT, Drift, NotFiniteError
from solver.particles.integrators import TABLES, Controller, step_euler_maruyama, step_runge_kutta
from solver.particles.layout import Layout
from solver.particles.noise import standard_normal
from solver.particles.rest import Rest, strength
from solver.particles.sampling import initial_tokens
from solver.particles.snapshot import ParticleSnapshot, ParticleStatistics, ParticleStep, Row
from solver.particles.stiff import StiffSteps, serves
from solver.ranks import world

if TYPE_CHECKING:
    from mpi4py import MPI

Array = NDArray[np.float64]

# Attention at zero temperature jumps whenever a token's favourite changes; no step resolves a jump, so steps stop shrinking
# here, in units of the depth in which a token could move by one, and the jump costs at most (its size) x (this step).
JUMP_STEP = 1e-3
# Adaptive tokens are looked at after so many steps, or as soon as a gap is too long.
EVERY = 4
# On meshes from a file velocities have kinks where cells meet. A step need not see them better than the mesh sees the curve or
# surface it stands for: its error may be this part of the distance between the two (`Manifold.roughness`).
KINK = 1e-4


class ParticleSolver:
    """Integrates the tokens of a problem.

    Args:
        problem: the resolved problem.
        comm: all ranks of the run.
        tokens: initial points (M, N, d) or (N, d) and masses (N,), the same on every rank, instead of the problem's own
            sampling.
        full_support: whether these tokens stand for a law that charges the whole sphere: at zero temperature they then attend to
            the best place of all, and not to the best token.
        stride: fixed steps taken at once, as one step, with the noise of all of them: to see their error.

    Raises:
        ProblemError: the initial law cannot be sampled as asked.
    """

    def __init__(self, problem: Problem, comm: MPI.Comm | None = None, *, tokens: tuple[Array, Array] | None = None,
                 full_support: bool = False, stride: int = 1):
        if comm is None:
            comm = world()
        self.problem, self.comm, settings = problem, comm, problem.particles
        self.stride = stride
        self.carries = tokens is None and carries_density(problem)
        self.cells: Cells | None = None
        self.full_support = full_support
        if tokens is None and settings.sampling == "adaptive":
            self.cells, first, logs = start_adaptive(problem)
            points, masses = first[None], self.cells.token_masses(first, logs)
        else:
            points, masses = initial_tokens(problem) if tokens is None else tokens
            points = np.array(points, float, ndmin=3)
        if self.carries:
            points = np.concatenate([points, np.stack([problem.initial.log_density(x) for x in points])[..., None]], axis=-1)
        self._place(np.ascontiguousarray(masses, float))
        self.points = self.drift.retract(self.layout.local(points))
        self.time, self.step = 0.0, 0
        self.largest_gap = largest_gap(problem) if self.cells is not None else np.inf
        self.noisy = problem.noise.diffusivity > 0.0
        self.table = TABLES["euler" if self.noisy else settings.integrator]
        self.controller = Controller(np.inf)
        self.jumps = 0
        self.memory: dict[str, Array] = {}  # kept with the state for those who watch the run
        self.stiff = StiffSteps(problem, self.tolerance, self.carries) if serves(problem) else None
        self._again: Callable[[float], Array] | None = None
        self.rest = Rest()
        self._slope: Array | None = None
        self._leg = 0.0, 0  # where the present run of equal steps began, and how many of them are done
        self._resumed = False

    def _place(self, masses: Array) -> None:
        """Deal tokens of these masses (N,) to the ranks."""
        self.masses = masses
        self.layout = Layout(self.comm, len(masses))
        full = self.full_support or (self.cells is not None and has_full_support(self.problem))
        self.drift: Drift = Drift(self.problem, masses, self.layout, carries=self.carries, full_support=full,
                                  cells=self.cells)

    @property
    def words(self) -> list[str]:
        """How the tokens are integrated, one sentence per line."""
        settings, count = self.problem.particles, len(self.masses)
        member = f" in {len(self.points)} members" if len(self.points) > 1 else ""
        lines = [f"{count} tokens{member} from {settings.sampling} sampling of the initial law."]
        if self.noisy:
            lines.append(f"Noise: Euler-Maruyama with step {self._fixed_step:g}, weak order 1, whatever integrator is asked for.")
        elif self.table.error:
            why = ", well below that of the mesh" if self.tolerance > settings.rtol else ""
            lines.append(f"{self.table.reference}, order 5, "
                         f"steps chosen for a local error of {self.tolerance:.2g} per token{why}.")
        else:
            lines.append(f"{self.table.reference}, order {self.table.order}, step {self._fixed_step:g}.")
        if not self.problem.manifold.closed and self.problem.manifold.volume is not None:
            lines.append("At the walls tokens are reflected." if self.noisy else
                         "At the walls tokens lose the outward part of their velocity: they slide, and no mass is lost.")
        return lines

    @property
    def tolerance(self) -> float:
        """Largest local error of a token in an adaptive step, relative to its norm where that is above one."""
        return max(self.problem.particles.rtol, KINK * self.problem.manifold.roughness)

    @property
    def _fixed_step(self) -> float:
        return self.problem.particles.step or self.table.step

    def run(self, on_output: Callable[[ParticleSnapshot], None] | None = None,
            on_step: Callable[[ParticleStep], None] | None = None) -> ParticleStatistics:
        """Integrate from the present depth to `time.end`, landing on every output and layer switch; collective.

        Args:
            on_output: called on every rank at each output depth from now on; after `load_state`, only at later ones.
            on_step: called on every rank after each accepted step.

        Raises:
            RunError: on every rank, when tokens leave the range of numbers or steps become too small to go on.
        """
        began, calls = clock.perf_counter(), self.drift.calls
        outputs = set(self.problem.time.outputs)
        if self.time in outputs and on_output and not self._resumed:
            on_output(self.snapshot())
        stationary = self.problem.time.stationary
        end = np.inf if stationary else float(self.problem.time.end)
        stops = sorted({t for t in (*outputs, *self.problem.attention.switch_times, end) if self.time < t <= end})
        for stop in stops:
            self.drift.select(self.time)
            if self.time in self.problem.attention.switch_times:
                self._slope = None
            self._advance(stop, on_step)
            if on_output and (self.time in outputs or (stationary and stop == end)):
                on_output(self.snapshot())
        return ParticleStatistics(self.step, self.controller.rejected, self.drift.calls - calls, clock.perf_counter() - began,
                                  self.jumps, self.points.shape[0] * len(self.masses))

    def snapshot(self) -> ParticleSnapshot:
        """The tokens now, with their diagnostics; collective."""
        everything, d = self.layout.gather(self.points), self.problem.manifold.dimension
        members = np.ascontiguousarray(everything[..., :d])
        logs = np.where(everything[..., d] < CAUGHT / 2, everything[..., d], np.nan) if self.carries else None
        rows: list[Row] = []
        self.drift.select(self.time)
        tokens: dict[str, float] = {"tokens": len(self.masses)}
        if self.cells is not None:
            tokens["largest_gap"] = self.cells.largest(members[0])
        for i in range(len(members)):
            points: Array = members[i]
            logs_here = logs[i] if logs is not None else None
            law, masses = self.cells.sources(points, logs_here, self.masses) if self.cells else (points, self.masses)
            rows.append({
                "mass": float(self.masses.sum()),
                **self._energies(points, np.ascontiguousarray(self.points[i, :, :d])),
                "mean": masses @ law,
                "second": (masses[:, None] * law).T @ law if d <= MOST_PAIRED else masses @ law**2, **tokens,
                **own_columns(self.problem, points, self.masses),
            })
            if logs_here is not None:
                rows[-1]["entropy"] = float(self.masses @ logs_here)
        found = ParticleSnapshot(self.time, self.step, members, self.masses.copy(), tuple(rows), self.problem, logs)
        if self.cells is None:
            return found
        # All members of an ensemble start from the same tokens, and so stay the same.
        count = self.problem.particles.ensemble
        return replace(found, members=np.repeat(members, count, axis=0), rows=tuple(rows * count),
                       log_density=None if logs is None else np.repeat(logs, count, axis=0),
                       cells=self.cells.cells.copy(), cell_masses=self.cells.masses.copy())

    def shorter(self, dt: float) -> Array:
        """Tokens (N, d) of the first member after a step of length dt from where the last step began; collective."""
        if self._again is None:
            raise RuntimeError("no step has been taken yet")
        return self._again(dt)

    def everything(self) -> Array:
        """All tokens (N, d) of the first member now; collective."""
        return np.ascontiguousarray(self.layout.gather(self.points)[0, :, : self.problem.manifold.dimension])

    def state_dict(self) -> dict[str, float | np.ndarray]:
        """Everything needed to go on, as arrays and numbers; the same on every rank and for any number of ranks; collective."""
        return {"points": self.layout.gather(self.points).copy(), "masses": self.masses.copy(), "time": self.time,
                "step": self.step, "next_step": self.controller.step, "previous_error": self.controller.previous,
                "rejected": self.controller.rejected, "jumps": self.jumps,
                "leg_begin": self._leg[0], "leg_done": self._leg[1], "implicit": self.stiff is not None and self.stiff.active,
                **{f"memory_{name}": part for name, part in self.memory.items()},
                **{f"rest_{name}": value for name, value in vars(self.rest).items()},
                **({} if self.cells is None else {"cells": self.cells.cells, "cell_masses": self.cells.masses.copy()})}

    def load_state(self, state: Mapping[str, float | np.ndarray]) -> None:
        """Go on from a `state_dict`, of which only what this rank needs is kept; the trajectory is the uninterrupted one."""
        points = np.array(state["points"], float)
        self.carries = points.shape[2] > self.problem.manifold.dimension
        if self.cells is not None:
            self.cells = self.cells.restored(np.array(state["cells"]), np.array(state["cell_masses"], float))
        self._place(np.ascontiguousarray(state["masses"], float))
        self.points = self.layout.local(points)
        self.time, self.step, self.jumps = float(state["time"]), int(state["step"]), int(state["jumps"])
        self.controller = Controller(float(state["next_step"]), float(state["previous_error"]), self.step, int(state["rejected"]))
        self._leg = float(state["leg_begin"]), int(state["leg_done"])
        if self.stiff is not None:
            self.stiff.active = bool(state["implicit"])
        self.memory = {name.removeprefix("memory_"): np.asarray(part) for name, part in state.items()
                       if name.startswith("memory_")}
        self.rest = Rest(*(float(state.get(f"rest_{name}", value)) for name, value in vars(Rest()).items()))
        self._slope, self._resumed = None, True

    def _energies(self, points: Array, local: Array) -> dict[str, float]:
        share = self.masses[self.layout.start : self.layout.stop]
        return energy_columns(self.drift.attention, local, share, points, self.masses, self.comm)

    def _advance(self, stop: float, on_step: Callable[[ParticleStep], None] | None) -> None:
        """Integrate up to the depth `stop`, exactly."""
        if self.table.error:
            if stop == np.inf and self._still(0.0) and self._resumed:
                return
            while self.time < stop:
                dt, error = self._adaptive_step(stop)
                resting = stop == np.inf and self._still(dt)
                self._report(dt, error, on_step)
                if resting:
                    break
            return
        begin, done = self._leg if self._leg[1] else (self.time, 0)
        span = stop - begin
        if not np.isfinite(span):
            raise RunError('time.end = "stationary" needs the integrator dopri5 and no noise for particles', step=self.step)
        steps = max(1, int(np.ceil(span / self._fixed_step - 1e-9)))
        while done < steps:
            many = min(self.stride, steps - done)
            done += many
            self._fixed(many * span / steps, many)
            self.time = stop if done == steps else begin + span * done / steps
            self._leg = begin, done % steps
            self._report(many * span / steps, 0.0, on_step, many)

    def _adapt(self) -> None:
        """Tokens added and taken out where that is needed; collective."""
        if self.cells is None:
            return
        d, everything = self.problem.manifold.dimension, self.layout.gather(self.points)[0]
        flat = np.ascontiguousarray(everything[:, :d])
        if self.step % EVERY and self.cells.largest(flat) <= self.largest_gap:
            return
        found = None
        if self.comm.rank == 0:
            logs = np.ascontiguousarray(everything[:, d]) if self.carries else None
            cells = self.cells.restored(self.cells.cells, self.cells.masses.copy())  # the last step may be taken again
            points, logs, changed = cells.adapt(flat, logs, self.largest_gap, self.problem.particles.most)
            found = (points, logs, cells) if changed else None
        found = self.comm.bcast(found)
        if found is None:
            return
        points, logs, self.cells = found
        calls = self.drift.calls
        self._place(self.cells.token_masses(points, logs))
        self.drift.calls = calls
        self.drift.select(self.time)
        self.points = self.layout.local((points if logs is None else np.column_stack([points, logs]))[None])
        self._slope = None

    def _report(self, dt: float, error: float, on_step: Callable[[ParticleStep], None] | None, many: int = 1) -> None:
        self.step += many
        self._adapt()
        if on_step:
            on_step(ParticleStep(self.time, self.step, dt, error, self.drift.calls))

    def _fixed(self, dt: float, many: int) -> None:
        self._remember(self.points, None)
        try:
            if self.noisy:
                size = np.sqrt(2 * self.problem.noise_rate * dt / many)
                lay, seed = self.layout, self.problem.particles.seed
                draws = [sum(standard_normal(seed + m, self.step + k, lay.start, lay.stop, self.points.shape[2])
                             for k in range(many)) for m in range(len(self.points))]
                self.points = step_euler_maruyama(self.drift, self.points, size * np.stack(draws), dt)
            else:
                self.points, _, _ = step_runge_kutta(self.table, self.drift, self.points, None, dt)
        except NotFiniteError as error:
            raise self._lost(error) from None

    def _remember(self, points: Array, slope: Array | None) -> None:
        """Keep what `shorter` needs to take the coming step again, with another length."""
        drift, layout, table, d = self.drift, self.layout, self.table, self.problem.manifold.dimension

        def again(dt: float) -> Array:
            moved = step_runge_kutta(table, drift, points, slope, dt, places_only=True)[0] if dt > 0.0 else points
            return np.ascontiguousarray(layout.gather(moved)[0, :, :d])

        self._again = again

    def _implicit_step(self, stop: float, steps: StiffSteps) -> tuple[float, float] | None:
        """As `_adaptive_step` where implicit steps are due, else None; collective."""
        begin = self.time
        found = steps.advance(self.controller, self.layout.gather(self.points)[0], self.masses, begin, self.step, stop - begin)
        if found is None:
            return None
        self.points, self._slope, self._again = self.layout.local(found.tokens[None]), None, found.again
        self.time = stop if found.dt == stop - begin else begin + found.dt
        return found.dt, found.error

    def _adaptive_step(self, stop: float) -> tuple[float, float]:
        """One accepted step towards `stop`; returns its length and its error over the tolerance."""
        control = self.controller
        if self.stiff is not None and self.stiff.due(self.step) and (found := self._implicit_step(stop, self.stiff)):
            return found
        shortest = JUMP_STEP / max(1.0, strength(self.drift)) if np.isinf(self.drift.weights.beta) else 0.0
        if self._slope is None:
            self._slope = self._first_slope()
        if not np.isfinite(control.step):
            control.step = self._first_step(self._slope)
        while True:
            left = stop - self.time
            if not self.problem.manifold.normalised and self.problem.manifold.name == "file":
                # Errors at kinks are not smooth in the step: rounded, steps do not depend on the number of ranks.
                control.step = float(2.0 ** (np.floor(np.log2(control.step) * 64) / 64))
            dt = control.next(left)
            self._remember(self.points, self._slope)
            lost = None
            try:
                new, slope, sizes = step_runge_kutta(self.table, self.drift, self.points, self._slope, dt)
                # A maximum does not depend on the order of summation, hence not on the number of ranks.
                tolerance = self.rest.tolerance(self.tolerance, dt) if stop == np.inf else self.tolerance
                error = self.layout.largest(self._scaled(sizes)) / tolerance
            except NotFiniteError as found:
                error, lost = np.inf, found
            floor = dt <= shortest and np.isfinite(error)
            if error <= 1.0 or floor:
                self.jumps += error > 1.0
                control.accept(dt, min(error, 1.0))
                control.step = max(control.step, shortest)
                self.points, self._slope = new, slope
                self.time = stop if dt == left else self.time + dt
                return dt, error
            control.reject(dt, error)
            if np.isfinite(error):
                control.step = max(control.step, shortest)
            if control.stuck(self.time):
                raise self._lost(lost) if lost else RunError(
                    f"the adaptive step fell to {control.step:.3g}: the drift is not resolved to particles.rtol = "
                    f"{self.tolerance:g}", step=self.step, time=self.time)

    def _scaled(self, sizes: Array) -> float:
        if sizes.size == 0:
            return 0.0
        # The density counts relative to itself; tokens on a wall have none.
        d = self.problem.manifold.dimension
        scale = np.maximum(1.0, np.linalg.norm(self.points[..., :d], axis=-1)) if not self.problem.manifold.normalised else 1.0
        return float(np.max(sizes / scale))

    def _first_step(self, slope: Array) -> float:
        speed = self.layout.largest(float(np.max(np.linalg.norm(slope, axis=-1), initial=0.0)))
        return min(1.0, 0.3 * self.tolerance**0.2 / speed) if speed > 1e-300 else 1.0

    def _first_slope(self) -> Array:
        try:
            return self.drift(self.points)
        except NotFiniteError as error:
            raise self._lost(error) from None

    def _still(self, dt: float) -> bool:
        """Whether the tokens have come to rest, after a step of length dt; collective."""
        if self._slope is None:
            self._slope = self._first_slope()
        return self.rest.reached(self.drift, self.layout, self.points, self._slope, dt, self.step, self.time)

    def _lost(self, error: NotFiniteError) -> RunError:
        member, token = error.where
        place = f"token {token}" + (f" of member {member}" if len(self.points) > 1 else "")
        return RunError("the tokens left the range of numbers (a blow-up, or a step too long)", step=self.step, time=self.time,
                        place=place)
