"""Laws at chosen depths side by side: on curves over depth, on circles, surfaces, planes, and in solids by their marginals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import LogNorm

from solver.report.style import BARE, COLOURS, MARKS, density_norm, depth_axis, entitle, legend_of_marks, plt, save, triad
from solver.runs.events import Event
from solver.runs.phases import Phase

MAP = "magma"
MOST_DOTS = 600
FEWEST_BINS, BINS = 4, 40
FRONT_AND_BACK = (("front", 1.0), ("back", -1.0))

# Positions that are drawn, by name.
Marks = Mapping[str, Sequence[float] | np.ndarray]


def plot_space_time(path: Path, times: np.ndarray, positions: np.ndarray, values: np.ndarray, *, label: str,
                    marks: Marks, title: str = "", degrees: bool = True, phases: Sequence[Phase] = (),
                    events: Sequence[Event] = ()) -> None:
    """Density over position and depth, on a logarithmic scale, with the stationary directions marked.

    Args:
        path: file to write.
        times: (T,) depths.
        positions: (n,) angles in radians (circle), arc lengths or coordinates, ascending; NaN breaks the picture.
        values: (T, n) densities, nonnegative.
        label: name of the position axis.
        marks: name -> positions drawn as lines, for example E(VB^T) and E(V).
        title: of the problem.
        degrees: positions are angles, shown in degrees.
        phases: named above the picture. events: marked on the depth axis.
    """
    with plt.rc_context(BARE):
        figure, axes = plt.subplots(figsize=(6.4, 4.0))
        scale = np.degrees(1.0) if degrees else 1.0
        norm = density_norm([values])
        image = axes.pcolormesh(times, positions * scale, np.clip(values.T, norm.vmin, None), shading="nearest", norm=norm,
                                cmap=MAP, rasterized=True)
        for (name, places), (style, colour) in zip(marks.items(), zip(("--", ":", "-."), MARKS, strict=True), strict=False):
            for i, place in enumerate(places):
                axes.axhline(place * scale, ls=style, lw=1.2, color=colour, label=name if i == 0 else None)
        figure.colorbar(image, ax=axes, label="density (log scale)", extend="min")
        depth_axis(axes, times, (), events)
        for phase in phases[1:]:
            axes.axvline(phase.start, color="w", lw=0.7, alpha=0.7)
        for phase in phases:
            if axes.get_xscale() == "linear" and phase.end - phase.start > 0.1 * (times[-1] - times[0]):
                axes.annotate(phase.name, (0.5 * (phase.start + phase.end), 1.0), xycoords=("data", "axes fraction"), ha="center",
                              xytext=(0, 2), textcoords="offset points", fontsize=7, color="#555555")
        axes.set(ylabel=f"{label} (degrees)" if degrees else label,
                 ylim=(np.nanmin(positions) * scale, np.nanmax(positions) * scale))
        if degrees:
            axes.set_yticks(np.arange(0, 316, 45))
        if marks or events:
            axes.legend(loc="upper right", facecolor="#222222", labelcolor="w", frameon=True, framealpha=0.7)
        entitle(figure, "The density over depth", title)
        save(figure, path)


def circle_panel(axes: Axes, t: float, tokens: np.ndarray | None, angles: np.ndarray, values: np.ndarray, top: float) -> None:
    """Density, as a band outside the unit circle with the logarithm for its height, and tokens just inside."""
    height = np.log1p(values) / max(np.log1p(top), 1e-12)
    radius = 1 + 0.75 * height
    closed = np.append(angles, angles[0])
    axes.fill(np.cos(angles) * radius, np.sin(angles) * radius, color=COLOURS["density"], alpha=0.3, lw=0)
    axes.fill(np.cos(angles), np.sin(angles), color="w", lw=0)
    axes.plot(np.cos(closed), np.sin(closed), color="#999999", lw=0.8)
    if tokens is not None:
        shown = thinned(tokens)
        axes.plot(0.95 * np.cos(shown), 0.95 * np.sin(shown), ".", ms=2.5, color=COLOURS["particles"])
    axes.set(title=f"t = {t:.4g}", xlim=(-1.8, 1.8), ylim=(-1.8, 1.8), aspect="equal")
    axes.axis("off")


def plot_tokens_circle(path: Path, panels: Sequence[tuple[float, np.ndarray | None, np.ndarray, np.ndarray]],
                       title: str = "", marks: Marks | None = None) -> None:
    """The law on the circle at chosen depths: density and tokens.

    Args:
        path: file to write.
        panels: (t, token angles (N,) or None, ascending angles (n,), density (n,)) per panel.
        title: of the problem.
        marks: name -> angles, drawn as ticks.
    """
    with plt.rc_context(BARE):
        figure, grid = plt.subplots(1, len(panels), figsize=(2.2 * len(panels), 2.9), squeeze=False)
        top = max(float(values.max()) for *_, values in panels)
        for column, (axes, (t, tokens, angles, values)) in enumerate(zip(grid[0], panels, strict=True)):
            circle_panel(axes, t, tokens, angles, values, top)
            for k, ((name, places), colour) in enumerate(zip((marks or {}).items(), ("#1795c4", "#2e7d32", "k"), strict=False)):
                ends = np.array([0.65 + 0.1 * k, 0.9])  # those that coincide stay visible below each other
                for i, a in enumerate(places):
                    axes.plot(np.cos(a) * ends, np.sin(a) * ends, color=colour, lw=1.6,
                              label=name if i == 0 and column == 0 else None)
        handles = grid[0][0].get_legend_handles_labels()
        handles[0].append(plt.Rectangle((0, 0), 1, 1, color=COLOURS["density"], alpha=0.3))
        handles[1].append("density (log height)")
        if panels[0][1] is not None:
            handles[0].append(plt.Line2D([], [], color=COLOURS["particles"], marker=".", ls=""))
            handles[1].append("tokens")
        figure.legend(*handles, loc="outside lower center", ncol=4, fontsize=8)
        entitle(figure, "The law at chosen depths", title)
        save(figure, path)


def view_frame(direction: np.ndarray) -> np.ndarray:
    """Rows (3, 3): right, up and towards the viewer, for an orthographic view along `direction` (3,)."""
    towards = np.asarray(direction, float) / np.linalg.norm(direction)
    helper = np.array([0.0, 0, 1]) if abs(towards[2]) < 0.9 else np.array([0.0, 1, 0])
    right = np.cross(helper, towards)
    right /= np.linalg.norm(right)
    return np.array([right, np.cross(towards, right), towards])


def surface_panel(axes: Axes, frame: np.ndarray, points: np.ndarray, triangles: np.ndarray, values: np.ndarray, norm: LogNorm, *,
                  convex: bool) -> ScalarMappable:
    """The side of a surface that is seen along a frame (3, 3); returns what a colour bar needs.

    Of a convex surface the near half is drawn, its colours running linearly over each triangle; of others all triangles,
    far ones first, so that near ones hide them.
    """
    seen, shown = points @ frame.T, np.clip(values, norm.vmin, None)
    depth = seen[triangles, 2].mean(axis=1)
    if convex:
        near = triangles[depth > depth.mean()]
        return axes.tripcolor(seen[:, 0], seen[:, 1], near, shown, norm=norm, cmap=MAP, shading="gouraud", rasterized=True)
    order = np.argsort(depth, kind="stable")
    faces = PolyCollection(seen[triangles[order]][..., :2], array=shown[triangles[order]].mean(axis=1), norm=norm, cmap=MAP,
                           edgecolors="face", linewidths=0.2, rasterized=True)
    axes.add_collection(faces)
    return faces


# A density at one depth: t, points (n, d), values (n,) there, triangles (m, 3) between them.
Panel = tuple[float, np.ndarray, np.ndarray, np.ndarray]


def plot_surface(path: Path, panels: Sequence[Panel], *, marks: Mapping[str, np.ndarray] | None = None,
                 tokens: Sequence[np.ndarray] | None = None,
                 direction: Sequence[float] = (1.0, 0.6, 0.5), title: str = "", sphere: bool = True) -> None:
    """Density on a surface in space, seen from the front (top row) and from the back (bottom row).

    Args:
        path: file to write.
        panels: (t, points (n, 3), values (n,) there, triangles (m, 3) between them) per column.
        marks: name -> (k, 3) points on the sphere drawn as a line (great circle) or dots (k <= 2).
        tokens: (N, 3) tokens per panel, drawn as dots, or None.
        direction: towards the viewer.
        title: of the problem.
        sphere: the unit sphere; other surfaces get axes.
    """
    marks = marks or {}
    with plt.rc_context(BARE):
        figure, grid = plt.subplots(2, len(panels), figsize=(2.3 * len(panels) + 0.9, 5.0), squeeze=False)
        norm = density_norm([values for _, _, values, _ in panels], 3.0)
        centre = 0.5 * (panels[0][1].min(axis=0) + panels[0][1].max(axis=0))
        reach = 1.05 * float(np.linalg.norm(panels[0][1] - centre, axis=1).max())
        for column, (t, points, values, triangles) in enumerate(panels):
            for row, (_, sign) in enumerate(FRONT_AND_BACK):
                axes, frame = grid[row][column], view_frame(sign * np.asarray(direction, float))
                surface_panel(axes, frame, points - centre, triangles, values, norm, convex=sphere)
                draw_marks(axes, frame, marks, label=column == 0 and row == 0)
                if tokens is not None:
                    dots = (thinned(tokens[column]) - centre) @ frame.T
                    dots = dots[dots[:, 2] > 0] if sphere else dots[visible(dots, ((points - centre) @ frame.T)[triangles])]
                    axes.plot(dots[:, 0], dots[:, 1], ".", ms=1.5, color="w", alpha=0.6)
                axes.set(aspect="equal", xlim=(-reach, reach), ylim=(-reach, reach), title=f"t = {t:.4g}" if row == 0 else "")
                axes.axis("off")
                if not sphere and column == 0:
                    triad(axes, frame)
        for row, (words, _) in enumerate(FRONT_AND_BACK):
            grid[row][0].text(0.0, 1.0, words, transform=grid[row][0].transAxes, fontsize=8, color="#555555", va="top")
        figure.colorbar(ScalarMappable(norm, MAP), ax=grid, label="density (log scale)", shrink=0.7, extend="min")
        legend_of_marks(figure, marks)
        dots_too = " (dots: tokens)" if tokens is not None else ""
        entitle(figure, f"The law at chosen depths{dots_too}", title)
        save(figure, path)


def visible(dots: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Whether dots (N, 3) on a surface are hidden by none of its triangles (M, 3, 3) from a viewer far up the third axis, (N,).

    A dot within the thickness of its own triangles, a fiftieth of the surface's size, is not hidden by them.
    """
    a, b, c = (corners[:, k, None] for k in range(3))
    size = float(np.ptp(corners[..., :2], axis=(0, 1)).max())
    area = (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (c[..., 0] - a[..., 0]) * (b[..., 1] - a[..., 1])
    faces = np.abs(area[:, 0]) > 1e-9 * size**2  # those seen edge on hide nothing
    a, b, c, area = a[faces], b[faces], c[faces], area[faces]
    seen = np.ones(len(dots), bool)
    for k, dot in enumerate(dots):
        x, y = dot[0] - a[..., 0], dot[1] - a[..., 1]
        second = (x * (c[..., 1] - a[..., 1]) - y * (c[..., 0] - a[..., 0])) / area
        third = (y * (b[..., 0] - a[..., 0]) - x * (b[..., 1] - a[..., 1])) / area
        depth = a[..., 2] + second * (b[..., 2] - a[..., 2]) + third * (c[..., 2] - a[..., 2])
        seen[k] = not np.any((second >= 0) & (third >= 0) & (second + third <= 1) & (depth > dot[2] + 0.02 * size))
    return seen


def draw_marks(axes: Axes, frame: np.ndarray, marks: Mapping[str, np.ndarray], *, label: bool) -> None:
    """Directions on the sphere that are on the near side."""
    for k, ((name, places), colour) in enumerate(zip(marks.items(), MARKS, strict=False)):
        shown = places @ frame.T
        shown = np.where(shown[:, 2:] < 0, np.nan, shown)
        wider = len(marks) - 1 - k  # those that coincide stay visible around each other
        axes.plot(shown[:, 0], shown[:, 1], "o" if len(places) <= 2 else "-", color=colour, lw=1.2 + 1.6 * wider,
                  ms=5 + 3 * wider, label=name if label else None)


def plot_plane(path: Path, panels: Sequence[Panel], *, tokens: Sequence[np.ndarray] | None = None, title: str = "") -> None:
    """Density on a flat domain at chosen depths; arguments as in `plot_surface` with points (n, 2)."""
    with plt.rc_context(BARE):
        low, high = panels[0][1].min(axis=0), panels[0][1].max(axis=0)
        shape = float(np.clip((high[1] - low[1]) / max(high[0] - low[0], 1e-300), 0.3, 2.0))
        figure, grid = plt.subplots(1, len(panels), figsize=(2.4 * len(panels) + 1.0, max(2.4 * shape + 0.9, 2.2)), squeeze=False,
                                    sharex=True, sharey=True)
        norm = density_norm([values for _, _, values, _ in panels])
        for i, ((t, points, values, triangles), axes) in enumerate(zip(panels, grid[0], strict=True)):
            axes.tripcolor(points[:, 0], points[:, 1], triangles, np.clip(values, norm.vmin, None), shading="gouraud", cmap=MAP,
                           norm=norm, rasterized=True)
            if tokens is not None:
                dots = thinned(tokens[i])
                axes.plot(dots[:, 0], dots[:, 1], ".", ms=2, color="w", alpha=0.7, markeredgewidth=0.3, markeredgecolor="#666666",
                          clip_on=False)  # nor are those at the walls cut off
            axes.set(aspect="equal", title=f"t = {t:.4g}", xlabel="x", xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        grid[0][0].set_ylabel("y")
        figure.colorbar(ScalarMappable(norm, MAP), ax=grid, label="density (log scale)", extend="min")
        entitle(figure, "The law at chosen depths" + (" (dots: tokens)" if tokens is not None else ""), title)
        save(figure, path)


def plot_marginals(path: Path, panels: Sequence[tuple[float, np.ndarray, np.ndarray]], names: Sequence[str], *,
                   title: str = "", of: str = "density", box: tuple[np.ndarray, np.ndarray] | None = None) -> None:
    """Laws in three and more coordinates, by their marginals in pairs of the first three, in as many bins as their atoms fill.

    Args:
        path: file to write.
        panels: (t, points (n, d), masses (n,)) per column.
        names: of the d coordinates. title: of the problem. of: whose law it is, for the heading.
        box: least and largest coordinates (d,) of the space; None: those of the points.
    """
    pairs = [(0, 1), (0, 2), (1, 2)]
    every = np.concatenate([points for _, points, _ in panels])
    low, high = (every.min(axis=0), every.max(axis=0)) if box is None else box
    high = np.where(high > low, high, low + 1.0)
    bins = int(np.clip(round(max(len(points) for _, points, _ in panels) ** (1 / 3)), FEWEST_BINS, BINS))
    grids = [[np.histogram2d(points[:, a], points[:, b], bins=bins, weights=masses,
                             range=[(low[a], high[a]), (low[b], high[b])])[0].T for _, points, masses in panels]
             for a, b in pairs]
    with plt.rc_context(BARE):
        figure, grid = plt.subplots(len(pairs), len(panels), figsize=(2.0 * len(panels) + 1.0, 6.2), squeeze=False)
        norm = density_norm([np.array(row) for row in grids], 3.0)
        for row, (a, b) in enumerate(pairs):
            for column, (t, _, _) in enumerate(panels):
                axes = grid[row][column]
                axes.imshow(np.clip(grids[row][column], norm.vmin, None), norm=norm, cmap=MAP, origin="lower", aspect="auto",
                            extent=(low[a], high[a], low[b], high[b]))
                axes.set(title=f"t = {t:.4g}" if row == 0 else "", xlabel=names[a], ylabel=names[b] if column == 0 else "")
        figure.colorbar(ScalarMappable(norm, MAP), ax=grid, label="mass per bin (log scale)", shrink=0.7, extend="min")
        entitle(figure, f"Marginals of the {of} at chosen depths", title)
        save(figure, path)


def thinned(points: np.ndarray) -> np.ndarray:
    """At most `MOST_DOTS` points, evenly chosen."""
    return points[:: max(1, -(-len(points) // MOST_DOTS))]
