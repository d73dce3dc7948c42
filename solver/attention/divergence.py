"""The attention field together with its divergence, which is how a token learns the density at its own place.

With F = sum_h V_h m_h the divergence of the drift X is (docs/theory.md §9.1)

    sphere:      div X = sum_h ( E_h[(y - m_h)^T M_h (y - m_h)] - (d-1) <x, V_h m_h> ),   M_h = beta B_h^T P_x V_h,
    flat space:  div X = sum_h   E_h[(y - m_h)^T M_h (y - m_h)],                          M_h = beta B_h^T V_h,

E_h the softmax weights at x; without normalisation the sums are neither divided nor centred. Since

    y^T M_h y = beta y^T B_h^T V_h y - <z, y> <a, y>,   z = beta B_h^T x,   a = V_h^T x (zero in flat space),

one number per source and one further dot product per pair give the second moment that is needed, in any dimension. Expansions
give all second moments instead: of the law weighted by a coordinate, and of products of coordinates; expansions
about cells, on circle, sphere, line and plane, from the second derivatives of their polynomials.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from solver.attention.dense import BOUNDED_RANGE, pack
from solver.attention.expansion import Expansion, expand
from solver.attention.field import Attention, combine
from solver.attention.gathered import Plan
from solver.attention.head import NEGLIGIBLE, ROUNDING, HeadField
from solver.attention.kernels import LN2, LOG2E, library, pointer, turn
from solver.attention.moments import Moments
from solver.attention.pruned import GROUP, neighbours, pruned_squares
from solver.attention.reference import reference_moments
from solver.attention.relay import relayed_moments
from solver.attention.sources import Law
from solver.attention.transform import Transform

Array = np.ndarray
# Pairs cost that much more with their quadratic moment, summed over all or in leaves.
QUADRATIC_COST, PRUNED_COST = 1.4, 1.5
# The same for relayed attention, and for expansions by dimension.
RELAYED_COST = 1.5
EXPANDED_COST = {2: 2.0, 3: 1.8}
# Sources per tile of the NumPy twin.
TILE = 1 << 17


@dataclass
class Quadratic:
    """y^T M(x) y for one head: the source's part and the target's vectors. See the module.

    Attributes:
        matrix: (d, d) beta B^T V. turned: (n, d) the vectors a, zero in flat space.
    """

    matrix: Array
    turned: Array

    def of_sources(self, points: Array) -> Array:
        """(m,): y^T matrix y."""
        return self._forms(points, None)

    def at(self, z: Array, y: Array) -> Array:
        """(n,): y_i^T M(x_i) y_i for one y per target."""
        return self._forms(y, z)

    def _forms(self, y: Array, z: Array | None) -> Array:
        if (found := library()) is None:
            squares = np.einsum("ij,ij->i", y @ self.matrix, y)
            return squares if z is None else squares - np.einsum("ij,ij->i", z, y) * np.einsum("ij,ij->i", self.turned, y)
        ffi, lib = found
        y, result = np.ascontiguousarray(y), np.empty(len(y))
        own = (ffi.NULL, ffi.NULL) if z is None else (pointer(z), pointer(self.turned))
        lib.coldflow_forms(y.shape[1], len(y), pointer(self.matrix), pointer(y), *own, pointer(result))
        return result

    def contract(self, z: Array, second: Array) -> Array:
        """(n,): tr(M(x_i) S_i) for second moments (n, d, d)."""
        return np.einsum("jk,ijk->i", self.matrix, second) - np.einsum("ij,ijk,ik->i", z, second, self.turned)


def field_with_divergence(attention: Attention, targets: Array, sources: Array, masses: Array, *, sphere: bool,
                          crowd: Array | None = None) -> tuple[Array, Array, float]:
    """The field as from `Attention.field`, and the divergence of the drift it gives.

    Args:
        targets: (n, d), local to the rank. sources (m, d), masses (m,) >= 0: the whole law.
        sphere: whether tokens live on the unit sphere (the drift is P_x of the field), else in flat space.
        crowd: as for `Attention.field`.

    Returns:
        values (n, d), divergence (n,), log_scale: both are to be multiplied by exp(log_scale). At zero temperature the
        divergence is that of a law which charges the whole sphere; in flat space it is zero there, as the attended point is
        locally constant.

    Raises:
        RunError: as `Attention.field`.
    """
    if np.isinf(attention.beta):
        values, _ = attention.field(targets, sources, masses, crowd)
        return values, full_support_divergence(attention, targets) if sphere else np.zeros(len(targets)), 0.0
    bound = attention.bind(targets, sources, crowd)
    law, _ = bound.sources.split(masses)
    moments, squares = [], []
    heads = [head for head in bound.heads if isinstance(head, HeadField)]
    if len(heads) < len(bound.heads):
        raise TypeError("the divergence of attention by a registered score is not known")
    for head, value in zip(heads, attention.values, strict=True):
        form = _form(head, value, targets, sphere)
        found, quad = _second_moments(head, law, form)
        found.shift += np.log(law.total)
        moments.append(found)
        squares.append((form, quad))
    values, log_scale = combine(moments, attention)
    divergence = np.zeros(len(targets))
    for found, (form, quad), head in zip(moments, squares, heads, strict=True):
        if attention.weights.normalization == "softmax":
            divergence += quad / found.den - form.at(head.z, found.means())
        else:
            divergence += quad * np.exp(found.shift - log_scale)
    if sphere:
        divergence -= (targets.shape[1] - 1) * np.einsum("ij,ij->i", targets, values)
    return values, divergence, log_scale


def full_support_divergence(attention: Attention, targets: Array) -> Array:
    """(n,): the divergence of sum_h P_x V_h B_h^T x/|B_h^T x| on the unit sphere; zero temperature (docs/theory.md §3.1)."""
    total = np.zeros(len(targets))
    for score, value in zip(attention.scores, attention.values, strict=True):
        matrix = score.T if value is None else score.T @ value
        z = targets @ score
        norm = np.linalg.norm(z, axis=1)
        unit = np.divide(z, norm[:, None], out=np.zeros_like(z), where=norm[:, None] > 0.0)
        spread = np.trace(matrix) - np.einsum("ij,jk,ik->i", unit, matrix, unit)
        total += np.divide(spread, norm, out=np.zeros_like(norm), where=norm > 0.0)
    total -= (targets.shape[1] - 1) * np.einsum("ij,ij->i", targets, attention.full_support_field(targets))
    return total


def _form(head: HeadField, value: Array | None, targets: Array, sphere: bool) -> Quadratic:
    # z = beta B^T x as rows is x @ (beta B): `head.score` is beta B, its transpose beta B^T.
    matrix = head.score.T if value is None else head.score.T @ value
    turned = (targets if value is None else turn(targets, value)) if sphere else np.zeros(np.shape(targets))
    return Quadratic(np.ascontiguousarray(matrix), np.ascontiguousarray(turned))


def _second_moments(head: HeadField, law: Law, form: Quadratic) -> tuple[Moments, Array]:
    """Moments of one head relative to the law's mass, and int e^{<z_i,y>} y^T M_i y dmu on their scale."""
    method = head.settings.method
    if not len(head.z) or not head.kappa[1] > 0.0:
        n = len(head.z)
        second = np.einsum("i,ij,ik->jk", law.masses, law.points, law.points)
        mean = Moments(np.tile(law.masses @ law.points, (n, 1)), np.full(n, law.masses.sum()), np.zeros(n))
        return mean, form.contract(head.z, np.broadcast_to(second, (n, *second.shape)))
    if library() is None or method == "numpy":
        return _numpy(head.z, law, form)
    if method == "dense" or (method == "auto" and head._dense_time(law) < NEGLIGIBLE):
        return _dense(head, head.z, form.turned, law, form)
    limit = _usual_time(head, law) if method == "auto" else np.inf
    wanted = method == "gathered" or (method == "auto" and not head._is_spread(law))
    if wanted and (plan := head._plan(law, limit, order=2)) is not None:
        return _gathered(head, form, law, plan)
    if _takes_relay(head, law, limit):
        return _relayed(head, law, form)
    expansion = None if method in ("pruned", "relayed") else head.expanded.make(law, head._summed_time(law), matrix=form.matrix)
    if expansion is not None:
        return _expanded(head, expansion, law, form)
    if _takes_relay(head, law, min(QUADRATIC_COST * head._dense_time(law), PRUNED_COST * head._pruned_time(law))):
        return _relayed(head, law, form)
    return _summed(head, form, law)


