"""What the figure of a claim is drawn from; without the library that draws it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NotRequired, TypedDict


class Series(TypedDict):
    """One curve: lists of one length, or empty. `fit`, `limit` and `note` belong to fits across runs: the law fitted, the value
    and bar found at x = 0, and words. `guide`: `predicted` is a slope, drawn through the middle of the measurements."""

    label: str
    x: list[float]
    measured: list[float]
    error: list[float]
    predicted: list[float]
    fit: NotRequired[list[float]]
    limit: NotRequired[list[float]]
    guide: NotRequired[bool]
    note: NotRequired[str]


def listed(values: Iterable[float]) -> list[float]:
    """The numbers of an array, as a series holds them."""
    return [float(value) for value in values]


@dataclass
class Panel:
    """One axes of a claim's figure; `scale` is "linear", "log", "loglog" or "logx"."""

    name: str
    xlabel: str
    ylabel: str
    series: list[Series] = field(default_factory=list)
    scale: str = "linear"
