"""The plain sections of a problem file: frozen dataclasses whose fields carry their check and default.

Keys, units and ranges stand beside each field; nothing else is accepted. Sections with a structure of their
own are in `problems.space`, `problems.attention` and `problems.laws`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from problems.checks import Check, boolean, choice, integer, is_number, number, optional, tables, text
from problems.errors import MISSING, Mistakes, ProblemError
from problems.fields import Field, object_schema, read_fields

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

S = TypeVar("S")
T = TypeVar("T")

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
    "adaptive": "carried by the flow with their cells, added where they thin out and taken out where they gather",
}
METRICS = {"geodesic": "length of the shortest arc", "chordal": "straight distance in R^d"}


def setting(check: Check[T], default: T, meaning: str) -> T:
    """A dataclass field read from the key of its own name; see `problems.fields.Field`."""
    return dataclasses.field(default=default, metadata={"check": check, "meaning": meaning})


def fields_of(cls: type) -> tuple[Field[object], ...]:
    """The keys of a section."""
    return tuple(Field(f.name, f.metadata["check"], f.metadata["meaning"], f.default)
                 for f in dataclasses.fields(cls) if f.metadata.get("check"))


def read(cls: type[S], prefix: str, table: Mapping[str, object]) -> S:
    """The section `cls` from its TOML `table`; unknown keys are refused, missing ones take their default.

    Raises:
        ProblemError: with every mistake of the section.
    """
    wrong = Mistakes()
    values = read_fields(prefix, table, fields_of(cls), wrong)
    wrong.stop()
    return cls(**values)


def tabulate(section: DataclassInstance) -> dict[str, object]:
    """The TOML table of a section: every key that is not None."""
    values = {f.name: getattr(section, f.name) for f in dataclasses.fields(section) if f.metadata.get("check")}
    return {name: [tabulate(entry) for entry in value] if isinstance(value, tuple) else value
            for name, value in values.items() if value is not None and value != ()}


def _cfl(field: str, value: object) -> float:
    if is_number(value) and value > 1.0:
        raise ProblemError(field, value, "a CFL number that breaks the positivity bound; must be greater than 0 and at most 1")
    return FRACTION(field, value)


FRACTION = number(0.0, 1.0, open_low=True)
POSITIVE = number(0.0, open_low=True)


@dataclass(frozen=True)
class Noise:
    """[noise]: the term D Laplace(mu), D = 1/kappa (docs/theory.md §1.5)."""

    diffusivity: float = setting(number(0.0), 0.0, "D in the term D Laplace(mu), squared length per unit of depth")


@dataclass(frozen=True)
class Density:
    """[density]: the mesh and the scheme of the density. `cfl` None: the solver's choice; `step` None: by the CFL condition."""

    cells: int = setting(integer(1, 10**9), 256, "about this many cells in all")
    degree: int = setting(integer(0, 3), 1, "degree of the polynomials")
    geometry: int = setting(integer(1, 3), 2, "order of the curved cells")
    limiter: bool = setting(boolean, True, "keep the polynomials non-negative (Zhang-Shu scaling)")
    extrapolate: bool = setting(boolean, True, "attention at most once per step where that is right to 1e-6 (ssprk schemes)")
    cfl: float | None = setting(optional(Check(_cfl, FRACTION.schema, FRACTION.words)), None,
                                "step as a fraction of the largest one that positivity and stability allow, default 0.9")
    integrator: str = setting(choice(*DENSITY_INTEGRATORS), "ssprk33", 'time scheme; with noise the default is "arkimex"')
    step: float | None = setting(optional(POSITIVE), None, "largest step in depth, instead of the CFL condition")
    rtol: float = setting(number(1e-14, 1.0), 1e-6, "relative tolerance of the integrators that choose their own step")
    atol: float = setting(POSITIVE, 1e-9, "absolute tolerance of the integrators that choose their own step")


