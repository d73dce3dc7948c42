"""GIF films whose colours are those drawn."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from solver.report.style import Draw


def write_gif(path: Path, figure: Figure, draw: Draw, count: int, rate: float, dpi: float) -> None:
    """Draw and write `count` frames, `rate` per second, again and again. Serial.

    Each frame has a palette of its own which covers the colours of small areas, such as a bar of colours, as well: Pillow's
    default, and so Matplotlib's, counts pixels and leaves such an area a few of the 256.
    """
    frames: list[Image.Image] = []
    for i in range(count):
        draw(i)
        data = io.BytesIO()
        figure.savefig(data, format="png", dpi=dpi)
        frames.append(Image.open(data).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE))
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=int(1000 / rate), loop=0)
