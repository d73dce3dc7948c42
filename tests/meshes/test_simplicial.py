"""Manifolds made of simplices, straight and curved: closest points, tangents, uniform points, quadrature, walls."""

import numpy as np
import pytest

from meshes import spaces
from meshes.cells import CellList
from meshes.closest import closest_on_simplices
from meshes.simplicial import simplicial
from meshes.subdivide import refined
from tests.meshes import shapes

CLOSED = {
    "polygon": shapes.ellipse(40), "curved ellipse": shapes.ellipse(20, 2), "trefoil": shapes.trefoil(60, 3),
    "torus": shapes.torus(18, 10), "curved torus": shapes.torus(12, 8, 2),
    "ellipsoid": shapes.ellipsoid(3, 3), "cube": shapes.cube(3),
}
DOMAINS = {"rectangle": spaces.flat(np.array([[0.0, 1.0], [0.0, 2.0]]), 60), "L": shapes.l_shape(3, 2), "disc": shapes.disc(4, 2),
           "box": shapes.box(60), "interval": spaces.flat(np.array([[0.0, 2.0]]), 5)}
EVERY = CLOSED | DOMAINS


def near(cells, count=200, height=0.02, seed=0):
    """Points of the mesh moved by up to `height` in every coordinate."""
    rng = np.random.default_rng(seed)
    manifold = simplicial("file", cells)
    x = manifold.uniform(rng.random((count, manifold.uniforms)))
    return manifold, x, x + height * rng.uniform(-1, 1, size=x.shape)


def test_closest_points_are_the_closest_of_all():
    cells = shapes.ellipsoid(3)
    manifold = simplicial("file", cells)
    x = np.random.default_rng(0).normal(size=(300, 3))
    corners = cells.points[cells.cells]
    squared = np.min([closest_on_simplices(x, np.broadcast_to(c, (len(x), 3, 3)))[1] for c in corners], axis=0)
    y = manifold._nearest(x)[0]
    assert np.abs(np.sum((x - y) ** 2, axis=1) - squared).max() < 1e-14


@pytest.mark.parametrize("cells", [shapes.ellipse(24, 2), shapes.ellipsoid(3, 2), shapes.torus(12, 8, 3)], ids=["1", "2", "3"])
def test_closest_points_of_curved_cells_beat_every_point_of_a_lattice(cells):
    manifold, _, x = near(cells, 60, 0.05)
    y = manifold._nearest(x)[0]
    lattice = np.random.default_rng(1).dirichlet(np.ones(cells.dimension + 1), size=400)[:, 1:]
    every = manifold.maps.everywhere(lattice).reshape(-1, x.shape[1])
    least = np.min(np.linalg.norm(x[:, None] - every, axis=2), axis=1)
    found = np.linalg.norm(x - y, axis=1)
    assert np.all(found <= least + 1e-13)
    # A gap is orthogonal to the cell unless the point lies on its edge; successive linearisation has converged.
    _, cell, xi = manifold._nearest(x)
    inner = np.column_stack([1 - xi.sum(axis=1), xi]).min(axis=1) > 1e-9
    slope = manifold.maps.derivative(cell, xi)
    assert inner.sum() > 20 and np.abs(np.einsum("ni,nia->na", x - y, slope)[inner]).max() < 1e-10


