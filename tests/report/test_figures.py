"""Figures are written for every space and show what they are given."""

import numpy as np
import pytest

from problems import ProblemError
from solver.commands.sweep import parse_over, split_values
from solver.report import figures
from solver.report.gallery import pick, place, trace
from solver.runs.progress import describe


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
    figures.plot_space_time(tmp_path / "b.png", t, angles, np.ones((5, 16)), label="angle", marks={"E": [1.0]})
    figures.plot_tokens_circle(tmp_path / "c.png", [(0.0, angles, angles, 0 * angles + 1)])
    figures.plot_sphere(tmp_path / "d.png", [(0.0, values)], points, triangles, marks={"E": points[:2]}, tokens=[points])
    figures.plot_plane(tmp_path / "e.png", [(0.0, values)], points[:, :2] * [1, 1.0], triangles[:4])
    figures.plot_convergence(tmp_path / "f.png", {"a": (np.array([1.0, 2.0]), np.array([1.0, 0.5]))}, {"slope": -1.0},
                             xlabel="N", ylabel="W")
    for name in "abcdef":
        width, height = size_of(tmp_path / f"{name}.png")
        assert width > 300 and height > 300


def test_a_view_is_a_rotation():
    for direction in ([1, 0.6, 0.5], [0, 0, 2.0], [0, 0, -1.0]):
        frame = figures.view_frame(np.array(direction))
        assert np.allclose(frame @ frame.T, np.eye(3), atol=1e-15)
        assert np.linalg.det(frame) == pytest.approx(1.0)
        assert frame[2] @ direction == pytest.approx(np.linalg.norm(direction))


def test_angles_and_traces():
    points = np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    assert np.degrees(place(points, False)) == pytest.approx([0, 90, 180, 270])
    assert place(points[:, :1], True) == pytest.approx([1, 0, -1, 0])
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
