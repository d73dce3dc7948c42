"""Verdicts: whether prediction and measurement agree within their error bars, and what the bars could have told apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

SHOWN, CONTRADICTED, UNRESOLVED = "shown", "contradicted", "not resolved"
RELATIONS = {"equal": "=", "at most": "<=", "at least": ">="}
# Error bars that could not tell a factor 1.05 from 1 decide nothing, unless the claim asks for less.
TELL = 1.05


@dataclass(frozen=True)
class Judgement:
    """A verdict and its reach.

    Attributes:
        verdict: "shown", "contradicted" or "not resolved".
        factor: the smallest factor on the prediction, up or down, that this measurement would have contradicted; NaN where the
            prediction is zero or the relation is an inequality.
        reach: the same as a difference.
    """

    verdict: str
    factor: float
    reach: float


def judge(predicted: float, measured: float, error: float, *, relation: str = "equal", tell: float = TELL,
          reach: float | None = None) -> Judgement:
    """Compare one prediction with one measurement.

    Args:
        predicted, measured: the two numbers. error: half width of the bar on their difference, both bars added.
        relation: a name of `RELATIONS`: measured = predicted, <= or >=.
        tell: the claim is shown only if a prediction wrong by this factor would have been contradicted.
        reach: the same as a difference, used instead of the factor if given (and where the prediction is zero).

    Equality is shown if |measured - predicted| <= error and the bar is narrow enough; contradicted if the two differ by
    more than the bar. An inequality is shown if it holds for the whole bar, contradicted if it fails for the whole bar.
    """
    if not all(map(math.isfinite, (predicted, measured, error))):
        return Judgement(UNRESOLVED, math.nan, math.nan)
    if relation != "equal":
        slack = predicted - measured if relation == "at most" else measured - predicted
        verdict = SHOWN if slack >= error else CONTRADICTED if slack < -error else UNRESOLVED
        return Judgement(verdict, math.nan, abs(slack) - error)
    told = abs(measured - predicted) + error
    if predicted == 0 and reach is not None:  # zero is claimed up to `reach`
        verdict = SHOWN if told <= reach else CONTRADICTED if abs(measured) - error > reach else UNRESOLVED
        return Judgement(verdict, math.nan, told)
    factor = 1.0 + told / abs(predicted) if predicted else math.nan
    if abs(measured - predicted) > error:
        return Judgement(CONTRADICTED, factor, told)
    if reach is None and not predicted:
        reach = math.inf if error == 0 else 0.0
    narrow = told <= reach if reach is not None else factor <= tell
    return Judgement(SHOWN if narrow else UNRESOLVED, factor, told)


def together(verdicts: list[str]) -> str:
    """The verdict of a claim from those of its quantities: contradicted if one is, shown if all are."""
    if CONTRADICTED in verdicts:
        return CONTRADICTED
    return SHOWN if verdicts and all(v == SHOWN for v in verdicts) else UNRESOLVED
