"""Figures are written for every space and show what they are given."""

import numpy as np
import pytest

from problems import ProblemError
from solver.commands.sweep import parse_over
from solver.report import figures, laws
from solver.report.album import Album
from solver.report.arcs import arc_length
from solver.report.gallery import angle_of, pick, trace
from solver.report.page import repeating
from solver.report.pictures import draw_run
from solver.report.style import density_norm
from solver.runs.events import Event, read_events
from solver.runs.phases import Phase
from solver.runs.progress import describe
from solver.sweeps.cells import split_values
from tests.meshes.shapes import torus


def size_of(path):
    """Width and height of a PNG file, from its header."""
    header = path.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")


def test_every_figure_is_a_picture(tmp_path):
    t = np.linspace(0, 1, 5)
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    points = np.array([[0, 0, 1.0], [1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0], [0, 0, -1]])
    triangles = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 1], [5, 2, 1], [5, 3, 2], [5, 4, 3], [5, 1, 4]])
    values = np.arange(1.0, 7.0)
    figures.plot_distances(tmp_path / "a.png", {"density": (t, 1 + (t - 0.5) ** 2), "particles": (t, 0 * t)}, terminal=2.0)
    laws.plot_space_time(tmp_path / "b.png", t, angles, np.ones((5, 16)), label="angle", marks={"E": [1.0]})
    laws.plot_tokens_circle(tmp_path / "c.png", [(0.0, angles, angles, 0 * angles + 1)])
    laws.plot_surface(tmp_path / "d.png", [(0.0, points, values, triangles)], marks={"E": points[:2]}, tokens=[points])
    laws.plot_plane(tmp_path / "e.png", [(0.0, points[:, :2] * [1, 1.0], values, triangles[:4])])
    figures.plot_convergence(tmp_path / "f.png", {"a": (np.array([1.0, 2.0]), np.array([1.0, 0.5]))}, {"slope": -1.0},
                             xlabel="N", ylabel="W")
    phases = [Phase("alignment", 0.0, 0.4), Phase("metastable", 0.4, 1.0)]
    events = [Event(0.3, "merge"), Event(0.5, "departure")]
    figures.plot_energy(tmp_path / "g.png", {"density": (t, t), "particles": (t, 2 * t)}, level=1.5, phases=phases, events=events)
    figures.plot_energy(tmp_path / "h.png", {"density": (t, 1e4 + t)}, phases=phases, events=events)
    laws.plot_surface(tmp_path / "i.png", [(0.0, 70 * points, 1e-9 * values, triangles)], sphere=False)
    laws.plot_marginals(tmp_path / "j.png", [(0.0, points, np.full(6, 1 / 6))] * 2, ["x", "y", "z"])
    for name in "abcdefghij":
        width, height = size_of(tmp_path / f"{name}.png")
        assert width > 300 and height > 300


def test_what_a_torus_hides():
    """Of radii 1 and .4, seen along each of two axes: by its shape, the points on the far side and on the inner wall."""
    mesh = torus(24, 16)
    points = np.array([[1.0, 0, 0.4], [1.0, 0, -0.4], [1.4, 0, 0], [0.6, 0, 0], [-0.6, 0, 0], [-1.4, 0, 0]])
    for direction, seen in (([0, 0, 1.0], {0, 2, 3, 4, 5}), ([1.0, 0, 0], {0, 1, 2})):
        frame = laws.view_frame(np.array(direction))
        found = laws.visible(points @ frame.T, (mesh.points @ frame.T)[mesh.cells])
        assert set(np.flatnonzero(found)) == seen


def test_a_view_is_a_rotation():
    for direction in ([1, 0.6, 0.5], [0, 0, 2.0], [0, 0, -1.0]):
        frame = laws.view_frame(np.array(direction))
        assert np.allclose(frame @ frame.T, np.eye(3), atol=1e-15)
        assert np.linalg.det(frame) == pytest.approx(1.0)
        assert frame[2] @ direction == pytest.approx(np.linalg.norm(direction))


def test_angles_and_traces():
    points = np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    assert np.degrees(angle_of(points)) == pytest.approx([0, 90, 180, 270])
    assert trace(np.eye(3)) is None
    assert np.allclose(trace(np.eye(3)[:, :1]), [[1, 0, 0], [-1, 0, 0]])
    circle = trace(np.eye(3)[:, :2])
    assert np.allclose(np.linalg.norm(circle, axis=1), 1) and np.allclose(circle[:, 2], 0)
    assert pick(2) == [0, 1] and pick(100)[0] == 0 and pick(100)[-1] == 99


