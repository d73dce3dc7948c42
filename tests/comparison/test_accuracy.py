"""Settings chosen for an accuracy: the errors they really have, against exact laws, and what is refused."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
from mpi4py import MPI

from meshes.manifold import sphere
from problems import ProblemError
from problems.loader import as_problem
from solver import compare
from solver.comparison.accuracy import Chosen, Ladder, Search, restored
from solver.wasserstein.distance import distance
from solver.wasserstein.measure import Measure

# The uniform law at zero temperature stays angular central Gaussian (docs/theory.md §3.3): exact W2 to the target (§3.4).
COLD = {"space": {"manifold": "circle"}, "attention": {"beta": "inf", "value": [[1.0, 0.0], [0.0, 0.0]]},
        "initial": {"law": "uniform"}, "time": {"end": 2.0, "outputs": 3}, "title": "cold"}
ACCURACY = 1e-3
EXACT = {0.0: 0.9068996821, 1.0: 0.6363824597, 2.0: 0.4136065108}


@pytest.fixture(scope="module")
def chosen(tmp_path_factory):
    """One comparison with settings chosen for `ACCURACY`, and its folder."""
    out = tmp_path_factory.mktemp("accuracy") / "run"
    return compare(as_problem(COLD), accuracy=ACCURACY, out=out, verdict=False), out


def test_errors_are_below_what_is_asked_for(chosen, accuracy=ACCURACY):
    found, out = chosen
    for row in found.rows:
        # |W2(mu_h, T) - W2(mu, T)| <= W2(mu_h, mu).
        exact = EXACT[row["time"]]
        assert abs(row["w2_density_target"] - exact) <= accuracy
        assert abs(row["w2_particles_target"] - exact) <= accuracy
        assert row["error_density"] <= accuracy
        assert row["error_particles"] <= accuracy
        assert row["w2_density_particles"] <= 2 * accuracy
    with (out / "accuracy.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["quantity"] for row in rows} >= {"degree", "density.cfl", "density.cells", "particles.rtol", "particles.gap"}
    assert float(rows[-1]["w2_difference"]) <= accuracy
    facts = json.loads((out / "run.json").read_text())
    assert restored(facts, accuracy).settings == facts["accuracy"]["settings"]
    assert restored(facts, accuracy / 2) is None
    assert "density.cells" in found.chosen


def test_a_run_that_goes_on_keeps_its_choice(chosen):
    problem, (whole, out) = as_problem(COLD), chosen
    again = compare(problem, accuracy=ACCURACY, out=out, verdict=False, resume=True)
    assert [row["w2_density_target"] for row in again.rows] == [row["w2_density_target"] for row in whole.rows]
    with pytest.raises(ProblemError, match="a new folder"):
        compare(problem, accuracy=ACCURACY, out=out, verdict=False)


@pytest.mark.parametrize(("problem", "accuracy", "words"), [
    (COLD, 0.0, "at least 1e-08 and at most 1"),
    (COLD, np.nan, "at least 1e-08 and at most 1"),
    ("smooth_sphere", 1e-4, "must be at least 0.0028 here"),
    (COLD, 1e-6, "must be at least 2.8e-05 here"),
])
def test_what_cannot_be_reached_is_refused_at_once(problem, accuracy, words):
    with pytest.raises(ProblemError) as refusal:
        compare(as_problem(problem), accuracy=accuracy)
    assert words in str(refusal.value)


def test_errors_cover_what_atoms_make():
    """The Kuramoto family at beta = 0 (docs/theory.md §5.1): a Poisson kernel of mean R(t), whose quantiles are known. Tokens and
    atoms of cells are as far from it as their errors say at most."""
    found = compare(as_problem("kuramoto_circle").with_("time.outputs=[0.0, 2.0, 4.0]"), accuracy=0.01, verdict=False)
    turn = np.pi * ((2 * np.arange(100_000) + 1) / 100_000 - 1)
    for i, row in enumerate(found.rows):
        mean = (1 + (0.2**-2 - 1) * np.exp(-row["time"])) ** -0.5
        angles = 2 * np.arctan((1 - mean) / (1 + mean) * np.tan(turn / 2))
        exact = Measure(np.column_stack([np.cos(angles), np.sin(angles)]), np.full(len(angles), 1 / len(angles)))
        for side, history in (("density", found.density), ("particles", found.particles)):
            true = distance(history.measures[i], exact, p=2, manifold=sphere(2)).value
            assert true <= row[f"error_{side}"] <= 0.01


def test_no_size_within_reach_is_left_out():
    """After the first refinement an order of one is assumed: the next sizes would be beyond the largest, those between
    are not, and are enough. Laws are single atoms, as far from each other as a table says."""
    far, made = {(1, 2): 0.3, (2, 4): 0.1, (4, 8): 0.05}, []

    def run(settings, label):
        made.append(settings["density.cells"])
        return SimpleNamespace(counts=[made[-1]])

    case = as_problem("smooth_circle")
    search = Search(case, Chosen(0.06), run, lambda a, b: {0.0: far[a.counts[0], b.counts[0]]}, MPI.COMM_SELF)
    search.climb(Ladder("density", lambda n: {"density.cells": n}, 1, 2, 8))
    assert search.chosen.settings == {"density.cells": 8} and made == [1, 2, 4, 8]


def test_first_sizes_see_a_narrow_law():
    """A normal law in a rectangle that 80 cells or nodes of a quadrature do not resolve."""
    case = as_problem({"title": "narrow", "space": {"manifold": "rectangle", "bounds": [[-2.0, 2.0], [-1.0, 1.0]]},
                       "attention": {"beta": 2.0}, "time": {"end": 0.05, "outputs": 2},
                       "initial": {"law": "normal", "components": [{"mean": [0.2, 0.1], "covariance": 0.02}]}})
    found = compare(case, accuracy=0.1, verdict=False)
    last = found.rows[-1]
    assert last["w2_density_particles"] <= last["error_density"] + last["error_particles"] <= 0.2


def test_the_sphere_at_a_twentieth():
    problem = as_problem("smooth_sphere").with_("time.end=0.5", "time.outputs=2")
    found = compare(problem, accuracy=0.06, verdict=False)
    assert found.rows[-1]["w2_density_particles"] <= 0.12
    assert max(found.rows[-1]["error_density"], found.rows[-1]["error_particles"]) <= 0.06
