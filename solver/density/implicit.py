"""Implicit and implicit-explicit integration of the density through PETSc TS: residuals, Jacobians, linear solvers.

    d rho/dt = D L rho + N(rho),    N the nonlocal transport, L the noise of `solver.density.noise`.

Implicit-explicit types (ARKIMEX) take N explicitly and L implicitly. All other implicit types (BDF, theta, Rosenbrock,
backward Euler, ..) take both implicitly; their Jacobian is D L + T, with T the transport for the velocity frozen at the
present density. `-snes_mf_operator` keeps that matrix for the preconditioner only and differentiates the whole
residual, attention included, by finite differences. All options take the solver's prefix (`-density_ksp_type ..`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec

import numpy as np
from petsc4py import PETSc

from problems.errors import ProblemError
from solver.density.noise import laplacian
from solver.density.operator import DensityOperator, stage
from solver.density.transport_matrix import frozen_matrix
from solver.errors import RunError

EXPLICIT = ("euler", "ssp", "rk", "glee", "mprk", "basicsymplectic")
IMPLICIT_EXPLICIT = ("arkimex", "eimex")
DIRECT_UNKNOWNS = 10_000  # up to here a sparse factorisation is the quickest, over all ranks
CLIPPED = 1e-2  # mass that a step may make negative in cells before it counts as failed


def linear_solver(unknowns: int, given: dict[str, str]) -> dict[str, str]:
    """PETSc options for linear solves with this many unknowns (global), where the options `given` leave a choice.

    Directly up to `DIRECT_UNKNOWNS`. Beyond, GMRES: with incomplete factorisation where transport is explicit, since its
    step bound keeps D dt / h^2 moderate (about 27 sqrt(D dt) / h iterations); otherwise with algebraic multigrid, which
    smooths the unknowns of a cell together.
    """
    imex = given.get("ts_type") in IMPLICIT_EXPLICIT
    if unknowns <= DIRECT_UNKNOWNS:
        options = {"ksp_type": "preonly", "pc_type": "lu"}
        if PETSc.Sys.hasExternalPackage("mumps"):
            options["pc_factor_mat_solver_type"] = "mumps"
    elif imex:
        options = {"ksp_type": "gmres", "ksp_rtol": "1e-9", "pc_type": "bjacobi", "sub_pc_type": "ilu"}
    else:
        options = {"ksp_type": "gmres", "ksp_rtol": "1e-9", "pc_type": "gamg", "mg_levels_pc_type": "pbjacobi"}
    if {"snes_mf", "snes_mf_operator"} & given.keys():
        options |= {"ksp_type": "gmres", "ksp_rtol": "1e-6"}
    # With transport explicit the stage equations are linear: one solve each, no second residual.
    options["snes_type"] = "ksponly" if imex else "newtonls"
    return options


P = ParamSpec("P")


class ImplicitTerms:
    """Residual and Jacobian of a density solver's TS; collective.

    Args:
        ts: with its type set; operator: of the density.
        now: the depth whose weights apply, constant during a step.

    Raises:
        ProblemError: noise with degree 0 on a surface.
    """

    def __init__(self, ts: PETSc.TS, operator: DensityOperator, now: Callable[[], float]):
        self.operator, self.now = operator, now
        self.imex = ts.getType() in IMPLICIT_EXPLICIT
        rate = operator.problem.noise_rate
        self.noise = None
        if rate > 0.0:
            self.noise = laplacian(operator)
            self.noise.scale(rate)
        self.frozen: PETSc.Mat | None = None
        self.matrix = self._pattern()
        self._work = operator.create_vector()
        self.cause: BaseException | None = None
        ts.setIFunction(self._kept(self._residual), operator.create_vector())
        ts.setIJacobian(self._kept(self._jacobian), self.matrix)
        if not self.imex:
            ts.setRHSFunction(self._kept(self._transport), operator.create_vector())

    def _kept(self, callback: Callable[P, None]) -> Callable[P, None]:
        """A callback whose error is remembered: PETSc passes on that there was one, but not which."""
        def called(*arguments: P.args, **options: P.kwargs) -> None:
            try:
                callback(*arguments, **options)
            except BaseException as error:
                self.cause = error
                raise

        return called

    def repair(self, state: np.ndarray, mass: float) -> float:
        """Give the unknowns non-negative cell averages and the total `mass`, in place; returns the mass clipped.

        Implicit schemes prove no sign, and linear solvers end at a tolerance. Cells with negative average are
        emptied and the whole is scaled back.

        Raises:
            RunError: more than `CLIPPED` of the mass would have to go.
        """
        op, g = self.operator, self.operator.geometry
        cells = state.reshape(-1, op.size)
        averages = np.einsum("ci,ci->c", g.mean, cells)
        negative = averages < 0.0
        clipped = op.comm.allreduce(-float(averages[negative] @ g.volume[negative]))
        if not clipped <= CLIPPED * mass:
            raise RunError(f"an implicit step made {clipped:.3e} of the mass negative; use more cells or smaller steps")
        if clipped > 0.0:
            cells[negative] = 0.0
        total = op.mass(state)
        if total > 0.0:
            cells *= mass / total
        return clipped

    def first_step(self, state: PETSc.Vec) -> float:
        """A step over which the density changes by about a hundredth: some types control the error from the second on."""
        slope = self._work.duplicate()
        self.operator.rhs(self.now(), state.array_r, slope.array_w, limit=False)
        if self.noise is not None:
            self.noise.multAdd(state, slope, slope)
        speed = slope.norm()
        return 0.01 * state.norm() / speed if speed > 0.0 else np.inf

    def _pattern(self) -> PETSc.Mat:
        """A matrix with the entries of everything that is added up in `_jacobian`."""
        if self.imex and self.noise is not None:
            return self.noise.copy()
        self.frozen = frozen_matrix(self.operator)
        pattern = self.frozen.copy()
        if self.noise is not None:
            pattern.axpy(1.0, self.noise, PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
        return pattern

    def _transport(self, ts: PETSc.TS, t: float, x: PETSc.Vec, out: PETSc.Vec) -> None:
        self.operator.rhs(self.now(), x.array_r, out.array_w, limit=False)

    def _residual(self, ts: PETSc.TS, t: float, x: PETSc.Vec, slope: PETSc.Vec, out: PETSc.Vec) -> None:
        """slope - D L x; PETSc itself subtracts the transport where the type is fully implicit."""
        slope.copy(out)
        if self.noise is not None:
            with stage("noise"):
                self.noise.mult(x, self._work)
                out.axpy(-1.0, self._work)

    def _jacobian(self, ts: PETSc.TS, t: float, x: PETSc.Vec, slope: PETSc.Vec, shift: float, A: PETSc.Mat,
                  P: PETSc.Mat) -> None:
        with stage("Jacobian"):
            subset = PETSc.Mat.Structure.SUBSET_NONZERO_PATTERN
            P.zeroEntries()
            if self.noise is not None:
                P.axpy(-1.0, self.noise, subset)
            if self.frozen is not None and not self.imex:
                self.operator.set_velocity(self.now(), x.array_r)
                P.axpy(-1.0, frozen_matrix(self.operator, self.frozen), subset)
            P.shift(shift)
            P.assemble()
            if A.handle != P.handle:
                A.assemble()


def attach(ts: PETSc.TS, operator: DensityOperator, now: Callable[[], float]) -> ImplicitTerms | None:
    """Give `ts`, whose type is set, what an implicit type needs; None for explicit types.

    Raises:
        ProblemError: noise with an explicit type, or with degree 0 on a surface.
    """
    kind = ts.getType()
    if kind in EXPLICIT:
        if operator.problem.noise.diffusivity > 0.0:
            raise ProblemError("density.integrator", kind, "with noise it must be arkimex, bdf or theta (implicit)")
        return None
    terms = ImplicitTerms(ts, operator, now)
    check_solver(ts.getSNES(), terms.matrix)
    return terms


def check_solver(snes: PETSc.SNES, matrix: PETSc.Mat) -> None:
    """Set up a factorisation once, on the identity: its package is looked up only then. `matrix` is overwritten.

    Raises:
        ProblemError: a type PETSc does not know, or has not been built with.
    """
    ksp = snes.getKSP()
    if ksp.getPC().getType() not in ("lu", "cholesky", "ilu", "icc"):
        return
    matrix.zeroEntries()
    matrix.shift(1.0)
    ksp.setOperators(matrix, matrix)
    try:
        ksp.setUp()
    except PETSc.Error as error:
        prefix, given = ksp.getOptionsPrefix() or "", PETSc.Options().getAll()
        shown = ", ".join(f"-{key} {value}" for key, value in given.items() if key.startswith(prefix)) or ksp.getType()
        reason = str(error).splitlines()[-1].strip()
        raise ProblemError("PETSc options", shown, f"must be types this PETSc has ({reason})") from None
    ksp.reset()
