"""The closest approach to the target on the circle at low temperature, to leading order in 1/beta (docs/theory.md §4.9).

While the law lasts, tokens near a point e of the target obey phi' = -c (phi - k), phi the angle from e, c = g/|B^T e|. The
displacement k is of order 1/beta: the attended point is not y = B^T e/|B^T e| but moved from there by (log f)'(y)/kappa,
kappa = beta |B^T e| (docs/theory.md §4.2), and the law that is left between the points of the target, its wake, has settled to
f = e^{-lambda t} F with (log F)' = (lambda - X_0')/X_0, lambda = g/|B^T r| the rate at which the repelling direction r empties:

    k = K/beta,   K = (log F)'(y) <e_perp, V y_perp> / (c |B^T e|),   phi = e^{-ct} Z + k,

Z the law of lim e^{ct} phi along the zero-temperature flow. W_p is least where the law, still arriving, covers part of k.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.optimize import minimize_scalar

from problems import ProblemError
from solver.claims.case import Array, Case
from solver.projection.target import target

NODES = 4000
_GAUSS, _WEIGHT = (0.5 * (part + shift) for part, shift in zip(np.polynomial.legendre.leggauss(8), (1.0, 0.0), strict=True))


@dataclass(frozen=True)
class Arrival:
    """How tokens arrive at a point e of the target, and where they then stand.

    Attributes:
        rate: c. leave: lambda. shift: K, an angle times beta, positive counter-clockwise.
        angles: (n,) angles from e at depth 0, those ahead of e first, both sides from e outwards. places: (n,) Z there.
        masses: (n,) of sum one.
    """

    rate: float
    leave: float
    shift: float
    angles: Array
    places: Array
    masses: Array

    def distance(self, size: float, p: int) -> float:
        """W_p times beta/|K| at the depth where e^{-ct} beta/|K| = size: (E |size Z +- 1|^p)^{1/p}."""
        return float(self.masses @ np.abs(size * self.places + np.sign(self.shift)) ** p) ** (1 / p)

    def closest(self, p: int) -> tuple[float, float]:
        """The size at which W_p is least, and W_p beta/|K| there; NaN where Z, whose tail falls like z^{-lambda/c}, has no p-th
        moment: then what is still near the repelling direction rules W_p, not the displacement."""
        if self.leave <= p * self.rate:
            return float("nan"), float("nan")
        found = minimize_scalar(lambda size: self.distance(size, p), bounds=(1e-6, 3.0), method="bounded",
                                options={"xatol": 1e-10})
        return float(found.x), float(found.fun)


@lru_cache(maxsize=16)
def _arrival(value: tuple[float, ...], score: tuple[float, ...]) -> Arrival:
    V, BT = np.reshape(value, (2, 2)), np.reshape(score, (2, 2)).T
    numbers, vectors = np.linalg.eig(V @ BT)
    order = np.argsort(-numbers.real)
    g = float((numbers[order[0]] - numbers[order[1]]).real)
    e, r = (np.real(vectors[:, i]) for i in order)
    r = r * np.sign(e[0] * r[1] - e[1] * r[0])
    wide = float(np.arccos(np.clip(e @ r, -1.0, 1.0)))  # angle from e to r, counter-clockwise
    across = float(e[0] * r[1] - e[1] * r[0])
    turned = np.array([-e[1], e[0]])
    near = float(np.linalg.norm(BT @ e))

    def excess(phi: Array) -> Array:
        """(|B^T x|/|B^T e| - 1) d(log s)/d(phi) at angle phi from e; x is proportional to e + s r."""
        x = np.outer(np.cos(phi), e) + np.outer(np.sin(phi), turned)
        return (np.linalg.norm(x @ BT.T, axis=1) / near - 1) * across / (np.sin(phi) * np.sin(wide - phi))

    angles, places, masses = [], [], []
    for end in (wide, wide - np.pi):  # the two sides of e, up to r and -r
        u = np.linspace(0.0, 1.0, NODES + 1)
        # Nodes that gather at the end, where Z grows like the distance to the power -lambda^-1 c.
        edges = end * (1 - (1 - u) ** 4)
        middle = end * (1 - (1 - 0.5 * (u[1:] + u[:-1])) ** 4)
        starts = np.concatenate([[0.0], middle[:-1]])
        inside = starts[:, None] + np.outer(middle - starts, _GAUSS)
        total = np.cumsum((excess(inside.ravel()).reshape(inside.shape) @ _WEIGHT) * (middle - starts))
        s = np.sin(middle) / np.sin(wide - middle)
        angles.append(middle)
        places.append(across * s * np.exp(total))
        masses.append(np.abs(np.diff(edges)) / np.pi)

    def drift(theta: float) -> tuple[float, float]:
        """X_0 and its derivative at an angle."""
        x, xp = np.array([np.cos(theta), np.sin(theta)]), np.array([-np.sin(theta), np.cos(theta)])
        y, length = BT @ x, float(np.linalg.norm(BT @ x))
        change = BT @ xp - y * float(y @ (BT @ xp)) / length**2
        return float(xp @ V @ y) / length, float(xp @ V @ change - x @ V @ y) / length

    y = BT @ e / near
    at, slope = drift(float(np.arctan2(y[1], y[0])))
    leave = g / float(np.linalg.norm(BT @ r))
    rate = g / near
    with np.errstate(divide="ignore", invalid="ignore"):
        steep = float(np.divide(leave - slope, at))
    shift = steep * float(turned @ V @ np.array([-y[1], y[0]])) / (rate * near)
    return Arrival(rate, leave, shift, np.concatenate(angles), np.concatenate(places), np.concatenate(masses))


def arrival(case: Case) -> Arrival:
    """`Arrival` of a case: one softmax head on the circle, real leading eigenvalue, uniform start.

    Raises:
        ProblemError: anything else, for which this is not derived.
    """
    if case.problem.manifold.dimension != 2 or case.unnormalised or case.problem.initial.name != "uniform":
        raise ProblemError("claim", case.problem.name, "must have a uniform start and softmax attention on the circle here")
    analysis = target(case.problem).analysis
    if analysis is None or analysis.kind != "simple":
        raise ProblemError("attention", case.problem.name, "must have a real and simple leading eigenvalue of V K^T Q here")
    return _arrival(tuple(case.V.ravel()), tuple(case.B.ravel()))


def closest_limit(case: Case, p: int = 1) -> float:
    """Limit of beta min_t W_p(mu_t, T# mu_0) for large beta: |K| min_s (E |s Z +- 1|^p)^{1/p}; see the head of the module."""
    found = arrival(case)
    return abs(found.shift) * found.closest(p)[1]


def closest_delay_limit(case: Case, p: int = 1) -> float:
    """Limit of t_min - log(beta)/c for large beta, t_min the depth at which W_p is least: -log(s |K|)/c at the s of
    `closest_limit`."""
    found = arrival(case)
    return -float(np.log(found.closest(p)[0] * abs(found.shift))) / found.rate


def closest_time_slope(case: Case) -> float:
    """Slope 1/c in log beta of the depth of the least W_p for large beta: what arrives, e^{-ct}, is then as large as the
    displacement K/beta. Twice the slope of `narrow_time_slope`."""
    return 1 / arrival(case).rate


def cold_arcs(case: Case, depth: float) -> tuple[Array, Array]:
    """Arcs (n,) to the nearer point of the target, and masses (n,), at a depth of the zero-temperature flow from a uniform start:
    there Z, as a function of the place, is multiplied by e^{-ct}. The law is even and its target two equal masses: W_p sends each
    token to the nearer one, also one that goes to the other in the end."""
    found = arrival(case)
    arcs = np.empty_like(found.places)
    for side in (found.places > 0, found.places < 0):
        logs = np.log(np.abs(found.places[side]))
        wanted = logs - found.rate * depth
        angle = PchipInterpolator(logs, np.log(np.abs(found.angles[side])))(np.maximum(wanted, logs[0]))
        arcs[side] = np.exp(angle + np.minimum(wanted - logs[0], 0.0))  # next to e, Z is the angle itself
    return np.minimum(arcs, np.pi - arcs), found.masses


def cold_bound_constant(case: Case) -> float:
    """c_0 = sup_t e^{ct} W_1 along the zero-temperature flow: the least with which W_1 <= c_0 e^{-ct} holds there."""
    found = arrival(case)
    sizes = [float(found.masses @ np.abs(found.places))]  # as t tends to infinity
    for depth in np.linspace(0.0, 12.0, 121):
        arcs, masses = cold_arcs(case, float(depth))
        sizes.append(float(masses @ arcs) * np.exp(found.rate * depth))
    return max(sizes)


def cold_exponent(case: Case, share: float, low: float, high: float, p: int = 1) -> float:
    """Exponent in beta between `low` and `high` of W_p along the zero-temperature flow at the depths share log(beta), from a
    uniform start; it tends to -share c (docs/theory.md §3.4)."""
    def size(beta: float) -> float:
        arcs, masses = cold_arcs(case, share * float(np.log(beta)))
        return float(np.log(masses @ arcs**p)) / p

    return (size(high) - size(low)) / float(np.log(high / low))


TABLE = (closest_limit, closest_delay_limit, closest_time_slope, cold_bound_constant, cold_exponent)