def _takes_relay(head: HeadField, law: Law, limit: float) -> bool:
    """Whether a larger sphere serves, and is asked for or takes at most `limit` nanoseconds."""
    if head.settings.method != "auto":
        return head.settings.method == "relayed" and head._can_relay
    return RELAYED_COST * head._relayed_time(law) <= limit


def _relayed(head: HeadField, law: Law, form: Quadratic) -> tuple[Moments, Array]:
    """By way of a larger sphere."""
    found, second, _ = relayed_moments(head.z, head.place, head.weighed_tree(law), head.kappa[1], head.settings.accuracy,
                                       head.settings.workers, with_second=True)
    return found, form.contract(head.z, second)


def _dense(head: HeadField, z: Array, turned: Array, law: Law, form: Quadratic) -> tuple[Moments, Array]:
    """Every pair, in compiled code."""
    _, lib = library()  # type: ignore[misc]
    n, d = z.shape
    packed = pack(np.ascontiguousarray(np.column_stack([law.points, form.of_sources(law.points)])), law.log_masses)
    scaled, turned = z * LOG2E, np.ascontiguousarray(turned * LN2)
    reach = np.sqrt(np.einsum("ij,ij->i", scaled, scaled)) * head.sources.radius
    shift = reach + law.log_range[1]
    bounded = 2.0 * reach.max() + (law.log_range[1] - law.log_range[0]) < BOUNDED_RANGE
    num, den, quad = np.empty((n, d)), np.empty(n), np.empty(n)
    lib.coldflow_quadratic(d, bounded, n, pointer(scaled), pointer(turned), pointer(shift), len(packed), pointer(packed),
                           pointer(num), pointer(den), pointer(quad), head.settings.workers_for(n * len(law)))
    return Moments(num, den, shift * LN2), quad


