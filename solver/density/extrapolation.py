"""The velocity within a step, extrapolated from the starts of the last steps: attention once per step, not per stage.

Steps of the transport are short because cells are small. The velocity, a mean over the width of the kernel, changes little in
such a step, and costs nearly all of its time. So it is followed by a polynomial in depth through its values at the starts of the
last steps, as in a multistep method of Adams and Bashforth (Hairer, Norsett & Wanner, Solving Ordinary Differential Equations I,
III.1); the Runge-Kutta scheme then transports with that velocity, and keeps its order, its bound for positive averages and its
mass.

How good the polynomial is shows at the start of the next step, where the velocity is evaluated anyway. It is used only while it
missed by at most `TOLERANCE` of the strength of attention, that is, while it displaces nothing by more than that part of the way.
After a miss attention is evaluated at every stage for `REST` steps: a rate of attention beyond the stability bound of the
multistep method would let errors grow up to the tolerance again and again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

Array = np.ndarray
POINTS = 5  # of the polynomial: order 5, more than any of the schemes at whose stages it is taken needs
TOLERANCE = 1e-6  # largest miss, relative to the strength of attention
REST = 64  # steps after a miss in which nothing is extrapolated


@dataclass
class Past:
    """The start of a step: its depth, the unknowns (owned * size,) and the velocity (k, d) there; local."""

    time: float
    state: Array
    field: Array


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
    """What is known of the velocity at the starts of the last steps.

    Attributes:
        past: at most `POINTS` starts, the present step's last; local.
        trusted: whether the velocity within the present step is taken from the polynomial; the same on every rank.
    """

    def __init__(self, comm: MPI.Comm):
        self.comm = comm
        self.past: list[Past] = []
        self.trusted, self._rest = False, 0

    def forget(self) -> None:
        """Begin anew, as after a change of layer."""
        self.past, self.trusted, self._rest = [], False, 0

    def begin(self, time: float, state: Array, field: Array, strength: float) -> None:
        """A step starts at depth `time`, with the velocity `field` (k, d) of the unknowns `state`; `strength`: of attention,
        global. Collective."""
        if self.past and self.past[-1].time == time:
            return
        self._rest = max(0, self._rest - 1)
        if len(self.past) == POINTS:
            miss = np.abs(self.at(time) - field).max(initial=0.0)
            good = self.comm.allreduce(float(miss), op=MPI.MAX) <= TOLERANCE * strength
            if self.trusted and not good:
                self.past, self._rest = [], REST
            self.trusted = good
        if self._rest <= POINTS:
            self.past = [*self.past[1 - POINTS:], Past(time, state.copy(), field)]

    def at(self, t: float) -> Array:
        """The velocity (k, d) at depth t by the polynomial; at the start of the present step what was computed there."""
        if t == self.past[-1].time:
            return self.past[-1].field
        return extrapolate([p.time for p in self.past], [p.field for p in self.past], t)

    def saved(self, gather: Callable[[Array], Array]) -> dict[str, float | Array]:
        """For a checkpoint: depths and unknowns (points, cells, n), in the canonical order that `gather` gives them, since a
        velocity is soon computed again. Collective."""
        known = {"past_times": np.array([p.time for p in self.past]), "past": np.array([gather(p.state) for p in self.past])}
        return {**(known if self.past else {}), "past_trusted": float(self.trusted), "past_rest": float(self._rest)}

    def restore(self, saved: Mapping[str, float | Array], field: Callable[[float, Array], tuple[Array, Array]]) -> None:
        """Go on from what was `saved`; `field` gives unknowns and velocity of a past start. Collective."""
        self.forget()
        if "past" in saved:
            starts = zip(np.asarray(saved["past_times"]).tolist(), np.asarray(saved["past"]), strict=True)
            self.past = [Past(time, *field(time, state)) for time, state in starts]
        if "past_trusted" in saved:  # not in checkpoints of earlier versions
            self.trusted, self._rest = bool(saved["past_trusted"]), int(saved["past_rest"])
