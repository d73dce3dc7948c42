"""Every picture of a run; the only module that knows matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.colors import LogNorm

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {"density": "#1b5e9e", "particles": "#d1601d", "zero temperature": "#6b6b6b"}
SETTINGS = {"figure.dpi": 150, "font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
            "axes.grid": True, "grid.alpha": 0.25, "legend.frameon": False, "figure.constrained_layout.use": True,
            "axes.titlesize": 9}


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG and free it."""
    figure.savefig(path)
    plt.close(figure)


def plot_distances(path: Path, curves: Mapping[str, tuple[np.ndarray, np.ndarray]], *, p: int = 2,
                   terminal: float | None = None, title: str = "", ylabel: str = "") -> None:
    """log W_p(law, target) against t for density, particles and the zero-temperature flow.

    Args:
        path: PNG to write.
        curves: name -> (times (n,), distances (n,)), in the order of the legend.
        p: order of the distance.
        terminal: distance between the terminal state and the target, drawn as a level.
        title: heading.
        ylabel: label of the distance axis, if it is not the distance to the target.
    """
    with plt.rc_context(SETTINGS):
        figure, axes = plt.subplots(figsize=(6.4, 4.0))
        lowest = np.inf
        for name, (times, values) in curves.items():
            shown = np.where(values > 0, values, np.nan)
            if not np.isfinite(shown).any():
                continue
            style = {"density": "-", "particles": "--", "zero temperature": ":"}.get(name, "-")
            axes.semilogy(times, shown, style, color=COLOURS.get(name), label=name, lw=2.6 if name == "density" else 1.6)
            if name != "zero temperature":
                lowest = min(lowest, np.nanmin(shown))
        if "density" in curves:
            times, values = curves["density"]
            best = int(np.nanargmin(values))
            if 0 < best < len(values) - 1:
                axes.plot(times[best], values[best], "o", color=COLOURS["density"], ms=6, zorder=5)
                axes.annotate(f"closest: {values[best]:.4f} at t = {times[best]:.2f}", (times[best], values[best]),
                              textcoords="offset points", xytext=(6, -14), color=COLOURS["density"])
        if terminal is not None and terminal > 0:
            axes.axhline(terminal, color="#2e7d32", lw=1, ls="-.")
            axes.annotate(f"terminal state {terminal:.4f}", (0.99, terminal), xycoords=("axes fraction", "data"),
                          ha="right", va="bottom", color="#2e7d32")
        if np.isfinite(lowest):
            axes.set_ylim(bottom=max(lowest / 4, 1e-6))
        axes.set(xlabel="depth t", ylabel=ylabel or rf"$W_{p}$(law, target)", title=title)
        axes.legend(loc="best")
        save(figure, path)


def plot_space_time(path: Path, times: np.ndarray, positions: np.ndarray, values: np.ndarray, *, label: str,
                    marks: Mapping[str, Sequence[float]], title: str = "", periodic: bool = True) -> None:
    """Density over position and depth, on a logarithmic scale, with the stationary directions marked.

    Args:
        path: PNG to write.
        times: (T,) depths.
        positions: (n,) angles in radians (circle) or coordinates (interval), ascending.
        values: (T, n) densities, nonnegative.
        label: name of the position axis.
        marks: name -> positions drawn as lines, for example E(VB^T) and E(V).
        title: heading.
        periodic: label the axis in degrees.
    """
    with plt.rc_context({**SETTINGS, "axes.grid": False}):
        figure, axes = plt.subplots(figsize=(6.4, 4.0))
        scale = np.degrees(1.0) if periodic else 1.0
        top = max(float(values.max()), 1e-12)
        image = axes.pcolormesh(times, positions * scale, np.maximum(values.T, top * 1e-5), shading="nearest",
                                norm=LogNorm(vmin=max(top * 1e-4, 1e-3), vmax=top), cmap="magma", rasterized=True)
        for (name, places), (style, colour) in zip(marks.items(), (("--", "#7fd3ff"), (":", "#9be89b"), ("-.", "w")),
                                                   strict=False):
            for i, place in enumerate(places):
                axes.axhline(place * scale, ls=style, lw=1.2, color=colour, label=name if i == 0 else None)
        figure.colorbar(image, ax=axes, label="density (log scale)", extend="min")
        axes.set(xlabel="depth t", ylabel=f"{label} (degrees)" if periodic else label, title=title)
        if periodic:
            axes.set_yticks(np.arange(0, 316, 45))
        if marks:
            axes.legend(loc="upper right", facecolor="#222222", labelcolor="w", frameon=True, framealpha=0.7)
        save(figure, path)


