"""Meshes graded towards the target set."""

import numpy as np
import pytest
from mpi4py import MPI
from scipy.spatial import cKDTree

from meshes.build import build_mesh
from meshes.errors import ProblemError
from meshes.grading import distance_to_subspace, size_function
from meshes.quality import quality
from tests.meshes.support import space


def test_size_function():
    sizes = size_function(np.array([0.0, 0.2, 0.3, 0.4, 3.0]), 0.2, 8.0)
    assert sizes[:2] == pytest.approx(1 / 8) and sizes[3:] == pytest.approx(1)
    assert sizes[2] == pytest.approx(9 / 16)


def test_distance_to_subspace():
    distance = distance_to_subspace(np.array([[1.0, 1.0]]))
    angles = np.array([0.0, np.pi / 4, np.pi / 2, 5 * np.pi / 4])
    assert distance(np.column_stack([np.cos(angles), np.sin(angles)])) == pytest.approx(
        [np.pi / 4, 0, np.pi / 4, 0], abs=1e-15)


def test_circle():
    mesh = build_mesh(space("circle", grading=(0.2, 8.0)), 400, 2, MPI.COMM_WORLD,
                      distance_to_E=distance_to_subspace(np.array([[1.0, 1.0]])))
    assert mesh.global_cells == 400
    assert mesh.size_range[1] / mesh.size_range[0] == pytest.approx(8, rel=0.02)
    corners = mesh.cell_nodes[:, :2]
    distance = distance_to_subspace(np.array([[1.0, 1.0]]))(corners.mean(axis=1))
    assert mesh.cell_sizes[distance < 0.19].max() < 1.01 * mesh.size_range[0]
    # The set is even, so is the mesh: even laws stay even.
    vertices = corners[:, 0]
    assert cKDTree(vertices).query(-vertices)[0].max() < 1e-9


@pytest.mark.parametrize(("basis", "ratio"), [([[0, 0, 1]], 8), ([[1, 0, 0], [0, 1, 0]], 4), ([[1, 1, 0]], 3)])
def test_sphere(basis, ratio):
    distance = distance_to_subspace(np.array(basis, dtype=float))
    mesh = build_mesh(space("sphere", grading=(0.3, ratio)), 3000, 2, MPI.COMM_WORLD, distance_to_E=distance)
    facts = quality(mesh)
    assert facts.euler == 2 and facts.boundary_facets == 0 and facts.jumps == 0
    assert 0.85 < facts.cells / 3000 < 1.15
    assert facts.radius_ratio[0] > 0.3
    assert np.abs(np.linalg.norm(mesh.mesh.geometry.x, axis=1) - 1).max() < 4e-16
    middle = mesh.cell_nodes[:, :3].mean(axis=1)
    away = distance(middle / np.linalg.norm(middle, axis=1, keepdims=True))
    near, far = mesh.cell_sizes[away < 0.25], mesh.cell_sizes[away > 0.75]
    assert far.mean() / near.mean() == pytest.approx(ratio, rel=0.35)


@pytest.mark.parametrize("grading", [(0.0, 2.0), (0.1, 0.5), "fine", (0.1,)])
def test_bad_grading(grading):
    with pytest.raises(ProblemError, match=r"space\.grading"):
        build_mesh(space("circle", grading=grading), 50, 1, MPI.COMM_WORLD, distance_to_E=lambda x: x[:, 0])


def test_grading_needs_a_target_on_a_sphere():
    with pytest.raises(ProblemError, match="no target set"):
        build_mesh(space("circle", grading=(0.1, 4.0)), 50, 1, MPI.COMM_WORLD)
    with pytest.raises(ProblemError, match="only for the circle and the sphere"):
        build_mesh(space("box", grading=(0.1, 4.0)), 50, 1, MPI.COMM_WORLD, distance_to_E=lambda x: x[:, 0])
