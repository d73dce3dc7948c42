"""How good a mesh is: sizes, shapes, area, topology; and `coldflow mesh`, which writes it and prints them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mpi4py import MPI

from meshes import dolfinx_compat, geometry
from meshes.build import TokenMesh


@dataclass(frozen=True)
class Quality:
    """Global facts about a mesh, equal on every rank.

    Attributes:
        cells, vertices: how many.
        euler: Euler characteristic: 0 for a closed curve, 2 for a sphere, 1 for a ball of any dimension.
        boundary_facets: facets with one cell only; 0 on a closed manifold.
        size: smallest and greatest cell size (greatest distance between two vertices of the cell).
        radius_ratio: least and mean over cells of d r_in / R_circ in [0, 1].
        measure: length, area or volume of the mesh; exact: of the manifold, None if unknown.
        jumps: facets of a curve or surface whose two cells are oriented against each other.
    """

    cells: int
    vertices: int
    euler: int
    boundary_facets: int
    size: tuple[float, float]
    radius_ratio: tuple[float, float]
    measure: float
    exact: float | None
    jumps: int

    @property
    def measure_error(self) -> float | None:
        """Relative error of length, area or volume."""
        return None if self.exact is None else abs(self.measure / self.exact - 1.0)


def quality(mesh: TokenMesh) -> Quality:
    """Facts about `mesh`; collective."""
    comm, tdim, owned = mesh.comm, mesh.tdim, mesh.owned_cells
    topology = mesh.mesh.topology
    for dimension in range(tdim):
        topology.create_entities(dimension)
    counts = [topology.index_map(dimension).size_global for dimension in range(tdim + 1)]
    nodes = mesh.cell_nodes[:owned]
    areas = geometry.measures(nodes, tdim, mesh.geometry)
    ratios = geometry.radius_ratios(nodes[:, : tdim + 1])

    def total(value):
        return comm.allreduce(value, op=MPI.SUM)

    topology.create_connectivity(tdim - 1, tdim)
    link = topology.connectivity(tdim - 1, tdim)
    facets = topology.index_map(tdim - 1).size_local
    ends = np.diff(link.offsets)[:facets]
    exact = None if mesh.manifold.name == "file" else mesh.manifold.volume
    return Quality(
        cells=counts[-1], vertices=counts[0],
        euler=sum((-1) ** i * n for i, n in enumerate(counts)),
        boundary_facets=total(int((ends == 1).sum())), size=mesh.size_range,
        radius_ratio=(comm.allreduce(ratios.min() if owned else 1.0, op=MPI.MIN),
                      total(ratios.sum()) / counts[-1]),
        measure=total(areas.sum()), exact=exact, jumps=total(_jumps(mesh)))


def _jumps(mesh: TokenMesh) -> int:
    """Owned facets at which neighbouring cells are oriented against each other; 0 in flat space."""
    topology, tdim = mesh.mesh.topology, mesh.tdim
    if mesh.gdim == tdim:
        return 0
    corners = dolfinx_compat.geometry_dofmap(mesh.mesh)[:, : tdim + 1]  # geometry nodes stand for vertices
    count = topology.index_map(tdim - 1).size_local
    link = topology.connectivity(tdim - 1, tdim)
    shared = np.flatnonzero(np.diff(link.offsets)[:count] == 2)
    cells = link.array[link.offsets[shared][:, None] + np.arange(2)]
    here, there = corners[cells[:, 0]], corners[cells[:, 1]]
    if tdim == 1:  # the vertex two arcs share ends one and starts the other, unless there are only two arcs
        return int(((here[:, 0] == there[:, 0]) | (here[:, 1] == there[:, 1])).sum())
    same = np.zeros(len(shared), dtype=bool)
    for i in range(3):
        for j in range(3):  # a directed edge of one triangle must not be one of the other
            same |= (here[:, i] == there[:, j]) & (here[:, (i + 1) % 3] == there[:, (j + 1) % 3])
    return int(same.sum())


def describe(facts: Quality, mesh: TokenMesh) -> list[tuple[str, str]]:
    """(label, value) lines about a mesh for the terminal."""
    what = {1: "length", 2: "area", 3: "volume"}[mesh.tdim]
    closed = "closed" if mesh.manifold.closed else f"{facts.boundary_facets} facets on walls"
    lines = [
        ("space", f"{mesh.manifold.name}, dimension {mesh.tdim} in R^{mesh.gdim}, {closed}"),
        ("cells", f"{facts.cells} {mesh.mesh.topology.cell_name()}s of geometry degree {mesh.geometry}"),
        ("vertices", f"{facts.vertices}, Euler characteristic {facts.euler}"),
        ("cell size", f"{facts.size[0]:.6g} to {facts.size[1]:.6g}, ratio {facts.size[1] / facts.size[0]:.3g}"),
        ("radius ratio", f"least {facts.radius_ratio[0]:.4g}, mean {facts.radius_ratio[1]:.4g} (1 is regular)"),
        (what, f"{facts.measure:.15g}"),
    ]
    if facts.exact is not None:
        lines.append((f"{what} error", f"{facts.measure_error:.3e} relative to {facts.exact:.15g}"))
    if mesh.gdim > mesh.tdim:
        lines.append(("orientation", "consistent" if not facts.jumps else f"broken at {facts.jumps} facets"))
    return lines


def mesh_report(mesh: TokenMesh, folder: str | Path) -> list[tuple[str, str]]:
    """Write `mesh` to `folder` as mesh.xdmf, and mesh.bp where ADIOS2 is there, and describe it; collective.

    Args:
        mesh: the mesh, as `coldflow mesh` builds it.
        folder: made if missing.

    Returns:
        (label, value) lines, the same on every rank; the last ones name the files written.
    """
    from meshes.write import write_mesh

    return describe(quality(mesh), mesh) + [("file", str(path)) for path in write_mesh(mesh, Path(folder))]
