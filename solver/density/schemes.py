"""Time schemes of the density: what PETSc calls them, and how large a step they bear."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from petsc4py import PETSc

from problems.errors import ProblemError
from solver.density.reference import Reference

# Largest nu = dt * speed / h at which the scheme is linearly stable for upwind discontinuous Galerkin of degree 0, 1, 2, 3 in one
# dimension (von Neumann; `tests/density/test_reference.py` recomputes them). Euler and two-stage schemes are not stable for
# higher degrees at a fixed ratio; the bound of the next stable scheme per stage stands in, and the limiter holds the rest.
NU = {
    ("euler", 1): (1.0, 0.16, 0.08, 0.05),
    ("rks2", 2): (1.0, 0.33, 0.15, 0.08),
    ("rks2", 5): (4.0, 0.89, 0.3, 0.15),
    ("rks3", 4): (2.0, 0.59, 0.30, 0.19),
    ("rks3", 9): (6.0, 1.37, 0.70, 0.45),
    ("rk104", 10): (6.0, 1.37, 0.70, 0.45),
}
ANY = (1.25, 0.40, 0.20, 0.13)  # Runge-Kutta of three stages, order 3: also the cap for schemes not listed
# In terms of a cell's whole outflow, triangles and tetrahedra bear at least this much more (von Neumann's condition for the
# assembled operator in rotations of the sphere and constant flows, degrees 1 to 3: 1.65 to 4).
BEYOND_ONE_DIMENSION = 1.5


@dataclass(frozen=True)
class Scheme:
    """One integrator of `problem.density.integrator`.

    Attributes:
        ts: PETSc TS type; options: its further options, without prefix; implicit: needs Jacobians; chooses: own step from the
            error.
    """

    ts: str
    options: tuple[tuple[str, str], ...] = ()
    implicit: bool = False
    chooses: bool = False


SCHEMES = {
    "euler": Scheme("euler"),
    "ssprk22": Scheme("ssp", (("ts_ssp_type", "rks2"), ("ts_ssp_nstages", "2"))),
    # four stages: twice the step of the three-stage scheme of Shu & Osher, same order (Spiteri & Ruuth 2002)
    "ssprk33": Scheme("ssp", (("ts_ssp_type", "rks3"), ("ts_ssp_nstages", "4"))),
    "ssprk104": Scheme("ssp", (("ts_ssp_type", "rk104"),)),
    "rk45": Scheme("rk", (("ts_rk_type", "5dp"), ("ts_adapt_type", "basic")), chooses=True),
    "arkimex": Scheme("arkimex", (("ts_arkimex_type", "4"), ("ts_adapt_type", "basic")), implicit=True, chooses=True),
    "bdf": Scheme("bdf", (("ts_bdf_order", "2"), ("ts_adapt_type", "basic")), implicit=True, chooses=True),
    "theta": Scheme("theta", (("ts_theta_theta", "0.5"), ("ts_theta_endpoint", ""), ("ts_theta_adapt", "1"),
                              ("ts_adapt_type", "basic")), implicit=True, chooses=True),
}
FAMILIES = ("ts_", "snes_", "ksp_", "pc_", "mat_")


def configure(ts: PETSc.TS, integrator: str, prefix: str, defaults: Mapping[str, str] | None = None) -> None:
    """Set the type and options of `ts`; what the user put into the options database, with `prefix` or without, goes first, then
    the scheme's own, then `defaults`.

    Raises:
        ProblemError: a type PETSc does not know.
    """
    scheme, database = SCHEMES[integrator], PETSc.Options()
    given = database.getAll()
    wanted = {**(defaults or {}), "ts_type": scheme.ts, **dict(scheme.options)}
    if "ts_type" in given or f"{prefix}ts_type" in given:
        wanted.pop("ts_type")
    wanted.update({key: value for key, value in given.items() if key.startswith(FAMILIES)})
    ours = {f"{prefix}{key}": value for key, value in wanted.items() if f"{prefix}{key}" not in given}
    for key, value in ours.items():
        database.setValue(key, value)
    ts.setOptionsPrefix(prefix)
    try:
        ts.setFromOptions()
    except PETSc.Error as error:
        kinds = {key: value for key, value in database.getAll().items() if key.startswith(prefix) and key.endswith("_type")}
        text = ", ".join(f"-{key} {value}" for key, value in kinds.items())
        raise ProblemError("PETSc options", text, f"must be types this PETSc knows ({_first_line(error)})") from None
    finally:
        for key in ours:
            database.delValue(key)


def _first_line(error: PETSc.Error) -> str:
    lines = [line for line in str(error).splitlines() if "rror" not in line or "type" in line]
    return (lines or str(error).splitlines())[-1].strip()[:120]


def step_bounds(ts: PETSc.TS, given: Mapping[str, str], cell: Reference) -> tuple[float, float]:
    """(C, nu) of the scheme `ts` runs: its steps keep averages non-negative up to C forward Euler steps (0: no such bound), and
    are linearly stable up to dt * outflow / measure = nu (infinite for implicit schemes). `given`: see `options_of`."""
    kind, degree = ts.getType(), cell.degree
    gain = BEYOND_ONE_DIMENSION if cell.tdim > 1 and degree > 0 else 1.0
    if kind == "ssp":
        name = given.get("ts_ssp_type", "rks2")
        stages = int(given.get("ts_ssp_nstages", {"rks2": 5, "rks3": 9}.get(name, 10)))
        radius = {"rks2": stages - 1.0, "rks3": stages - math.sqrt(stages)}.get(name, 6.0)
        return radius, gain * NU.get((name, stages), ANY)[degree]
    if kind == "euler":
        return 1.0, gain * NU["euler", 1][degree]
    return 0.0, gain * ANY[degree] if kind in ("rk", "arkimex") else math.inf


def options_of(prefix: str, integrator: str) -> dict[str, str]:
    """The options in force, without prefix: the scheme's own, overridden by the database's."""
    given: dict[str, Any] = {"ts_type": SCHEMES[integrator].ts, **dict(SCHEMES[integrator].options)}
    database = PETSc.Options().getAll()
    given.update({k: v for k, v in database.items() if k.startswith(FAMILIES)})
    given.update({k[len(prefix):]: v for k, v in database.items() if k.startswith(prefix)})
    return given
