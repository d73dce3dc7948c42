"""The eigen-analysis and its predictions in words: one sentence per line, for the terminal and run.json."""

from __future__ import annotations

import numpy as np

from solver.projection.notation import number, space, vector
from solver.projection.rates import Predictions
from solver.projection.spectrum import Analysis


def spectrum_words(a: Analysis) -> list[str]:
    """What A = V K^T Q does to tokens at zero temperature: the limit, its rate, or why there is none."""
    d, k, lead = len(a.matrix), a.dimension, number(a.leading)
    if a.kind == "zero":
        return ["A = V K^T Q is zero: tokens do not move at zero temperature and there is nothing to project on."]
    if k == d and a.kind == "multiple":
        return [f"A = V K^T Q is {lead} times the identity: every point is stationary and T(x) = x."]
    lines = []
    if a.kind == "simple":
        lines.append(f"A = V K^T Q has a simple real leading eigenvalue {lead}: tokens converge to the two points "
                     f"+-{vector(a.basis[:, 0])}.")
    elif a.kind == "multiple":
        lines.append(f"A = V K^T Q has the real semisimple leading eigenvalue {lead} of multiplicity {k}: tokens converge "
                     f"to the unit sphere of E = {space(a.basis)}.")
    elif a.kind == "defective":
        lines.append(f"The leading eigenvalue {lead} of A = V K^T Q is defective (Jordan block of size {a.index}): tokens "
                     f"converge to {space(a.basis)}, but only algebraically: the distance falls like {a.index - 1}/tau.")
    elif a.frequency > 0:
        where = "the law" if k == d else f"the law reaches {space(a.basis)} but"
        lines.append(f"The leading eigenvalues of A = V K^T Q have real part {lead} and imaginary part up to "
                     f"{number(a.frequency)}: {where} rotates for ever (period "
                     f"{number(2 * np.pi / a.frequency)} in tau); there is no limit and no target.")
    if a.kind != "complex":
        if np.isfinite(a.gap) and a.index == 1:
            lines.append(f"The spectral gap is {number(a.gap)}: the distance to the limit decays like e^(-{number(a.gap)} tau), "
                         "d tau/dt = 1/|K^T Q x|.")
        power = "" if a.index == 2 else f"^{a.index - 1}"
        lines.append("The map is T(x) = Pi x/|Pi x| with the spectral projector Pi" if a.index == 1 else
                     f"The map is T(x) = M x/|M x| with M = N{power} Pi, N the nilpotent part of A")
        if a.normal or a.conditioning < 1 + 1e-9:
            lines[-1] += ", which is orthogonal." if a.index == 1 else "."
        else:
            lines[-1] += f", which is oblique: |Pi| = {number(a.conditioning)}."
    if a.narrow:
        size = float(np.linalg.norm(a.matrix, 2))
        lines.append(f"The gap is nearly degenerate ({number(a.gap)} against |A| = {number(size)}): up to "
                     f"tau of order {number(1 / a.gap)} the tokens see the next eigenspace as part of E.")
    if not a.normal and a.conditioning > 10:
        lines.append("A is far from normal: tokens may move away from the limit before they approach it, and rounding is "
                     f"amplified by {number(a.conditioning)}.")
    return lines


def prediction_words(p: Predictions) -> list[str]:
    """Rates and the terminal state, in words (docs/theory.md §3.4, §4.6, §4.7)."""
    lines = list(p.notes)
    if p.g_slow is not None and p.g_fast is not None and np.isfinite(p.g_slow):
        span = number(p.g_slow) if p.g_fast - p.g_slow < 1e-9 * p.g_fast else f"{number(p.g_slow)} to {number(p.g_fast)}"
        lines.append(f"Tokens approach E at the rate g_E = {span} per unit of depth.")
        if p.t_star is not None and np.isfinite(p.t_star):
            lines.append(f"At beta = {number(p.beta)} the law is as narrow as the kernel not before t = log(beta)/(2 g_E) = "
                         f"{number(p.t_star)}, up to a constant: tokens leave the target not before that, and the mean field, "
                         "held by what it leaves behind, later still (no law of the time is known).")
        for order, decay in sorted(p.decay.items()):
            power = "" if decay.power == 0 else (" t" if decay.power == 1 else f" t^(1/{order})")
            lines.append(f"W{order} to the target decays like{power} e^(-{number(decay.rate)} t) at zero temperature.")
    return lines + list(p.terminal_words)
