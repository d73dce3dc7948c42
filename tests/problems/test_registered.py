"""What users register: how problem files name it, and what is refused."""

import importlib.metadata

import jsonschema
import numpy as np
import pytest

from meshes.own import TokenSpace
from problems import (
    ProblemError,
    dumps,
    load,
    loads,
    register_diagnostic,
    register_law,
    register_manifold,
    register_score,
    register_velocity,
    registered,
)
from problems.diagnostics import TAKEN, TAKEN_BEGINNINGS
from problems.schema import problem_schema
from solver.runs.tables import diagnostics_columns

HEAD = '[space]\nmanifold = "circle"\n[attention]\nbeta = 5.0\n[particles]\ncount = 64\n'
UNIFORM = '[initial]\nlaw = "uniform"\n'


def problem(law, **options):
    keys = "\n".join(f"{key} = {value}" for key, value in options.items())
    return loads(f'{HEAD}[initial]\nlaw = "{law}"\n{keys}\n')


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for registry in registered.REGISTRIES:
        monkeypatch.setattr(registry, "functions", {})


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
    (lambda points: np.ones((len(points), 2)), {}, "must return an array of shape"),
    (lambda points: np.zeros(len(points)), {}, "total mass"),
    (lambda points: np.ones(len(points)), {"width": 1.0}, "width"),
    (lambda points: 1 / 0, {}, "ZeroDivisionError"),
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


def test_entry_points_offer_every_kind(monkeypatch):
    def offered(group, name=None):
        found = [importlib.metadata.EntryPoint("installed", "math:fsum", group)]
        return [entry for entry in found if name in (None, entry.name)]

    monkeypatch.setattr(registered, "entry_points", offered)
    groups = ("laws", "scores", "velocities", "diagnostics", "manifolds")
    assert [registry.group for registry in registered.REGISTRIES] == [f"coldflow.{group}" for group in groups]
    for registry in registered.REGISTRIES:
        assert registry.find("installed") is __import__("math").fsum
        assert registry.find("other") is None
        assert registry.names() == ["installed"]
    assert load("smooth_circle").initial.name == "harmonics"


def dot(queries, keys, scale=1.0):
    return scale * queries @ keys.T


