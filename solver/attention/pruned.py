"""Attention at low temperature: whole leaves of sources are dropped by bounds that prove they cannot matter.

Sources lie in leaves of 16 neighbours under a binary tree, targets in groups of 32. Write t_j = log w_j + <z,y_j>,
D = sum_j e^{t_j}, and for a set S of sources D_S for its part of D.

**What dropping costs.** Let R be the dropped sources, D_R <= delta D. With m_R, m_K the means over dropped and kept
sources, m - m_K = (D_R/D)(m_R - m_K), hence |m - m_K| <= delta diam(supp mu). On the unit sphere diam <= 2, so delta =
accuracy/2; elsewhere the accuracy is relative to half the diameter.

**Upper bound of a leaf.** A leaf S has a largest log mass l_S and lies in a convex set C_S: on the unit sphere a cap
{y: <y,u> >= cos r}, elsewhere a box. Its support function h_S(z) = max over C_S of <z,y> is exact: for a cap |z| if
angle(z,u) <= r, else |z| cos(angle - r) = <z,u> cos r + sqrt(|z|^2 - <z,u>^2) sin r; for a box <z,c> + sum_k |z_k| h_k.
Then each source has t_j <= l_S + h_S(z), with l_S the log of the whole mass of the leaf D_S <= e^{b_S}, b_S = l_S + h_S(z).
Caps are tight to second order in the width of the leaf, as boxes in the tangent plane are.

**Lower bound of D.** Going down the tree to one leaf L, the subtrees left aside and L are a partition of all sources.
e^x is convex, so a subtree A of mass W_A and mean y_A has D_A >= W_A e^{<z,y_A>} (Jensen); L is summed in full. Their sum
D_low <= D holds for every target, however the mass is distributed; the way down follows the larger of these values, so
that nearby dust does not hide a distant mass and the reverse. If some b_S exceeds log D_low by 30 binary orders, that
leaf is summed as well, up to four times.

**Rule.** Of N leaves, drop S if b_S <= log D_low + log(delta/2) - log N: together at most (delta/2) D. Let c be the
number of the others; of these, drop S if b_S <= log D_low + log(delta/2) - log c: again at most (delta/2) D. This depends on
the target and the tree only, not on its neighbours, and so not on the number of ranks.

**Groups.** For targets z = z_0 + e, |e| <= s, a fixed point y' and any node P of the tree with centre c_P and radius r_P (C_P
lies in that ball): h_P(z) - <z,y'> <= h_P(z_0) - <z_0,y'> + s (|c_P - y'| + r_P), since h_P(z) - <z,y'> is the support
function of C_P - y'. If l_P (the largest of its leaves') plus that is below the group's least log D_low + log(delta/2) -
log N - <z,y'>, no target needs any leaf below P. With y' near the attended points the bound is as tight as for a single
target up to s^2. (A leaf may stick out of the node's own tighter cap; it holds no source there, so dropping it is right.)

At zero temperature the same lists hold with D_low replaced by the largest <z,y> found, less the tie.
"""

from __future__ import annotations

import math

import numpy as np

from solver.attention.dense import pack
from solver.attention.kernels import LN2, LOG2E, aligned, lanes, library, pointer
from solver.attention.moments import Moments
from solver.attention.reference import TIE
from solver.attention.sources import Law

Array = np.ndarray
LEAF = 16
GROUP = 32
# Sources this close to the unit sphere are enclosed by caps, which are inflated by as much.
CAP_TOLERANCE = 1e-9


def neighbours(points: Array, size: int, threads: int = 1) -> Array:
    """An order (n,) of points (n, d) in which every `size` consecutive ones, counted from the first, are neighbours."""
    ffi, lib = library()  # type: ignore[misc]
    order = np.empty(len(points), dtype=np.int64)
    lib.coldflow_tree(points.shape[1], 0, len(points), pointer(points), size, pointer(order), ffi.NULL, threads)
    return order


