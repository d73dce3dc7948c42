"""Predictions of the low-temperature papers: the zero-temperature flow, the push-forward target, the terminal state."""

from __future__ import annotations

import numpy as np
from scipy.integrate import quad

from problems import ProblemError
from problems.laws.spherical import VonMisesFisher
from solver.claims.case import Array, Case, Measured, Value
from solver.claims.predictions.approach import cold_arcs
from solver.projection.cold_flow import flow
from solver.projection.rates import Predictions
from solver.projection.spectrum import analyse
from solver.projection.target import target
from solver.projection.terminal import arc_to_span
from solver.wasserstein.distance import distance
from solver.wasserstein.measure import Measure

CARRIED = 32768  # points that stand for a law


def _leading(case: Case) -> tuple[float, float, Array]:
    """Real part and imaginary part of the eigenvalue of A = V B^T with the largest real part, and the next real part's gap."""
    values = np.linalg.eigvals(case.V @ case.B.T)
    order = np.argsort(-values.real)
    lead = values[order[0]]
    others = values.real[values.real < lead.real - 1e-9]
    return float(lead.real), float(abs(lead.imag)), np.array(lead.real - others.max() if len(others) else np.inf)


def spectral_gap(case: Case) -> float:
    """Gap between the largest real part of the spectrum of A = V B^T and the next one."""
    return float(_leading(case)[2])


def pair_frequency(case: Case) -> float:
    """Mean angular velocity of the zero-temperature flow that a leading complex pair of A = V B^T turns for ever, with the sign
    A_21 - A_12: 2 pi over the period T = int |B^T x(s)|/|x(s)| ds along x(s) = Re(w e^{i omega s}) over one turn, w the
    eigenvector and omega the imaginary part, since x' = P_x A x/|B^T x| (docs/theory.md §3.1). It is omega where B = I."""
    a = case.V @ case.B.T
    numbers, vectors = np.linalg.eig(a)
    lead = int(np.argmax(numbers.real + 1e-9 * (numbers.imag > 0)))
    omega = float(abs(numbers[lead].imag))
    phase = np.exp(2j * np.pi * np.arange(512) / 512)
    x = np.real(vectors[:, lead, None] * phase)
    slow = float(np.mean(np.linalg.norm(case.B.T @ x, axis=0) / np.linalg.norm(x, axis=0)))
    return omega / slow * float(np.sign(a[1, 0] - a[0, 1]))


def span_gap(case: Case) -> Value:
    """Rate at which the zero-temperature flow reaches the plane E of the leading eigenvalues of A = V B^T, the gap over |B^T x|:
    averaged over a turn for a complex pair, as in `pair_frequency`; for a real eigenvalue the middle between the largest and the
    least |B^T x| on E, whose difference is the bar (docs/theory.md §3.4)."""
    _, omega, gap = _leading(case)
    if omega:
        return Value(float(gap) * abs(pair_frequency(case)) / omega)
    numbers, vectors = np.linalg.eig(case.V @ case.B.T)
    leading = numbers.real > numbers.real.max() - 1e-9
    sizes = np.linalg.svd(case.B.T @ np.linalg.qr(vectors[:, leading].real)[0], compute_uv=False)
    high, low = float(gap / sizes[-1]), float(gap / sizes[0])
    return Value((high + low) / 2, (high - low) / 2)


def _rates(case: Case) -> Predictions:
    found = target(case.problem).predictions
    if found is None:
        raise ProblemError("attention", case.problem.name, "must have a push-forward target")
    return found


def target_rate(case: Case, p: int = 2) -> float:
    """Decay rate of W_p to the target at zero temperature: the smaller of g/|B^T e| on E and (k/p) g/|B^T x| on the exceptional
    set (docs/theory.md §3.4)."""
    return float(_rates(case).decay[p].rate)


