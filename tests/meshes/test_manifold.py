"""Manifolds as maps of points."""

import math

import numpy as np
import pytest

from meshes.manifold import flat, sphere


def random_points(dimension, count=50, seed=0):
    points = np.random.default_rng(seed).normal(size=(count, dimension))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


@pytest.mark.parametrize(("dimension", "area"), [(2, 2 * math.pi), (3, 4 * math.pi), (4, 2 * math.pi**2)])
def test_sphere_facts(dimension, area):
    manifold = sphere(dimension)
    assert manifold.volume == pytest.approx(area, rel=1e-15)
    assert (manifold.intrinsic, manifold.closed, manifold.normalised) == (dimension - 1, True, True)
    assert manifold.name == ("circle" if dimension == 2 else "sphere")


@pytest.mark.parametrize("dimension", [2, 3, 7])
def test_projection_is_orthogonal_and_tangent(dimension):
    manifold, x = sphere(dimension), random_points(dimension)
    v = np.random.default_rng(1).normal(size=x.shape)
    p = manifold.project(x, v)
    assert np.abs(np.sum(p * x, axis=1)).max() < 1e-14
    assert np.abs(manifold.project(x, p) - p).max() < 1e-14
    assert np.abs(np.sum((v - p) * p, axis=1)).max() < 1e-13


def test_retraction_returns_to_the_sphere_and_fixes_it():
    manifold, x = sphere(3), random_points(3)
    assert np.abs(manifold.retract(7.0 * x) - x).max() < 1e-15
    with pytest.raises(ZeroDivisionError, match="origin"):
        manifold.retract(np.zeros((1, 3)))


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-5, 1.0, math.pi / 2, math.pi - 1e-9, math.pi])
def test_geodesic_distance_keeps_its_digits_near_and_far(angle):
    x, y = np.array([[1.0, 0.0]]), np.array([[math.cos(angle), math.sin(angle)]])
    assert sphere(2).distance(x, y)[0] == pytest.approx(angle, rel=1e-12, abs=1e-15)


def test_distance_broadcasts_and_is_a_metric():
    manifold, x, y, z = sphere(4), *(random_points(4, seed=s) for s in range(3))
    assert manifold.distance(x[:, None], y[None]).shape == (50, 50)
    assert np.all(manifold.distance(x, z) <= manifold.distance(x, y) + manifold.distance(y, z) + 1e-14)
    assert np.array_equal(manifold.distance(x, y), manifold.distance(y, x))


def test_box_clips_to_its_walls():
    box = flat([[0.0, 1.0], [-1.0, 2.0]])
    assert (box.name, box.dimension, box.volume, box.closed) == ("rectangle", 2, 3.0, False)
    assert box.retract(np.array([[2.0, 0.5], [0.5, -3.0]])).tolist() == [[1.0, 0.5], [0.5, -1.0]]
    assert flat([[0, 1]]).name == "interval"
    assert flat([[0, 1]] * 5).name == "box"


def test_whole_space_moves_nothing():
    space, x = flat(dimension=3), random_points(3)
    assert space.volume is None
    assert np.array_equal(space.retract(9.0 * x), 9.0 * x)
    assert np.array_equal(space.project(x, 2.0 * x), 2.0 * x)
    assert space.distance(x, -x) == pytest.approx(2.0 * np.ones(len(x)))


@pytest.mark.parametrize("bounds", [[[1.0, 0.0]], [[0.0, 0.0]], [[0.0, math.nan]], []])
def test_walls_must_be_in_order(bounds):
    with pytest.raises(ValueError, match="a < b"):
        flat(bounds)


def test_a_sphere_needs_two_dimensions():
    with pytest.raises(ValueError, match="dimension >= 2"):
        sphere(1)
