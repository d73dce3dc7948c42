"""The figure of a claim: every quantity in axes of its own, prediction as a line, measurement with bars."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogFormatterSciNotation, LogLocator, MaxNLocator, NullFormatter

from solver.report.figures import SETTINGS, plt
from solver.report.panels import Panel

MOST_SERIES = 8
MOST_PANELS = 9
DOTS = 24
HEAD_WIDTH, TITLE_WIDTH, AXIS_WIDTH = 56, 44, 40  # letters per line
MOST_WHOLE = 12  # whole numbers on the horizontal axis that are ticks of their own
FLAT = 1e-4
MOST_RATIO = 2000.0  # of the ends of a logarithmic axis whose ticks between the decades have numbers


def plot_claim(stem: Path, title: str, panels: Sequence[Panel]) -> None:
    """Draw a claim as stem.png and stem.pdf."""
    shown = [panel for panel in panels if any(_finite(s["measured"]) for s in panel.series)]
    wide = [panel for panel in shown if len({x for s in panel.series for x in s["x"]}) > 1]
    shown = (wide or shown)[:MOST_PANELS]  # one point says no more than its line of the table
    if not shown:
        return
    columns = min(len(shown), 2 if len(shown) in (2, 4) else 3)
    rows = -(-len(shown) // columns)
    with plt.rc_context(SETTINGS):
        figure, grid = plt.subplots(rows, columns, figsize=(max(5.2, 3.9 * columns), 3.3 * rows + 0.4), squeeze=False)
        for axes in grid.ravel()[len(shown):]:
            axes.axis("off")
        for panel, axes in zip(shown, grid.ravel(), strict=False):
            _draw(axes, panel)
        figure.suptitle(textwrap.fill(title, HEAD_WIDTH * columns), fontsize=10)
        for path in (stem.with_suffix(".png"), stem.with_suffix(".pdf")):
            path.unlink(missing_ok=True)  # a link in its place is not followed
            figure.savefig(path)
        plt.close(figure)


def _finite(values: Sequence[float]) -> bool:
    return bool(np.isfinite(np.asarray(values, float)).any())


def _draw(axes: Axes, panel: Panel) -> None:
    labelled = {"predicted": False, "measured": False, "fit": False, "limit": False}
    several = len([s for s in panel.series if _finite(s["measured"])]) > 1
    for i, series in enumerate(panel.series[:MOST_SERIES]):
        x, y, bar = (np.array(values, dtype=float) for values in (series["x"], series["measured"], series["error"]))
        order = np.argsort(x, kind="stable")
        colour = f"C{i}"
        if series["predicted"] and _finite(series["predicted"]):
            predicted, along = np.asarray(series["predicted"], float)[order], x[order]
            if series.get("limit"):  # the prediction holds at 0
                along, predicted = np.append(0.0, along), np.append(predicted[0], predicted)
            words = "predicted slope" if series.get("guide") else "predicted"
            axes.plot(along, predicted, "_" if len(along) == 1 else "-", color=colour if several else "#333333", lw=1.2, ms=18,
                      label=None if labelled["predicted"] else words)
            labelled["predicted"] = True
        if limit := series.get("limit"):
            axes.errorbar([0.0], limit[:1], yerr=limit[1:], fmt="s", ms=4.5, mfc="white", color=colour, capsize=2, lw=1,
                          label=None if labelled["limit"] else "extrapolated")
            labelled["limit"] = True
        if series.get("fit"):
            axes.plot(x[order], np.asarray(series["fit"], float)[order], "--", color=colour, lw=1.1,
                      label=None if labelled["fit"] else "fit")
            labelled["fit"] = True
        kept = order
        if len(x) > DOTS:  # a curve: a line, and dots with bars evenly along the axis
            axes.plot(x[order], y[order], "-", color=colour, lw=0.8, alpha=0.6)
            place = np.log(np.maximum(x[order], 1e-300)) if panel.scale in ("loglog", "logx") else x[order]
            drawn = np.isfinite(place) & (place > -600)
            kept = order[drawn][np.unique(np.searchsorted(place[drawn], np.linspace(place[drawn][0], place[drawn][-1], DOTS)))]
        bars = np.where(np.isfinite(bar[kept]), bar[kept], 0.0)
        name = series["label"] if several and series["label"] else None if labelled["measured"] else "measured"
        axes.errorbar(x[kept], y[kept], yerr=bars if bars.any() else None, fmt="o", ms=3.5, color=colour, capsize=2, lw=1,
                      label=name)
        labelled["measured"] = True
    scale = panel.scale
    positive = all((np.asarray(s["measured"], float)[np.isfinite(np.asarray(s["measured"], float))] > 0).all() for s in
    panel.series)
    if scale in ("loglog", "logx"):
        axes.set_xscale("log")
    if scale in ("loglog", "log") and positive:
        axes.set_yscale("log")
    else:
        _widen(axes)
    if axes.get_yscale() == "log":  # ticks between the decades have numbers where there are few decades
        axes.yaxis.set_minor_formatter(LogFormatterSciNotation(labelOnlyBase=False, minor_thresholds=(1.5, 0.5)))
        axes.yaxis.set_tick_params(which="minor", labelsize=7)
    if axes.get_xscale() == "log":
        _number_decades(axes)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5))  # small numbers are long
    places = sorted({value for series in panel.series for value in series["x"]})
    if axes.get_xscale() == "linear" and len(places) <= MOST_WHOLE and all(value.is_integer() for value in places) and (
            places[-1] < MOST_WHOLE):
        axes.set_xticks(places)
    if panel.xlabel == "angle (degrees)":
        axes.set_xticks(range(0, 361, 90))
    named = panel.ylabel != panel.name
    # What is fitted against may name a variable only to keep its cells apart.
    axes.set(xlabel=panel.xlabel.split(" + 0 * ")[0], ylabel=panel.ylabel if named else textwrap.fill(panel.name, AXIS_WIDTH),
             title=textwrap.fill(panel.name, TITLE_WIDTH) if named else "")
    axes.legend(fontsize=7)


def _number_decades(axes: Axes) -> None:
    """Numbers at 1, 2 and 5, or 1 and 3, times the powers of ten on a logarithmic horizontal axis of few decades, plain if they
    are short."""
    low, high = axes.get_xlim()
    if high / low > MOST_RATIO:
        return
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 100.0 else (1.0, 3.0)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    if low > 1e-3 and high < 1e6:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _widen(axes: Axes) -> None:
    """Show values that are equal but for rounding as equal: an axis shorter than a hundredth of a percent shows noise."""
    low, high = axes.get_ylim()
    middle = (low + high) / 2
    if middle and high - low < FLAT * abs(middle):
        axes.set_ylim(middle - 0.1 * abs(middle), middle + 0.1 * abs(middle))
    axes.ticklabel_format(axis="y", useOffset=False)
