"""The plan counts what a run will need."""

import json
import math
import re

import numpy as np
import pytest
import tomli_w
from mpi4py import MPI

from problems import load, loads
from solver.commands.plan import duration, plan
from solver.density.evolve import DensitySolver
from solver.particles.solver import ParticleSolver
from solver.runs.cost import density_cost, token_cost


def test_unknowns_are_counted():
    words = " ".join(text for _, text in plan(load("sphere_great_circle", {"density.cells": "2000", "density.degree": "2"})))
    assert "2000 cells" in words and f"{2000 * math.comb(4, 2)} unknowns" in words


def test_cost_grows_with_the_square_of_the_tokens():
    few, many = (token_cost(load("smooth_circle", {"particles.count": str(n)})) for n in (10**5, 10**6))
    assert many.dense == pytest.approx(100 * few.dense, rel=1e-4)


def test_tokens_alone_have_a_plan_without_a_mesh():
    lines = dict(plan(load("smooth_sphere", {"space.dimension": "8", "initial": '{law = "uniform"}'})))
    assert "density" not in lines and lines["particles"].startswith("2048 tokens")


def test_steps_that_errors_choose_are_not_foretold():
    words = " ".join(text for _, text in plan(load("noisy_circle")))
    assert "steps chosen by their error (density.rtol), 1000 of them at most" in words
    assert "about" in " ".join(text for _, text in plan(load("smooth_circle")))
    cold = " ".join(text for _, text in plan(load("smooth_circle", {"attention.beta": '"inf"'})))
    assert "steps chosen by their error (particles.rtol)" in cold and "about" in cold


def test_speeds_that_grow_with_the_distance_are_not_foretold():
    """Unnormalised attention in open space: 42 steps where the speed of a token of length one would have nine."""
    space = {"space": '{manifold = "euclidean", dimension = 3}', "attention.normalization": '"none"', "attention.beta": "1.5",
             "attention.value": "[[-1.0, 0.0, 0.0], [0.0, -0.7, 0.0], [0.0, 0.0, -0.4]]", "time.end": "0.3", "time.outputs": "4",
             "initial": '{law = "normal", components = [{mean = [0.0, 0.0, 0.1], covariance = 0.8}]}', "particles.count": "32"}
    problem = load("smooth_sphere", space)
    assert "steps chosen by their error (particles.rtol)" in dict(plan(problem))[""]
    solver = ParticleSolver(problem)
    solver.run()
    assert solver.step > 3 * token_cost(problem).steps


@pytest.mark.parametrize(("name", "settings"), [
    ("smooth_circle", {}), ("usa_circle", {}), ("layered_circle", {"time.end": "4.5"}), ("smooth_circle", {"time.end": "0.3"})])
def test_steps_of_tokens_within_a_factor_of_three(name, settings):
    problem = load(name, {"particles.count": "32", "particles.sampling": '"random"', **settings})
    solver = ParticleSolver(problem)
    solver.run()
    assert solver.step / 3 <= token_cost(problem).steps <= 3 * solver.step


@pytest.mark.parametrize(("manifold", "d"), [("interval", 1), ("rectangle", 2), ("box", 3)])
@pytest.mark.parametrize(("sign", "end"), [(1.0, 0.3), (1.0, 2.0), (-1.0, 2.0)])
def test_steps_of_tokens_that_run_into_walls(manifold, d, sign, end):
    problem = loads(tomli_w.dumps({
        "space": {"manifold": manifold, "bounds": [[-1.0, 1.0]] * d}, "initial": {"law": "uniform"},
        "time": {"end": end, "outputs": 4}, "attention": {"beta": 4.0, "value": (sign * np.eye(d)).tolist()},
        "particles": {"count": 32, "sampling": "random"}}))
    solver = ParticleSolver(problem)
    solver.run()
    assert solver.step / 3 <= token_cost(problem).steps <= 3 * solver.step


@pytest.mark.parametrize("length", [1e-3, 1.0, 1e4])
def test_units_of_length_do_not_matter(length):
    """The same law in other units takes the same steps of the density, and its plan says so."""
    problem = loads(tomli_w.dumps({
        "space": {"manifold": "interval", "bounds": [[0.0, length]]}, "attention": {"beta": 4.0 / length**2},
        "initial": {"law": "uniform"}, "time": {"end": 1.0, "outputs": 2}, "density": {"cells": 16},
        "particles": {"count": 16}}))
    assert density_cost(problem).steps == pytest.approx(53.3, abs=0.1)
    solver = DensitySolver(problem, MPI.COMM_SELF)
    solver.run(lambda snapshot: None)
    assert 53.3 / 3 < solver.step < 53.3 * 3


@pytest.mark.parametrize("side", ["solve", "particles"])
def test_memory_of_every_rank_counts(side, mpirun, tmp_path):
    """Each rank has an interpreter and its libraries: on three ranks they are three times what one has, within a factor 1.5."""
    mpirun(3, "-m", "solver", side, "smooth_circle", "--set", "time.end=0.1", "--out", tmp_path / "run")
    taken = json.loads((tmp_path / "run" / "run.json").read_text())["peak_memory_mib"]
    line = dict(plan(load("smooth_circle"), 3))["density" if side == "solve" else "particles"]
    assert line.endswith(" on 3 ranks")
    assert taken / 1.5 < int(re.search(r"(\d+) MiB", line).group(1)) < 1.5 * taken


def test_durations():
    assert [duration(s) for s in (0.2, 90, 150, 8000, 3e5)] == ["1 s", "90 s", "2 min", "2 h", "3 days"]
