"""Curves, surfaces and domains as mesh generators make them, of any geometry degree, and their mesh files."""

from pathlib import Path

import meshio
import numpy as np

from meshes import spaces
from meshes.cells import CellList, curved, edges_of
from meshes.file import basix_order

MESHIO_NAMES = {(1, 1): "line", (1, 2): "line3", (1, 3): "line4", (2, 1): "triangle", (2, 2): "triangle6",
                (2, 3): "triangle10", (3, 1): "tetra", (3, 2): "tetra10"}
FILE_FORMATS = {".msh": "gmsh22", ".vtu": "vtu", ".xdmf": "xdmf"}


def closed_curve(curve, cells, degree=1):
    """The closed curve t -> curve(t) (n, d), t in [0, 2 pi), in `cells` cells whose nodes lie on it."""
    t = 2 * np.pi * np.arange(cells * degree) / (cells * degree)
    start = degree * np.arange(cells)
    inner = [start + k for k in range(1, degree)]
    return CellList(curve(t), np.column_stack([start, (start + degree) % (cells * degree), *inner]), 1, degree)


def ellipse(cells, degree=1, axes=(1.0, 0.5)):
    return closed_curve(lambda t: np.column_stack([axes[0] * np.cos(t), axes[1] * np.sin(t)]), cells, degree)


def trefoil(cells, degree=1):
    return closed_curve(lambda t: np.column_stack([np.sin(t) + 2 * np.sin(2 * t), np.cos(t) - 2 * np.cos(2 * t),
                                                   -np.sin(3 * t)]) / 3, cells, degree)


def torus(around, across, degree=1, radii=(1.0, 0.4)):
    """Torus of revolution about the third axis, 2 around across triangles, diagonals alternating."""
    big, small = radii

    def place(u, v):
        return np.stack([(big + small * np.cos(v)) * np.cos(u), (big + small * np.cos(v)) * np.sin(u), small * np.sin(v)], -1)

    def push(x):
        ring = np.hypot(x[:, 0], x[:, 1])
        return place(np.arctan2(x[:, 1], x[:, 0]), np.arctan2(x[:, 2], ring - big))

    u, v = np.meshgrid(2 * np.pi * np.arange(around) / around, 2 * np.pi * np.arange(across) / across, indexing="ij")
    number = np.arange(around * across).reshape(around, across)
    a, b = number.ravel(), np.roll(number, -1, 0).ravel()
    c, d = np.roll(number, (-1, -1), (0, 1)).ravel(), np.roll(number, -1, 1).ravel()
    even = ((np.arange(around)[:, None] + np.arange(across)) % 2 == 0).ravel()[:, None, None]
    one = np.stack([np.column_stack([a, b, c]), np.column_stack([a, c, d])], 1)
    two = np.stack([np.column_stack([a, b, d]), np.column_stack([b, c, d])], 1)
    triangles = np.where(even, one, two).reshape(-1, 3)
    return curved(CellList(place(u, v).reshape(-1, 3), triangles, 2), degree, push)


def ellipsoid(frequency, degree=1, axes=(1.2, 1.0, 0.7)):
    """Ellipsoid of 20 frequency^2 triangles."""
    sphere = spaces.sphere(frequency, degree)
    return CellList(sphere.points * np.array(axes), sphere.cells, 2, degree)


def cube(cuts):
    """Surface of [-1/2, 1/2]^3, 12 cuts^2 triangles, oriented outwards."""
    square = spaces.flat(np.array([[0.0, 1.0], [0.0, 1.0]]), 2 * cuts**2)
    points, cells = [], []
    for axis in range(3):
        for side in (0, 1):
            face = np.insert(square.points, axis, float(side), axis=1)
            flip = (side == 1) == (axis == 1)  # the two kept axes are a left-handed pair for axis 1
            turned = square.cells[:, [0, 2, 1]] if flip else square.cells
            cells.append(turned + sum(map(len, points)))
            points.append(face)
    merged, number = spaces.merge_close(np.concatenate(points), 1e-6)
    return CellList(merged - 0.5, number[np.concatenate(cells)], 2)


def l_shape(cuts, degree=1):
    """[-1, 1]^2 without its upper right quarter, 6 cuts^2 triangles."""
    square = spaces.flat(np.array([[-1.0, 1.0], [-1.0, 1.0]]), 8 * cuts**2)
    centre = square.points[square.cells].mean(axis=1)
    kept = square.cells[~(centre > 0).all(axis=1)]
    used, number = np.unique(kept, return_inverse=True)
    return curved(CellList(square.points[used], number.reshape(kept.shape), 2), degree, lambda x: x)


def disc(rings, degree=1):
    """The unit disc, 6 rings^2 triangles, those at its wall curved."""
    flat = [(0.0, 0.0)]
    for r in range(1, rings + 1):
        t = 2 * np.pi * np.arange(6 * r) / (6 * r)
        flat += list(zip(r / rings * np.cos(t), r / rings * np.sin(t), strict=True))
    from scipy.spatial import Delaunay

    points = np.array(flat)
    triangles = Delaunay(points).simplices.astype(np.int64)
    corners = points[triangles]
    left = np.linalg.det(corners[:, 1:] - corners[:, :1]) < 0
    triangles[left] = triangles[left][:, [0, 2, 1]]
    straight = curved(CellList(points, triangles, 2), degree, lambda x: x)
    if degree == 1:
        return straight
    edges, edge_of = edges_of(triangles)
    wall = np.bincount(edge_of.ravel())[edge_of] == 1
    moved = straight.points.copy()
    for cell, edge in zip(*np.nonzero(wall), strict=True):  # nodes on an edge of the wall go onto the circle
        ends = straight.points[edges[edge_of[cell, edge]]]
        for node in straight.cells[cell, 3:]:
            x = straight.points[node]
            if abs(np.linalg.norm(ends - x, axis=1).sum() - np.linalg.norm(ends[1] - ends[0])) < 1e-12:
                moved[node] = x / np.linalg.norm(x)
    return CellList(moved, straight.cells, 2, degree)


def box(cells):
    return spaces.flat(np.array([[-1.0, 1.0], [-1.0, 1.0], [-0.5, 0.5]]), cells)


def meshio_mesh(cells):
    """A cell list as a meshio mesh with nodes in VTK's order and points in R^3."""
    points = np.pad(cells.points, ((0, 0), (0, 3 - cells.points.shape[1])))
    order = np.argsort(basix_order(cells.dimension, cells.geometry))
    return meshio.Mesh(points, [(MESHIO_NAMES[cells.dimension, cells.geometry], cells.cells[:, order])])


def write(cells, path):
    """Write a cell list as .msh (format 2.2, as gmsh writes it), .vtu or .xdmf."""
    path = Path(path)
    meshio_mesh(cells).write(path, file_format=FILE_FORMATS[path.suffix])
    return path
