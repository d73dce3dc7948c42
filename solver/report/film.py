"""A run as a film: density and tokens from output to output, on curves, surfaces and planes."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from matplotlib import animation
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from problems import ProblemError, load
from solver.report.arcs import arc_length
from solver.report.gallery import angle_of, marks_of
from solver.report.gif import write_gif
from solver.report.laws import FRONT_AND_BACK, MAP, circle_panel, draw_marks, surface_panel, thinned, view_frame
from solver.report.style import BARE, COLOURS, Draw, density_norm, entitle, plt, triad
from solver.runs.contents import add_file, refuse_links
from solver.runs.history import Picture
from solver.runs.journal import Journal
from solver.runs.tables import evenly

VIEW = (1.0, 0.6, 0.5)


class Reel:
    """The outputs of a run folder, from the journals in its checkpoint/.

    Attributes:
        problem: of the run. times: (T,) depths of the outputs that both solvers have, or the one that ran.
    """

    def __init__(self, folder: Path):
        if not (folder / "problem.toml").exists():
            raise ProblemError("RUN_DIR", str(folder), "a run folder (it has no problem.toml)")
        self.folder, self.problem = folder, load(folder / "problem.toml")
        try:
            read = {side: Journal(folder / "checkpoint" / f"{side}.journal").read() for side in ("density", "particles")}
        except OSError as error:
            raise ProblemError("RUN_DIR", str(folder), f"a run folder that can be read ({error.strerror})") from None
        self.stores = {side: {float(record["time"]): record for record in records} for side, records in read.items() if records}
        if not self.stores:
            raise ProblemError("RUN_DIR", str(folder), "a run folder with outputs (its checkpoint/ holds none)")
        shared = set.intersection(*(set(records) for records in self.stores.values()))
        self.times = np.array(sorted(shared))
        if len(self.times) < 2:
            raise ProblemError("RUN_DIR", str(folder), "a run with at least two outputs")

    def picture(self, i: int) -> Picture | None:
        """The density at output i as points (n, d), values (n,), triangles; None without a density."""
        record = self.stores.get("density", {}).get(float(self.times[i]))
        if record is None or "picture_values" not in record:
            return None
        return record["picture_points"], record["picture_values"], record.get("triangles")

    def tokens(self, i: int) -> np.ndarray | None:
        """Tokens (N, d) at output i; None without tokens."""
        record = self.stores.get("particles", {}).get(float(self.times[i]))
        return None if record is None else record["points"]


def stage(reel: Reel) -> tuple[Figure, Draw]:
    """An empty figure for a run, and what draws output i on it.

    Raises:
        ProblemError: a space of more than two dimensions, which has no picture.
    """
    problem, first = reel.problem, reel.picture(0)
    manifold = problem.manifold
    if manifold.normalised and manifold.dimension == 2:
        return circle_stage(reel)
    if manifold.dimension == 3 and manifold.intrinsic == 2:
        return surface_stage(reel)
    if manifold.dimension == 2 and manifold.intrinsic == 2:
        return plane_stage(reel)
    if first is not None and manifold.intrinsic == 1:
        return line_stage(reel, first)
    raise ProblemError("RUN_DIR", str(reel.folder), "a run on a curve, a surface or in the plane, to be animated")


def circle_stage(reel: Reel) -> tuple[Figure, Draw]:
    """The circle, with the density as a band outside it and the tokens inside."""
    figure, axes = plt.subplots(figsize=(4.2, 4.6))
    top = max((float(picture[1].max()) for picture in map(reel.picture, range(len(reel.times))) if picture is not None),
              default=1.0)
    marks = {name: angle_of(places) for name, places in marks_of(reel.problem).items()}

    def draw(i: int) -> None:
        axes.clear()
        picture, tokens = reel.picture(i), reel.tokens(i)
        points = np.array([[1.0, 0.0]]) if picture is None else picture[0]
        values = np.zeros(1) if picture is None else picture[1]
        angles = angle_of(points)
        order = np.argsort(angles, kind="stable")
        circle_panel(axes, float(reel.times[i]), None if tokens is None else angle_of(tokens), angles[order], values[order], top)
        for (name, places), colour in zip(marks.items(), ("#1795c4", "#2e7d32", "k"), strict=False):
            for k, a in enumerate(places):
                axes.plot(np.cos(a) * np.array([0.75, 0.9]), np.sin(a) * np.array([0.75, 0.9]), color=colour, lw=1.6,
                          label=name if k == 0 else None)
        if marks:
            axes.legend(loc="lower center", ncol=2, fontsize=7)

    return figure, draw


def line_stage(reel: Reel, first: Picture) -> tuple[Figure, Draw]:
    """The density over a line or along a curve, tokens on the axis."""
    problem = reel.problem
    figure, axes = plt.subplots(figsize=(5.6, 3.6))
    straight = problem.manifold.dimension == 1
    place = first[0][:, 0] if straight else arc_length(first[0], max(1, problem.density.degree) + 1)
    order = np.argsort(place, kind="stable")
    top = max(float(picture[1].max()) for picture in map(reel.picture, range(len(reel.times))) if picture is not None)

    def draw(i: int) -> None:
        axes.clear()
        picture, tokens = reel.picture(i), reel.tokens(i)
        if picture is not None:
            axes.fill_between(place[order], picture[1][order], color=COLOURS["density"], alpha=0.35, lw=0)
        if tokens is not None and straight:
            shown = thinned(tokens)
            axes.plot(shown[:, 0], np.full(len(shown), -0.03 * top), ".", ms=3, color=COLOURS["particles"])
        axes.set(xlabel="position" if straight else "arc length", ylabel="density", ylim=(-0.06 * top, 1.05 * top),
                 xlim=(place.min(), place.max()), title=f"t = {reel.times[i]:.4g}")

    return figure, draw


def norm_of(reel: Reel) -> LogNorm:
    """One scale of densities for the whole film."""
    values = [picture[1] for picture in map(reel.picture, range(len(reel.times))) if picture is not None]
    return density_norm([np.array([v.min(), v.max()]) for v in values] or [np.ones(1)], 3.0)


def surface_stage(reel: Reel) -> tuple[Figure, Draw]:
    """A surface from both sides."""
    figure, grid = plt.subplots(1, 2, figsize=(7.0, 3.9))
    sphere, norm = reel.problem.manifold.normalised, norm_of(reel)
    marks = marks_of(reel.problem)
    start, tokens0 = reel.picture(0), reel.tokens(0)
    everything = start[0] if start is not None else np.zeros((0, 3)) if tokens0 is None else tokens0
    centre = np.zeros(3) if sphere else 0.5 * (everything.min(axis=0) + everything.max(axis=0))
    reach = 1.05 * (1.0 if sphere else float(np.linalg.norm(everything - centre, axis=1).max()))
    if start is not None:
        figure.colorbar(ScalarMappable(norm, MAP), ax=list(grid), label="density (log scale)", shrink=0.7, extend="min")

    def draw(i: int) -> None:
        picture, tokens = reel.picture(i), reel.tokens(i)
        for axes, (side, sign) in zip(grid, FRONT_AND_BACK, strict=True):
            axes.clear()
            frame = view_frame(sign * np.asarray(VIEW))
            if picture is not None and picture[2] is not None:
                surface_panel(axes, frame, picture[0] - centre, picture[2], picture[1], norm, convex=sphere)
            elif sphere:
                axes.add_patch(plt.Circle((0, 0), 1.0, color="#dddddd"))
            draw_marks(axes, frame, marks, label=sign > 0)
            if tokens is not None:
                dots = (thinned(tokens) - centre) @ frame.T
                dots = dots[dots[:, 2] > 0]
                axes.plot(dots[:, 0], dots[:, 1], ".", ms=2, alpha=0.7, color="w" if picture else COLOURS["particles"])
            axes.set(aspect="equal", xlim=(-reach, reach), ylim=(-reach, reach), title=f"t = {reel.times[i]:.4g}, {side}")
            axes.axis("off")
            if not sphere:
                triad(axes, frame)

    return figure, draw


def plane_stage(reel: Reel) -> tuple[Figure, Draw]:
    """A flat domain, or tokens in the plane."""
    figure, axes = plt.subplots(figsize=(5.0, 4.4))
    norm, start = norm_of(reel), reel.picture(0)
    if start is not None:
        every = start[0]
        figure.colorbar(ScalarMappable(norm, MAP), ax=axes, label="density (log scale)", extend="min")
    else:
        every = np.concatenate([tokens for tokens in map(reel.tokens, range(len(reel.times))) if tokens is not None])
    low, high = every.min(axis=0), every.max(axis=0)

    def draw(i: int) -> None:
        axes.clear()
        picture, tokens = reel.picture(i), reel.tokens(i)
        if picture is not None:
            axes.tripcolor(picture[0][:, 0], picture[0][:, 1], picture[2], np.clip(picture[1], norm.vmin, None), cmap=MAP,
                           norm=norm, shading="gouraud", rasterized=True)
        if tokens is not None:
            dots = thinned(tokens)
            axes.plot(dots[:, 0], dots[:, 1], ".", ms=2, color="w" if picture is not None else COLOURS["particles"], alpha=0.7)
        axes.set(aspect="equal", xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel="x", ylabel="y",
                 title=f"t = {reel.times[i]:.4g}")

    return figure, draw


@contextmanager
def staged(reel: Reel) -> Iterator[tuple[Figure, Draw]]:
    """The figure of a run, freed afterwards."""
    with plt.rc_context(BARE):
        figure, draw = stage(reel)
        entitle(figure, "Density and tokens" if len(reel.stores) == 2 else next(iter(reel.stores)).capitalize(),
                reel.problem.title)
        try:
            draw(0)
            figure.canvas.draw()
            figure.set_layout_engine("none")  # the first frame's layout serves for all
            yield figure, draw
        finally:
            plt.close(figure)


def animate(folder: Path, *, seconds: float = 10.0, kind: str = "") -> Path:
    """Write figures/run.mp4, or figures/run.gif where there is no ffmpeg; returns its path. Serial.

    Args:
        folder: of a run, with its checkpoint/.
        seconds: length of the film; outputs follow each other evenly.
        kind: "mp4" or "gif"; empty for the best that this machine can.

    Raises:
        ProblemError: not a run folder, no picture for its space, or mp4 without ffmpeg.
    """
    reel = Reel(folder)
    have = shutil.which("ffmpeg") is not None
    kind = kind or ("mp4" if have else "gif")
    if kind not in ("mp4", "gif"):
        raise ProblemError("--as", kind, "mp4 or gif")
    if kind == "mp4" and not have:
        raise ProblemError("--as", kind, "gif: ffmpeg, which makes mp4, is not installed")
    rate = min(max(len(reel.times) / seconds, 1.0), 30.0)
    refuse_links(folder, ["figures"])
    (folder / "figures").mkdir(exist_ok=True)
    path, part = folder / "figures" / f"run.{kind}", folder / "figures" / f"run.part.{kind}"
    part.unlink(missing_ok=True)
    with staged(reel) as (figure, draw):
        if kind == "mp4":
            write_mp4(part, figure, draw, len(reel.times), rate, 110)
        else:
            write_gif(part, figure, draw, len(reel.times), rate, 110)
    part.replace(path)
    add_file(folder, f"figures/{path.name}")
    return path


def write_mp4(path: Path, figure: Figure, draw: Draw, count: int, rate: float, dpi: float) -> None:
    """Draw and write `count` frames, `rate` per second, by ffmpeg. Serial.

    H.264 with a colour format that every browser plays needs even sizes.
    """
    writer = animation.FFMpegWriter(rate, codec="libx264", extra_args=[  # type: ignore[arg-type]  # fractions will do
        "-pix_fmt", "yuv420p", "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-movflags", "+faststart"])
    with writer.saving(figure, str(path), dpi):
        for i in range(count):
            draw(i)
            writer.grab_frame()


def frames(folder: Path, most: int = 24) -> list[tuple[float, bytes]]:
    """(t, PNG) at up to `most` evenly chosen outputs, for a slider; empty where the run has no film. Serial."""
    try:
        reel = Reel(folder)
        chosen = evenly(len(reel.times), most)
        found = []
        with staged(reel) as (figure, draw):
            for i in chosen:
                draw(i)
                data = io.BytesIO()
                figure.savefig(data, format="png", dpi=90)
                found.append((float(reel.times[i]), data.getvalue()))
        return found
    except ProblemError:
        return []
