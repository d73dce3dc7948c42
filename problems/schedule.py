"""[time]: how far tokens go in depth, and where their law is written down."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

from problems.checks import Check, boolean, integer, is_number, number
from problems.errors import Mistakes, ProblemError
from problems.fields import Field, read_fields

MAX_OUTPUTS = 10**6
# Depths closer than this, relative to the last one, are told apart by rounding alone.
NEAREST = 1e-12


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


def _end(field: str, value: object) -> float | str:
    if isinstance(value, str):
        if value != "stationary":
            raise ProblemError(field, value, 'must be a number at least 0, or "stationary"')
        return value
    return DEPTH(field, value)


DEPTH = number(0.0)
COUNT = integer(2, MAX_OUTPUTS)
FIELDS = (
    Field("end", Check(_end, {"anyOf": [DEPTH.schema, {"const": "stationary"}]}, f'{DEPTH.words}, or `"stationary"`'),
          "last depth, or until the law stands still", 8.0),
    Field("outputs", Check(lambda field, value: value, {"anyOf": [
        COUNT.schema, {"type": "array", "minItems": 1, "maxItems": MAX_OUTPUTS, "items": DEPTH.schema}]}),
          "how many equally spaced depths are written down, 0 and end among them; or an increasing list of depths", 33),
    Field("rescaled", boolean, 'for normalization = "none": depth s with dt = e^(-beta) ds, which keeps the drift finite', False),
)


def read_time(table: Mapping[str, object]) -> Time:
    """The section [time] from its TOML table.

    Raises:
        ProblemError: with every mistake of the section.
    """
    wrong = Mistakes()
    values = read_fields("time", table, FIELDS, wrong)
    end = values.get("end", math.inf)
    outputs = wrong.check(_outputs, values["outputs"], end)
    wrong.stop()
    return Time(end, outputs, values["rescaled"])


def equally_spaced(end: float, count: int) -> tuple[float, ...]:
    """`count` depths from 0 to `end`, both included: each the double nearest to its exact value, and the last one `end`
    itself."""
    return (0.0,) if end == 0.0 else (*(end * i / (count - 1) for i in range(count - 1)), end)


def tabulate_time(time: Time) -> dict[str, object]:
    """The TOML table of [time]; outputs as a number where they are equally spaced."""
    outputs: list[float] | int = list(time.outputs)
    count = len(time.outputs)
    if not time.stationary and count >= 2 and time.outputs == equally_spaced(float(time.end), count):
        outputs = count
    return {"end": time.end, "outputs": outputs, "rescaled": time.rescaled}


def _outputs(value: object, end: float | str) -> tuple[float, ...]:
    field = "time.outputs"
    last = math.inf if end == "stationary" else float(end)
    upper = f" to time.end = {last:g}" if math.isfinite(last) else ""
    allowed = f"must be a number of outputs from 2 to {MAX_OUTPUTS}, or an increasing list of times from 0{upper}"
    if is_number(value):
        if not 2 <= value <= MAX_OUTPUTS or value != int(value):
            raise ProblemError(field, value, allowed)
        return (0.0,) if not math.isfinite(last) else equally_spaced(last, int(value))
    if not isinstance(value, (list, tuple)) or not value or not all(map(is_number, value)):
        raise ProblemError(field, value, allowed)
    if len(value) > MAX_OUTPUTS:
        raise ProblemError(field, f"{len(value)} times", allowed)
    times = tuple(float(t) for t in value)
    for t in times:
        if not 0.0 <= t <= last or math.isinf(t):
            raise ProblemError(field, t, allowed)
    shortest = NEAREST * times[-1]
    for earlier, later in itertools.pairwise(times):
        if not earlier < later:
            raise ProblemError(field, [earlier, later], allowed)
        if not later - earlier > shortest:
            raise ProblemError(field, [earlier, later], f"must be further apart than rounding, {shortest:.3g}")
    return times
