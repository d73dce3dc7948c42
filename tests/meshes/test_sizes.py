"""Meshes with cells of wanted sizes."""

import numpy as np
import pytest
from mpi4py import MPI
from scipy.spatial.distance import cdist

from meshes.build import build_mesh
from meshes.errors import ProblemError
from meshes.quality import quality
from meshes.sizes import COARSEST, FINEST, GROWTH, Sizes
from tests.meshes.support import space


def line(count, size, widest=0.3):
    """Small cells along a quarter of the equator."""
    angles = np.linspace(0, np.pi / 2, count)
    points = np.column_stack([np.cos(angles), np.sin(angles), np.zeros(count)])
    return Sizes(points, np.full(count, size), np.full(count, np.pi / 2 / count), widest)


def test_the_field_is_the_least_of_all_sizes_and_distances():
    rng = np.random.default_rng(1)
    points, sizes = rng.normal(size=(300, 3)), np.exp(rng.uniform(-6, 2, 300))
    field = Sizes(points, sizes, np.ones(300), 1.0).field()
    places, factor, largest = rng.normal(size=(200, 3)), 0.7, 0.5
    exact = np.min(np.maximum(factor * sizes, FINEST * largest) + GROWTH * cdist(places, points), axis=1).clip(max=largest)
    found = field(places, factor, largest)
    # In a class of sizes of ratio sqrt(2) all count as the smallest.
    assert (found <= exact * (1 + 1e-12)).all() and (found >= exact / np.sqrt(2) * (1 - 1e-12)).all()
    assert field(points[:5], 1e9, largest) == pytest.approx([largest] * 5)


def test_thinning_keeps_the_smallest_size_of_each_box():
    points = np.repeat(np.eye(3), 50, axis=0)
    sizes = np.tile(np.linspace(1.0, 1.3, 50), 3)
    thin = Sizes(points, sizes, np.full(150, 0.1), 1.0).thinned()
    assert len(thin.sizes) == 3 and thin.sizes == pytest.approx([1.0] * 3)
    spread = line(400, 0.01)
    assert len(spread.thinned().sizes) == 400  # spacing of half a box at the least: nothing to leave out


@pytest.mark.parametrize("count", [2000, 12000])
def test_sphere(count):
    mesh = build_mesh(space("sphere", grading="law"), count, 2, MPI.COMM_WORLD, wanted=line(500, 0.05))
    facts = quality(mesh)
    assert facts.euler == 2 and facts.boundary_facets == 0 and facts.jumps == 0
    assert abs(np.log(facts.cells / count)) < 0.1
    assert facts.radius_ratio[0] > 0.3
    middle = mesh.cell_nodes[:mesh.owned_cells, :3].mean(axis=1)
    middle /= np.linalg.norm(middle, axis=1, keepdims=True)
    on_line = (np.abs(middle[:, 2]) < 0.01) & (middle[:, 0] > 0) & (middle[:, 1] > 0)
    near, far = mesh.cell_sizes[on_line], mesh.cell_sizes[middle[:, 2] > 0.9]
    widest = max(0.3, COARSEST * np.sqrt(16 * np.pi / (np.sqrt(3) * count)))
    # Bisection spreads sizes over a factor two about the wanted one, and a cell may stay as large as its edges are allowed.
    assert far.max() < 1.5 * widest
    assert near.max() < 0.3 * far.min()


def test_circle():
    angles = np.linspace(0.5, 0.6, 40)
    wanted = Sizes(np.column_stack([np.cos(angles), np.sin(angles)]), np.full(40, 0.01), np.full(40, 0.0025), 0.1)
    mesh = build_mesh(space("circle", grading="law"), 300, 2, MPI.COMM_WORLD, wanted=wanted)
    assert mesh.global_cells == 300
    corners = mesh.cell_nodes[:mesh.owned_cells, :2]
    middle = corners.mean(axis=1)
    turn = np.arctan2(middle[:, 1], middle[:, 0])
    inside = (turn > 0.51) & (turn < 0.59)
    # Between two places, .00128 from either, they grow by GROWTH for each unit of distance.
    assert mesh.cell_sizes[inside].max() < mesh.size_range[0] + GROWTH * 0.00129
    assert mesh.size_range[0] == pytest.approx(mesh.cell_sizes[inside].min(), rel=0.02)
    assert mesh.size_range[1] < 0.11


def test_few_cells_are_wider_than_wanted_and_even():
    mesh = build_mesh(space("sphere", grading="law"), 80, 1, MPI.COMM_WORLD, wanted=line(50, 0.5, widest=0.01))
    assert 60 < mesh.global_cells < 100


def test_sizes_are_needed_and_flat_spaces_have_none():
    with pytest.raises(ProblemError, match=r"space\.grading"):
        build_mesh(space("sphere", grading="law"), 80, 1, MPI.COMM_WORLD)
    with pytest.raises(ProblemError, match=r"space\.grading"):
        build_mesh(space("box", grading="law"), 80, 1, MPI.COMM_WORLD, wanted=line(50, 0.5))