# What stands in a file -> its function, registered under the name "mine", and what the one line says.
WRONG = {
    "score: nobody": ('score = "nobody"', None, "attention.score"),
    "score: no name": ("score = { scale = 1.0 }", dot, "attention.score"),
    "score: number": ("score = 2.0", dot, "attention.score"),
    "score: unknown argument": ('score = { name = "mine", width = 1.0 }', dot, "width"),
    "score: shape": ('score = "mine"', lambda queries, keys: keys @ queries.T, r"shape \(2, 3\)"),
    "score: error": ('score = "mine"', lambda queries, keys: queries.nothing, "AttributeError"),
    "velocity: nobody": ('[drift]\nvelocity = "nobody"', None, "drift.velocity"),
    "velocity: unknown key": ('[drift]\nspeed = "mine"', None, "unknown key"),
    "velocity: shape": ('[drift]\nvelocity = "mine"', lambda points: points[:, 0], r"shape \(4, 2\)"),
    "velocity: NaN": ('[drift]\nvelocity = "mine"', lambda points: points * np.nan, "finite"),
    "diagnostic: nobody": ('[diagnostics]\ncolumns = ["nobody"]', None, "diagnostics.columns"),
    "diagnostic: text": ('[diagnostics]\ncolumns = "mine"', None, "a list"),
    "diagnostic: vector": ('[diagnostics]\ncolumns = ["mine"]', lambda points, masses: masses @ points, r"shape \(\)"),
    "diagnostic: twice": ('[diagnostics]\ncolumns = ["mine", "mine"]', lambda points, masses: 1.0, "a name of its own"),
    "diagnostic: taken": ('[diagnostics]\ncolumns = [{ name = "mine", column = "mean_x" }]', lambda points, masses: 1.0,
                          "every run has"),
    "diagnostic: header": ('[diagnostics]\ncolumns = [{ name = "mine", column = "a,b" }]', lambda points, masses: 1.0, "letters"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_used_is_refused_in_one_line(case):
    text, function, words = WRONG[case]
    if function is not None:
        kinds = {"score": register_score, "velocity": register_velocity, "diagnostic": register_diagnostic}
        kinds[case.split(":")[0]]("mine")(function)
    head = HEAD.replace("beta = 5.0", f"beta = 5.0\n{text}") if text.startswith("score") else f"{HEAD}{text}\n"
    with pytest.raises(ProblemError, match=words) as caught:
        loads(f"{head}{UNIFORM}")
    assert "\n" not in str(caught.value)


def circle(dimension=2, **changes):
    def unit(points):
        return points / np.linalg.norm(points, axis=1, keepdims=True)

    def tangent(points, vectors):
        return vectors - np.einsum("ni,ni->n", points, vectors)[:, None] * points

    return TokenSpace(dimension, **({"retract": unit, "project": tangent} | changes))


@pytest.mark.parametrize(("make", "words"), [
    (lambda: 1.0, "must return a meshes.own.TokenSpace"),
    (lambda: 1 / 0, "ZeroDivisionError"),
    (lambda: circle(retract=lambda points: 2.0 * points), "retract must leave points"),
    (lambda: circle(project=lambda points, vectors: 2.0 * vectors), "project must leave tangent"),
    (lambda: circle(project=lambda points, vectors: vectors), "disagree"),
    (lambda: circle(intrinsic=3), "intrinsic"),
    (lambda: circle(retract=lambda points: points.nothing), "AttributeError"),
    (lambda: circle(distance=lambda x, y: np.full(len(x), -1.0)), "distance"),
    (lambda radius: circle(), "does not take these keys"),
])
def test_what_is_no_space_is_refused(make, words):
    register_manifold("mine")(make)
    with pytest.raises(ProblemError, match=words):
        loads('[space]\nmanifold = "mine"\n[attention]\nbeta = 1.0\n[initial]\nlaw = "normal"\n'
              "[[initial.components]]\nmean = [1.0, 0.0]\ncovariance = 0.1\n")


def test_names_and_arguments_are_written_out_and_read_back():
    register_score("dot")(dot)
    register_velocity("turn")(lambda points, speed=1.0: speed * points[:, ::-1] * [-1.0, 1.0])
    register_diagnostic("top")(lambda points, masses, height=0.5: masses[points[:, 1] > height].sum())
    given = loads(HEAD.replace("beta = 5.0", 'beta = 5.0\nscore = { name = "dot", scale = 2.0 }') + UNIFORM
                  + '[drift]\nvelocity = { name = "turn", speed = 3.0 }\n'
                  '[diagnostics]\ncolumns = ["top", { name = "top", height = 0.0, column = "upper" }]\n')
    again = loads(dumps(given))
    assert dumps(again) == dumps(given)
    assert again.attention.layers[0].weights.own_score.options == {"scale": 2.0}
    assert again.drift.velocity.options == {"speed": 3.0}
    assert again.diagnostics.names == ["top", "upper"]
    assert again.with_("drift.velocity.speed=4").drift.velocity.options == {"speed": 4}
    # Without them nothing is written that an older file did not have.
    assert "drift" not in dumps(load("smooth_circle"))
    assert "diagnostics" not in dumps(load("smooth_circle"))


def test_columns_of_ones_own_cannot_hide_those_of_every_run():
    for density in (True, False):
        for name in diagnostics_columns(3, density=density):
            assert name in TAKEN or name.startswith(TAKEN_BEGINNINGS)


def test_the_schema_knows_registered_names():
    values = {"space": {"manifold": "mine", "radius": 2.0}, "attention": {"beta": 1.0, "score": "dot"},
              "initial": {"law": "lobes", "width": 1.0}, "drift": {"velocity": {"name": "turn", "speed": 1.0}},
              "diagnostics": {"columns": ["top", {"name": "top", "column": "upper"}]}}
    own = jsonschema.Draft202012Validator(problem_schema(["lobes"], ["mine"]))
    plain = jsonschema.Draft202012Validator(problem_schema())
    own.validate(values)
    assert {tuple(error.path)[:2] for error in plain.iter_errors(values)} >= {("space", "manifold"), ("initial", "law")}
    bundled = {**values, "space": {"manifold": "circle", "radius": 2.0}, "initial": {"law": "uniform"}}
    assert not own.is_valid(bundled)
    for key, value in (("score", 1.0), ("score", {"scale": 1.0})):
        assert not own.is_valid({**values, "attention": {"beta": 1.0, key: value}})
    assert not own.is_valid({**values, "drift": {"velocity": ["turn"]}})
    assert not own.is_valid({**values, "diagnostics": {"columns": "top"}})