@pytest.mark.parametrize("name", CLOSED)
def test_the_smooth_projection_fixes_the_mesh_and_its_tangents_have_no_jumps(name):
    manifold, x, y = near(CLOSED[name])
    assert np.abs(manifold.retract(x) - x).max() < 1e-12
    again = manifold.retract(manifold.retract(y))
    assert np.abs(again - manifold.retract(y)).max() < 1e-12
    # Vertices and the middles of edges, approached from all sides: field and projection stay continuous.
    cells = manifold.cells
    corner = cells.points[cells.cells[:, 0]]
    inside = manifold.maps.everywhere(np.full((1, cells.dimension), 1.0 / (cells.dimension + 1)))[:, 0]
    v = np.random.default_rng(2).normal(size=corner.shape)
    step = 1e-7 * (inside - corner)
    away = np.abs(manifold.project(manifold.retract(corner + step), v) - manifold.project(corner, v)).max()
    assert away < 1e-4, away
    moved = np.abs(manifold.retract(corner + 0.01 * v + step) - manifold.retract(corner + 0.01 * v))
    assert np.median(moved.max(axis=1)) < 1e-6


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_tangents_and_positions_converge_to_those_of_an_ellipse(degree):
    """Interpolation: positions to order degree + 1; nodal means of two one-sided slopes make tangents second order at least."""
    errors = []
    for n in (24, 48):
        manifold = simplicial("file", shapes.ellipse(n, degree))
        t = np.linspace(0.0, 2 * np.pi, 401)
        x = np.column_stack([np.cos(t), 0.5 * np.sin(t)])
        tangent = np.column_stack([-np.sin(t), 0.5 * np.cos(t)])
        tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
        v = np.tile([0.3, -1.0], (len(t), 1))
        y = manifold.retract(x)
        exact = np.sum(v * tangent, axis=1, keepdims=True) * tangent
        errors.append([np.linalg.norm(x - y, axis=1).max(), np.abs(manifold.project(y, v) - exact).max()])
    orders = np.log2(np.array(errors[0]) / errors[1])
    assert orders[0] > degree + 0.7 and orders[1] > 1.7, (errors, orders)


@pytest.mark.parametrize("name", EVERY)
def test_nodes_and_uniform_points_share_their_moments(name):
    manifold = simplicial("file", EVERY[name])
    count = len(manifold.cells.cells)
    points, weights = manifold.nodes(count * 5**manifold.intrinsic)
    assert weights.sum() == pytest.approx(manifold.volume, rel=1e-13)
    mean = weights @ points / weights.sum()
    u = np.random.default_rng(3).random((10_000, manifold.uniforms))
    samples = manifold.uniform(u)
    assert np.abs(manifold.retract(samples) - samples).max() < 1e-11
    # Five standard errors: a false alarm in 1.7 million numbers.
    assert np.all(np.abs(samples.mean(axis=0) - mean) < 5 * samples.std(axis=0) / np.sqrt(len(samples)))


def test_uniform_points_follow_the_measure_of_a_stretched_cell():
    # One curve of degree 2 in two cells whose middle nodes are far from the middle: x(s) runs unevenly.
    points = np.array([[0.0], [1.0], [0.3]])
    manifold = simplicial("file", CellList(points, np.array([[0, 1, 2]]), 1, 2))
    u = (np.arange(1000.0)[:, None] + 0.5) / 1000
    x = manifold.uniform_in(np.zeros(1000, dtype=int), u)
    assert np.abs(x - u).max() < 1e-10  # rounding, times the condition number of the interpolation in each cell, 1e5


def test_second_moments_of_an_ellipsoid_are_those_of_its_curved_mesh():
    """Uniform on the surface with axes (1, 1, a): area and moments in closed form by quadrature of the profile."""
    axes, frequency = (1.2, 1.0, 0.7), 6
    z, w = np.polynomial.legendre.leggauss(200)
    t = 2 * np.pi * np.arange(400) / 400
    ring = np.sqrt(1 - z**2)[:, None]
    x = np.stack([ring * np.cos(t), ring * np.sin(t), np.broadcast_to(z[:, None], (200, 400))], axis=-1)
    density = np.prod(axes) * np.sqrt(np.sum((x / np.array(axes)) ** 2, axis=-1)) * w[:, None]
    exact = np.sum(density * np.sum((x * np.array(axes)) ** 2, axis=-1)) / density.sum()
    found = {}
    for degree in (1, 2, 3):
        manifold = simplicial("file", shapes.ellipsoid(frequency, degree, axes))
        points, weights = manifold.nodes(9 * 20 * frequency**2)
        found[degree] = abs(weights @ np.sum(points**2, axis=1) / weights.sum() - exact) / exact
    assert found[1] > 5e-3 and found[2] < 1e-4 and found[3] < 1e-4, found  # h^2, h^4


