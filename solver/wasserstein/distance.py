"""Wasserstein distances between density, particles, weighted points and push-forward target.

    W_p(a, b) = ( min over couplings pi of  int d(x, y)^p dpi(x, y) )^(1/p)

with d the arc length on circle and sphere, or the Euclidean distance. Every distance comes with the method
that gave it, an error estimate and bounds on either side, so that no number stands alone. All functions are
serial: their measures are whole (global), and every rank that calls them gets the same answer.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np

from meshes.own import TokenSpace
from problems.errors import ProblemError
from solver.wasserstein.circle import wasserstein_circle
from solver.wasserstein.general import from_lengths, multiscale, network_simplex, wasserstein_general
from solver.wasserstein.line import wasserstein_line
from solver.wasserstein.measure import Atoms, Distance, Measure, exactly
from solver.wasserstein.metric import Metric, Space, ground_metric, matrix, pointwise, power, root_error
from solver.wasserstein.pair import distinct, transport_to_pair
from solver.wasserstein.sinkhorn import sinkhorn
from solver.wasserstein.sliced import max_sliced, mean_sliced

__all__ = ["Distance", "Measure", "distance"]

MASS_TOLERANCE = 1e-9
MOST_OWN = 4000  # atoms for which all pairs are asked of a space of the user's own
METHODS: dict[str, Callable[[Atoms, Atoms, float, Metric], Distance]] = {
    "network simplex": network_simplex,
    "multiscale": multiscale,
    "max-sliced": max_sliced,
    "sliced": mean_sliced,
}


def distance(
    a: Measure,
    b: Measure,
    *,
    p: float = 2,
    manifold: Space,
    metric: Literal["geodesic", "chordal"] = "geodesic",
    method: str = "auto",
    epsilon: float | None = None,
    coupling: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Distance:
    """The Wasserstein distance W_p(a, b).

    "auto" is exact on the line and on the circle (any number of atoms, sorting), exact to one or two atoms in
    any space, and exact by network simplex up to 10 000 atoms in both measures together. Above that the
    multiscale network simplex ends at a relative duality gap of 1e-4 in W_p^p (about 10 s for 20 000 atoms
    each) or after a fixed amount of work, and above 100 000 atoms it takes representatives; `lower` and
    `upper` say what is certain.

    Args:
        a, b: measures with the same total mass to 1e-9; for a total other than 1 the value is that of the
            normalised measures times total**(1/p).
        p: the exponent, p >= 1.
        manifold: the token space; only `manifold.normalised` (unit vectors) is used, or the lengths of shortest ways that a
            space of the user's own gives, on all pairs.
        metric: "geodesic" or "chordal", see `wasserstein_metric.ground_metric`.
        method: "auto", "network simplex" (POT's, all pairs), "multiscale", "sinkhorn" (debiased),
            "max-sliced" (a lower bound) or "sliced" (another distance).
        epsilon: of "sinkhorn", in units of d**p.
        coupling: a map of points (n, d) -> (n, d), say the projection map T, that carries a near b. It gives
            one more upper bound, (int d(x, T(x))^p da)^(1/p) + W_p(T_# a, b), which is sharp where T is
            optimal. Points for which it gives NaN, having no image, stay where they are.

    Raises:
        ValueError: p < 1, an unknown metric or method, dimensions or masses that differ, points off the
        sphere.
    """
    ground = ground_metric(manifold, metric)
    if not (p >= 1 and np.isfinite(p)):
        raise ValueError(f"the exponent p is finite and at least 1, not {p}")
    if a.points.shape[1] != b.points.shape[1]:
        raise ValueError(f"measures in different dimensions: {a.points.shape[1]} and {b.points.shape[1]}")
    if abs(a.total - b.total) > MASS_TOLERANCE * max(a.total, b.total):
        raise ValueError(f"measures of different mass: {a.total:.17g} and {b.total:.17g}")
    atoms_a, atoms_b = a.atoms(manifold), b.atoms(manifold)
    if isinstance(manifold, TokenSpace) and manifold.has_distance and metric == "geodesic":
        return _own_lengths(atoms_a, atoms_b, p, manifold).widened((0.5 * (a.total + b.total)) ** (1.0 / p), a.spread + b.spread)
    found = _by_name(atoms_a, atoms_b, p, ground, method, epsilon)
    if coupling is not None:
        carried = coupling(atoms_a.points)
        image = Measure(np.where(np.isnan(carried), atoms_a.points, carried), atoms_a.masses).atoms(manifold)
        moved = float(atoms_a.masses @ power(pointwise(atoms_a.points, image.points, ground), p)) ** (1.0 / p)
        found = found.below(moved + _dispatch(image, atoms_b, p, ground).upper)
    return found.widened((0.5 * (a.total + b.total)) ** (1.0 / p), a.spread + b.spread)


def _own_lengths(a: Atoms, b: Atoms, p: float, manifold: TokenSpace) -> Distance:
    """The distance by the lengths that a space of the user's own gives for all pairs.

    Raises:
        ProblemError: too many pairs.
    """
    if a.count + b.count > MOST_OWN:
        allowed = f'at most {MOST_OWN} atoms together where a space gives its own distances; or compare.metric = "chordal"'
        raise ProblemError("particles.count", a.count + b.count, allowed)
    lengths = np.stack([manifold.distance(point, b.points) for point in a.points])
    return from_lengths(a, b, p, lengths)


def one_dimensional(measure: Measure, manifold: Space, metric: str) -> bool:
    """Whether distances between parts of a measure are exact by sorting: it lies on a line, or on a great circle."""
    points = measure.atoms(manifold).points
    return _flatten(points, points[:1], ground_metric(manifold, metric)) is not None


def _by_name(a: Atoms, b: Atoms, p: float, ground: Metric, method: str, epsilon: float | None) -> Distance:
    """The distance by the method asked for."""
    if method == "auto":
        return _dispatch(a, b, p, ground)
    if method == "sinkhorn":
        return sinkhorn(a, b, p, ground, epsilon)
    if method not in METHODS:
        raise ValueError(f"method is one of {', '.join(['auto', 'sinkhorn', *METHODS])}, not {method!r}")
    return METHODS[method](a, b, p, ground)


def _dispatch(a: Atoms, b: Atoms, p: float, ground: Metric) -> Distance:
    """The distance by the best method for these measures."""
    flat = _flatten(a.points, b.points, ground)
    if flat is not None and ground == "arc":
        return exactly(*wasserstein_circle(flat[0], a.masses, flat[1], b.masses, p), "exact on the circle")
    if flat is not None:
        return exactly(*wasserstein_line(flat[0], a.masses, flat[1], b.masses, p), "exact on the line")
    for many, few in ((a, b), (b, a)):
        found = distinct(few.points)
        if found is not None:
            targets, labels = found
            costs = power(matrix(many.points, targets, ground), p)
            cost = transport_to_pair(many.masses, costs, np.bincount(labels, weights=few.masses))
            round_off = np.finfo(float).eps * np.sqrt(many.count) * costs.max()
            value = cost ** (1.0 / p)
            return exactly(value, root_error(round_off, value, p), "exact, one or two atoms")
    return wasserstein_general(a, b, p, ground)


def _flatten(x: np.ndarray, y: np.ndarray, ground: Metric) -> tuple[np.ndarray, np.ndarray] | None:
    """Coordinates (n,) and (m,) that keep all distances, if all points lie on one line or great circle."""
    if ground == "arc" and x.shape[1] == 2:
        return np.arctan2(x[:, 1], x[:, 0]), np.arctan2(y[:, 1], y[:, 0])
    if ground == "chord" and x.shape[1] == 1:
        return x[:, 0], y[:, 0]
    both = np.concatenate([x, y])
    if ground == "chord":
        both = both - both[0]
    axes = np.linalg.eigh(both.T @ both)[1][:, ::-1][:, : 2 if ground == "arc" else 1]
    flat = both @ axes
    if np.abs(both - flat @ axes.T).max() > 1e-14 * max(np.abs(x).max(), np.abs(y).max()):
        return None
    flat = np.arctan2(flat[:, 1], flat[:, 0]) if ground == "arc" else flat[:, 0]
    return flat[: len(x)], flat[len(x) :]
