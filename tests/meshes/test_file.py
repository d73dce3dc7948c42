"""Mesh files: every format and degree comes back as it was; unsound meshes are refused by cell."""

import meshio
import numpy as np
import pytest
from mpi4py import MPI

from meshes import file, geometry, spaces
from meshes.build import build_mesh
from meshes.errors import ProblemError
from meshes.quality import mesh_report, quality
from tests.meshes.support import cell_lists, meshio_mesh, octahedron, save, space

FORMATS = {"gmsh2.msh": "gmsh22", "gmsh4.msh": "gmsh", "mesh.xdmf": "xdmf", "mesh.vtu": "vtu"}
LISTS = list(cell_lists())
# XDMF has no cells of degree 3.
CASES = [pytest.param(name, c, id=f"{name}-{c.cell_name}{c.geometry}-in-R{c.points.shape[1]}")
         for name in FORMATS for c in LISTS if not (name == "mesh.xdmf" and c.geometry == 3)]


@pytest.mark.parametrize(("name", "cells"), CASES)
def test_round_trip(tmp_path, name, cells):
    mesh = meshio_mesh(cells)
    if name == "gmsh2.msh" and cells.points.shape[1] < 3:
        mesh.points[:, cells.points.shape[1]:] = 0.0
    if FORMATS[name] == "vtu" and cells.geometry == 3:  # in meshio's names for VTK's cells of any degree
        kind = {1: "VTK_LAGRANGE_CURVE", 2: "VTK_LAGRANGE_TRIANGLE"}[cells.dimension]
        mesh = meshio.Mesh(mesh.points, [(kind, mesh.cells[0].data)])
    mesh.write(tmp_path / name, file_format=FORMATS[name])
    found = file.read(tmp_path / name)
    assert found.closed == (cells.points.shape[1] > cells.dimension)
    assert found.cells.geometry == cells.geometry
    assert np.allclose(found.cells.points[found.cells.cells], cells.points[cells.cells], atol=1e-15)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_curved_files_keep_their_area(tmp_path, degree):
    cells = spaces.sphere(4, degree)
    meshio_mesh(cells).write(tmp_path / "sphere.msh", file_format="gmsh22")
    built = build_mesh(space("file", path=tmp_path / "sphere.msh"), 0, 1, MPI.COMM_WORLD)
    facts = quality(built)
    exact = geometry.measures(cells.points[cells.cells], 2, degree).sum()
    assert facts.measure == pytest.approx(exact, rel=1e-13)
    assert (facts.euler, facts.boundary_facets, facts.jumps) == (2, 0, 0)
    assert built.geometry == degree and built.manifold.name == "file" and built.manifold.closed


def test_boundary_markers_and_unused_nodes_are_left_out(tmp_path):
    points = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [5, 5, 0]]
    path = save(tmp_path / "square.vtu", points, ("vertex", [[4]]), ("line", [[0, 1], [1, 2]]),
                ("triangle", [[0, 1, 2], [0, 2, 3]]))
    found = file.read(path)
    assert not found.closed and found.unused_nodes == 1
    assert found.cells.points.shape == (4, 2) and list(found.file_index) == [3, 4]


def _octahedron(change):
    points, faces = octahedron()
    points, faces = points.copy(), faces.copy()
    result = change(points, faces)
    return result if result is not None else (points, faces)


def _flip(points, faces):
    faces[3] = faces[3][::-1]


def _open(points, faces):
    return points, faces[:-1]


def _fin(points, faces):
    return np.vstack([points, [[2, 2, 0]]]), np.vstack([faces, [[0, 2, 6]]])


def _twice(points, faces):
    faces[2, 1] = faces[2, 0]


def _zero_area(points, faces):
    extra = np.vstack([points, (points[0] + points[2]) / 2])
    rows = [row for row in faces.tolist() if row not in ([0, 2, 4], [2, 0, 5])]
    return extra, np.array([*rows, [0, 2, 6], [0, 6, 4], [6, 2, 4], [2, 0, 5]])


def _not_finite(points, faces):
    points[4, 1] = np.nan


def _pinched(points, faces):
    return np.vstack([points, points[1:] + np.array([2, 0, 0])]), np.vstack(
        [faces, np.where(faces == 1, 0, np.where(faces == 0, 6, faces + 5))])


HOSTILE = {
    "flipped": (_flip, "cell 3 is oriented against"),
    "open": (_open, "cell [0-9]+ has an edge on a boundary.*closed"),
    "fin": (_fin, "cell [0-9]+ has an edge shared by more than two"),
    "node twice": (_twice, "cell 2 is degenerate"),
    "no area": (_zero_area, "cell 6 is degenerate"),
    "not finite": (_not_finite, "cell 0 has a coordinate that is not a finite"),
    "pinched": (_pinched, "cell [0-9]+ touches others at a vertex alone"),
}


