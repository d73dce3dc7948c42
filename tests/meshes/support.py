"""Small spaces and mesh files for the tests of `meshes`."""

import meshio
import numpy as np

from meshes import spaces
from meshes.build import PlainSpace
from meshes.file import basix_order

BOUNDS = {"interval": [[0.0, 2.0]], "rectangle": [[0.0, 2.0], [-1.0, 1.0]],
          "box": [[0.0, 1.0], [0.0, 1.0], [0.0, 1.5]]}
VOLUMES = {"circle": 2 * np.pi, "sphere": 4 * np.pi, "interval": 2.0, "rectangle": 4.0, "box": 1.5}
MESHIO_NAMES = {(1, 1): "line", (1, 2): "line3", (1, 3): "line4", (2, 1): "triangle", (2, 2): "triangle6",
                (2, 3): "triangle10", (3, 1): "tetra", (3, 2): "tetra10"}


def space(manifold, grading=None, path=None):
    return PlainSpace(manifold, bounds=BOUNDS.get(manifold), grading=grading, path=path)


def meshio_mesh(cells):
    """A cell list as a meshio mesh with nodes in VTK's order and points in R^3."""
    points = np.pad(cells.points, ((0, 0), (0, 3 - cells.points.shape[1])))
    order = np.argsort(basix_order(cells.dimension, cells.geometry))
    return meshio.Mesh(points, [(MESHIO_NAMES[cells.dimension, cells.geometry], cells.cells[:, order])])


def save(path, points, *blocks, **options):
    """Write points and (type, cells) blocks to a mesh file."""
    mesh = meshio.Mesh(np.asarray(points, dtype=float), [(kind, np.asarray(data)) for kind, data in blocks])
    meshio.write(path, mesh, **options)
    return path


def octahedron():
    """(6, 3) points and (8, 3) triangles, oriented outwards."""
    points = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], dtype=float)
    faces = [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]]
    return points, np.array(faces)


def cell_lists():
    """One small cell list for each kind of cell a file may hold."""
    yield from (spaces.circle(7, g) for g in (1, 2, 3))
    yield from (spaces.sphere(2, g) for g in (1, 2, 3))
    yield from (spaces.flat(np.array(BOUNDS[name]), 12) for name in BOUNDS)
