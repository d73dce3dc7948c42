"""Manifolds made of simplices: closest points, tangents, uniform points, quadrature."""

import numpy as np
import pytest

from meshes import spaces
from meshes.simplicial import SimplicialManifold, closest_on_simplices


def polyhedron(frequency=3):
    cells = spaces.sphere(frequency, 1)
    return SimplicialManifold("file", 3, 2, True, False, None, cells.points, cells.vertices)


def polygon(count=64):
    cells = spaces.circle(count, 1)
    return SimplicialManifold("file", 2, 1, True, False, None, cells.points, cells.vertices)


def rectangle(count=60):
    cells = spaces.flat(np.array([[0.0, 1.0], [0.0, 2.0]]), count)
    return SimplicialManifold("file", 2, 2, False, False, 2.0, cells.points, cells.vertices)


def test_closest_points_are_the_closest_of_all():
    manifold = polyhedron()
    x = np.random.default_rng(0).normal(size=(300, 3))
    corners = manifold.vertices[manifold.simplices]
    squared = np.min([closest_on_simplices(x, np.broadcast_to(c, (len(x), 3, 3)))[1] for c in corners], axis=0)
    y = manifold.retract(x)
    assert np.abs(np.sum((x - y) ** 2, axis=1) - squared).max() < 1e-14
    assert np.abs(manifold.retract(y) - y).max() < 1e-14


def test_a_domain_keeps_what_is_inside_and_takes_the_rest_to_its_walls():
    x = np.random.default_rng(0).normal(size=(300, 2))
    assert np.abs(rectangle().retract(x) - np.clip(x, [0, 0], [1, 2])).max() < 1e-14


def test_tangents_approach_those_of_the_circle():
    x = np.column_stack([np.cos(np.arange(9.0)), np.sin(np.arange(9.0))])
    v = np.tile([0.3, -1.0], (9, 1))
    exact = v - np.sum(v * x, axis=1, keepdims=True) * x
    errors = [np.abs(polygon(n).project(x, v) - exact).max() for n in (64, 1024)]
    assert errors[1] < errors[0] / 8 and errors[1] < 5e-3


@pytest.mark.parametrize("manifold", [polygon(), polyhedron(), rectangle()], ids=["curve", "surface", "domain"])
def test_nodes_and_uniform_points_share_their_moments(manifold):
    points, weights = manifold.nodes(4 * len(manifold.simplices))
    mean = weights @ points / weights.sum()
    u = np.random.default_rng(3).random((40_000, manifold.uniforms))
    samples = manifold.uniform(u)
    assert np.abs(manifold.retract(samples) - samples).max() < 1e-12
    # Five standard errors: a false alarm in 1.7 million numbers.
    assert np.all(np.abs(samples.mean(axis=0) - mean) < 5 * samples.std(axis=0) / 200)
    fine = manifold.nodes(100 * len(manifold.simplices))
    second = [np.einsum("n,ni,nj->ij", w, x, x) / w.sum() for x, w in ((points, weights), fine)]
    assert np.abs(second[0] - second[1]).max() < 1e-13