def fitted_target_rate(case: Case, p: int = 2, after: float = 0.0, depth: float = 0.0) -> Value:
    """`target_rate` as a fit sees it that begins at a depth, or where W_p has fallen by `after` e-folds, on circle or sphere,
    dim E = 1.

    W_p^p is e^{-m t} times a rising function 1 - c e^{-delta t}, 0 <= c <= 1: m is the smaller of p g_E and the rate g_r at which
    the exceptional set is left, delta their difference: int min(|Z| e^{-g_E t}, 1)^p dP with P(|Z| > z) ~ z^{-g_r/g_E} has both.
    So the rate at depth t lies up to delta/(p (e^{delta t} - 1)) below m/p; the value is the middle of that interval. Where g_E
    rules, a third eigenvalue adds a part e^{-eps t} to what arrives, in another direction: eps e^{-eps t} to the bar.
    """
    found, analysis = _rates(case), target(case.problem).analysis
    rate = float(found.decay[p].rate)
    if analysis is None or analysis.dimension != 1 or found.g_slow is None:
        raise ProblemError("attention", case.problem.name, "must have a real and simple leading eigenvalue of V K^T Q here")
    leave = analysis.gap / float(np.linalg.svd(case.B.T @ analysis.following, compute_uv=False)[0])
    depth = depth or after / rate
    below = _shortfall(abs(p * found.g_slow - leave), depth)
    third = 0.0
    if case.dimension > 2 and p * found.g_slow <= leave:
        values = np.sort(np.linalg.eigvals(case.V @ case.B.T).real)[::-1]
        eps = float(values[1] - values[2]) / float(np.linalg.norm(case.B.T @ analysis.basis[:, 0]))
        third = eps * float(np.exp(-eps * depth))
    return Value(rate - below / (2 * p), below / (2 * p) + third)


def closest_exponent(case: Case, share: float, p: int = 1) -> float:
    """Exponent in beta of W_p at t = share log beta while the law follows the zero-temperature flow: -share times
    `target_rate`."""
    return -share * target_rate(case, p)


def narrow_time_slope(case: Case) -> float:
    """Slope 1/(2 g_E) in log beta of the depth at which the law is as narrow as the kernel (docs/theory.md §4.6, a heuristic)."""
    return 1 / (2 * float(_rates(case).g_slow or np.nan))


def terminal_distance(case: Case) -> float:
    """W2 between the target and the terminal state: each atom +-e of the target moved to the nearest of the dominant eigenspace
    of V (docs/theory.md §4.7)."""
    points, masses = target(case.problem).measure(4096)
    basis = np.linalg.qr(analyse(case.V).basis)[0]
    return float(np.sqrt(masses @ arc_to_span(points, basis) ** 2))


def terminal_rise(case: Case, within: float) -> float:
    """Most that W2 to the target may rise after its least value, over W2 at depth 0: `terminal_distance`, 0 where the target lies
    in the dominant eigenspace of V, as for V = B symmetric positive definite (docs/theory.md §4.7); and `within`, what the width
    of a cell may make of it."""
    goal, start = Measure(*target(case.problem).measure(4096)), Measure(*case.start(4096))
    first = distance(start, goal, p=2, manifold=case.problem.manifold).value
    return terminal_distance(case) / first + within


