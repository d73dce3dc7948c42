"""What a problem resolves to: defaults, layers, heads, outputs, overrides, and the round trip through TOML."""

import math
from dataclasses import replace

import numpy as np
import pytest

from problems import ProblemError, bundled, describe, dumps, load, loads

PLAIN = '[space]\nmanifold = "circle"\n[attention]\nbeta = 1.0\n[initial]\nlaw = "uniform"\n'


def test_defaults():
    p = loads(PLAIN)
    assert p.attention.layers[0].until == math.inf
    head = p.attention.at(3.0).heads[0]
    assert np.array_equal(head.query, np.eye(2)) and np.array_equal(head.value, np.eye(2))
    assert (p.attention.accuracy, p.attention.rescaled_time, p.attention.switch_times) == (1e-10, False, ())
    assert (p.time.end, len(p.time.outputs), p.time.stationary) == (8.0, 33, False)
    assert (p.density.cells, p.density.degree, p.density.geometry, p.density.cfl) == (256, 1, 2, None)
    assert (p.density.integrator, p.density.limiter) == ("ssprk33", True)
    assert (p.particles.count, p.particles.sampling, p.particles.integrator) == (4096, "quadrature", "dopri5")
    assert (p.compare.metric, p.compare.tolerance) == ("geodesic", None)
    assert p.noise.diffusivity == 0.0
    assert (p.manifold.name, p.space.dimension, p.space.meshable) == ("circle", 2, True)


def test_noise_is_implicit_unless_asked_otherwise():
    noisy = {"noise.diffusivity": "0.1"}
    assert loads(PLAIN, noisy).density.integrator == "arkimex"
    assert loads(PLAIN, noisy | {"density.integrator": "theta"}).density.integrator == "theta"


def test_the_flagship():
    p = load("misaligned_circle")
    head = p.attention.at(0.0).heads[0]
    # docs/theory.md §4.8
    assert (head.key.T @ head.query).tolist() == [[0.5, 0.25], [0.5, 1.0]]
    assert np.array_equal(head.score, head.query.T @ head.key)
    assert (head.value @ head.score.T).tolist() == [[1.0, 0.5], [0.5, 1.0]]
    assert {0.0, 1.0, 2.0, 3.0, 4.0, 8.0, 12.0} <= set(p.time.outputs)
    assert (p.name, p.attention.at(0.0).beta) == ("misaligned_circle", 100.0)


@pytest.mark.parametrize("beta", ['"inf"', "inf", '"Inf"'])
def test_zero_temperature(beta):
    assert loads(PLAIN.replace("1.0", beta)).attention.at(0.0).beta == math.inf
    assert loads(PLAIN, {"attention.beta": beta.strip('"')}).attention.at(0.0).beta == math.inf


def test_heads_take_what_they_lack_from_the_section():
    p = loads(PLAIN.replace("[initial]", "value = [[2, 0], [0, 2]]\n[[attention.heads]]\nquery = [[1, 2]]\nkey = [[0, 1]]\n"
                            "[[attention.heads]]\nvalue = [[3, 0], [0, 3]]\n[initial]"))
    first, second = p.attention.at(0.0).heads
    assert first.value.tolist() == [[2, 0], [0, 2]] and second.value.tolist() == [[3, 0], [0, 3]]
    assert first.score.tolist() == [[0, 1], [0, 2]] and second.score.tolist() == [[1, 0], [0, 1]]


def test_layers():
    layers = "[{until=1.0, beta=2.0}, {until=3.0, value=[[0,1],[-1,0]]}, {}]"
    attention = loads(PLAIN, {"attention.layers": layers}).attention
    assert attention.switch_times == (1.0, 3.0)
    assert [attention.at(t).beta for t in (0.0, 0.999, 1.0, 3.0, 99.0)] == [2.0, 2.0, 1.0, 1.0, 1.0]
    assert attention.at(2.0).heads[0].value.tolist() == [[0, 1], [-1, 0]]
    assert attention.at(3.0).heads[0].value.tolist() == [[1, 0], [0, 1]]