@pytest.mark.parametrize("name", DOMAINS)
def test_a_domain_keeps_what_is_inside_and_takes_the_rest_to_its_walls(name):
    manifold = simplicial("file", DOMAINS[name])
    rng = np.random.default_rng(0)
    x = manifold.uniform(rng.random((200, manifold.uniforms)))
    assert np.array_equal(manifold.retract(x), x)
    out = 3.0 * rng.normal(size=x.shape)
    y = manifold.retract(out)
    assert manifold.contains(y).all() and np.abs(manifold.retract(y) - y).max() < 1e-12
    if name == "rectangle":
        assert np.abs(y - np.clip(out, [0, 0], [1, 2])).max() < 1e-14
    if name == "disc":
        far = np.linalg.norm(out, axis=1) > 1.001
        assert np.abs(np.linalg.norm(y[far], axis=1) - 1).max() < 2e-4  # degree 2, 24 edges: h^4/..


def test_what_leaves_a_domain_is_mirrored_at_its_wall():
    square = simplicial("file", DOMAINS["rectangle"])
    x = np.array([[1.1, 0.5], [0.3, -0.2], [0.5, 1.0], [1.05, 2.02]])
    assert np.abs(square.reflect(x) - [[0.9, 0.5], [0.3, 0.2], [0.5, 1.0], [0.95, 1.98]]).max() < 1e-13
    disc = simplicial("file", DOMAINS["disc"])
    assert np.abs(disc.reflect(np.array([[1.1, 0.0]])) - [[0.9, 0.0]]).max() < 1e-3


@pytest.mark.parametrize("name", EVERY)
def test_refined_cells_are_pieces_of_the_same_geometry(name):
    cells = EVERY[name]
    finer, manifold = refined(cells), simplicial("file", cells)
    again = simplicial("file", finer)
    assert len(finer.cells) == len(cells.cells) * 2**cells.dimension and finer.geometry == cells.geometry
    # Curved lengths and areas are known to the quadrature of the coarse cells.
    assert again.volume == pytest.approx(manifold.volume, rel=1e-13 if cells.geometry == 1 else 1e-7)
    points, _ = again.nodes(1)
    assert np.abs(manifold._nearest(points)[0] - points).max() < 1e-12 if not manifold.solid else manifold.contains(points).all()
    from meshes import file_checks

    file_checks.topology("mesh", finer, not manifold.solid, np.arange(len(finer.cells)))
    vertices = len(np.unique(finer.vertices))
    edges = {1: len(cells.cells), 2: None}.get(cells.dimension)
    if edges is not None:
        assert vertices == len(np.unique(cells.vertices)) + edges


def test_roughness_is_the_height_of_arcs_over_their_chords():
    for n in (16, 64):
        circle = simplicial("file", shapes.ellipse(n, 1, (1.0, 1.0)))
        assert circle.roughness == pytest.approx(1 - np.cos(np.pi / n), rel=0.02)
    assert simplicial("file", shapes.ellipse(64, 2)).roughness < 0.02 * simplicial("file", shapes.ellipse(128)).roughness
    # 18 cube edges of right angles for every 3 x 6 x 3 edges between cells on the faces: only the corners count.
    cells = shapes.cube(3)
    edges, corner = 12 * 3, 1.5 * len(cells.cells)
    size = np.sqrt(0.5) / 3
    assert simplicial("file", cells).roughness == pytest.approx(edges / corner * size * (np.pi / 2) / 8, rel=1e-12)
    assert simplicial("file", shapes.l_shape(2)).roughness == 0.0
