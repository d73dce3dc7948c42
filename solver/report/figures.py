"""Curves: distances and energy against depth, errors against size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from solver.report.style import COLOURS, FURTHER, SETTINGS, STYLES, depth_axis, entitle, plt, save
from solver.runs.events import Event
from solver.runs.phases import Phase

Curve = tuple[np.ndarray, np.ndarray]

LARGEST_EXPONENT = 300.0  # log10 of the largest energy that is drawn as it is
WORTH_A_LOGARITHM = 0.3  # decades of energy below which a logarithmic axis shows nothing more


def plot_distances(path: Path, curves: Mapping[str, Curve], *, p: int = 2, terminal: float | None = None, title: str = "",
                   ylabel: str = "", subject: str = "Distance to the push-forward target", phases: Sequence[Phase] = (),
                   events: Sequence[Event] = ()) -> None:
    """log W_p(law, target) against t for density, particles and the zero-temperature flow.

    Args:
        path: file to write.
        curves: name -> (times (n,), distances (n,)), in the order of the legend.
        p: order of the distance.
        terminal: distance between the terminal state and the target, drawn as a level.
        title: of the problem.
        ylabel: label of the distance axis, if it is not the distance to the target.
        subject: what is shown, the heading.
        phases: shaded. events: marked on the depth axis.
    """
    with plt.rc_context(SETTINGS):
        figure, axes = plt.subplots(figsize=(6.4, 4.0))
        lowest, depths = np.inf, [np.asarray(times, float) for times, _ in curves.values()]
        others = iter(FURTHER)
        for name, (times, values) in curves.items():
            colour = COLOURS.get(name) or next(others, "#888888")
            shown = np.where(values > 0, values, np.nan)
            if not np.isfinite(shown).any():
                continue
            axes.semilogy(times, shown, ls=STYLES.get(name, "-." if "density" in curves else "-"), color=colour, label=name,
                          lw=2.6 if name == "density" else 1.6 if name in COLOURS else 1.2)
            if name != "zero temperature":
                lowest = min(lowest, np.nanmin(shown))
        if "density" in curves:
            mark_closest(axes, *curves["density"])
        if terminal is not None and terminal > 0:
            axes.axhline(terminal, color="#2e7d32", lw=1, ls="-.")
            axes.annotate(f"terminal state, as V predicts: {terminal:.4f}", (0.99, terminal), xycoords=("axes fraction", "data"),
                          ha="right", va="bottom", color="#2e7d32", fontsize=8)
        if np.isfinite(lowest):
            axes.set_ylim(bottom=max(lowest / 4, 1e-6))
        longest = max(depths, key=lambda t: t[-1] if len(t) else -np.inf, default=np.zeros(0))
        depth_axis(axes, longest, phases, events)
        axes.set_ylabel(ylabel or rf"$W_{p}$(law, target)")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="best")
        entitle(figure, subject, title)
        save(figure, path)


def mark_closest(axes: Axes, times: np.ndarray, values: np.ndarray) -> None:
    """A dot and a number at the least distance, unless that is the first or last output."""
    if not np.isfinite(values).any():
        return
    best = int(np.nanargmin(values))
    if 0 < best < len(values) - 1:
        axes.plot(times[best], values[best], "o", color=COLOURS["density"], ms=6, zorder=5)
        axes.annotate(f"closest: {values[best]:.4f} at t = {times[best]:.4g}", (times[best], values[best]),
                      textcoords="offset points", xytext=(6, -14), color=COLOURS["density"])


def plot_energy(path: Path, curves: Mapping[str, Curve], *, level: float | None = None, title: str = "",
                phases: Sequence[Phase] = (), events: Sequence[Event] = ()) -> None:
    """The energy against depth, on a linear axis above a logarithmic one where it changes much.

    Args:
        path: file to write.
        curves: name -> (times (n,), natural logarithm of the energy (n,)).
        level: logarithm of the energy of the terminal state that V predicts, drawn as a level.
        title: of the problem. phases: shaded. events: marked on the depth axis.
    """
    decimal = {name: (np.asarray(times, float), np.asarray(logs) / np.log(10)) for name, (times, logs) in curves.items()}
    highest = max((np.nanmax(logs) for _, logs in decimal.values()), default=0.0)
    lowest = min((np.nanmin(logs) for _, logs in decimal.values()), default=0.0)
    ordinary = highest < LARGEST_EXPONENT
    both = ordinary and highest - lowest > WORTH_A_LOGARITHM
    with plt.rc_context(SETTINGS):
        figure, grid = plt.subplots(2 if both else 1, 1, figsize=(6.4, 5.2 if both else 3.6), sharex=True, squeeze=False)
        for row, axes in enumerate(grid[:, 0]):
            linear = ordinary and row == 0
            for name, (times, logs) in decimal.items():
                axes.plot(times, 10.0**logs if ordinary else logs, STYLES.get(name, "-"), color=COLOURS.get(name), label=name,
                          lw=2.4 if name == "density" else 1.6)
            if level is not None:
                value = level / np.log(10)
                axes.axhline(10.0**value if ordinary else value, color="#2e7d32", lw=1, ls="-.",
                             label="terminal state, as V predicts")
            if ordinary and not linear:
                axes.set_yscale("log")
            axes.set_ylabel("energy E" if ordinary else r"$\log_{10}$ E")
            depth_axis(axes, max((t for t, _ in decimal.values()), key=lambda t: t[-1]), phases, events, labels=row == 0)
        grid[0][0].legend(loc="best", fontsize=8)
        if both:
            grid[0][0].set_xlabel("")
        entitle(figure, "Energy of the law", title)
        save(figure, path)


def plot_convergence(path: Path, curves: Mapping[str, Curve], slopes: Mapping[str, float], *, xlabel: str, ylabel: str,
                     title: str = "", subject: str = "") -> None:
    """Errors or times against a size on logarithmic axes, with reference slopes.

    Args:
        path: file to write.
        curves: name -> (sizes (n,), values (n,)), positive.
        slopes: name -> exponent of a reference line through the last point of the first curve.
        xlabel, ylabel, title: texts. subject: what is shown, the heading.
    """
    with plt.rc_context(SETTINGS):
        figure, axes = plt.subplots(figsize=(6.0, 4.2))
        for i, (name, (sizes, values)) in enumerate(curves.items()):
            axes.loglog(sizes, values, "o-", ms=4, color=f"C{i}", label=name)
        if curves:
            sizes, values = next(iter(curves.values()))
            for (name, slope), style in zip(slopes.items(), (":", "--", "-."), strict=False):
                axes.loglog(sizes, values[-1] * (np.asarray(sizes, float) / sizes[-1]) ** slope, style, lw=1,
                            color="#777777", label=name)
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.legend(fontsize=8)
        entitle(figure, subject or title, title if subject else "")
        save(figure, path)
