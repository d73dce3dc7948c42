"""What predictions and measurements assume of the parameters: settings beyond that are refused in one line before any run."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from problems import ProblemError
from problems.laws.normal import Normal
from problems.laws.spherical import PoissonKernel, VonMisesFisher
from solver.claims.case import Case
from solver.claims.claim import Claim
from solver.claims.predictions.approach import arrival
from solver.claims.predictions.cold import terminal_distance
from solver.claims.predictions.defective import block_strength
from solver.claims.work import PREDICTIONS, applies, request
from solver.errors import RunError
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


def law(kind: type) -> Callable[[Case], None]:
    """The start has components of one kind."""
    def check(case: Case) -> None:
        case.component(kind)

    return check


def poisson(case: Case) -> None:
    """The start is a Poisson kernel on circle or sphere, whose mean is known."""
    case.component(PoissonKernel)
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
    approached: "target_rate fitted_target_rate narrow_time_slope",
    arrival: "closest_limit closest_delay_limit closest_asymptote closest_depth_asymptote cold_exponent",
    law(VonMisesFisher): "half_space_mass",
    block_strength: "jordan_exponent jordan_distance",
    poisson: "kuramoto_mean",
    law(Normal): "normal_law normal_blow_up",
}
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
        for cell in claim.cells:
            checks = {check: None for quantity in claim.quantities if applies(quantity, cell)
                      for name in (quantity.measured, quantity.predicted) for check in ASSUMED.get(name, [])}
            if checks:
                case = cell.case(claim.id)
                for check in checks:
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
                    except (ArithmeticError, TypeError) as error:
                        raise ProblemError("claim", claim.id, f"cannot be predicted with these settings: {error}") from None