@dataclass(frozen=True)
class Particles:
    """[particles]: the token system. `step` None: the solver's choice."""

    count: int = setting(integer(1, 10**9), 4096, "number of tokens; quadrature takes the nearest number its rule allows, "
                         "adaptive tokens are at least as dense as so many spread evenly (default 1)")
    sampling: str = setting(choice(*SAMPLINGS), "quadrature", "how tokens stand for the initial law")
    seed: int = setting(integer(0, 2**63 - 1), 0, "of the random numbers")
    integrator: str = setting(choice(*PARTICLE_INTEGRATORS), "dopri5", "time scheme, adaptive or of fixed step")
    step: float | None = setting(optional(POSITIVE), None, "of the fixed-step integrators and with noise, in depth; "
                                 "default 0.05 for rk4, else 0.01")
    rtol: float = setting(number(1e-14, 0.1), 1e-8, 'of "dopri5": local error of each token')
    ensemble: int = setting(integer(1, 10**6), 1, "number of independent runs, with seeds seed, seed + 1, ..")
    density: bool = setting(boolean, True, "whether tokens carry the density of their law at their own place, where it exists")
    gap: float | None = setting(optional(number(0.0, 10.0, open_low=True)), None, 'of "adaptive": largest distance of neighbours '
                                "in units of the kernel's width (beta |B|)^(-1/2); default 0.2 on curves, 0.35 on surfaces")
    link: float | None = setting(optional(POSITIVE), None, "distance within which neighbours belong to one "
                                 "cluster, geodesic on spheres; default a tenth of beta^(-1/2), for beta from 1 to 1e4")
    most: int = setting(integer(16, 10**9), 100_000, 'of "adaptive": no more tokens than this')


@dataclass(frozen=True)
class FurtherTokens:
    """One entry of compare.also: tokens of another number or sampling, whose distances are reported and not judged."""

    count: int = setting(integer(1, 10**9), MISSING, "number of tokens")  # type: ignore[assignment]  # without a default
    sampling: str = setting(choice(*(name for name in SAMPLINGS if name != "adaptive")), "quadrature",
                            "how they stand for the initial law")
    seed: int = setting(integer(0, 2**63 - 1), 0, "of the random numbers")
    label: str | None = setting(optional(text), None, "what they are called in table and figures, by default number and sampling")

    @property
    def words(self) -> str:
        """What they are called."""
        return self.label or f"{self.count} {self.sampling} tokens"


MOST_ALSO = 8


def _also(field: str, value: object) -> tuple[FurtherTokens, ...]:
    """The further token systems of a comparison; an empty list stands for none."""
    if isinstance(value, list) and not value:
        return ()
    wrong, found = Mistakes(), []
    for i, entry in enumerate(tables(field, value, MOST_ALSO)):
        found.append(wrong.check(partial(read, FurtherTokens), f"{field}[{i}]", entry))
    wrong.stop()
    systems = tuple(system for system in found if system is not None)
    names = [system.words for system in systems]
    for i, name in enumerate(names):
        if name in names[:i] or name in RESERVED:
            raise ProblemError(f"{field}[{i}].label", name, "is the name of another line already")
    return systems


# Lines that a comparison has anyway.
RESERVED = ("density", "particles", "zero temperature")
ALSO = Check(_also, {"type": "array", "maxItems": MOST_ALSO, "items": object_schema(fields_of(FurtherTokens))})


@dataclass(frozen=True)
class Compare:
    """[compare]: how density, particles and target are compared. `tolerance` None: the estimated noise floor decides; `until`
    None: all outputs are judged."""

    metric: str = setting(choice(*METRICS), "geodesic", "ground metric of the Wasserstein distances")
    tolerance: float | None = setting(optional(POSITIVE), None, "largest W2 between density and tokens that counts as agreement; "
                                      "without it the noise floor and the moments decide")
    until: float | None = setting(optional(number(0.0)), None, "last depth that is judged, by default the last output")
    also: tuple[FurtherTokens, ...] = setting(ALSO, (), "further token systems, [[compare.also]] tables, reported beside "
                                              "density and particles and not judged")
