"""Predicted rates, the time scale t*, and the terminal state (docs/theory.md §3.4, §4.6, §4.7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solver.projection.notation import space, vector
from solver.projection.spectrum import Analysis, analyse

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Decay:
    """W_p ~ t^power e^{-rate t} at zero temperature, for an initial law with bounded density."""

    rate: float
    power: float


@dataclass(frozen=True)
class Predictions:
    """What theory expects of a run.

    Attributes:
        beta: inverse temperature, may be inf.
        g_slow, g_fast: smallest and largest approach rate g_E = gap/|B^T e| over e in E on the sphere; they agree when
            dim E = 1. None where no exponential rate exists (defective, complex, unnormalised attention).
        t_star: log(beta)/(2 g_slow), the depth of the closest approach up to a constant; None if undefined.
        decay: {1: Decay, 2: Decay} of W_1 and W_2 to the target at zero temperature.
        terminal: (m, d) points where clusters end at finite beta, or None if they are not isolated points.
        terminal_words: the terminal phase in words.
        notes: what limits these predictions.
    """

    beta: float
    g_slow: float | None
    g_fast: float | None
    t_star: float | None
    decay: dict[int, Decay]
    terminal: Array | None
    terminal_words: tuple[str, ...]
    notes: tuple[str, ...]

    def summary(self) -> dict:
        """Plain numbers for run.json."""
        return {
            "g_E": self.g_slow, "g_E_fastest": self.g_fast, "t_star": self.t_star,
            "decay": {f"w{p}": {"rate": d.rate, "power": d.power} for p, d in self.decay.items()},
            "terminal": None if self.terminal is None else self.terminal.tolist(),
        }


def predict(analysis: Analysis, value: Array, score: Array, beta: float, *, softmax: bool = True,
            diffusivity: float = 0.0) -> Predictions:
    """Predictions for one head with value matrix V and score matrix B = Q^T K, both (d, d).

    The decay exponents extend docs/theory.md §3.4 to any B: tokens near E arrive at the rate g/|B^T e|, tokens that start
    near the exceptional set ker Pi leave it at the rate g/|B^T e'|, e' in the next eigenspace inside ker Pi, and
    W_p^p is the sum of both contributions; B = I gives back e^{-g t min(1, k/p)}. On several-dimensional
    eigenspaces where |B^T e| varies the slowest rate is taken.
    """
    notes: list[str] = []
    g_slow = g_fast = t_star = None
    decay: dict[int, Decay] = {}
    if analysis.kind in ("simple", "multiple") and np.isfinite(analysis.gap):
        if softmax:
            g_slow, g_fast = _over(analysis.gap, score, analysis.basis)
            leave = _over(analysis.gap, score, analysis.following)[0] if analysis.following.shape[1] else np.inf
            k = analysis.dimension
            for p in (1, 2):
                tie = abs(k * leave / p - g_slow) <= 1e-9 * g_slow
                decay[p] = Decay(min(g_slow, k * leave / p), 1.0 / p if tie else 0.0)
            if beta > 1 and np.isfinite(g_slow):
                t_star = float(np.log(beta) / (2 * g_slow)) if np.isfinite(beta) else np.inf
        else:
            notes.append("Unnormalised attention follows the same orbits at its own speed: the map T holds, rates in t do not.")
    if beta == 0:
        notes.append("At beta = 0 attention ignores the scores; the target describes the limit of large beta only.")
    if diffusivity > 0:
        notes.append(f"Noise of diffusivity {diffusivity:g} keeps the law spread out: it approaches the target only roughly.")
    terminal, words = _terminal(analysis, value, score, beta)
    return Predictions(beta, g_slow, g_fast, t_star, decay, terminal, tuple(words), tuple(notes))


def _over(gap: float, score: Array, basis: Array) -> tuple[float, float]:
    """Extremes of gap/|B^T e| over unit e in span(basis); inf where B^T e = 0."""
    sizes = np.linalg.svd(score.T @ basis, compute_uv=False)
    with np.errstate(divide="ignore"):
        return float(np.divide(gap, sizes[0])), float(np.divide(gap, sizes[-1]))


def _terminal(analysis: Analysis, value: Array, score: Array, beta: float) -> tuple[Array | None, list[str]]:
    """Where clusters drift once they are narrower than beta^{-1/2}: x' = P_x V x (docs/theory.md §4.7)."""
    if not analysis.exists:
        return None, []
    if not np.isfinite(beta):
        return None, ["At zero temperature the target is stationary: there is no terminal phase."]
    own = analyse(value)
    if own.kind == "zero":
        return None, ["V = 0: nothing moves."]
    if own.dimension == len(value) and own.kind == "multiple":
        return None, ["V is a multiple of the identity: clusters stay where they formed until they merge."]
    if not own.exists:
        return None, [f"V has a complex leading pair: clusters rotate for ever in {space(own.basis)}."]
    if analysis.dimension > 1:
        return None, [f"For large t clusters drift to the dominant eigenspace of V, {space(own.basis)}."]
    start, limit = analysis.basis[:, 0], np.asarray(own.limit)
    image = limit @ start
    if np.linalg.norm(image) < 1e-9 * np.linalg.norm(limit, 2):
        return None, ["The target lies on the exceptional set of V: it does not decide where clusters end."]
    end = image / np.linalg.norm(image)
    if not _attends_to_itself(value, score, start):
        return None, ["On the way to the dominant eigenspace of V a cluster stops attending to itself (<x, Bx> <= 0): "
                      "the terminal state is not predicted."]
    points = np.stack((end, -end))
    away = float(np.arccos(np.clip(end @ start, -1, 1)))
    if away < 1e-7:
        return points, ["The target lies in the dominant eigenspace of V: clusters stay there."]
    return points, [f"For large t the clusters leave the target for the dominant eigenspace of V, +-{vector(end)}, "
                    f"a distance {away:.6g} away."]


def _attends_to_itself(value: Array, score: Array, start: Array) -> bool:
    """Whether <x, Bx> > 0 along e^{sV} start, so that a cluster prefers itself to its antipode."""
    values, vectors = np.linalg.eig(value)
    if np.linalg.cond(vectors) > 1e8:  # defective: follow the orbit step by step instead
        flow = np.eye(len(value)) + 0.05 * value / np.linalg.norm(value, 2)
        x, steps = start, []
        for _ in range(2000):
            steps.append(x)
            x = flow @ x
            x = x / np.linalg.norm(x)
        orbit = np.array(steps)
    else:
        times = np.linspace(0, 40 / max(np.ptp(values.real), 1e-300), 400)
        growth = np.exp(np.outer(times, values - values.real.max()))
        orbit = np.real((growth * np.linalg.solve(vectors, start.astype(complex))) @ vectors.T)
        orbit /= np.linalg.norm(orbit, axis=1, keepdims=True)
    return bool(np.all(np.einsum("ni,ij,nj->n", orbit, score, orbit) > 0))