@pytest.mark.parametrize("case", list(HOSTILE))
def test_unsound_surfaces(tmp_path, case):
    change, message = HOSTILE[case]
    points, faces = _octahedron(change)
    path = save(tmp_path / "surface.vtu", points, ("triangle", faces))
    with pytest.raises(ProblemError, match=message) as caught:
        file.read(path)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("space.path")


def test_unsound_curves_and_domains(tmp_path):
    ring = [[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]]
    path = tmp_path / "mesh.vtu"
    for cells, message in (
        ([[0, 1], [1, 2], [2, 3]], "cell 0 has a vertex on a boundary"),
        ([[0, 1], [1, 2], [3, 2], [3, 0]], "cell 2 is oriented against"),
        ([[0, 1], [1, 2], [2, 3], [3, 0], [0, 2]], "cell 0 has a vertex shared by more than two"),
    ):
        save(path, ring, ("line", cells))
        with pytest.raises(ProblemError, match=message):
            file.read(path)
    square = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [2, 2, 0], [1, 2, 0]]
    for cells, message in (
        ([[0, 1, 2], [0, 3, 2]], "cell [01] is oriented against"),
        ([[0, 1, 2], [0, 2, 3], [2, 4, 5]], "cell 2 touches others at a vertex alone"),
    ):
        save(path, square, ("triangle", cells))
        with pytest.raises(ProblemError, match=message):
            file.read(path)
    apart = [*square[:4], [5, 5, 0], [6, 5, 0], [5, 6, 0]]
    save(path, apart, ("triangle", [[0, 1, 2], [0, 2, 3], [4, 5, 6]]))
    with pytest.raises(ProblemError, match="cell 2 is attached to no other cell"):
        file.read(path)


def test_cells_listed_for_several_groups_count_once(tmp_path):
    """Gmsh's format 2 lists a cell of two physical groups twice."""
    points, triangles = octahedron()
    meshio.Mesh(points, [("triangle", triangles), ("triangle", triangles[:3])]).write(tmp_path / "two.msh", file_format="gmsh22")
    found = file.read(tmp_path / "two.msh")
    assert found.closed and np.array_equal(found.cells.cells, triangles)


def test_a_flat_domain_elsewhere_in_space_is_told_where_to_lie(tmp_path):
    square = spaces.flat(np.array([[0.0, 1.0], [0.0, 1.0]]), 8)
    points = np.column_stack([square.points, np.full(len(square.points), 3.0)])
    meshio.Mesh(points, [("triangle", square.cells)]).write(tmp_path / "square.vtu")
    with pytest.raises(ProblemError, match="a flat domain must lie in z = 0"):
        file.read(tmp_path / "square.vtu")


def test_a_one_sided_surface_is_refused(tmp_path):
    # A closed surface that cannot be oriented: the six-vertex projective plane.
    faces = [[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 5], [0, 5, 1], [1, 2, 4], [2, 3, 5], [3, 4, 1], [4, 5, 2], [5, 1, 3]]
    rng = np.random.default_rng(1)
    path = save(tmp_path / "plane.vtu", rng.normal(size=(6, 3)), ("triangle", faces))
    with pytest.raises(ProblemError, match="oriented against"):
        file.read(path)


def test_cells_that_cannot_be_used(tmp_path):
    points, faces = octahedron()
    path = tmp_path / "mesh.vtu"
    save(path, [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [2, 0, 0]],
         ("triangle", [[1, 4, 2]]), ("quad", [[0, 1, 2, 3]]))
    with pytest.raises(ProblemError, match="cell 1 is a quad"):
        file.read(path)
    curved = meshio_mesh(spaces.sphere(1, 2))
    save(path, np.vstack([points, curved.points]), ("triangle", faces), ("triangle6", curved.cells[0].data + 6))
    with pytest.raises(ProblemError, match="cell 8 is a triangle6 among cells of type triangle"):
        file.read(path)
    save(path, points, ("vertex", [[0], [1]]))
    with pytest.raises(ProblemError, match="must hold cells"):
        file.read(path)


@pytest.mark.parametrize("name", ["mesh.msh", "mesh.xdmf", "mesh.vtu", "mesh.stl", "folder.msh"])
def test_files_that_are_no_meshes(tmp_path, name, capsys):
    path = tmp_path / name
    if name == "folder.msh":
        path.mkdir()
    else:
        path.write_text("not a mesh\n\x00")
    with pytest.raises(ProblemError, match=r"space\.path") as caught:
        file.read(path)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr() == ("", "")


def test_report_writes_a_mesh_that_reads_back(tmp_path):
    mesh = build_mesh(space("sphere"), 80, 2, MPI.COMM_WORLD)
    lines = dict(mesh_report(mesh, tmp_path / "out"))
    assert lines["cells"].startswith("80 triangles of geometry degree 2")
    again = file.read(tmp_path / "out" / "mesh.xdmf")
    assert again.closed and again.manifold.volume == pytest.approx(quality(mesh).measure, rel=1e-13)
