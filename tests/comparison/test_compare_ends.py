"""Comparisons at their edges: nothing to judge, layers inf then finite, runs that were stopped late or are over, no limiter."""

import json
import re

import numpy as np
import pytest
import tomli_w
from mpi4py import MPI

from problems.errors import ProblemError
from problems.problem import read_problem
from solver import compare, solve
from solver.cli import dispatch
from solver.comparison import refinement
from solver.comparison.variations import other_meshes, vary
from solver.ranks import run_together
from solver.runs.recorders import Recorder
from solver.runs.resolution import unresolved
from solver.runs.tables import read_rows
from tests.meshes import shapes


def values(**sections):
    """A small problem on the circle, with changes, as in its file."""
    found = {"space": {"manifold": "circle"}, "attention": {"beta": 4.0, "value": [[1.0, 0.0], [0.0, 0.4]]},
             "initial": {"law": "harmonics", "cos": [0.3], "sin": [0.2]}, "time": {"end": 0.2, "outputs": 3},
             "density": {"cells": 24}, "particles": {"count": 48}}
    return {**found, **sections}


def table(**sections):
    """The same, read."""
    return read_problem(values(**sections))


def test_a_last_judged_depth_before_the_first_output_is_refused():
    with pytest.raises(ProblemError, match=r"compare.until = 0\.05; must be at least the first output, 0\.1"):
        compare(table(time={"end": 0.2, "outputs": [0.1, 0.2]}, compare={"until": 0.05}))


def test_the_closing_table_says_how_many_outputs_were_judged(tmp_path, capfd):
    name = tmp_path / "problem.toml"
    name.write_text(tomli_w.dumps(values(time={"end": 0.2, "outputs": 5}, compare={"until": 0.1})))
    run_together(lambda: dispatch(["compare", str(name), "--out", str(tmp_path / "run")]), MPI.COMM_SELF)
    assert re.search(r"judged +3 of 5 outputs", capfd.readouterr().out)
    rows = read_rows(tmp_path / "run" / "verdict.csv")
    assert [row["verdict"] == "not judged" for row in rows] == [False, False, False, True, True]


@pytest.mark.parametrize("stopped", ["density", "particles"])
def test_layers_at_zero_temperature_and_then_not_go_on(stopped, tmp_path, monkeypatch):
    """A law whose first layer is at zero temperature, stopped there: the rest is that of a run that was never stopped."""
    layers = {"layers": [{"until": 0.11, "beta": "inf"}, {"beta": 4.0}], "key": [[1.0, 0.0], [0.5, 1.0]]}
    problem = table(attention=layers)
    whole = compare(problem, out=tmp_path / "whole", verdict=False)
    keep, seen = Recorder.keep, []

    def stop_after_one(self, *arguments, **keywords):
        found = keep(self, *arguments, **keywords)
        seen.extend([1] * (self.history.side == stopped))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(Recorder, "keep", stop_after_one)
    with pytest.raises(KeyboardInterrupt):
        compare(problem, out=tmp_path / "half", verdict=False)
    monkeypatch.undo()
    resumed = compare(problem, out=tmp_path / "half", resume=True, verdict=False)
    for column in ("w1_density_particles", "w2_density_particles"):
        assert np.array_equal(resumed.column(column), whole.column(column))
    for side in ("density", "particles"):
        one, two = (getattr(run, side).rows for run in (whole, resumed))
        assert [(row["step"], row["mean_x"]) for row in one] == [(row["step"], row["mean_x"]) for row in two]


