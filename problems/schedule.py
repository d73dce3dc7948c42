"""[time]: how far tokens go in depth, and where their law is written down."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from problems.checks import boolean, is_number, number, refuse_unknown
from problems.errors import ProblemError

MAX_OUTPUTS = 10**6


@dataclass(frozen=True)
class Time:
    """[time]: depth, from 0 to `end`.

    Attributes:
        end: last depth t >= 0, or "stationary": until the density stands still.
        outputs: increasing depths in [0, end]; (0,) for a stationary run, whose last state is always written.
            In the file either such a list, or their number, equally spaced, 0 and `end` among them.
        rescaled: run unnormalised attention in the depth s with dt = e^{-beta} ds, so that its drift stays
            finite at any beta.
    """

    end: float | str
    outputs: tuple[float, ...]
    rescaled: bool = False

    @property
    def stationary(self) -> bool:
        return self.end == "stationary"


def read_time(table: Mapping[str, Any]) -> Time:
    """The section [time] from its TOML table."""
    refuse_unknown("time", table, ("end", "outputs", "rescaled"))
    end = table.get("end", 8.0)
    if isinstance(end, str):
        if end != "stationary":
            raise ProblemError("time.end", end, 'must be a number at least 0, or "stationary"')
    else:
        end = number(0.0)("time.end", end)
    rescaled = boolean("time.rescaled", table.get("rescaled", False))
    return Time(end, _outputs(table.get("outputs", 33), end), rescaled)


def equally_spaced(end: float, count: int) -> tuple[float, ...]:
    """`count` depths from 0 to `end`, both included: each the double nearest to its exact value."""
    return (0.0,) if end == 0.0 else tuple(end * i / (count - 1) for i in range(count))


def tabulate_time(time: Time) -> dict[str, Any]:
    """The TOML table of [time]; outputs as a number where they are equally spaced."""
    outputs: Any = list(time.outputs)
    count = len(outputs)
    if not time.stationary and count >= 2 and time.outputs == equally_spaced(float(time.end), count):
        outputs = count
    return {"end": time.end, "outputs": outputs, "rescaled": time.rescaled}


def _outputs(value: Any, end: float | str) -> tuple[float, ...]:
    field = "time.outputs"
    last = math.inf if end == "stationary" else float(end)
    upper = f" to time.end = {last:g}" if math.isfinite(last) else ""
    allowed = f"must be a number of outputs from 2 to {MAX_OUTPUTS}, or an increasing list of times from 0{upper}"
    if is_number(value):
        if not 2 <= value <= MAX_OUTPUTS or value != int(value):
            raise ProblemError(field, value, allowed)
        return (0.0,) if end == "stationary" else equally_spaced(float(end), int(value))
    if not isinstance(value, (list, tuple)) or not value or not all(map(is_number, value)):
        raise ProblemError(field, value, allowed)
    times = tuple(float(t) for t in value)
    for t in times:
        if not 0.0 <= t <= last or math.isinf(t):
            raise ProblemError(field, t, allowed)
    for earlier, later in itertools.pairwise(times):
        if not earlier < later:
            raise ProblemError(field, [earlier, later], allowed)
    return times