def test_facts_of_a_progress_line():
    assert describe({"mass": 1.0 + 2e-15, "dt": 0.01}) == "mass 1+2.0e-15  dt 0.01"
    assert describe({"mass": 0.9}) == "mass 0.9000"


def test_sweep_values_keep_their_brackets():
    assert split_values('1,"a,b",[[1,2],[3,4]]') == ["1", '"a,b"', "[[1,2],[3,4]]"]
    assert parse_over(["a.b=1,2", "c.d=x"]) == {"a.b": ["1", "2"], "c.d": ["x"]}
    with pytest.raises(ProblemError, match="--over"):
        parse_over(["a.b="])


def test_a_picture_that_fails_is_named_and_the_others_are_drawn(tmp_path):
    said = []
    album = Album(tmp_path / "figures", said.append)
    album.draw("bad.png", figures.plot_distances, {"density": (np.arange(2.0), np.ones(3))})
    album.draw("good.png", figures.plot_distances, {"density": (np.arange(2.0), np.ones(2))})
    assert album.attempt("line", lambda: 1 / 0) is None
    assert len(said) == len(album.failed) == 2 and "bad.png" in said[0] and "ZeroDivisionError" in said[1]
    assert (tmp_path / "figures" / "good.png").exists() and not any("\n" in words for words in said)


def test_nothing_leaves_the_drawing_of_a_run(tmp_path):
    said = []
    failed = draw_run(tmp_path, None, None, comparison=object(), say=said.append)
    assert len(failed) == 1 == len(said)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_long_intervals_and_thin_densities_are_drawn(tmp_path, scale):
    x = np.linspace(0, 1000 * scale, 64)
    for values in (np.full((2, 64), 1e-3 / scale), np.zeros((2, 64))):
        laws.plot_space_time(tmp_path / "x.png", np.array([0.0, 1.0]), x, values, label="position", marks={}, degrees=False)


def test_titles_are_shown_as_they_are(tmp_path):
    curve = {"density": (np.arange(3.0), np.ones(3))}
    for title in ("an unclosed $ and \\frac{", "[brackets] <b>", "long " * 1000, ""):
        figures.plot_distances(tmp_path / "t.png", curve, title=title)


def test_arc_lengths_follow_a_curve_whose_cells_are_in_disorder():
    """A square of side 2 in 8 cells of 3 points each, shuffled and some reversed; and the same cut open."""
    corners = np.array([[0, 0], [1, 0], [2, 0], [2, 1], [2, 2], [1, 2], [0, 2], [0, 1.0]])
    cells = np.array([[a, (a + b) / 2, b] for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)])
    order = [3, 0, 7, 5, 1, 2, 6, 4]
    mixed = cells[order].copy()
    mixed[::2] = mixed[::2, ::-1]
    found = arc_length(mixed.reshape(-1, 2), 3).reshape(8, 3)
    assert np.ptp(found) == pytest.approx(8.0) and np.allclose(np.ptp(found, axis=1), 1.0)
    assert sorted(found.min(axis=1)) == pytest.approx(list(range(8)))
    one = arc_length(mixed[[0, 1, 2, 4]].reshape(-1, 2), 3)
    assert np.isfinite(one).all() and np.ptp(one) >= 4.0


def test_events_are_read_in_order(tmp_path):
    assert read_events(tmp_path) == []
    (tmp_path / "events.csv").write_text("time,event,where,masses\n2.5,merge,\"1 0\",0.5 0.5\n1.5,departure,,1\n")
    assert read_events(tmp_path) == [Event(1.5, "departure"), Event(2.5, "merge")]


def test_a_report_says_the_command_that_made_a_sweep():
    words = ["sweep", "problem.toml", "--over", "count=64,128", "--tie", "attention.beta=2 * count", "--resume", "--out", "s"]
    assert repeating(words) == "coldflow sweep problem.toml --over count=64,128 --tie 'attention.beta=2 * count' --out s"


def test_no_picture_of_a_law_that_gathers_is_all_dark():
    """The uniform law and a peak of 460, both on one scale of three decades and more."""
    norm = density_norm([np.array([0.079, 0.081]), np.array([1e-20, 460.0])], 3.0)
    assert norm.vmin < 0.5 * 0.081 and norm.vmax == 460.0
    assert density_norm([np.array([1e-20, 460.0])], 3.0).vmin == pytest.approx(0.46)