def test_outputs():
    count = loads(PLAIN, {"time.end": "12", "time.outputs": "121"}).time.outputs
    assert count[0] == 0.0 and count[-1] == 12.0 and count[31] == 3.1
    assert loads(PLAIN, {"time.outputs": "[0.0, 0.5, 8]"}).time.outputs == (0.0, 0.5, 8.0)
    assert loads(PLAIN, {"time.end": "0"}).time.outputs == (0.0,)
    stationary = loads(PLAIN, {"time.end": "stationary"}).time
    assert stationary.stationary and stationary.outputs == (0.0,)


@pytest.mark.parametrize(
    ("space", "facts"),
    [
        ('manifold = "sphere"', ("sphere", 3, True)),
        ('manifold = "sphere"\ndimension = 32', ("sphere", 32, False)),
        ('manifold = "sphere"\ndimension = 2', ("circle", 2, True)),
        ('manifold = "interval"\nbounds = [[0, 1]]', ("interval", 1, True)),
        ('manifold = "box"\nbounds = [[0, 1], [0, 1], [0, 1]]', ("box", 3, True)),
        ('manifold = "box"\nbounds = [[0, 1], [0, 1], [0, 1], [0, 1]]', ("box", 4, False)),
    ],
)
def test_spaces(space, facts):
    p = loads(PLAIN.replace('manifold = "circle"', space))
    assert (p.space.manifold, p.space.dimension, p.space.meshable) == facts
    assert p.manifold.dimension == p.space.dimension == len(p.attention.at(0).heads[0].value)
    assert dumps(loads(dumps(p))) == dumps(p)


def test_overrides():
    text = PLAIN.replace("[initial]", "[[attention.heads]]\n[[attention.heads]]\n[initial]")
    p = loads(text, {"attention.heads[1].value": "[[0, 1], [1, 0]]", "attention.heads.0.value": "[[5, 0], [0, 5]]",
                     "title": "two words", "density.cells": "64", "compare.metric": "chordal", "particles.step": "1e-2"})
    assert [head.value[0, 0] for head in p.attention.at(0).heads] == [5.0, 0.0]
    assert (p.title, p.density.cells, p.compare.metric, p.particles.step) == ("two words", 64, "chordal", 0.01)


@pytest.mark.parametrize("name", [name for name, _ in bundled()])
def test_bundled_problems_round_trip(name):
    p = load(name)
    again = loads(dumps(p), name=name)
    assert dumps(again) == dumps(p)
    assert again.time == p.time and again.density == p.density and again.particles == p.particles
    points, masses = p.initial.quadrature(p.particles.count)
    assert np.array_equal(again.initial.quadrature(p.particles.count)[1], masses)
    assert len(points) == len(masses) and abs(len(masses) - p.particles.count) < 0.1 * p.particles.count
    lines = describe(p)
    assert lines[0] == ("problem", p.title) and all("\n" not in text for _, text in lines)


def test_round_trip_of_everything(tmp_path):
    (tmp_path / "points.csv").write_text("1,0,1\n0,1,2\n")
    path = tmp_path / "all.toml"
    path.write_text(
        'title = "quotes \\" and \\\\ and ünïcode"\n[space]\nmanifold = "circle"\ngrading = {half_width = 0.2, ratio = 8}\n'
        '[attention]\nnormalization = "none"\nbeta = 3.0\n'
        "[[attention.layers]]\nuntil = 0.1\n[[attention.layers.heads]]\n"
        "[[attention.layers.heads]]\nquery = [[1, 2]]\nkey = [[3, 4]]\n"
        "[[attention.layers]]\n"
        '[noise]\ndiffusivity = 1e-3\n[initial]\nlaw = "table"\npath = "points.csv"\n'
        "[time]\nend = 1\noutputs = [0, 0.3]\nrescaled = true\n[density]\ncfl = 0.5\nstep = 1e-3\n"
        '[particles]\nsampling = "sobol"\nensemble = 3\n[compare]\ntolerance = 0.1\n'
    )
    p = load(path)
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "problem.toml").write_text(dumps(p), encoding="utf-8")
    again = load(other / "problem.toml")
    assert dumps(again) == dumps(p)
    assert again.space == p.space and again.title == p.title and again.compare == p.compare
    assert again.initial.atoms()[0].tolist() == p.initial.atoms()[0].tolist()
    assert again.attention.at(0.0).heads[1].score.tolist() == [[3, 4], [6, 8]]
    assert loads(dumps(replace(p, density=replace(p.density, cells=17)))).density.cells == 17