class Tree:
    """Leaves of neighbouring sources, with the bounds of their positions; masses come later and may change.

    Args:
        points (m, d): sources. sphere_error: largest | |y| - 1 |. threads: to build it with.
    """

    def __init__(self, points: Array, sphere_error: float, threads: int = 1):
        _, lib = library()  # type: ignore[misc]
        m, self.d = points.shape
        self.points, self.leaves = points, -(-m // LEAF)
        self.sphere = sphere_error <= CAP_TOLERANCE and self.d > 1
        self.error = sphere_error if self.sphere else 0.0
        self.order = np.empty(m, dtype=np.int64)
        self.node = np.empty((2 * self.leaves - 1, 3 * self.d + 3))
        lib.coldflow_tree(self.d, self.sphere, m, pointer(points), LEAF, pointer(self.order), pointer(self.node), threads)
        self.packed: Array | None = None

    def weigh(self, log_masses: Array) -> None:
        """Put base-2 log masses (m,) on the sources, -inf for none."""
        _, lib = library()  # type: ignore[misc]
        self.packed = pack(self.points, log_masses, self.order, LEAF // lanes())
        lib.coldflow_weigh(self.d, self.leaves, pointer(self.packed), pointer(self.node))


def pruned_moments(z: Array, place: Array, tree: Tree, radius: float, accuracy: float, *, hard: bool = False,
                   threads: int = 1) -> tuple[Moments, int]:
    """int e^{<z_i,y>} (1, y) dmu(y) up to the error in m that `accuracy` allows, and the number of pairs summed.

    Args:
        z (n, d), place (k,): targets, and those wanted, in the groups that `neighbours(z, GROUP)` makes; local.
        tree: weighed. radius: largest |y|. accuracy: see the module. hard: zero temperature, z = B^T x.

    Returns:
        Moments as from `dense_moments` (hard: `dense_hardmax`), undefined for targets not in `place`; den is too small
        by a part of accuracy/2 at most.
    """
    moments, _, pairs = _pruned(z, place, tree, radius, accuracy, None, hard, threads)
    return moments, pairs


def pruned_squares(z: Array, place: Array, tree: Tree, radius: float, accuracy: float, of_sources: Array, turned: Array,
                   threads: int = 1) -> tuple[Moments, Array]:
    """As `pruned_moments`, with int e^{<z_i,y>} (g(y) - <z_i,y> <a_i,y>) dmu(y), (n,), on the scale of the moments.

    Args:
        of_sources: (m,) g at the points of the tree. turned: (n, d) the vectors a.
    """
    part = aligned(tree.leaves * (LEAF // lanes()), lanes())
    part.fill(0.0)
    part.reshape(-1)[: len(tree.order)] = of_sources[tree.order]
    moments, quad, _ = _pruned(z, place, tree, radius, accuracy, (part, np.ascontiguousarray(turned * LN2)), False, threads)
    return moments, quad


def _pruned(z: Array, place: Array, tree: Tree, radius: float, accuracy: float, squares: tuple[Array, Array] | None, hard: bool,
            threads: int) -> tuple[Moments, Array, int]:
    ffi, lib = library()  # type: ignore[misc]
    if tree.packed is None:
        raise ValueError("the tree has no masses yet")
    n, d = z.shape
    num, den, shift = np.empty((n, d)), np.empty(n), np.empty(n)
    quad = np.empty(n if squares else 0)
    part, turned = (pointer(squares[0]), pointer(squares[1])) if squares else (ffi.NULL, ffi.NULL)
    budget = math.log2(accuracy / 4.0)
    scaled = z if hard else z * LOG2E
    pairs = lib.coldflow_pruned(d, tree.sphere, hard, len(place), pointer(scaled), pointer(place), tree.leaves,
                                pointer(tree.packed), pointer(tree.node), tree.error, radius, budget, TIE, part, turned,
                                pointer(num), pointer(den), pointer(shift), pointer(quad), threads)
    return Moments(num, den, shift if hard else shift * LN2), quad, pairs


def tree_of(law: Law, static: Tree | None, threads: int = 1) -> Tree:
    """A tree for the law: the one of all its points if most carry mass, else one of those that do."""
    if static is not None and 2 * len(law) > len(law.sources.points):
        static.weigh(law.full_log_masses)
        return static
    tree = Tree(law.points, law.sources.sphere_error, threads)
    tree.weigh(law.log_masses)
    return tree
