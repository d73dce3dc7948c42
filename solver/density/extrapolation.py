"""The velocity within a step, extrapolated from the starts of the last steps: attention once per step or less, not per stage.

Steps of the transport are short because cells are small. The velocity, a mean over the width of the kernel, changes little in
such a step, and costs nearly all of its time. So it is followed by a polynomial in depth through its values at the starts of the
last steps, as in a multistep method of Adams and Bashforth (Hairer, Norsett & Wanner, Solving Ordinary Differential Equations I,
III.1); the Runge-Kutta scheme then transports with that velocity, and keeps its order, its bound for positive averages and its
mass.

How good the polynomial is shows where the velocity is evaluated next, at the start of the next step, or of a later one, up to
`MOST` steps on, where it was far better than needed. It is used only while it missed by at most `TOLERANCE` of the strength of
attention in the mean of the law, that is, while it displaces the law by no more than that part of the way, and nowhere by more
than `ANYWHERE`: where tokens part between two clusters the velocity at a node changes within few steps, and hardly any mass is
there. After a miss attention is evaluated at every stage for some steps, twice as many if the last miss was not long ago: a rate
of attention beyond the stability bound of the multistep method would let errors grow up to the tolerance again and again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass

import numpy as np
from mpi4py import MPI

Array = np.ndarray
POINTS = 5  # of the polynomial: order 5, more than any of the schemes at whose stages it is taken needs
TOLERANCE, ANYWHERE = 1e-6, 1e-4  # largest miss relative to the strength of attention: in the mean of the law, at any node
MOST = 16  # steps from one evaluation to the next
REST = 8, 128  # steps after a miss in which nothing is extrapolated: after the first, at most


@dataclass
class Past:
    """The start of a step: its depth, the unknowns (owned * size,) and the velocity (k, d) there; local."""

    time: float
    state: Array
    field: Array


@dataclass
class Pace:
    """When the velocity is evaluated.

    Attributes:
        rest: steps that are still to be taken without extrapolation. pause: how many there were after the latest miss.
        stride: steps from one evaluation to the next. since: steps since the latest.
        kept: evaluations since the latest miss. calm: of these, the last ones in a row that were far better than needed.
    """

    rest: int = 0
    stride: int = 1
    since: int = 0
    calm: int = 0
    kept: int = 0
    pause: int = 0

    def adapt(self, miss: float) -> None:
        """Evaluate more rarely or more often from now on, after a miss that large, relative to the strength."""
        self.calm = self.calm + 1 if miss * 2**(POINTS + 2) <= TOLERANCE else 0
        self.kept += 1
        if miss > TOLERANCE:  # twice as long as last time, if that is not long ago
            self.pause = min(2 * self.pause, REST[1]) if self.kept <= self.pause else REST[0]
            self.rest, self.stride, self.kept = self.pause, 1, 0
        elif 4.0 * miss > TOLERANCE:
            self.stride = max(1, self.stride // 2)
        elif self.calm == POINTS:  # all of them equally far apart
            self.stride, self.calm = min(2 * self.stride, MOST), 0


def extrapolate(times: Sequence[float], fields: Sequence[Array], t: float) -> Array:
    """The polynomial of Lagrange through `fields` at `times`, at t; local."""
    result = np.zeros_like(fields[0])
    for i, (own, values) in enumerate(zip(times, fields, strict=True)):
        weight = 1.0
        for j, other in enumerate(times):
            if j != i:
                weight *= (t - other) / (own - other)
        result += weight * values
    return result


class Extrapolation:
    """What is known of the velocity at the starts of earlier steps.

    Attributes:
        past: at most `POINTS` starts at which it was evaluated, in order of depth; local.
        trusted: whether the velocity within the present step is taken from the polynomial; the same on every rank.
        pace: when it is evaluated; the same on every rank.
    """

    past: list[Past]
    trusted: bool
    pace: Pace

    def __init__(self, comm: MPI.Comm):
        self.comm = comm
        self.forget()

    def forget(self) -> None:
        """Begin anew, as after a change of layer."""
        self.past, self.trusted, self.pace = [], False, Pace()

    def due(self) -> bool:
        """Whether the velocity is to be evaluated at the start of the present step; counts the step if not."""
        self.pace.since += 1
        return not self.trusted or self.pace.since >= self.pace.stride

    def begin(self, time: float, state: Array, field: Array, masses: Array, strength: float) -> None:
        """A step starts at depth `time`, beyond those of `past`, with the velocity `field` (k, d) of the unknowns `state`;
        `masses` (k,) at its nodes; `strength`: of attention, global. Collective."""
        pace = self.pace
        pace.rest, pace.since = max(0, pace.rest - 1), 0
        if len(self.past) == POINTS:
            miss = self._miss(self.at(time) - field, masses) / strength if strength > 0.0 else np.inf
            good = miss <= TOLERANCE
            if self.trusted:
                pace.adapt(miss)
                if not good:
                    self.past = []
            self.trusted = good
        if pace.rest <= POINTS:
            self.past = [*self.past[1 - POINTS:], Past(time, state.copy(), field)]

    def _miss(self, off: Array, masses: Array) -> float:
        """The size of a difference of velocities (k, d): its mean over `masses` (k,), more where it is large anywhere. Global."""
        size = np.sqrt(np.einsum("ki,ki->k", off, off))
        largest = self.comm.allreduce(float(size.max(initial=0.0)), op=MPI.MAX)
        mean = self.comm.allreduce(float(size @ masses), op=MPI.SUM)
        return max(mean, largest * TOLERANCE / ANYWHERE)

    def at(self, t: float) -> Array:
        """The velocity (k, d) at depth t by the polynomial; at the start of the present step what was computed there."""
        if t == self.past[-1].time:
            return self.past[-1].field
        return extrapolate([p.time for p in self.past], [p.field for p in self.past], t)

    def saved(self, gather: Callable[[Array], Array]) -> dict[str, float | Array]:
        """For a checkpoint: depths and unknowns (points, cells, n), in the canonical order that `gather` gives them, since a
        velocity is soon computed again. Collective."""
        known = {"past_times": np.array([p.time for p in self.past]), "past": np.array([gather(p.state) for p in self.past])}
        return {**(known if self.past else {}), "past_trusted": float(self.trusted),
                "past_pace": np.array(astuple(self.pace), dtype=float)}

    def restore(self, saved: Mapping[str, float | Array], now: float,
                field: Callable[[float, Array], tuple[Array, Array]]) -> None:
        """Go on at depth `now` from what was `saved`; `field` gives unknowns and velocity of a past start. Collective."""
        self.forget()
        times = [float(t) for t in np.atleast_1d(saved.get("past_times", []))]
        if "past_trusted" not in saved or any(t >= now for t in times):  # of an earlier version, or of another depth
            return
        self.past = [Past(t, *field(t, state)) for t, state in zip(times, np.asarray(saved.get("past", [])), strict=True)]
        self.trusted = bool(saved["past_trusted"])
        self.pace = Pace(*(int(value) for value in np.asarray(saved["past_pace"])))
