"""The plain sections of a problem file: frozen dataclasses whose fields carry their check and default.

Keys, units and ranges stand beside each field; nothing else is accepted. Sections with a structure of their
own are in `problems.space`, `problems.attention` and `problems.laws`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from problems.checks import Check, boolean, choice, integer, is_number, joined, number, optional, refuse_unknown
from problems.errors import MISSING, ProblemError

S = TypeVar("S")

# Time integrators of the density. The solver maps each name to a PETSc TS type; see `solver.density`.
DENSITY_INTEGRATORS = {
    "euler": "explicit Euler, order 1",
    "ssprk22": "strong-stability-preserving Runge-Kutta, 2 stages, order 2 (Shu & Osher 1988)",
    "ssprk33": "strong-stability-preserving Runge-Kutta, order 3, in PETSc's form of 4 stages (Ketcheson 2008)",
    "ssprk104": "strong-stability-preserving Runge-Kutta, 10 stages, order 4 (Ketcheson 2008)",
    "rk45": "Dormand-Prince 5(4), step chosen from the error (Dormand & Prince 1980)",
    "arkimex": "additive Runge-Kutta, noise implicit and transport explicit (Kennedy & Carpenter 2003)",
    "bdf": "backward differentiation, fully implicit",
    "theta": "theta method, fully implicit (Crank-Nicolson for theta = 1/2)",
}
PARTICLE_INTEGRATORS = {
    "dopri5": "Dormand-Prince 5(4), step chosen from the error (Dormand & Prince 1980)",
    "rk4": "classical Runge-Kutta, fixed step",
    "euler": "explicit Euler with renormalisation, fixed step: the papers' own scheme",
}
SAMPLINGS = {
    "quadrature": "weighted, at quadrature nodes of the initial law",
    "random": "independent samples of the initial law",
    "sobol": "scrambled Sobol points of the initial law",
}
METRICS = {"geodesic": "length of the shortest arc", "chordal": "straight distance in R^d"}


def setting(check: Check, default: Any = MISSING) -> Any:
    """A dataclass field read from the key of its own name."""
    return dataclasses.field(default=default, metadata={"check": check})


def read(cls: type[S], prefix: str, table: Mapping[str, Any]) -> S:
    """The section `cls` from its TOML `table`; unknown keys are refused, missing ones take their default."""
    settings = {f.name: f for f in dataclasses.fields(cls) if f.metadata.get("check")}  # type: ignore[arg-type]
    refuse_unknown(prefix, table, settings)
    values = {}
    for name, field in settings.items():
        if name in table or field.default is MISSING:
            values[name] = field.metadata["check"](joined(prefix, name), table.get(name, MISSING))
    return cls(**values)


def tabulate(section: Any) -> dict[str, Any]:
    """The TOML table of a section: every key that is not None."""
    values = {f.name: getattr(section, f.name) for f in dataclasses.fields(section) if f.metadata.get("check")}
    return {name: value for name, value in values.items() if value is not None}


def _cfl(field: str, value: Any) -> float:
    if is_number(value) and value > 1.0:
        raise ProblemError(field, value, "a CFL number that breaks the positivity bound; must be greater than 0 and at most 1")
    return number(0.0, 1.0, open_low=True)(field, value)


@dataclass(frozen=True)
class Noise:
    """[noise]: the term D Laplace(mu), D = 1/kappa (docs/theory.md §1.5).

    diffusivity: D >= 0, squared length per unit depth.
    """

    diffusivity: float = setting(number(0.0), 0.0)


@dataclass(frozen=True)
class Density:
    """[density]: the mesh and the scheme of the density.

    cells: about this many cells in all. degree: of the polynomials, 0 to 3. geometry: order of the curved
        cells, 1 to 3.
    limiter: Zhang-Shu scaling, which keeps the polynomials non-negative.
    cfl: the step as a fraction, in (0, 1], of the largest one that provably keeps cell averages positive;
        None: the solver's choice.
    integrator: a name of `DENSITY_INTEGRATORS`; by default "ssprk33", with noise "arkimex".
    step: fixed step in depth instead of the CFL condition. rtol, atol: tolerances of the schemes that choose
        their own step.
    """

    cells: int = setting(integer(1, 10**9), 256)
    degree: int = setting(integer(0, 3), 1)
    geometry: int = setting(integer(1, 3), 2)
    limiter: bool = setting(boolean, True)
    cfl: float | None = setting(optional(_cfl), None)
    integrator: str = setting(choice(*DENSITY_INTEGRATORS), "ssprk33")
    step: float | None = setting(optional(number(0.0, open_low=True)), None)
    rtol: float = setting(number(0.0, 1.0, open_low=True), 1e-6)
    atol: float = setting(number(0.0, open_low=True), 1e-9)


@dataclass(frozen=True)
class Particles:
    """[particles]: the token system.

    count: number N of tokens; quadrature takes the nearest number its rule allows.
    sampling: a name of `SAMPLINGS`. seed: of the random numbers. ensemble: number M of independent runs,
        seeds seed .. seed + M - 1.
    integrator: a name of `PARTICLE_INTEGRATORS`. step: in depth, for fixed-step schemes; None: the solver's
        choice. rtol: of "dopri5".
    """

    count: int = setting(integer(1, 10**9), 4096)
    sampling: str = setting(choice(*SAMPLINGS), "quadrature")
    seed: int = setting(integer(0, 2**63 - 1), 0)
    integrator: str = setting(choice(*PARTICLE_INTEGRATORS), "dopri5")
    step: float | None = setting(optional(number(0.0, open_low=True)), None)
    rtol: float = setting(number(0.0, 0.1, open_low=True), 1e-8)
    ensemble: int = setting(integer(1, 10**6), 1)


@dataclass(frozen=True)
class Compare:
    """[compare]: how density, particles and target are compared.

    metric: ground metric of the Wasserstein distances, "geodesic" or "chordal".
    tolerance: largest W2 between density and particles that counts as agreement; None: the estimated noise
        floor decides.
    until: last depth that is judged; beyond it distances are only reported. None: all outputs.
    """

    metric: str = setting(choice(*METRICS), "geodesic")
    tolerance: float | None = setting(optional(number(0.0, open_low=True)), None)
    until: float | None = setting(optional(number(0.0)), None)
