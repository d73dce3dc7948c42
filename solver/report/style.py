"""What all figures share: colours, titles, depth axes with phases and events, scales of densities, files."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from solver.runs.events import Event
from solver.runs.phases import Phase

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.colors import LogNorm

COLOURS = {"density": "#1b5e9e", "particles": "#d1601d", "zero temperature": "#6b6b6b"}
FURTHER = ("#8e44ad", "#00897b", "#b8860b", "#c2185b", "#5d4037", "#3949ab", "#7cb342", "#000000")  # token systems besides
STYLES = {"density": "-", "particles": "--", "zero temperature": ":"}
MARKS = ("#7fd3ff", "#9be89b", "w")  # of directions, on dark densities
PHASES = {"alignment": "#cfe3f5", "heat": "#fbe3cf", "metastable": "#e3f1df", "pairing": "#f0dff2", "terminal": "#eeeeee"}
EVENTS = {"merge": "v", "departure": "^", "arrival": "o"}
SETTINGS: dict[str, object] = {
    "figure.dpi": 150, "font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "grid.alpha": 0.25, "legend.frameon": False, "figure.constrained_layout.use": True, "axes.titlesize": 9}
BARE: dict[str, object] = {**SETTINGS, "axes.grid": False}  # pictures rather than curves
Draw = Callable[[int], None]  # draws output i of a film
TITLE_WIDTH = 92  # letters per line at a width of 6.4 inches
LONG_RANGE = 300.0  # from here on, the ratio of the last depth to the first makes the depth axis logarithmic
DECADES = 4.0  # of a density below its maximum that are shown
SEEN = 0.3  # the scale begins at this part of the least of several maxima, so that no picture is all dark
MOST_EVENTS = 400


def save(figure: Figure, path: Path) -> None:
    """Write a figure, in the format that the name of the file says, and free it."""
    try:
        path.unlink(missing_ok=True)  # a link in its place is not followed
        figure.savefig(path)
    finally:
        plt.close(figure)


def entitle(figure: Figure, subject: str, title: str = "") -> None:
    """What the figure shows, and below it the title of the problem, shown as it is, cut after two lines."""
    width = max(20, int(TITLE_WIDTH * figure.get_size_inches()[0] / 6.4))
    lines = textwrap.wrap(" ".join(title.split()), width, max_lines=2, placeholder=" ..")
    figure.suptitle("\n".join([subject, *lines]), parse_math=False, fontsize=9.5)


def depth_axis(axes: Axes, times: np.ndarray, phases: Sequence[Phase] = (), events: Sequence[Event] = (), *,
               labels: bool = True) -> None:
    """An axis of depths that ends where the run ends, logarithmic for long ranges, with phases shaded and events marked."""
    times = np.asarray(times, float)
    if len(times) > 1:
        positive = times[times > 0]
        uneven = np.ptp(np.diff(times)) > 1e-6 * np.ptp(times)
        if uneven and len(positive) and positive[-1] > LONG_RANGE * positive[0]:
            axes.set_xscale("symlog", linthresh=positive[0], linscale=0.3)
        axes.set_xlim(times[0], times[-1])
    axes.set_xlabel("depth t")
    for phase in phases:
        axes.axvspan(phase.start, phase.end, color=PHASES.get(phase.name, "#f4f4f4"), lw=0, zorder=0)
        if labels:
            low, high = axes.transData.transform([[phase.start, 0], [phase.end, 0]])[:, 0] if axes.get_xscale() == "linear" \
                else (0.0, 1e9)
            if high - low > 6.5 * len(phase.name):
                middle = 0.5 * (phase.start + phase.end) if axes.get_xscale() == "linear" else max(phase.start, 1e-300)
                axes.annotate(phase.name, (middle, 1.0), xycoords=("data", "axes fraction"), xytext=(2, -2),
                              textcoords="offset points", va="top", fontsize=7, color="#777777",
                              ha="center" if axes.get_xscale() == "linear" else "left")
    for kind, marker in EVENTS.items():
        found = [event.time for event in events if event.kind == kind][:MOST_EVENTS]
        if found:
            axes.plot(found, np.full(len(found), 0.015), marker, ms=4, color="#8e24aa", alpha=0.8, clip_on=False, zorder=6,
                      transform=axes.get_xaxis_transform(), label=kind)


def density_norm(values: Sequence[np.ndarray], decades: float = DECADES) -> LogNorm:
    """One logarithmic scale for densities (..), of at most so many decades below their maximum, or as many as it takes to see the
    maximum of each of them."""
    tops = [float(np.nanmax(v)) for v in values if np.size(v)]
    top = max(tops, default=1.0)
    top = top if np.isfinite(top) and top > 0 else 1.0
    bottom = min((float(np.nanmin(v)) for v in values if np.size(v)), default=0.0)
    faintest = min((t for t in tops if t > 0.0), default=top)
    low = max(min(top * 10.0**-decades, SEEN * faintest), bottom, np.finfo(float).tiny)
    if low > top * 0.8:  # nearly constant: a scale of its own rather than noise in full colours
        low, top = top * 0.5, top * 1.05
    return LogNorm(vmin=low, vmax=top)


def triad(axes: Axes, frame: np.ndarray, names: Sequence[str] = ("x", "y", "z")) -> None:
    """The coordinate axes as they lie in a view, `frame` (3, 3) of rows right, up and towards, in the lower left corner."""
    for i, name in enumerate(names):
        right, up = 0.13 * frame[0][i], 0.13 * frame[1][i]
        if np.hypot(right, up) < 0.03:
            continue
        axes.annotate("", (0.12 + right, 0.12 + up), (0.12, 0.12), xycoords="axes fraction",
                      arrowprops={"arrowstyle": "-", "lw": 0.8, "color": "#555555"})
        axes.text(0.12 + 1.35 * right, 0.12 + 1.35 * up, name, transform=axes.transAxes, fontsize=6, color="#555555",
                  ha="center", va="center")


def legend_of_marks(figure: Figure, marks: Mapping[str, object]) -> None:
    """The names of marked directions, below all panels."""
    if marks:
        figure.legend(loc="outside lower center", ncol=len(marks), facecolor="#444444", labelcolor="w", frameon=True)