def plot_tokens_circle(path: Path, panels: Sequence[tuple[float, np.ndarray, np.ndarray, np.ndarray]],
                       title: str = "") -> None:
    """Tokens on the circle beside the density, at chosen depths.

    Args:
        path: PNG to write.
        panels: (t, token angles (N,), angles (n,), density (n,)) per panel.
        title: heading.
    """
    with plt.rc_context({**SETTINGS, "axes.grid": False}):
        figure, grid = plt.subplots(1, len(panels), figsize=(2.6 * len(panels), 2.8), squeeze=False)
        for axes, (t, tokens, angles, values) in zip(grid[0], panels, strict=True):
            radius = 1 + 0.9 * np.log1p(values) / max(np.log1p(values).max(), 1e-12)
            axes.fill(np.cos(angles) * radius, np.sin(angles) * radius, color=COLOURS["density"], alpha=0.3, lw=0)
            axes.fill(np.cos(angles), np.sin(angles), color="w", lw=0)
            axes.plot(np.cos(angles), np.sin(angles), color="#999999", lw=0.8)
            shown = tokens[:: max(1, len(tokens) // 512)]
            axes.plot(0.95 * np.cos(shown), 0.95 * np.sin(shown), ".", ms=2.5, color=COLOURS["particles"])
            axes.set(title=f"t = {t:.3g}", xlim=(-2, 2), ylim=(-2, 2), aspect="equal")
            axes.axis("off")
        figure.suptitle(title)
        save(figure, path)


def view_frame(direction: np.ndarray) -> np.ndarray:
    """Rows (3, 3): right, up and towards the viewer, for an orthographic view along `direction` (3,)."""
    towards = np.asarray(direction, float) / np.linalg.norm(direction)
    helper = np.array([0.0, 0, 1]) if abs(towards[2]) < 0.9 else np.array([0.0, 1, 0])
    right = np.cross(helper, towards)
    right /= np.linalg.norm(right)
    return np.array([right, np.cross(towards, right), towards])


def plot_sphere(path: Path, panels: Sequence[tuple[float, np.ndarray]], points: np.ndarray, triangles: np.ndarray, *,
                marks: Mapping[str, np.ndarray], tokens: Sequence[np.ndarray] | None = None,
                direction: Sequence[float] = (1.0, 0.6, 0.5), title: str = "") -> None:
    """Density on the sphere, seen from the front (top row) and from the back (bottom row).

    Args:
        path: PNG to write.
        panels: (t, values at `points` (n,)) per column.
        points: (n, 3) nodes; triangles: (m, 3) their connection.
        marks: name -> (k, 3) points on the sphere drawn as a line (great circle) or dots (k <= 2).
        tokens: (N, 3) tokens per panel, drawn as dots, or None.
        direction: towards the viewer.
        title: heading.
    """
    with plt.rc_context({**SETTINGS, "axes.grid": False}):
        figure, grid = plt.subplots(2, len(panels), figsize=(2.5 * len(panels) + 0.8, 5.0), squeeze=False)
        top = max(float(np.max(values)) for _, values in panels)
        norm = LogNorm(vmin=max(top * 1e-3, 1e-4), vmax=max(top, 2e-4))
        image = None
        for column, (t, values) in enumerate(panels):
            for row, sign in enumerate((1.0, -1.0)):
                axes, frame = grid[row][column], view_frame(sign * np.asarray(direction, float))
                seen = points @ frame.T
                front = seen[triangles, 2].mean(axis=1) > 0
                faces = np.clip(values[triangles[front]].mean(axis=1), norm.vmin, None)
                image = axes.tripcolor(seen[:, 0], seen[:, 1], triangles[front], faces, norm=norm, cmap="magma",
                                       rasterized=True)
                for (name, places), colour in zip(marks.items(), ("#7fd3ff", "#9be89b", "w"), strict=False):
                    shown = places @ frame.T
                    shown[shown[:, 2] < 0] = np.nan
                    axes.plot(shown[:, 0], shown[:, 1], "o" if len(places) <= 2 else "-", color=colour, lw=1.2, ms=5,
                              label=name if column == 0 and row == 0 else None)
                if tokens is not None:
                    dots = tokens[column][:: max(1, len(tokens[column]) // 600)] @ frame.T
                    dots = dots[dots[:, 2] > 0]
                    axes.plot(dots[:, 0], dots[:, 1], ".", ms=1.5, color="w", alpha=0.6)
                axes.set(aspect="equal", xlim=(-1.05, 1.05), ylim=(-1.05, 1.05),
                         title=f"t = {t:.3g}" if row == 0 else "")
                axes.axis("off")
        for row, words in enumerate(("front", "back")):
            grid[row][0].text(-1.05, -1.05, words, fontsize=8, color="#555555")
        figure.colorbar(image, ax=grid, label="density (log scale)", shrink=0.7, extend="min")
        if marks:
            figure.legend(loc="outside lower center", ncol=len(marks), facecolor="#444444", labelcolor="w", frameon=True)
        figure.suptitle(title)
        save(figure, path)


def plot_plane(path: Path, panels: Sequence[tuple[float, np.ndarray]], points: np.ndarray, triangles: np.ndarray, *,
               tokens: Sequence[np.ndarray] | None = None, title: str = "") -> None:
    """Density on a flat domain at chosen depths; arguments as in `plot_sphere` with points (n, 2)."""
    with plt.rc_context({**SETTINGS, "axes.grid": False}):
        figure, grid = plt.subplots(1, len(panels), figsize=(2.7 * len(panels) + 0.8, 2.8), squeeze=False)
        top = max(float(np.max(values)) for _, values in panels)
        for i, ((t, values), axes) in enumerate(zip(panels, grid[0], strict=True)):
            image = axes.tripcolor(points[:, 0], points[:, 1], triangles, values, shading="gouraud", cmap="magma",
                                   vmin=0.0, vmax=top, rasterized=True)
            if tokens is not None:
                dots = tokens[i][:: max(1, len(tokens[i]) // 600)]
                axes.plot(dots[:, 0], dots[:, 1], ".", ms=1.5, color="w", alpha=0.6)
            axes.set(aspect="equal", title=f"t = {t:.3g}")
        figure.colorbar(image, ax=grid, label="density")
        figure.suptitle(title)
        save(figure, path)


def plot_convergence(path: Path, curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
                     slopes: Mapping[str, float], *, xlabel: str, ylabel: str, title: str = "") -> None:
    """Errors or times against a size on logarithmic axes, with reference slopes.

    Args:
        path: PNG to write.
        curves: name -> (sizes (n,), values (n,)), positive.
        slopes: name -> exponent of a reference line through the last point of the first curve.
        xlabel, ylabel, title: texts.
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
        axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
        axes.legend(fontsize=8)
        save(figure, path)
