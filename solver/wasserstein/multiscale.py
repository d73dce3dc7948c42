"""Optimal transport between tens of thousands of atoms: network simplex from coarse to fine.

Both measures are split into nested cells. The plan between coarse cells, handed down to their children,
starts the simplex of the next level; the coarse potentials, handed down by c-transform, pick the few pairs
that can matter. Then
all pairs are priced: those of negative reduced cost join, until there are none or the duality gap is small.
The dual value of any pricing is a lower bound over all pairs, not only over those kept; every plan is
feasible, an upper bound. (B. Schmitzer, J. Math. Imaging Vis. 56, 2016; S. Gerber, M. Maggioni, J. Mach.
Learn. Res. 18, 2017.)
"""

from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from solver.wasserstein.cells import cells, overlay, representatives
from solver.wasserstein.measure import Atoms
from solver.wasserstein.metric import Metric
from solver.wasserstein.network import (
    UNIT,
    Arcs,
    least_cost_flow,
    merge_arcs,
    pair_costs,
    shortlist,
    whole_units,
)

COARSEST = 400  # cells of either measure where all pairs are taken
NEAREST = 6  # pairs taken from the handed-down potentials, per atom of either measure
JOINING = 6  # pairs that may join after a pricing, per source
COARSE_GAP = 1e-2
ROUNDS = 60


LOCAL = ((64, 0), (64, 32), (512, 0), (512, 256), (4096, 0))  # sizes and offsets of groups of sources


class Level(NamedTuple):
    """Representatives (k, d) of the cells of one level and their masses (k,) in units."""

    points: np.ndarray
    units: np.ndarray


class Plan(NamedTuple):
    """A transport plan on the last level.

    Attributes:
        arcs: pairs and flows, in the numbering of `order_a`, `order_b` of `solve`.
        f, g: potentials, f(x) + g(y) <= d(x, y)**p for all pairs.
        primal, dual: upper and lower bound on W_p**p.
    """

    arcs: Arcs
    f: np.ndarray
    g: np.ndarray
    primal: float
    dual: float


def solve(a: Atoms, b: Atoms, p: float, metric: Metric, gap: float, work: int) -> tuple[Plan, np.ndarray, np.ndarray]:
    """The optimal plan between two probability measures, or the best that the work allows.

    Args:
        gap: the duality gap (primal - dual) / primal to end at.
        work: visits of a node to spend on the simplex, about 10 ns each; the answer depends on it, not on the
        clock.

    Returns:
        (plan, order_a, order_b), the orders (n,) and (m,) in which the plan numbers the atoms.
    """
    sources, order_a = _levels(a, metric)
    targets, order_b = _levels(b, metric)
    depth = max(len(sources), len(targets))
    sources, targets = ([levels[0]] * (depth - len(levels)) + levels for levels in (sources, targets))
    steps = [(gap if k == depth - 1 else max(gap, COARSE_GAP)) for k in range(depth)]
    start = _all_pairs(sources[0], targets[0])
    plan, work = _improve(*start, sources[0], targets[0], p, metric, steps[0], work)
    for k in range(1, depth):
        start = _hand_down(plan, (sources[k - 1], targets[k - 1]), sources[k], targets[k], p, metric)
        plan, work = _improve(*start, sources[k], targets[k], p, metric, steps[k], work)
    return plan, order_a, order_b


def _levels(atoms: Atoms, metric: Metric) -> tuple[list[Level], np.ndarray]:
    """Levels from coarse to fine, each about four times the one before and the last one the atoms, in a new order."""
    order, candidates = cells(atoms.points)
    placed = Atoms(atoms.points[order], atoms.masses[order])
    units = whole_units(placed.masses)
    levels = [Level(placed.points, units)]
    for starts in candidates[-3::-2]:
        if len(levels[0].units) <= COARSEST:
            break
        levels.insert(0, Level(representatives(placed, starts, metric).points, np.add.reduceat(units, starts[:-1])))
    return levels, order


def _all_pairs(source: Level, target: Level) -> tuple[Arcs, np.ndarray, np.ndarray]:
    """All pairs of two coarse levels, with the north-west corner flow and no potentials."""
    n, m = len(source.units), len(target.units)
    every = np.repeat(np.arange(n), m), np.tile(np.arange(m), n), 0
    return merge_arcs(m, every, overlay(source.units, target.units)), np.zeros(n), np.zeros(m)


