"""Python as people use it: problems given by name or as tables, changed, run, shown, and reopened."""

import importlib.util
import io

import numpy as np
import pytest

from problems import ProblemError, load
from solver import open_results, simulate, target

TINY = ("time.end=0.2", "time.outputs=3", "particles.count=32")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    return folder, simulate(load("smooth_circle").with_(*TINY), out=folder)


def test_a_change_means_the_same_in_all_its_forms_and_as_on_the_command_line():
    problem = load("smooth_circle")
    forms = [problem.with_("attention.beta=50"), problem.with_({"attention.beta": 50}), problem.with_(attention={"beta": 50.0}),
             problem.with_({"attention.beta": np.float64(50)}), load("smooth_circle", {"attention.beta": "50"})]
    assert {changed.attention.at(0.0).beta for changed in forms} == {50.0}
    assert problem.attention.at(0.0).beta == 5.0
    # A default that depends on other keys follows them: with noise the density is implicit unless it says otherwise.
    assert problem.with_("noise.diffusivity=0.1").density.integrator == load(
        "smooth_circle", {"noise.diffusivity": "0.1"}).density.integrator != problem.density.integrator


@pytest.mark.parametrize(("change", "words"), [("attention.beta", "KEY=VALUE"), ("attention.bet=5", "bet"),
                                               ("attention.beta=-1", "beta")])
def test_a_change_that_is_not_allowed_is_refused(change, words):
    with pytest.raises(ProblemError, match=words):
        load("smooth_circle").with_(change)


def test_names_and_tables_are_problems():
    tables = {"space": {"manifold": "circle"}, "initial": {"law": "uniform"},
              "attention": {"beta": 5.0, "value": np.diag([2.0, 1.0])}, "time": {"end": 0.1, "outputs": (0.0, 0.1)},
              "particles": {"count": 8}}
    assert simulate(tables).times == [0.0, 0.1]
    assert "density" not in tables
    assert target("misaligned_circle").exists
    with pytest.raises(ProblemError, match="bundled"):
        simulate(3)


def test_what_is_shown_is_short(run):
    history = run[1]
    for thing in (history, history.problem, history.law(), target("misaligned_circle"), history.plot()):
        assert len(repr(thing)) < 300, repr(thing)
        assert "\n" not in repr(thing)
    for thing in (history, history.problem, target("misaligned_circle")):
        assert thing._repr_html_().count("<") > 4
    assert "smooth_circle" in repr(history)
    assert "particles" in repr(history)


def test_the_law_at_an_output_and_nowhere_else(run):
    history = run[1]
    assert history.law(0.1) is history.measures[1]
    assert history.law() is history.measures[-1]
    with pytest.raises(ProblemError, match=r"nearest of which is 0\.1"):
        history.law(0.13)


def test_a_run_folder_reopened_holds_the_same(run):
    folder, history = run
    again = open_results(folder)
    assert again.times == history.times
    assert again.side == "particles"
    assert again.rows == history.rows
    assert np.array_equal(again.law(0.2).points, history.law(0.2).points)
    with pytest.raises(ProblemError, match=r"problem\.toml"):
        open_results(folder.parent)


def test_pictures_and_film(run, tmp_path):
    from PIL import Image

    pictures = run[1].plot()
    assert all(data.startswith(b"\x89PNG") for data in pictures.values())
    assert [path.is_file() for path in pictures.save(tmp_path)] == [True] * len(pictures)
    film = run[1].animate()
    assert Image.open(io.BytesIO(film.data)).n_frames == 3
    assert "data:image/gif" in film._repr_html_()


def test_a_table_or_how_to_get_one(run):
    if importlib.util.find_spec("pandas") is None:
        with pytest.raises(ProblemError, match="pandas"):
            run[1].to_dataframe()
    else:
        frame = run[1].to_dataframe()
        assert list(frame["time"]) == run[1].times
        assert frame["mass"].to_numpy() == pytest.approx(1.0)


def test_density_and_comparison(tmp_path):
    from solver import compare

    problem = load("smooth_circle").with_(*TINY, "density.cells=16", "density.degree=1")
    found = compare(problem, out=tmp_path / "both", verdict=False)
    again = open_results(tmp_path / "both")
    assert again.rows == found.rows
    assert again.verdict.outcome == found.verdict.outcome
    assert again.summary == found.summary
    assert np.array_equal(again.density.law(0.2).masses, found.density.law(0.2).masses)
    for thing in (found, found.verdict, found.density):
        assert len(repr(thing)) < 400, repr(thing)
    assert {"density.png", "tokens.png"} <= set(again.plot())