def cold_distance(case: Case, p: int = 2) -> Measured:
    """W_p to the nearest law on the leading eigenspace E of A = V B^T along the zero-temperature flow: (E a^p)^{1/p}, a the arc
    to E. For a uniform start, B = I and V with two eigenvalues, orthogonal, by the angular central Gaussian law of
    docs/theory.md §3.3: what starts at the arc a is at the arc atan(e^{-gt} tan a). On the circle, from a uniform start to two
    points, by the arcs of `solver.claims.predictions.approach`, to 1e-5. Else by points that stand for the law, whose bar is the
    larger difference to a quarter and to an eighth of them.

    Raises:
        ProblemError: a finite beta, or an E that is the whole space.
    """
    if np.isfinite(case.beta):
        raise ProblemError("attention.beta", case.beta, "must be inf for a prediction about zero temperature")
    V, d = case.V, case.dimension
    if analyse(V @ case.B.T).dimension == d:
        raise ProblemError("attention.value", V.tolist(), "must make an A = V K^T Q whose eigenvalues have different real parts")
    values = np.linalg.eigvals(V).real
    leading = np.isclose(values, values.max())
    two = np.all(leading | np.isclose(values, values.min()))
    uniform = case.problem.initial.name == "uniform"
    if uniform and two and np.allclose(V, V.T) and np.allclose(case.B, np.eye(d)):
        return _closed_distance(case, p, gap=float(np.ptp(values)), k=int(leading.sum()))
    if uniform and d == 2 and analyse(V @ case.B.T).kind == "simple":
        moved = [cold_arcs(case, float(t)) for t in case.times]
        return Value(np.array([float(masses @ arcs**p) ** (1 / p) for arcs, masses in moved]), 1e-5)
    fine, *coarse = (_carried_distance(case, p, CARRIED // part) for part in (1, 4, 8))
    return Value(fine, np.max(np.abs(fine - np.array(coarse)), axis=0))


def _closed_distance(case: Case, p: int, gap: float, k: int) -> Array:
    """(outputs,): `cold_distance` where k eigenvalues of V lead the others by one gap. The arc a to a k-dimensional subspace has
    the law cos^{k-1} a sin^{d-k-1} a under the uniform law."""
    def weight(a: float) -> float:
        return float(np.cos(a) ** (k - 1) * np.sin(a) ** (case.dimension - k - 1))

    total = quad(weight, 0, np.pi / 2)[0]
    return np.array([(quad(lambda a, t=t: weight(a) * np.arctan(np.exp(-gap * t) * np.tan(a)) ** p, 0, np.pi / 2, epsrel=1e-11,
                           limit=400)[0] / total) ** (1 / p) for t in case.times])


def _carried_distance(case: Case, p: int, count: int) -> Array:
    """(outputs,): `cold_distance` of that many points that stand for the start and follow the flow."""
    points, masses = case.start(count)
    basis = analyse(case.V @ case.B.T).basis
    return np.array([float(masses @ arc_to_span(x, basis) ** p) ** (1 / p) for x in flow(points, case.weights, case.times)])


def half_space_mass(case: Case) -> float:
    """Mass that the start gives to the half-space {<l, x> > 0} of the left eigenvector l of A, <l, e> > 0: what T sends to e,
    with e
    normalised so that its largest entry is positive (docs/theory.md §3.2). Von Mises-Fisher starts with one component: by
    quadrature of the law of <l, x>."""
    a = case.V @ case.B.T
    values, vectors = np.linalg.eig(a)
    e = np.real(vectors[:, int(np.argmax(values.real))])
    e = e * np.sign(e[np.argmax(np.abs(e))])
    left_values, left = np.linalg.eig(a.T)
    ell = np.real(left[:, int(np.argmax(left_values.real))])
    ell = ell * np.sign(ell @ e) / np.linalg.norm(ell)
    component = case.component(VonMisesFisher)
    mean, kappa = component.mean, component.kappa
    # On S^2 z = <mean, x> has density kappa e^{kappa z}/(2 sinh kappa); the part of each parallel with <l, x> > 0 is an arc.
    c = float(mean @ ell)
    s = float(np.sqrt(max(0.0, 1 - c * c)))

    def part(z: float) -> float:
        r = np.sqrt(max(0.0, 1 - z * z)) * s
        q = z * c
        return 1.0 if q >= r else 0.0 if q <= -r else 1 - np.arccos(q / r) / np.pi

    edge = sorted({-s, s} - {-1.0, 1.0})
    found = quad(lambda z: part(z) * kappa * np.exp(kappa * (z - 1)) / (1 - np.exp(-2 * kappa)), -1, 1, points=edge, epsabs=1e-12,
                 limit=400)[0]
    return float(found)


def positive_clustering_bound(case: Case, start: float) -> Value:
    """Exponent of W2 to the final Dirac mass for positive densities, fitted from depth `start` on: USA (d-1) e^{-beta}/2, SA
    min(1, (d-1)/2), V = B = I. What starts near the antipode leaves it at the rate r = e^{-beta} (1 for SA), the bulk arrives at
    a = e^beta (1 for SA); gamma times these, and beta b for beta, where V = gamma I and B = b I.

    W2^2 is e^{-m t} times a rising function 1 - c e^{-delta t}, as in `fitted_target_rate`, m the smaller of (d-1) r and 2 a,
    delta their difference; where both agree it is e^{-m t} (A t + C) with A, C >= 0. The middle of the interval of slopes is the
    value.
    """
    d, (gamma, _) = case.dimension, case.multiples
    leave, arrive = (np.exp(-case.sharpness), np.exp(case.sharpness)) if case.unnormalised else (1.0, 1.0)
    rates = (gamma * (d - 1) * float(leave), 2 * gamma * float(arrive))
    below = _shortfall(abs(rates[1] - rates[0]), start)
    return Value(min(rates) / 2 - below / 4, below / 4)


def _shortfall(delta: float, depth: float) -> float:
    """Largest slope of log(1 - c e^{-delta t}), 0 <= c <= 1, at a depth: delta/(e^{delta t} - 1), 1/t where delta = 0."""
    return float(delta / np.expm1(delta * depth)) if delta * depth > 1e-12 else 1 / depth


TABLE = (spectral_gap, span_gap, pair_frequency, target_rate, fitted_target_rate, closest_exponent, narrow_time_slope,
         terminal_distance, terminal_rise, cold_distance, half_space_mass, positive_clustering_bound)
