"""Further token systems of a comparison: [[compare.also]] is followed and reported, and never judged."""

import csv

import numpy as np
import pytest

from problems import ProblemError, load
from solver import compare, open_results, simulate
from solver.comparison.further import ALSO_COLUMNS
from solver.comparison.variations import further_runs

SMALL = {"time.end": "1.0", "time.outputs": "3", "density.cells": "32", "particles.gap": "0.8",
         "compare.also": '[{count = 96}, {count = 64, sampling = "random", seed = 3, label = "few"}]'}


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    problem, out = load("misaligned_circle", SMALL), tmp_path_factory.mktemp("also") / "run"
    return problem, compare(problem, out=out, verdict=False), out


def test_rows_are_the_distances_of_the_same_tokens_alone(compared, tmp_path):
    problem, found, _ = compared
    assert [row["label"] for row in found.also] == ["96 quadrature tokens"] * 3 + ["few"] * 3
    alone = simulate(further_runs(problem)[1].problem, out=tmp_path / "alone")
    times, distances = found.further("w2_tokens_target")["few"]
    assert np.array_equal(times, alone.times)
    assert distances == pytest.approx(alone.column("w2_target"), abs=1e-13)
    # The triangle inequality ties the three distances together.
    for row, main in zip(found.also, found.rows * 2, strict=True):
        assert abs(row["w2_tokens_target"] - main["w2_density_target"]) <= row["w2_density_tokens"] + 1e-12


def test_table_comes_back_from_the_run_folder(compared):
    _, found, out = compared
    with (out / "also.csv").open() as file:
        assert list(csv.DictReader(file).fieldnames) == ALSO_COLUMNS
    assert open_results(out).also == found.also
    assert (out / "figures/distances.png").is_file()


@pytest.mark.parametrize(("also", "field"), [
    ('[{sampling = "random"}]', "compare.also[0].count"), ("[{count = 8, gap = 0.1}]", "compare.also[0].gap"),
    ('[{count = 8, sampling = "adaptive"}]', "compare.also[0].sampling"), ("[{count = 8}, {count = 8}]", "compare.also[1].label"),
    ('[{count = 8, label = "density"}]', "compare.also[0].label"), ("3", "compare.also")])
def test_what_is_not_allowed_is_said(also, field):
    with pytest.raises(ProblemError) as error:
        load("misaligned_circle", SMALL | {"compare.also": also})
    assert error.value.errors[0].field == field


def test_no_further_tokens_is_an_empty_list():
    assert load("misaligned_circle", SMALL | {"compare.also": "[]"}).compare.also == ()
