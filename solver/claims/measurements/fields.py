"""Measured properties of the drift and of the energy."""

from __future__ import annotations

import numpy as np

from solver.claims.case import Array, Run


def probes(dimension: int, count: int = 16) -> Array:
    """Fixed directions (count, d) at which fields are compared, the same for every resolution."""
    x = np.random.default_rng(dimension).standard_normal((count, dimension))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def _drift_at(run: Run, x: Array) -> tuple[Array, Array]:
    """The drift of the law at depth 0 and the zero-temperature drift P_x V B^T x/|B^T x| of a full support, at points x."""
    from solver.attention import Attention

    case, project = run.case, run.case.problem.manifold.project
    attention = Attention(case.weights, accuracy=case.problem.attention.accuracy)
    values, log_scale = attention.field(x, run.points[0], run.masses[0])
    if case.unnormalised:
        values = values * np.exp(log_scale)
    attended = x @ case.B
    return project(x, values), project(x, (attended @ case.V.T) / np.linalg.norm(attended, axis=1, keepdims=True))


def drift_ratio(run: Run, probe: int = 0) -> float:
    """X(x) over X_0(x), the zero-temperature drift of a full support, in its direction, at one of the `probes`."""
    own, cold = _drift_at(run, probes(run.case.dimension))
    return float(own[probe] @ cold[probe] / (cold[probe] @ cold[probe]))


def drift_misfit(run: Run) -> float:
    """Largest part of X(x) across X_0(x) over the `probes`."""
    own, cold = _drift_at(run, probes(run.case.dimension))
    share = np.einsum("nd,nd->n", own, cold) / np.einsum("nd,nd->n", cold, cold)
    return float(np.abs(own - share[:, None] * cold).max())


def energy_slope(run: Run) -> float:
    """dE/dt at depth 0, by a polynomial of degree 4 through the first five outputs."""
    values = run.row("energy").astype(float)[:5]
    return float(np.polyfit(run.times[:5], values, 4)[-2])


def onset_slope(run: Run) -> float:
    """r_1^2/(kappa/kappa_c - 1) of the last law: r_1 = |int x dmu|, kappa_c = beta/a_1(beta) (docs/theory.md §5.6)."""
    from solver.claims.predictions.linear import critical_diffusivity

    excess = critical_diffusivity(run.case) / run.case.problem.noise.diffusivity - 1
    return float(run.mean[-1] @ run.mean[-1] / excess)


def energy_drop(run: Run) -> float:
    """Largest fall of the energy between two outputs, relative to its range; 0 where it only rises."""
    values = run.row("energy").astype(float)
    return float(max(0.0, -np.diff(values).min()) / max(np.ptp(values), 1e-300))


TABLE = (drift_ratio, drift_misfit, energy_slope, onset_slope, energy_drop)