def _hand_down(
    plan: Plan, above: tuple[Level, Level], source: Level, target: Level, p: float, metric: Metric
) -> tuple[Arcs, np.ndarray, np.ndarray]:
    """The coarse plan shared out among children as a forest, potentials by c-transform, and the pairs they pick.

    Cells are stretches of their level, so that masses and flows laid end to end line up: sources with the
    flows in the order of sources, targets with the flows in the order of targets, and within each flow its
    two shares.
    """
    n, m = len(source.units), len(target.units)
    by_target = np.lexsort((plan.arcs.source, plan.arcs.target))
    i, _, part_i = overlay(source.units, plan.arcs.flow)
    j, flow_j, part_j = overlay(target.units, plan.arcs.flow[by_target])
    back = np.argsort(by_target[flow_j], kind="stable")
    left, right, flow = overlay(part_i, part_j[back])
    g = shortlist(target.points, above[0].points, plan.f, 1, p, metric)[0][:, 0]
    f, near_i = shortlist(source.points, target.points, g, min(NEAREST, m), p, metric)
    _, near_j = shortlist(target.points, source.points, f[:, 0], min(NEAREST, n), p, metric)
    from_sources = np.repeat(np.arange(n), near_i.shape[1]), near_i.ravel(), 0
    from_targets = near_j.ravel(), np.repeat(np.arange(m), near_j.shape[1]), 0
    return merge_arcs(m, (i[left], j[back][right], flow), from_sources, from_targets), f[:, 0], g


def _improve(
    arcs: Arcs,
    f: np.ndarray,
    g: np.ndarray,
    source: Level,
    target: Level,
    p: float,
    metric: Metric,
    gap: float,
    work: int,
) -> tuple[Plan, int]:
    """Simplex on the arcs, pricing of all pairs, new arcs; until the duality gap is small or the work is spent."""
    x, y, u, v = source.points, target.points, source.units / UNIT, target.units / UNIT
    potentials = f, g
    best = float(u @ f + v @ g) if np.any(f) else 0.0  # handed down potentials are a c-transform, hence feasible
    for _ in range(ROUNDS):
        cost = pair_costs(x, y, arcs, p, metric)
        tolerance = 1e-15 * max(cost.max(), float(np.abs(g).max()))
        for size, offset in LOCAL:
            if 2 * size < len(u):
                arcs, work = _improve_locally(arcs, cost, f, g, size, offset, tolerance, work)
        arcs, f, g, work = least_cost_flow(arcs, cost, f, g, tolerance, work)
        primal = float(arcs.flow / UNIT @ cost)
        reduced, index = shortlist(x, y, g, min(JOINING, len(v)), p, metric, bar=f - 10 * tolerance)
        lowest = np.minimum(reduced[:, 0], f)
        dual, joining = float(u @ lowest + v @ g), index >= 0
        if dual > best:
            best, potentials = dual, (lowest, g)
        if primal - best <= gap * primal or work <= 0 or not joining.any():
            break
        arcs = merge_arcs(len(v), arcs, (np.nonzero(joining)[0], index[joining], 0))
    return Plan(arcs, *potentials, primal, min(best, primal)), work


def _improve_locally(
    arcs: Arcs, cost: np.ndarray, f: np.ndarray, g: np.ndarray, size: int, offset: int, tolerance: float, work: int
) -> tuple[Arcs, int]:
    """Better flows within groups of neighbouring sources, what each group sends to each target being kept.

    A pivot then walks a small tree instead of one across the whole measure. Only pairs inside one tree of a
    group's
    forest may enter, so that every tree is replaced by one on the same nodes: the whole stays a forest.
    """
    n, m = len(f), len(g)
    keys = (arcs.source.astype(np.int64) + offset) // size * m + arcs.target
    flowing = arcs.flow > 0
    copies, place = np.unique(keys[flowing], return_inverse=True)  # a target, once for every group that reaches it
    shape = (n + len(copies), n + len(copies))
    forest = coo_array((np.ones(len(place)), (arcs.source[flowing], n + place)), shape=shape)
    tree = connected_components(forest, directed=False)[1]
    copy = np.minimum(np.searchsorted(copies, keys), len(copies) - 1)
    inside = np.flatnonzero((copies[copy] == keys) & (tree[arcs.source] == tree[n + copy]))
    part = Arcs(arcs.source[inside], copy[inside].astype(np.int32), arcs.flow[inside])
    better, _, _, work = least_cost_flow(part, cost[inside], f, g[copies % m], tolerance, work)
    flow = arcs.flow.copy()
    flow[inside] = better.flow
    return arcs._replace(flow=flow), work
