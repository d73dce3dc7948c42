"""Colours of a film against those of the frames drawn."""

import io

import numpy as np
from matplotlib import pyplot as plt
from PIL import Image

from solver.report.gif import write_gif


def test_small_areas_keep_their_colours(tmp_path):
    """A large area of two-dimensional blues beside a thin bar of reds, as a law's colours lie beside their scale."""
    figure, (area, bar) = plt.subplots(1, 2, width_ratios=[100, 1], figsize=(8, 5), layout="constrained")
    u, v = np.meshgrid(np.linspace(0, 1, 300), np.linspace(0, 1, 300))
    area.imshow(np.stack((0.1 + 0.5 * u * v, 0.05 + 0.1 * u, 0.4 + 0.2 * u), axis=2))
    bar.imshow(np.linspace(0, 1, 256)[:, None], cmap="autumn", aspect="auto")
    drawn = []

    def draw(i):
        area.axis("on" if i == 1 else "off")
        data = io.BytesIO()
        figure.savefig(data, format="png", dpi=110)
        drawn.append(np.array(Image.open(data).convert("RGB"), float))

    write_gif(tmp_path / "film.gif", figure, draw, 3, 10.0, 110)
    plt.close(figure)
    film = Image.open(tmp_path / "film.gif")
    assert film.n_frames == 3
    for i, frame in enumerate(drawn):
        film.seek(i)
        found = np.array(film.convert("RGB"), float)
        assert found.shape == frame.shape
        # 256 colours cover a sheet of 128 by 51 to about its side divided by 16; those of the bar are 256 steps apart from it.
        assert np.abs(found - frame).max() <= 8