def _expanded(head: HeadField, expansion: Expansion | Transform, law: Law, form: Quadratic) -> tuple[Moments, Array]:
    """By expansions, on the circle of the law and of the law weighted by the first coordinate; uncertain targets by pairs."""
    workers = head.settings.workers_for(len(head.z) * expansion.order)
    n, d = head.z.shape
    if isinstance(expansion, Transform):
        moments, error = head.expanded.moments(expansion)
        quad = head.expanded.quadratic(expansion, form.turned)
    elif d == 3:
        moments, second, error = expansion.with_squares(head.z, workers)
        quad = form.contract(head.z, second)
    else:
        moments, error = expansion(head.z, workers)
        second = np.empty((n, d, d))
        weighed = _Weighed(law.points, law.masses * law.points[:, 0])
        second[:, 0] = expand(weighed, expansion.order, expansion.depth, workers)(head.z, workers)[0].num  # type: ignore[arg-type]
        second[:, 1, 0], second[:, 1, 1] = second[:, 0, 1], moments.den - second[:, 0, 0]
        quad = form.contract(head.z, second)
    uncertain = np.flatnonzero(~(2.0 * error <= head.settings.accuracy * moments.den))
    if len(uncertain):
        rest, quad[uncertain] = _remaining(head, uncertain, form, law)
        moments.replace(uncertain, rest)
    return moments, quad


@dataclass
class _Weighed:
    """A signed law for `expand`: points (m, d) and masses (m,) of any sign."""

    points: Array
    masses: Array

    def __len__(self) -> int:
        return len(self.masses)


def _usual_time(head: HeadField, law: Law) -> float:
    """What the fastest of the other methods would take if the law covered the space evenly."""
    d = head.z.shape[1]
    return min(QUADRATIC_COST * head._dense_time(law), PRUNED_COST * head._pruned_time(law),
               EXPANDED_COST.get(d, 1.0) * head.expanded.usual_direct_time(law), RELAYED_COST * head._relayed_time(law),
               head.expanded.squares_time(law))


def _gathered(head: HeadField, form: Quadratic, law: Law, plan: Plan) -> tuple[Moments, Array]:
    """By expansions about cells; `plan`: of the crowd."""
    moments, second, _ = head._own_plan(law, plan, order=2).second_moments(head.settings.workers)
    return moments, form.contract(head.z, second)


def _summed(head: HeadField, form: Quadratic, law: Law) -> tuple[Moments, Array]:
    """The sum over pairs, with or without pruning; chosen for the targets of all ranks."""
    forced = head.settings.method in ("pruned", "relayed")
    if forced or PRUNED_COST * head._pruned_time(law) < QUADRATIC_COST * head._dense_time(law):
        return _pruned(head, head.z, head.place, form, law, head.settings.accuracy)
    return _dense(head, head.z, form.turned, law, form)


def _pruned(head: HeadField, z: Array, place: Array, form: Quadratic, law: Law, accuracy: float) -> tuple[Moments, Array]:
    """By leaves; z (k, d), in the groups `place` (k,), with the vectors `form.turned` (k, d)."""
    tree, workers = head.weighed_tree(law), head.settings.workers
    return pruned_squares(z, place, tree, head.sources.radius, accuracy, form.of_sources(tree.points), form.turned, workers)


def _remaining(head: HeadField, rows: Array, form: Quadratic, law: Law) -> tuple[Moments, Array]:
    """For the targets `rows` (k,), which an expansion is not certain of; as `HeadField._remaining`."""
    z, own = np.ascontiguousarray(head.z[rows]), Quadratic(form.matrix, np.ascontiguousarray(form.turned[rows]))
    if (plan := head.plan_for(z, law, order=2)) is not None:
        moments, second, _ = plan.second_moments(head.settings.workers)
        return moments, own.contract(z, second)
    if head.prefers_pairs(len(rows)):
        return _dense(head, z, own.turned, law, own)
    return _pruned(head, z, neighbours(z, GROUP, head.settings.workers), own, law, ROUNDING)


def _numpy(z: Array, law: Law, form: Quadratic) -> tuple[Moments, Array]:
    """Every pair in NumPy: the oracle of the compiled ways."""
    n = len(z)
    moments, quad = reference_moments(z, law.points, law.masses), np.empty(n)
    source = form.of_sources(law.points)
    log_masses = np.log(law.masses)
    chunk = max(1, TILE // max(1, len(law)))
    for i in range(0, n, chunk):
        part = slice(i, i + chunk)
        score = z[part] @ law.points.T
        weight = np.exp(score + log_masses - moments.shift[part, None])
        quad[part] = np.sum(weight * (source - score * (form.turned[part] @ law.points.T)), axis=1)
    return moments, quad