def test_a_run_stopped_in_its_last_extra_run_is_not_done(tmp_path, monkeypatch):
    """The extra runs of the verdict are part of the run: run.json does not say done, and --resume makes the missing ones."""
    members = refinement.Extra.members

    def stop(self, problem, name, label, **keywords):
        if name == "random-6":  # the last of them: half as many are too few
            raise KeyboardInterrupt
        return members(self, problem, name, label, **keywords)

    problem = table()
    monkeypatch.setattr(refinement.Extra, "members", stop)
    with pytest.raises(KeyboardInterrupt):
        compare(problem, out=tmp_path / "run")
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["exit_reason"] == "interrupted" and not (tmp_path / "run" / "verdict.csv").exists()
    monkeypatch.undo()
    found = compare(problem, out=tmp_path / "run", resume=True)
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["exit_reason"] in ("done", "not resolved") and facts["verdict"]["outcome"] == found.verdict.outcome
    assert (tmp_path / "run" / "verdict.csv").exists()
    alone = compare(problem)
    assert [row["verdict"] for row in alone.verdict.rows] == [row["verdict"] for row in found.verdict.rows]
    assert [row.get("noise_floor") for row in alone.verdict.rows] == [row.get("noise_floor") for row in found.verdict.rows]


def test_a_finished_stationary_run_stays_as_it_is(tmp_path):
    """Resumed it computes nothing and appends nothing."""
    problem = table(time={"end": "stationary", "outputs": [0.0]}, density={"cells": 12},
                    attention={"beta": 1.0, "value": [[-1.0, 0.0], [0.0, -1.0]]})
    first = solve(problem, out=tmp_path / "run")
    tables = {path.name: path.read_bytes() for path in (tmp_path / "run").glob("*.csv")}
    again = solve(problem, out=tmp_path / "run", resume=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").glob("*.csv")} == tables
    assert again.times == first.times and len(first.times) == 2


def test_negative_densities_are_compared_and_not_trusted():
    """Without the limiter averages may be negative: their atoms are cut and scaled to mass one, and it is said why not to believe
    what is derived from them."""
    problem = table(attention={"beta": "inf", "value": [[1.0, 0.0], [0.0, 1.0]]}, time={"end": 1.0, "outputs": 2},
                    initial={"law": "von-mises-fisher", "components": [{"mean": [1.0, 0.0], "concentration": 100.0}]},
                    density={"cells": 16, "degree": 2, "limiter": False})
    found = compare(problem)
    assert found.density.rows[-1]["minimum"] < 0.0
    assert np.isfinite(found.column("w2_density_particles")).all()
    assert any("density.limiter" in finding.words for finding in unresolved(problem))


@pytest.mark.parametrize(("cells", "known"), [(12, True), (12_000, False)])
def test_the_mesh_error_of_a_file_is_measured_or_not_known(cells, known, tmp_path):
    """A file brings one mesh: its cells are cut for the mesh error, or, where they are too many, nothing is invented."""
    shapes.write(shapes.ellipse(12), tmp_path / "ellipse.msh")
    problem = table(space={"manifold": "file", "path": str(tmp_path / "ellipse.msh")}, initial={"law": "uniform"}, density={})
    varied = other_meshes(vary(problem, "density", cells=cells))
    assert [(level, other.density.cells, other.space.refine) for level, other in varied] == ([(-1, 24, 1)] if known else [])


def test_figures_of_long_intervals(tmp_path, capfd):
    """Two thousand units of length: no picture fails, and nothing warns."""
    problem = table(space={"manifold": "interval", "bounds": [[0.0, 2000.0]]}, attention={"beta": 1e-6, "value": [[-1.0]]},
                    initial={"law": "normal", "components": [{"mean": [900.0], "covariance": 9e4}]}, density={"cells": 16})
    compare(problem, out=tmp_path / "run", verdict=False)
    assert not capfd.readouterr().err
    assert {"density.png", "distances.png"} <= {path.name for path in (tmp_path / "run" / "figures").glob("*.png")}


def test_a_picture_that_fails_ends_no_run(tmp_path, monkeypatch, capfd):
    """Whatever goes wrong in it is one line on stderr."""
    def fail(*arguments):
        raise ValueError("no such colour")

    monkeypatch.setattr("solver.report.gallery.draw_comparison", fail)
    compare(table(), out=tmp_path / "run", verdict=False)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["exit_reason"] == "done"
    told = [line for line in capfd.readouterr().err.splitlines() if "no such colour" in line]
    assert len(told) == 1 and told[0].startswith("coldflow: ")
