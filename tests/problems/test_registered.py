"""Initial laws of the user's own."""

import importlib.metadata

import numpy as np
import pytest

from problems import ProblemError, dumps, load, loads, register_law
from problems.laws import registered


def problem(law, **options):
    keys = "\n".join(f"{key} = {value}" for key, value in options.items())
    return loads(f'[space]\nmanifold = "circle"\n[attention]\nbeta = 5.0\n[initial]\nlaw = "{law}"\n{keys}\n'
                 "[particles]\ncount = 64\n")


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    monkeypatch.setattr(registered, "REGISTERED", {})


def test_a_registered_law_is_the_bundled_one_of_the_same_density():
    @register_law("mine")
    def mine(points, kappa=1.0):
        return 7.0 * np.exp(kappa * points[:, 0])

    law = problem("mine", kappa=3.0).initial
    same = loads('[space]\nmanifold = "circle"\n[attention]\nbeta = 5.0\n[initial]\nlaw = "von-mises-fisher"\n'
                 '[[initial.components]]\nmean = [1.0, 0.0]\nconcentration = 3.0\n').initial
    angles = np.linspace(0, 6, 50)
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    # The trapezoidal rule is exact to round-off for an analytic periodic density.
    assert law.density(points) == pytest.approx(same.density(points), rel=1e-12)
    assert law.quadrature(64)[1] == pytest.approx(same.quadrature(64)[1], rel=1e-12)
    assert loads(dumps(problem("mine", kappa=3.0))).initial.options == {"kappa": 3.0}


@pytest.mark.parametrize(("function", "options", "words"), [
    (lambda points: -np.ones(len(points)), {}, "negative"),
    (lambda points: np.ones((len(points), 2)), {}, "must return densities"),
    (lambda points: np.zeros(len(points)), {}, "total mass"),
    (lambda points: np.ones(len(points)), {"width": 1.0}, "width"),
])
def test_what_is_no_density_is_refused(function, options, words):
    register_law("bad")(function)
    with pytest.raises(ProblemError, match=words):
        problem("bad", **options)


def test_a_name_nobody_registered_is_refused_and_samples_are_not_invented():
    with pytest.raises(ProblemError, match=r"initial\.law"):
        problem("nobody")
    register_law("even")(lambda points: np.ones(len(points)))
    with pytest.raises(ProblemError, match="quadrature"):
        problem("even").initial.sample(3, 0)


def test_an_entry_point_offers_a_law(monkeypatch):
    entry = importlib.metadata.EntryPoint("installed", "math:fsum", registered.GROUP)
    monkeypatch.setattr(registered, "entry_points", lambda group, name: [entry] if name == "installed" else [])
    assert registered.find_law("installed") is __import__("math").fsum
    assert load("smooth_circle").initial.name == "harmonics"
