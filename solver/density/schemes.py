"""Time schemes of the density: what PETSc calls them, and how large a step they bear."""

from __future__ import annotations

import atexit
import math
from collections.abc import Mapping
from dataclasses import dataclass

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
ADAPTIVE = ("rk", "arkimex", "bdf", "rosw", "dirk")  # choose their own step unless told otherwise
FAMILIES = ("ts_", "snes_", "ksp_", "pc_", "mat_")


def configure(ts: PETSc.TS, integrator: str, prefix: str, defaults: Mapping[str, str] | None = None) -> None:
    """Set the type and options of `ts`; what the user put into the options database, with `prefix` or without, goes first, then
    the scheme's own, then `defaults`.

    Raises:
        ProblemError: a type PETSc does not know.
    """
    forget(prefix)
    database = PETSc.Options()
    given = database.getAll()
    wanted = {**(defaults or {}), **_own_options(integrator, given, prefix)}
    users = {key: value for key, value in given.items() if key.startswith(FAMILIES)}
    for key, value in {**wanted, **users}.items():
        if f"{prefix}{key}" not in given:
            # They stay: solvers within solvers look theirs up only when they are set up.
            database.setValue(f"{prefix}{key}", value)
            _placed[f"{prefix}{key}"] = value, key in users
        if key in users:
            database.hasName(key)  # seen: the copy, if nobody reads it, makes PETSc warn of a misspelling at the end
    ts.setOptionsPrefix(prefix)
    try:
        ts.setFromOptions()
    except PETSc.Error as error:
        reason = str(error).splitlines()[-1].partition("] ")[2].strip()
        guilty = [f"-{key.removeprefix(prefix)} {value}" for key, value in database.getAll().items()
                  if key.startswith(prefix) and value and (f"-{key}" in reason or value in reason.split())]
        raise ProblemError("PETSc options", ", ".join(guilty) or reason, f"must be types this PETSc knows ({reason})") from None


def forget(prefix: str, *, keep_users: bool = False) -> None:
    """Take the options `configure` placed under `prefix` out of the database; `keep_users`: only those that are defaults."""
    database = PETSc.Options()
    present = database.getAll()
    for key, (value, of_user) in list(_placed.items()):
        if key.startswith(prefix) and not (keep_users and of_user):
            if present.get(key) == value:  # or else the user has set it since
                database.delValue(key)
            del _placed[key]


# What the command line starts PETSc with.
OF_THE_START = ("skip_petscrc", "no_signal_handler")


def given_by_user() -> bool:
    """Whether the database holds options that neither `configure` nor the start of PETSc has placed there."""
    return any(key not in _placed or _placed[key][1] for key in PETSc.Options().getAll() if key not in OF_THE_START)


# Options placed by `configure`, with their prefix: values, and whether they are copies of the user's. Defaults leave the database
# before PETSc looks for options nobody has read.
_placed: dict[str, tuple[str, bool]] = {}
atexit.register(forget, "", keep_users=True)


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
    forget(prefix)
    database = PETSc.Options().getAll()
    options = _own_options(integrator, database, prefix)
    options.update({k: v for k, v in database.items() if k.startswith(FAMILIES)})
    options.update({k[len(prefix):]: v for k, v in database.items() if k.startswith(prefix)})
    return options


def _own_options(integrator: str, given: Mapping[str, str], prefix: str) -> dict[str, str]:
    """The options of a scheme, unless the database `given` asks for another type."""
    scheme = SCHEMES[integrator]
    if given.get(f"{prefix}ts_type", given.get("ts_type", scheme.ts)) != scheme.ts:
        return {}
    return {"ts_type": scheme.ts, **dict(scheme.options)}
