"""events.csv: dates of merges, arrivals and departures, on any number of ranks, with runs that go on."""

import json

import numpy as np
import pytest

from problems import Problem
from problems.loader import as_problem
from solver import simulate
from solver.ranks import Stopped
from solver.runs.stop import Limits
from solver.runs.tables import read_rows
from tests.particles.test_stiff import ANGLES, merge_times, on_circle

LINK = float(np.arccos(0.999))


def metastable(tmp_path, end=400.0) -> Problem:
    """Five tokens at beta = 4, V = B = I, linked at the cosine .999."""
    rows = [f"{x!r},{y!r},0.2" for x, y in on_circle(ANGLES).tolist()]
    (tmp_path / "five.csv").write_text("\n".join(["x,y,weight", *rows]) + "\n")
    return as_problem({
        "title": "five", "space": {"manifold": "circle"}, "attention": {"beta": 4.0},
        "initial": {"law": "table", "path": str(tmp_path / "five.csv")}, "time": {"end": end, "outputs": 5},
        "particles": {"rtol": 1e-9, "link": LINK}})


def events(folder):
    return read_rows(folder / "events.csv")


def test_merges_are_dated_as_by_a_reference(tmp_path):
    simulate(metastable(tmp_path), out=tmp_path / "run")
    found = events(tmp_path / "run")
    assert [row["event"] for row in found] == ["merge"] * 4
    dates = [float(row["time"]) for row in found]
    # The reference and the run are integrated to 1e-9; the last pair meets at a rate that has grown by e^{...} since.
    assert np.allclose(dates, merge_times(4.0, np.array(ANGLES), 0.999, 400.0)[:4], rtol=1e-5)
    assert [sum(map(float, row["masses"].split())) for row in found] == pytest.approx([0.4, 0.4, 0.6, 1.0])
    for row in found:
        assert np.linalg.norm([float(x) for x in row["where"].split()]) == pytest.approx(1.0)


def test_events_of_a_run_that_goes_on_are_those_of_the_whole(tmp_path):
    problem = metastable(tmp_path)
    simulate(problem, out=tmp_path / "whole")
    with pytest.raises(Stopped):
        simulate(problem, out=tmp_path / "parts", limits=Limits(time_limit=1e-3))
    assert json.loads((tmp_path / "parts" / "run.json").read_text())["exit_reason"] != "done"
    (tmp_path / "parts" / "events.csv").write_text("time,event\n1,nonsense\n")
    simulate(problem, out=tmp_path / "parts", resume=True)
    assert (tmp_path / "parts" / "events.csv").read_text() == (tmp_path / "whole" / "events.csv").read_text()


def test_events_do_not_depend_on_the_ranks(mpirun, tmp_path):
    code = ("import sys; from pathlib import Path; from tests.runs.test_events import metastable; from solver import simulate\n"
            "simulate(metastable(Path(sys.argv[1])), out=sys.argv[2])")
    texts = []
    for ranks in (1, 2):
        mpirun(ranks, "-c", code, tmp_path, tmp_path / f"ranks{ranks}")
        texts.append([(row["event"], row["masses"], float(row["time"])) for row in events(tmp_path / f"ranks{ranks}")])
    assert [row[:2] for row in texts[0]] == [row[:2] for row in texts[1]]
    assert np.allclose([row[2] for row in texts[0]], [row[2] for row in texts[1]], rtol=1e-10)


def test_tokens_arrive_at_the_target_and_leave_for_the_terminal_state(tmp_path):
    """The misaligned circle: half the mass at 45 and 225 degrees, then at 0 and 180 (docs/theory.md §4.8)."""
    problem = as_problem("misaligned_circle").with_("particles.sampling=quadrature", "particles.count=128", "time.end=8.0",
                                                    "time.outputs=5", "particles.density=false")
    simulate(problem, out=tmp_path / "run")
    found = [row for row in events(tmp_path / "run") if row["place"]]
    angles = np.degrees([np.arctan2(*map(float, reversed(row["where"].split()))) for row in found])
    kinds = [(row["event"], row["place"]) for row in found]
    # Both halves at the same depths, since the law is even.
    assert kinds == [("arrival", "target")] * 2 + [("departure", "target")] * 2 + [("arrival", "terminal")] * 2
    assert np.allclose(np.sort(angles[:2] % 180), 45.0)
    assert np.allclose(np.sin(np.radians(angles[4:])), 0.0, atol=1e-12)
    for pair in (found[:2], found[2:4], found[4:]):
        assert float(pair[0]["time"]) == pytest.approx(float(pair[1]["time"]), rel=1e-6)


def test_a_noisy_run_has_no_events(tmp_path):
    problem = metastable(tmp_path, end=1.0).with_("noise.diffusivity=0.1")
    simulate(problem, out=tmp_path / "run")
    assert not (tmp_path / "run" / "events.csv").exists()
