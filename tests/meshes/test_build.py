"""Built-in token spaces: node positions, area, topology, order and partition."""

import numpy as np
import pytest
from mpi4py import MPI

from meshes import spaces
from meshes.build import PlainSpace, build_mesh
from meshes.errors import ProblemError
from meshes.quality import quality
from tests.meshes.support import VOLUMES, space

EULER = {"circle": 0, "sphere": 2, "interval": 1, "rectangle": 1, "box": 1}


@pytest.mark.parametrize("geometry", [1, 2, 3])
@pytest.mark.parametrize("name", ["circle", "sphere"])
def test_nodes_lie_on_the_sphere(name, geometry):
    mesh = build_mesh(space(name), 80, geometry, MPI.COMM_WORLD)
    radius = np.linalg.norm(mesh.mesh.geometry.x, axis=1)
    assert np.abs(radius - 1).max() < 4e-16
    assert mesh.geometry == geometry and mesh.manifold.closed


@pytest.mark.parametrize("geometry", [1, 2, 3])
@pytest.mark.parametrize("name", ["circle", "sphere"])
def test_area_converges(name, geometry):
    # Symmetric nodes gain one order for even degree: the error falls like h^2, h^4, h^4.
    cells = (320, 1280, 5120) if name == "sphere" else (16, 32, 64)
    errors = [quality(build_mesh(space(name), n, geometry, MPI.COMM_WORLD)).measure_error for n in cells]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert orders[-1] > {1: 2, 2: 4, 3: 4}[geometry] - 0.1


@pytest.mark.parametrize("name", list(EULER))
def test_topology(name):
    facts = quality(build_mesh(space(name), 96, 2, MPI.COMM_WORLD))
    assert facts.euler == EULER[name]
    assert (facts.boundary_facets == 0) == (name in ("circle", "sphere"))
    assert facts.jumps == 0
    if name not in ("circle", "sphere"):
        assert facts.measure == pytest.approx(VOLUMES[name], rel=1e-14)


@pytest.mark.parametrize("cells", [20, 80, 300, 1000, 5000])
def test_icosahedral_meshes_meet_the_number_of_cells(cells):
    frequency = spaces.icosahedral_frequency(cells)
    made = spaces.sphere(frequency, 1)
    assert len(made.cells) == 20 * frequency**2
    assert len(made.points) == 10 * frequency**2 + 2
    assert abs(len(made.cells) - cells) <= 20 * (frequency + 1)
    corner = made.points[made.cells]
    assert (np.linalg.det(corner) > 0).all()  # seen from outside, counterclockwise
    sizes = np.linalg.norm(corner - np.roll(corner, 1, axis=1), axis=2)
    assert sizes.max() / sizes.min() < 1.4


def test_flat_cells_are_positively_oriented():
    for bounds, count in (([[0, 1]], 7), ([[0, 1], [0, 3]], 100), ([[0, 1], [0, 2], [0, 1]], 300)):
        made = spaces.flat(np.array(bounds, dtype=float), count)
        corner = made.points[made.cells]
        assert (np.linalg.det(corner[:, 1:] - corner[:, :1]) > 0).all()
        assert 0.5 < len(made.cells) / count < 2


@pytest.mark.parametrize("name", ["circle", "sphere", "box"])
def test_order_survives_renumbering(name):
    comm = MPI.COMM_WORLD
    plain, mixed = build_mesh(space(name), 96, 2, comm), build_mesh(space(name), 96, 2, comm, renumber_seed=5)

    def corners(mesh):
        result = np.empty((mesh.global_cells, *mesh.cell_nodes.shape[1:]))
        result[mesh.cell_order] = mesh.cell_nodes
        return result

    assert not np.array_equal(plain.cell_order, mixed.cell_order)
    assert np.array_equal(corners(plain), corners(mixed))


def test_spaces_without_mesh_are_refused():
    wide = PlainSpace("sphere", dimension=5)
    with pytest.raises(ProblemError, match=r"space\.manifold.*has no mesh with 5 coordinates"):
        build_mesh(wide, 20, 1, MPI.COMM_WORLD)


PARALLEL = """
import numpy as np
from mpi4py import MPI
from meshes.build import build_mesh
from meshes.errors import ProblemError
from meshes.quality import quality
from meshes.write import gather_cells
from tests.meshes.support import space
comm = MPI.COMM_WORLD
for name in ("circle", "sphere", "interval", "rectangle", "box"):
    alone = build_mesh(space(name), 120, 3, MPI.COMM_SELF)
    mesh = build_mesh(space(name), 120, 3, comm, renumber_seed=2)
    assert quality(mesh).cells == alone.global_cells
    a, b = quality(alone), quality(mesh)
    assert (a.vertices, a.euler, a.boundary_facets, a.jumps) == (b.vertices, b.euler, b.boundary_facets, b.jumps)
    assert abs(a.measure - b.measure) < 1e-13 * a.measure and np.allclose(a.size, b.size, rtol=1e-14)
    owned = comm.allreduce(mesh.owned_cells)
    assert owned == mesh.global_cells and (len(mesh.cell_order) > mesh.owned_cells) == (comm.size > 1)  # ghosts
    tdim = mesh.tdim
    link = mesh.mesh.topology.connectivity(tdim - 1, tdim)
    local = mesh.mesh.topology.index_map(tdim - 1).size_local
    single = comm.allreduce(int((np.diff(link.offsets)[:local] == 1).sum()))
    assert single == a.boundary_facets  # every owned inner facet sees both its cells
    order = np.concatenate(comm.allgather(mesh.cell_order[:mesh.owned_cells]))
    assert sorted(order) == list(range(mesh.global_cells))
    whole, parts = gather_cells(alone, 2), gather_cells(mesh, 2)
    if comm.rank == 0:
        assert np.allclose(whole.points[whole.cells], parts.points[parts.cells], atol=1e-14)
try:
    build_mesh(space("file", path="nowhere.msh"), 1, 1, comm)
except ProblemError as error:
    assert "no such file" in str(error)
else:
    raise SystemExit("no error")
"""


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_partition(mpirun, ranks):
    mpirun(ranks, "-c", PARALLEL)
