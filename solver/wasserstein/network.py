"""Optimal transport on a sparse graph of pairs: network simplex and search for pairs, compiled (see the C source).

Flows are integers, masses in units of 2**-60, so that a flow is exact and a basis never drifts; potentials
are real.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from solver.compiled import Foreign, Library, load_library, threads
from solver.wasserstein.metric import Metric

UNIT = 2**60
_SOURCE = Path(__file__).with_name("network.c")
_DECLARATIONS = """
int32_t shortlist(int64_t n, int64_t m, int64_t d, int32_t arc, double p, const double *x, const double *y,
               const double *g, const double *bar, int64_t keep, double *best, int32_t *index, int32_t
               threads);
void costs(int64_t count, int64_t d, int64_t m, int32_t arc, double p, const double *x, const double *y,
           const int32_t *source, const int32_t *target, double *cost);
int64_t simplex(int64_t n, int64_t m, int64_t arcs, const int32_t *source, const int32_t *target,
                const double *cost, int64_t *flow, double *potential, double tolerance, int64_t *work);
"""


class Arcs(NamedTuple):
    """Pairs source -> target, each (k,), sorted and distinct, and the integer flow on them."""

    source: np.ndarray
    target: np.ndarray
    flow: np.ndarray


def _kernels() -> tuple[Foreign, Library]:
    return load_library("wasserstein_network", _DECLARATIONS, _SOURCE, openmp=True)


def whole_units(masses: np.ndarray) -> np.ndarray:
    """Masses (n,) of a probability measure as integers that add to `UNIT`; off by at most half a unit but for one."""
    units = np.rint(masses * float(UNIT)).astype(np.int64)
    units[np.argmax(units)] += UNIT - int(units.sum())
    return units


def shortlist(
    x: np.ndarray, y: np.ndarray, g: np.ndarray, keep: int, p: float, metric: Metric, bar: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """For each source the targets of least reduced cost d(x, y)**p - g(y).

    Args:
        x: (n, d). y: (m, d). g: (m,). keep: how many. bar: (n,) only reduced costs below this count.

    Returns:
        (reduced, index), each (n, keep), ascending; index is -1 and reduced the bar where there are fewer.
        The first column is the c-transform of g.
    """
    ffi, lib = _kernels()
    x, columns, g = (np.ascontiguousarray(array, dtype=float) for array in (x, y.T, g))
    bar = np.full(len(x), np.inf) if bar is None else np.ascontiguousarray(bar, dtype=float)
    reduced, index = np.empty((len(x), keep)), np.empty((len(x), keep), dtype=np.int32)
    status = lib.shortlist(
        *(len(x), columns.shape[1], x.shape[1], metric == "arc", float(p)),
        *(ffi.from_buffer("double[]", array) for array in (x, columns, g, bar)),
        *(keep, ffi.from_buffer("double[]", reduced), ffi.from_buffer("int32_t[]", index), threads()),
    )
    if status:
        raise MemoryError("search for pairs of atoms")
    return reduced, index


def pair_costs(x: np.ndarray, y: np.ndarray, arcs: Arcs, p: float, metric: Metric) -> np.ndarray:
    """d(x, y)**p along the arcs, (k,)."""
    ffi, lib = _kernels()
    x, columns, cost = np.ascontiguousarray(x), np.ascontiguousarray(y.T), np.empty(len(arcs.flow))
    lib.costs(
        *(len(cost), x.shape[1], columns.shape[1], metric == "arc", float(p)),
        *(ffi.from_buffer("double[]", array) for array in (x, columns)),
        *(ffi.from_buffer("int32_t[]", np.ascontiguousarray(array)) for array in (arcs.source, arcs.target)),
        ffi.from_buffer("double[]", cost),
    )
    return cost


def merge_arcs(n_targets: int, *groups: tuple[np.ndarray, np.ndarray, np.ndarray | int]) -> Arcs:
    """The union of groups (source, target, flow) of pairs, flows of equal pairs added."""
    keys = np.concatenate([np.asarray(s, dtype=np.int64) * n_targets + t for s, t, _ in groups])
    flows = np.concatenate([np.broadcast_to(np.asarray(f, dtype=np.int64), np.shape(s)) for s, _, f in groups])
    unique, inverse = np.unique(keys, return_inverse=True)
    flow = np.zeros(len(unique), dtype=np.int64)
    np.add.at(flow, inverse, flows)
    return Arcs((unique // n_targets).astype(np.int32), (unique % n_targets).astype(np.int32), flow)


def least_cost_flow(
    arcs: Arcs, cost: np.ndarray, f: np.ndarray, g: np.ndarray, tolerance: float, work: int
) -> tuple[Arcs, np.ndarray, np.ndarray, int]:
    """The best flow on these arcs, from a feasible one whose support is a forest.

    Args:
        cost: (k,). f: (n,), g: (m,) potentials to start from. tolerance: reduced costs above its negative are
        zero.
        work: how many visits of a node to spend; one takes about 10 ns.

    Returns:
        (arcs with the best flow, f, g, work left), with f(x) + g(y) <= cost on all arcs, = where flow is.
        Without work left the flow is feasible but not the best.
    """
    ffi, lib = _kernels()
    flow, potential = arcs.flow.copy(), np.concatenate([f, -g])
    left = np.array([work], dtype=np.int64)
    pivots = lib.simplex(
        *(len(f), len(g), len(flow)),
        *(ffi.from_buffer("int32_t[]", array) for array in (arcs.source, arcs.target)),
        *(ffi.from_buffer("double[]", cost), ffi.from_buffer("int64_t[]", flow)),
        *(ffi.from_buffer("double[]", potential), float(tolerance), ffi.from_buffer("int64_t[]", left)),
    )
    if pivots < 0:
        raise RuntimeError("network simplex: the flow to start from holds a cycle" if pivots == -1 else "no memory")
    return arcs._replace(flow=flow), potential[: len(f)], -potential[len(f) :], int(left[0])
