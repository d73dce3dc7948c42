"""Results drawn for notebooks: the pictures of a run folder held in memory, and the law over depth as a film."""

from __future__ import annotations

import base64
import html
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from problems import ProblemError
from solver.ranks import Serial
from solver.report.album import Album
from solver.report.film import Reel, staged
from solver.report.gallery import Comparison, draw_comparison, draw_history
from solver.report.gif import write_gif
from solver.report.pictures import complain
from solver.runs.distances import TargetDistance
from solver.runs.history import PICTURE, History, Picture

if TYPE_CHECKING:
    from mpi4py import MPI

SECONDS = 10.0  # length of a film


class Pictures(Mapping[str, bytes]):
    """PNG files by name. A notebook shows them; elsewhere `save` writes them."""

    def __init__(self, files: Mapping[str, bytes]):
        self.files = dict(files)

    def __getitem__(self, name: str) -> bytes:
        return self.files[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)

    def __repr__(self) -> str:
        return f"<Pictures {', '.join(self.files) or 'none'}>"

    def _repr_html_(self) -> str:
        return "".join(f'<img alt="{html.escape(name)}" src="data:image/png;base64,{base64.b64encode(data).decode()}">'
                       for name, data in self.files.items())

    def save(self, folder: str | Path) -> list[Path]:
        """Write them to a folder, made if missing; the paths."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        paths = [Path(folder) / name for name in self.files]
        for path in paths:
            path.write_bytes(self.files[path.name])
        return paths


def collect(draw: Callable[[Album], None]) -> Pictures:
    """What `draw` draws in an album; a picture that fails is named in one line and left out."""
    with tempfile.TemporaryDirectory(prefix="coldflow-") as name:
        draw(Album(Path(name), complain))
        return Pictures({path.name: path.read_bytes() for path in sorted(Path(name).glob("*.png"))})


def draw_one(history: History) -> Pictures:
    """The pictures of one history: the law over depth, its energy."""
    if history.problem is None or not history.times:
        raise ProblemError("history", history.side or "law", "must have a problem and outputs to be drawn")
    problem, sides = history.problem, {"density": None, "particles": None, history.side: history}
    return collect(lambda album: draw_history(album, problem, sides["density"], sides["particles"]))


def draw_both(comparison: Comparison) -> Pictures:
    """The pictures of a comparison."""
    to_target = TargetDistance(comparison.problem, cast("MPI.Comm", Serial()))
    return collect(lambda album: draw_comparison(album, comparison, to_target))


class Film:
    """The law over depth, one frame for each output, as an animated GIF. A notebook plays it; elsewhere `save` writes it."""

    def __init__(self, data: bytes, frames: int):
        self.data, self.frames = data, frames

    def __repr__(self) -> str:
        return f"<Film of {self.frames} frames>"

    def _repr_html_(self) -> str:
        return f'<img alt="the law over depth" src="data:image/gif;base64,{base64.b64encode(self.data).decode()}">'

    def save(self, path: str | Path) -> Path:
        """Write the GIF; its path."""
        Path(path).write_bytes(self.data)
        return Path(path)


def shown(picture: Picture) -> dict[str, np.ndarray]:
    """The arrays of a picture by name, as a run folder has them."""
    return {name: part for name, part in zip(PICTURE, picture, strict=True) if part is not None}


class Remembered(Reel):
    """The outputs of histories in memory, instead of those of a run folder."""

    def __init__(self, histories: Sequence[History]):
        told = [history for history in histories if history.problem is not None and len(history.times) > 1]
        problem = told[0].problem if told else None
        if problem is None:
            raise ProblemError("history", "too short", "must have a problem and at least two outputs to be a film")
        self.problem = problem
        self.folder = Path(self.problem.name)
        self.stores = {}
        for history in told:
            drawn: list[Picture | None] = [*history.pictures]
            pictures = drawn or [None for _ in history.times]
            self.stores[history.side] = {
                time: {"points": law.points, **(shown(picture) if picture is not None else {})}
                for time, law, picture in zip(history.times, history.measures, pictures, strict=True)}
        self.times = np.array(sorted(set.intersection(*(set(records) for records in self.stores.values()))))


def film(*histories: History) -> Film:
    """The law of a density, of tokens, or of both from output to output.

    Raises:
        ProblemError: less than two outputs, or a space that has no picture.
    """
    reel = Remembered(histories)
    rate = min(max(len(reel.times) / SECONDS, 1.0), 30.0)
    with tempfile.TemporaryDirectory(prefix="coldflow-") as name:
        path = Path(name) / "film.gif"
        with staged(reel) as (figure, draw):
            write_gif(path, figure, draw, len(reel.times), rate, 100)
        return Film(path.read_bytes(), len(reel.times))
