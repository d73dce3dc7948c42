"""What predictions and measurements assume of the parameters: settings beyond that are refused in one line before any run."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from problems import ProblemError
from problems.laws.normal import Normal
from problems.laws.spherical import PoissonKernel, VonMisesFisher, WrappedNormal
from solver.claims.case import Case
from solver.claims.claim import Claim
from solver.claims.predictions.approach import arrival
from solver.claims.predictions.clusters import lattice_threshold
from solver.claims.predictions.cold import pair_frequency, terminal_distance
from solver.claims.predictions.defective import block_strength
from solver.claims.work import PREDICTIONS, applies, request
from solver.errors import RunError
from solver.projection.spectrum import analyse
from solver.projection.target import target


def multiples(case: Case) -> None:
    """V and Q^T K are multiples of I."""
    case.multiples  # noqa: B018  (it raises)


def climbing(case: Case) -> None:
    """V = Q^T K = D, symmetric positive definite with a simple top eigenvalue: attention climbs the energy to its eigenvector."""
    values = np.linalg.eigvalsh((case.B + case.B.T) / 2)
    if not np.allclose(case.V, case.B) or not np.allclose(case.B, case.B.T) or values[0] <= 0 or np.isclose(*values[-2:]):
        raise ProblemError("attention.value", case.V.tolist(), "must be the same as Q^T K here, symmetric and positive definite, "
                           "with a simple largest eigenvalue")


def gradient(case: Case) -> None:
    """V = Q^T K or V = -Q^T K, symmetric: attention follows the gradient of the energy, or its negative."""
    if not np.allclose(case.B, case.B.T) or not (np.allclose(case.V, case.B) or np.allclose(case.V, -case.B)):
        raise ProblemError("attention.value", case.V.tolist(), "must be Q^T K or -Q^T K here, and symmetric")


def approached(case: Case) -> None:
    """There is a push-forward target."""
    if target(case.problem).predictions is None:
        raise ProblemError("attention.value", case.V.tolist(), "must make a V K^T Q with a push-forward target here: "
                           "a real leading eigenvalue that is not defective")


def divided(case: Case) -> None:
    """Attention is divided by its denominator."""
    if case.unnormalised:
        raise ProblemError("attention.normalization", "none", 'must be "softmax" here')


def undivided(case: Case) -> None:
    """Attention is not divided by its denominator."""
    if not case.unnormalised:
        raise ProblemError("attention.normalization", "softmax", 'must be "none" here')


def plane(case: Case) -> None:
    """V and Q^T K are positive multiples of I on the plane of the first two axes, which they keep, and what is across."""
    for field, given in (("attention.value", case.V), ("attention.query", case.B)):
        block = given[:2, :2]
        if block[0, 0] <= 0 or not np.allclose(block, block[0, 0] * np.eye(2)) or given[:2, 2:].any() or given[2:, :2].any():
            raise ProblemError(field, given.tolist(), "must make V and K^T Q positive multiples of I on the plane of the first "
                               "two axes here, and keep this plane")


def departing(case: Case) -> None:
    """The target does not lie in the dominant eigenspace of V, so that the law leaves it."""
    if terminal_distance(case) < 1e-6:
        raise ProblemError("attention.value", case.V.tolist(), "must have another dominant eigenspace than V K^T Q here: "
                           "else nothing leaves the target")


def even(case: Case) -> None:
    """The start gives x and -x the same density: then no mass crosses between the points of the target before the end."""
    points, _ = case.problem.initial.quadrature(64)
    there, opposite_there = (case.problem.initial.density(x) for x in (points, -points))
    if not np.allclose(there, opposite_there, rtol=1e-6):
        raise ProblemError("initial", case.problem.initial.name, "must be even here, the same at x and -x: other laws share "
                           "their mass between the points of the target as temperature zero does only up to O(1/beta)")


def law(kind: type) -> Callable[[Case], None]:
    """The start is one component of a kind."""
    def check(case: Case) -> None:
        case.component(kind)
        if len(case.mixture.components) > 1:
            raise ProblemError("initial.components", len(case.mixture.components), "must be one component here")

    return check


ONE_POISSON, ONE_FISHER, ONE_NORMAL = law(PoissonKernel), law(VonMisesFisher), law(Normal)


def cold(case: Case) -> None:
    """Temperature zero."""
    if np.isfinite(case.beta):
        raise ProblemError("attention.beta", case.beta, "must be inf here")


def semisimple(case: Case) -> None:
    """The leading eigenvalue of V K^T Q, or pair of them, has as many eigenvectors as its multiplicity."""
    if analyse(case.V @ case.B.T).kind == "defective":
        raise ProblemError("attention.value", case.V.tolist(), "must make a V K^T Q with a leading eigenvalue that is not "
                           "defective here")


def turning(case: Case) -> None:
    """The eigenvalues of V K^T Q with the largest real part are a complex pair."""
    if not pair_frequency(case):
        raise ProblemError("attention.value", case.V.tolist(), "must make a V K^T Q with a complex leading pair here")


def pair_first(case: Case) -> None:
    """The first two of at least three starting tokens are closer to each other than any others."""
    points, _ = case.start()
    if len(points) < 3:
        raise ProblemError("start.angles", case.variables.get("angles"), "must be at least three angles here")
    cosines = points @ points.T - 2 * np.tri(len(points))  # of pairs i < j; the others lie below them
    if cosines[0, 1] < cosines.max():
        raise ProblemError("start.angles", case.variables.get("angles"), "must begin with the two that are closest here")


def single(case: Case) -> None:
    """There is one token."""
    if len(case.start()[0]) > 1:
        raise ProblemError("start.angles", case.variables.get("angles"), "must be one angle here")


def flat_plane(case: Case) -> None:
    """Tokens are on the circle."""
    if case.dimension != 2:
        raise ProblemError("space.dimension", case.dimension, "must be 2 here, the circle")


def opposite(case: Case) -> None:
    """The start is two wrapped normal laws of unequal weights at opposite angles."""
    parts, weights = case.mixture.components, case.mixture.weights
    if len(parts) != 2 or not all(isinstance(part, WrappedNormal) for part in parts):
        raise ProblemError("initial.components", len(parts), "must be two wrapped normal laws here")
    first, second = (part.angle for part in parts if isinstance(part, WrappedNormal))
    if not np.isclose(np.cos(first - second), -1.0, rtol=0, atol=1e-9):
        raise ProblemError("initial.components[1].mean", second, f"must be opposite to {first:g} here")
    if np.isclose(weights[0], weights[1], rtol=1e-6):
        raise ProblemError("initial.components[1].weight", float(weights[1]), "must not be that of the other component here")


def neutral(case: Case) -> None:
    """Three clusters whose lattice is stable beyond some beta."""
    if len(case.start()[0]) != 6:
        raise ProblemError("start.clusters", len(case.start()[0]) // 2, "must be 3 here")
    if not np.isfinite(lattice_threshold(case, 3, 1)):
        raise ProblemError("attention.query", case.B.tolist(), "must make K^T Q a negative multiple of I here")


def exploding(case: Case) -> None:
    """V K^T Q is positive on the line: the variance of a normal law grows."""
    if case.V[0, 0] * case.B[0, 0] <= 0:
        raise ProblemError("attention.value", case.V.tolist(), "must have the sign of K^T Q here: else no variance grows")


def leaning(case: Case) -> None:
    """The mean of the start is not zero."""
    points, masses = case.start()
    if np.linalg.norm(masses @ points) < 1e-6:
        raise ProblemError("start.concentration", case.variables.get("concentration"), "must give a mean that is not zero here")


def hot(case: Case) -> None:
    """beta is zero."""
    if case.beta:
        raise ProblemError("attention.beta", case.beta, "must be 0 here")


def plain(case: Case) -> None:
    """One head and one layer with the papers' score, and nothing but attention that moves tokens: what predictions are for."""
    attention = case.problem.attention
    for field, count in (("attention.layers", len(attention.layers)), ("attention.heads", len(case.weights.heads))):
        if count > 1:
            raise ProblemError(field, count, "must be one here")
    if case.weights.own_score is not None:
        raise ProblemError("attention.score", case.weights.own_score.name, "must not be given here")
    if case.problem.drift.velocity is not None:
        raise ProblemError("drift.velocity", case.problem.drift.velocity.name, "must not be given here")


