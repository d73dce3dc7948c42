"""The phases a run goes through, found from its tables: alignment, heat, metastable, pairing, terminal.

At low temperature a law first follows the zero-temperature flow to its target (alignment). Within an eigenspace, where that
flow is at rest, it then obeys a backward heat equation until it has gathered in clusters (heat). Clusters stay where they are for
long (metastable) and merge in pairs (pairing), until one is left, or the law has left its target for the eigenspace that V
prefers (terminal). Sources: docs/theory.md §2, §4.3, §4.4, §4.7.

How they are told apart, interval by interval between outputs: alignment ends when W2 to the target has fallen to within a
tenth of its whole fall from its least value; a law that stays within that, or whose clusters keep their number, is
metastable, but a law that reaches an eigenspace of more dimensions heats at once; fewer clusters than before are pairing. A
law counts as clustered if nearly all of its tokens sit in clusters narrower than the kernel, beta^{-1/2}; a few tokens that
move freely from the start are no clusters that stay, though.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from problems import Problem
from problems.attention import spectral_norm
from solver.projection.spectrum import analyse
from solver.projection.target import Target
from solver.projection.terminal import arc_to_span
from solver.runs.tables import read_columns, read_rows

NEAR = 0.1  # of the fall of W2: how near to its least value counts as there
FALL = 0.3  # of W2 at the start: a smaller fall is no alignment
STILL = 0.02  # change of a moment per e-fold of depth, or in the unit of depth, below which a law counts as at rest
AWAY = 1e-6  # radians between the target and E(V) that make tokens leave
FREE = 0.1  # of the largest speed: tokens that are faster from the start on move freely
CLUSTERED = 0.95  # mass in narrow clusters
SHORTEST = 0.02  # of the run's length, on a linear and on a logarithmic scale: shorter phases are not told


@dataclass(frozen=True)
class Phase:
    """A stretch of depth, start <= t <= end, with its name and what tells it, one line."""

    name: str
    start: float
    end: float
    why: str = ""

    def summary(self) -> dict[str, str | float]:
        """For run.json."""
        return asdict(self)


@dataclass(frozen=True)
class Expectation:
    """What theory says a run may go through: leaves: its clusters leave the target for E(V); heats: the zero-temperature
    flow rests on a circle or sphere, where heat follows; stays: at zero temperature the target is stationary."""

    leaves: bool = False
    heats: bool = False
    stays: bool = False


def expectation(goal: Target) -> Expectation:
    """What the target of a problem says about its phases."""
    predicted, analysis = goal.predictions, goal.analysis
    if not goal.exists or predicted is None or analysis is None:
        return Expectation()
    stays = not math.isfinite(predicted.beta)
    ends = predicted.terminal
    away = ends is not None and analysis.dimension == 1 and abs(float(ends[0] @ analysis.basis[:, 0])) < 1 - 1e-9
    return Expectation(leaves=away and not stays, heats=analysis.dimension > 1 and not stays, stays=stays)


def expectation_of_tokens(goal: Target) -> Expectation:
    """As `expectation`, of finitely many tokens: at zero temperature they attend to each other alone once they have gathered, and
    leave the target for E(V), as at any other temperature (docs/theory.md §4.7)."""
    expected, analysis = expectation(goal), goal.analysis
    if not expected.stays or analysis is None or analysis.dimension != 1 or goal.problem.particles.sampling == "adaptive":
        return expected
    value = sum((head.value for head in goal.problem.attention.layers[0].weights.heads), start=np.zeros(()))
    away = float(arc_to_span(analysis.basis.T, analyse(value).basis)[0]) > AWAY
    return Expectation(leaves=True) if away else expected


def find_phases(times: np.ndarray, distance: np.ndarray, moments: np.ndarray, clusters: np.ndarray,
                expected: Expectation, unit: float = 0.0) -> list[Phase]:
    """The phases in their order; they tile the run. Local.

    Args:
        times: (T,) ascending depths. distance: (T,) W2 to the target, NaN where there is none.
        moments: (T, k) bounded numbers that tell laws apart, such as means and second moments.
        clusters: (T,) number of clusters, 0 where the law is not clustered, NaN where that is not known.
        expected: what theory allows. unit: the depth in which tokens can cross the space; 0 if that is not known.
    """
    if len(times) < 3:
        return []
    near, arrived, level = approach(distance)
    speed = np.abs(np.diff(moments, axis=0)).max(axis=1) / np.diff(times)
    moving = speed * np.maximum(times[1:], max(unit, 1e-300)) > STILL
    slow = ~moving | (speed < FREE * speed.max())
    free = int(np.argmax(slow)) if slow.any() else len(slow)
    labels = []
    for i in range(len(times) - 1):
        before, after = clusters[i], clusters[i + 1]
        if near is not None and i < arrived:
            labels.append(("alignment", f"W2 to the target falls to {level:.3g}"))
        elif near is not None and near[i] and near[i + 1] and not expected.heats:
            rest = expected.stays or (not expected.leaves and not expected.heats and not moving[i:].any())
            labels.append(("terminal", "at rest on the target") if rest else
                          ("metastable", f"W2 to the target stays below {level:.3g}"))
        elif expected.leaves and near is not None:
            labels.append(("terminal", "the law leaves the target for E(V)"))
        elif before > 0 and after > 0 and (i >= free or after != before):
            labels.append(clustered_label(int(before), int(after)))
        elif not moving[i:].any():
            labels.append(("terminal", "at rest"))
        else:
            labels.append(("heat", "no clusters yet: the law spreads or gathers at depths of order beta") if expected.heats else
                          ("alignment", "the law moves, and is not clustered"))
    return joined(times, labels)


def approach(distance: np.ndarray) -> tuple[np.ndarray | None, int, float]:
    """Where W2 is near its least value (T,), the first such output, and what counts as near; None without a marked fall."""
    if not np.isfinite(distance).any() or not np.isfinite(distance[0]):
        return None, 0, math.nan
    least = float(np.nanmin(distance))
    fall = float(distance[0]) - least
    if fall < FALL * float(distance[0]):
        return None, 0, math.nan
    level = least + NEAR * fall
    near = distance <= level
    return near, int(np.argmax(near)), level


def clustered_label(before: int, after: int) -> tuple[str, str]:
    """The phase of clusters between two outputs."""
    if after < before:
        return "pairing", "clusters merge"
    if after == 1:
        return "terminal", "one cluster"
    return "metastable", f"{after} clusters stay"


def joined(times: np.ndarray, labels: Sequence[tuple[str, str]]) -> list[Phase]:
    """Equal neighbours made one, stretches too short to tell left out of the first pass and given to the one before."""
    phases: list[Phase] = []
    for i, (name, why) in enumerate(labels):
        if phases and phases[-1].name == name:
            phases[-1] = Phase(name, phases[-1].start, float(times[i + 1]), phases[-1].why)
        else:
            phases.append(Phase(name, float(times[i]), float(times[i + 1]), why))
    span = float(times[-1] - times[0])
    first = float(times[1]) if times[0] <= 0 else float(times[0])
    decades = max(math.log(float(times[-1]) / first), 1e-300)
    kept: list[Phase] = []
    for phase in phases:
        short = (phase.end - phase.start < SHORTEST * span
                 and math.log(phase.end / max(phase.start, first)) < SHORTEST * decades)
        if kept and (kept[-1].name == phase.name or (short and phase.name != "pairing")):
            kept[-1] = Phase(kept[-1].name, kept[-1].start, phase.end, kept[-1].why)
        else:
            kept.append(phase)
    return kept


def phases_of(folder: Path, problem: Problem, goal: Target) -> list[Phase]:
    """The phases of a run folder, by its tables; those of the density where there is one. Serial."""
    path = next((folder / name for name in ("diagnostics.csv", "particles.csv") if (folder / name).exists()), None)
    if path is None:
        return []
    columns = read_columns(path)
    times = columns.get("time", np.zeros(0))
    if len(times) < 3:
        return []
    moments = np.column_stack([v for name, v in columns.items() if name.startswith(("mean_", "second_"))])
    if not problem.manifold.normalised:  # moments of flat space have a length: count them in widths of the start
        moments = moments / max(float(np.sqrt(np.abs(moments[0]).max())), 1e-300)
    beta = max((layer.weights.beta for layer in problem.attention.layers), default=1.0)
    clusters = narrow_clusters(folder / "clusters.csv", times, beta)
    expected = expectation(goal) if path.name == "diagnostics.csv" else expectation_of_tokens(goal)
    return find_phases(times, columns.get("w2_target", np.full(len(times), np.nan)), moments, clusters, expected,
                       crossing_depth(problem))


def crossing_depth(problem: Problem) -> float:
    """1/|V| over all layers, heads added: softmax attention moves tokens of length one no faster. 0 for attention that is not
    divided, whose speed depends on the law, and for V = 0."""
    speeds = [0.0 if layer.weights.normalization == "none" else sum(spectral_norm(head.value) for head in layer.weights.heads)
              for layer in problem.attention.layers]
    return 1 / max(speeds) if min(speeds) > 0 else 0.0


def find_or_skip(folder: Path, problem: Problem, goal: Target) -> list[Phase]:
    """`phases_of`, or none where the tables do not allow it: no run fails by what is only told of it."""
    try:
        return phases_of(folder, problem, goal)
    except (OSError, ValueError, KeyError):
        return []


def narrow_clusters(path: Path, times: np.ndarray, beta: float) -> np.ndarray:
    """Clusters narrower than the kernel at each depth (T,): 0 if they hold too little, NaN where the table has no row."""
    found = np.full(len(times), np.nan)
    if not path.exists():
        return found
    width = min(max(beta, 1.0), 1e4) ** -0.5
    masses: dict[float, list[float]] = {}
    for row in read_rows(path):
        held = masses.setdefault(float(row["time"]), [])
        if float(row["radius"]) < width:
            held.append(float(row["mass"]))
    for i, time in enumerate(times):
        if time in masses:
            found[i] = len(masses[time]) if sum(masses[time]) >= CLUSTERED else 0
    return found


def timeline(phases: Sequence[Phase]) -> str:
    """The phases in one line: `0 alignment 2.3 metastable 4.9 terminal 12`."""
    if not phases:
        return ""
    return " ".join([f"{phases[0].start:.4g}", *(f"{phase.name} {phase.end:.4g}" for phase in phases)])