def test_rotated_weights_give_rotated_scores():
    """docs/theory.md §6: (Q, K, V) -> (Q R^T, K R^T, R V R^T) rotates <Qx, Ky> and V with the tokens."""
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    query, key, value = rng.normal(size=(3, 3, 3))
    text = PLAIN.replace('"circle"', '"sphere"')

    def weights(q, k, v):
        return loads(text, {f"attention.{n}": str(m.tolist()) for n, m in zip(("query", "key", "value"), (q, k, v), strict=True)})

    plain = weights(query, key, value).attention.at(0).heads[0]
    turned = weights(query @ rotation.T, key @ rotation.T, rotation @ value @ rotation.T).attention.at(0).heads[0]
    assert np.abs(turned.score - rotation @ plain.score @ rotation.T).max() < 1e-14
    x, y = rng.normal(size=(2, 3))
    assert (rotation @ x) @ turned.score @ (rotation @ y) == pytest.approx((query @ x) @ (key @ y), abs=1e-13)


def test_a_mesh_file_is_a_space(tmp_path):
    import meshio

    from meshes import spaces

    cells = spaces.sphere(3, 1)
    meshio.write_points_cells(tmp_path / "ball.vtu", cells.points, [("triangle", cells.vertices)])
    path = tmp_path / "file.toml"
    path.write_text(PLAIN.replace('"circle"', '"file"\npath = "ball.vtu"'))
    p = load(path)
    assert (p.space.dimension, p.manifold.intrinsic, p.manifold.closed) == (3, 2, True)
    assert load(path).space.path == str(tmp_path / "ball.vtu")
    points, masses = p.initial.quadrature(1000)
    assert masses.sum() == pytest.approx(1.0) and np.abs(masses @ points).max() < 1e-12
    assert np.abs(p.manifold.retract(p.initial.sample(100, 0)) - p.initial.sample(100, 0)).max() < 1e-12
    assert dumps(loads(dumps(p))) == dumps(p)


def test_a_normal_law_on_a_mesh_file(tmp_path):
    import meshio

    from meshes import spaces

    cells = spaces.sphere(4, 1)
    meshio.write_points_cells(tmp_path / "ball.vtu", cells.points, [("triangle", cells.vertices)])
    path = tmp_path / "file.toml"
    parts = "[[initial.components]]\nmean = {}\ncovariance = 0.1\nweight = {}\n"
    path.write_text(
        PLAIN.replace('"circle"', '"file"\npath = "ball.vtu"').replace("uniform", "normal")
        + parts.format("[0, 0, 2]", 2.0) + parts.format("[1, 0, 0]", 1.0)
    )
    law = load(path).initial
    points, volumes = law.manifold.nodes(4 * 4 * 320)
    assert volumes @ law.density(points) == pytest.approx(1.0, abs=1e-6)
    nodes, masses = law.quadrature(4 * 320)
    samples = law.sample(20_000, 1)
    assert np.abs(law.manifold.retract(samples) - samples).max() < 1e-12
    # Five standard errors: a false alarm in 1.7 million numbers.
    assert np.all(np.abs(samples.mean(axis=0) - masses @ nodes) < 5 * samples.std(axis=0) / math.sqrt(20_000) + 1e-4)
    with pytest.raises(ProblemError, match=r'particles.sampling = "sobol"; not for a normal law on a mesh'):
        law.sobol(10, 0)
    with pytest.raises(ProblemError, match=r"initial.components.0..mean = .0, 0, 200.; must be a point near the mesh"):
        path.write_text(path.read_text().replace("[0, 0, 2]", "[0, 0, 200]"))
        load(path)


def test_large_identities_are_not_written_out():
    content = ('[space]\nmanifold = "sphere"\ndimension = 300\n[attention]\nbeta = 1.0\n[[attention.heads]]\n'
               '[[attention.heads]]\n[initial]\nlaw = "uniform"\n')
    problem = loads(content)
    text = dumps(problem)
    assert len(text) < 2000
    again = loads(text)
    assert [head.value.shape for head in again.attention.layers[0].weights.heads] == [(300, 300)] * 2
    assert all(np.array_equal(head.query, np.eye(300)) for head in again.attention.layers[0].weights.heads)
    assert dumps(again) == text