def quiet(case: Case) -> None:
    """There is no noise."""
    if case.problem.noise.diffusivity:
        raise ProblemError("noise.diffusivity", case.problem.noise.diffusivity, "must be 0 here")


def poisson(case: Case) -> None:
    """The start is a Poisson kernel on circle or sphere, whose mean is known."""
    ONE_POISSON(case)
    if case.dimension > 3:
        raise ProblemError("space.dimension", case.dimension, "must be 2 or 3 here: on circle and sphere alone the mean is known")


_BY_CHECK: dict[Callable[[Case], object], str] = {
    multiples: "pairing_cosine pairing_path survival_beta surviving_mass uniform_energy_scaled lattice_threshold lattice_growth "
               "lattice_contraction positive_clustering_bound heat_moment heat_exponent heat_profile porous_moment "
               "porous_profile equiangular_cosine equiangular_time two_dirac_cosine two_dirac_time uniform_rate expected_waves "
               "expected_saturation_slope critical_diffusivity stationary_moment bifurcation_slope heat_ratio",
    divided: "pairing_cosine pairing_path dirac_path_angle pair_speed pair_path_angle bessel_ratio normal_law normal_blow_up "
             "heat_moment heat_exponent heat_profile heat_ratio collapse_per_beta survival_beta surviving_mass w1_to_cold",
    undivided: "porous_moment porous_profile critical_diffusivity stationary_moment bifurcation_slope",
    plane: "collapse_per_beta pairing_exponent",
    departing: "departure_time",
    climbing: "dirac_energy_scaled",
    gradient: "energy_dissipation",
    even: "terminal_distance",
    approached: "target_rate fitted_target_rate narrow_time_slope",
    arrival: "closest_limit closest_delay_limit closest_asymptote closest_depth_asymptote cold_exponent",
    ONE_FISHER: "half_space_mass",
    block_strength: "jordan_exponent jordan_distance",
    poisson: "kuramoto_mean",
    hot: "kuramoto_mean",
    ONE_NORMAL: "normal_law normal_blow_up",
    exploding: "normal_blow_up",
    cold: "half_space_mass fitted_target_rate span_gap span_rate jordan_exponent jordan_distance cold_distance",
    semisimple: "span_gap span_rate leading_dimension",
    turning: "pair_frequency rotation_frequency",
    pair_first: "pairing_cosine pairing_path",
    single: "dirac_path_angle",
    flat_plane: "pair_speed pair_path_angle",
    opposite: "survival_beta surviving_mass",
    neutral: "lattice_threshold",
    leaning: "positive_clustering_bound",
}
# Predictions that know noise.
NOISY = ("critical_diffusivity", "stationary_moment", "bifurcation_slope")
# Runs of a claim whose predictions are computed before anything is run: the others differ from these in numbers only.
COMPUTED = 4
# Prediction or measurement -> what it assumes of a case: functions that raise ProblemError where it does not hold.
ASSUMED: dict[str, list[Callable[[Case], object]]] = {}
for _check, _named in _BY_CHECK.items():
    for _name in _named.split():
        ASSUMED.setdefault(_name, []).append(_check)


