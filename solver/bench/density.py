"""Throughput of the density solver's transport: unknowns per second and core, bytes moved, and the machine's copy bandwidth."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from pathlib import Path

import dolfinx.fem
import dolfinx.fem.petsc
import numpy as np
import ufl
from mpi4py import MPI

from problems.problem import read_problem
from solver.density.operator import DensityOperator
from solver.runs.console import TerminalTable, make_console

CELLS = 20_000
SHORT = ("mesh", "p", "unknowns", "rhs", "frozen", "limiter", "bytes", "GB/s", "copy", "UFL")  # for the terminal
COLUMNS = ("geometry", "degree", "unknowns", "rhs M/s", "frozen M/s", "limiter M/s", "bytes/unknown", "GB/s", "copy GB/s",
           "UFL M/s")


def run(out: Path, quick: bool = False, *, cells: int | None = None,
        comm: MPI.Comm = MPI.COMM_WORLD) -> list[dict[str, float | str]]:
    """Measure on the sphere, flat and curved (order 2) triangles, degrees 1 to 3; collective.

    Columns, all rates in millions of unknowns per second and core: `rhs`, one complete right-hand side with a new velocity, ghost
    exchange and inverse mass included; `frozen`, the same with the velocity kept; `limiter`, the positivity limiter; `UFL`, for
    comparison, plain dolfinx assembly of the same upwind form without velocity update and inverse mass.

    Args:
        out: folder for density.csv (written by rank 0).
        quick: a fifth of the cells, no UFL comparison.
        cells: of the mesh, over all ranks.

    Returns:
        One mapping per line, the same on every rank.
    """
    cells = cells or (CELLS // 5 if quick else CELLS)
    least = 0.02 if quick else 0.2
    copy = copy_bandwidth(comm, least=least)
    rows = [measure(comm, cells, geometry, degree, copy, with_ufl=not quick, least=least)
            for geometry in (1, 2) for degree in (1, 2, 3)]
    if comm.rank == 0:
        title = f"Transport on the sphere, {cells} cells, {comm.size} rank{'s' * (comm.size > 1)}\n" \
                "rhs, frozen, limiter, UFL: million unknowns/s and core; GB/s: of the right-hand side; copy: of memory"
        table = TerminalTable(title, SHORT, keys=2)
        for row in rows:
            table.add(*(f"{row[name]:.1f}" if isinstance(row[name], float) else str(row[name]) for name in COLUMNS))
        table.print(make_console())
        with (Path(out) / "density.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    return rows


def copy_bandwidth(comm: MPI.Comm, doubles: int = 2**23, least: float = 0.2) -> float:
    """GB/s and core of a copy far larger than the caches, reads and writes counted; all ranks at once."""
    source, target = np.ones(doubles), np.zeros(doubles)
    return 2 * source.nbytes / best_time(comm, lambda: np.copyto(target, source), least) / 1e9


def measure(comm: MPI.Comm, cells: int, geometry: int, degree: int, copy: float, *, with_ufl: bool = True,
            least: float = 0.2) -> dict[str, float | str]:
    """One line of the table, timing each part for `least` seconds; collective."""
    problem = read_problem({
        "space": {"manifold": "sphere"}, "attention": {"beta": 1.0}, "initial": {"law": "uniform"}, "time": {"end": 1.0},
        "density": {"cells": cells, "degree": degree, "geometry": geometry}})
    operator = DensityOperator(problem, comm)
    transport, exchange = operator.transport, operator.work
    exchange.array[:operator.unknowns] = operator.initial()
    V = np.array([[1.0, 0.3, 0.0], [-0.2, 0.2, 0.1], [0.1, 0.0, -0.3]])
    X, result = operator.velocity.tangent(operator.velocity.nodes @ V.T), np.empty(operator.unknowns)

    def frozen() -> None:
        exchange.scatter_forward()
        transport.apply(exchange.array, result)

    def complete() -> None:
        transport.set_velocity(X)
        frozen()

    seconds = {name: best_time(comm, work, least) for name, work in
               {"rhs": complete, "frozen": frozen, "limiter": lambda: transport.limit(exchange.array)}.items()}
    unknowns = comm.allreduce(operator.unknowns)
    rate = {name: unknowns / comm.size / t / 1e6 for name, t in seconds.items()}
    moved = comm.allreduce(transport.bytes_moved)
    ufl_rate = float("nan")
    if with_ufl:
        ufl_rate = unknowns / comm.size / best_time(comm, ufl_assembly(operator, V), least) / 1e6
    return {"geometry": "flat" if geometry == 1 else "curved", "degree": degree, "unknowns": unknowns, "rhs M/s": rate["rhs"],
            "frozen M/s": rate["frozen"], "limiter M/s": rate["limiter"], "bytes/unknown": moved / unknowns,
            "GB/s": moved / comm.size / seconds["rhs"] / 1e9, "copy GB/s": copy, "UFL M/s": ufl_rate}


def ufl_assembly(operator: DensityOperator, V: np.ndarray) -> Callable[[], None]:
    """Assembly of the same upwind form by dolfinx, for a linear velocity."""
    mesh = operator.mesh.mesh
    x, n, v = ufl.SpatialCoordinate(mesh), ufl.FacetNormal(mesh), ufl.TestFunction(operator.space)
    degree = operator.geometry.degree
    y = x / ufl.sqrt(ufl.dot(x, x))
    w = ufl.dot(ufl.as_matrix(V.tolist()), y)
    X = w - ufl.dot(w, y) * y
    rho = dolfinx.fem.Function(operator.space)
    speed = 0.5 * ufl.dot(X("+"), n("+") - n("-"))
    flux = speed * ufl.conditional(ufl.gt(speed, 0), rho("+"), rho("-"))
    dx = ufl.dx(domain=mesh, metadata={"quadrature_degree": 2 * degree})
    dS = ufl.dS(domain=mesh, metadata={"quadrature_degree": 2 * degree + 1})
    form = dolfinx.fem.form(rho * ufl.dot(X, ufl.grad(v)) * dx - flux * (v("+") - v("-")) * dS)
    vector = dolfinx.fem.Function(operator.space)

    def assemble() -> None:
        vector.x.array[:] = 0.0
        dolfinx.fem.assemble_vector(vector.x.array, form)

    return assemble


def best_time(comm: MPI.Comm, work: Callable[[], object], least: float = 0.2) -> float:
    """Seconds per call, the slowest rank's, best of several batches that take about `least` seconds in all."""
    work()
    started = time.perf_counter()
    work()
    once = comm.allreduce(time.perf_counter() - started, op=MPI.MAX)
    batches, calls = 5, max(1, int(least / 5 / max(once, 1e-7)))
    best = np.inf
    for _ in range(batches):
        comm.barrier()
        started = time.perf_counter()
        for _ in range(calls):
            work()
        best = min(best, comm.allreduce(time.perf_counter() - started, op=MPI.MAX) / calls)
    return best