def check_assumptions(claims: Iterable[Claim]) -> None:
    """Refuse claims whose predictions do not hold for their parameters; some of them are computed to see.

    Raises:
        ProblemError: of the first run and quantity for which that is so.
    """
    for claim in claims:
        if not any(applies(quantity, cell) for quantity in claim.quantities for cell in claim.cells if not quantity.around):
            raise ProblemError("claim", claim.id, "must keep runs that one of its quantities is about; these settings leave none")
        noisy = any(quantity.predicted in NOISY for quantity in claim.quantities)
        for cell in claim.cells:
            checks = {check: None for quantity in claim.quantities if applies(quantity, cell)
                      for name in (quantity.measured, quantity.predicted) for check in ASSUMED.get(name, [])}
            case = cell.case(claim.id)
            for check in (plain, *(() if noisy else (quiet,)), *checks):
                check(case)
        for cell, coarse in list(zip(claim.cells, claim.coarse, strict=True))[:COMPUTED]:
            case = cell.case(claim.id)
            if coarse is not None:
                coarse.case(claim.id)
            for quantity in claim.quantities:
                if quantity.predicted and applies(quantity, cell):
                    _, (_, name, options) = request("predicted", quantity, cell)
                    try:
                        PREDICTIONS[name](case, **options)
                    except RunError:
                        pass  # which the run will meet as well, if not before
                    except (ArithmeticError, TypeError, ValueError) as error:
                        raise ProblemError("claim", claim.id, f"cannot be predicted with these settings: {error}") from None
