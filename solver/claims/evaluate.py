"""From the answers of a claim's runs to rows of its table: error bars, fits across runs, verdicts, and what a figure needs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NotRequired, TypedDict

import numpy as np

from problems import ProblemError
from problems.checks import number, vector
from solver.claims.case import STEPS
from solver.claims.claim import Cell, Claim, Quantity, resolve, short
from solver.claims.judge import judge
from solver.claims.work import Answered, Job, applies, request
from solver.report.panels import Panel, Series, listed
from solver.sweeps.fit import crossing, fit, limit
from solver.sweeps.formula import evaluate_number, names

# What the integrators behind predictions leave over: their relative tolerances are 1e-12 to 1e-10.
PREDICTION = 1e-9
NUMBER = number(infinite=True)


@dataclass
class Point:
    """One comparison of one cell: measured and predicted number with their bars (predicted NaN for a finding).

    Attributes:
        error: the whole bar. coarse: measured in the coarser run. own: bar of the measurement itself; model: of the prediction.
    """

    cell: Cell
    measured: float
    error: float
    coarse: float
    predicted: float
    own: float
    model: float = 0.0


class Row(TypedDict):
    """One line of a claim's table, as in claims.csv; `factor` is what the error bar tells apart, `tell` and `reach` are the
    quantity's own."""

    claim: str
    quantity: str
    predicted: float
    measured: float
    error: float
    relation: str
    tell: float
    reach: float | None
    note: str
    verdict: str
    factor: float
    command: NotRequired[str]


@dataclass
class Result:
    """Rows and panels of a claim, and the runs that failed, in words."""

    rows: list[Row]
    panels: list[Panel]
    failures: list[str]


def evaluate_claim(claim: Claim, answers: Mapping[str, Answered], errors: Mapping[str, str]) -> Result:
    """Rows and panels of a claim.

    Args:
        answers: job key -> what `carry_out` returned. errors: job key -> why there is no answer.
    """
    failures = [f"{cell.label or claim.id}: {errors[Job(cell).key]}" for cell in (*claim.cells, *claim.coarse)
                if cell is not None and Job(cell).key in errors]
    rows, panels = [], []
    for quantity in claim.quantities:
        pairs = [(cell, coarse) for cell, coarse in zip(claim.cells, claim.coarse, strict=True) if applies(quantity, cell)]
        if not pairs:  # settings have left no cell that it is about
            continue
        pairs = [(cell, coarse) for cell, coarse in pairs if Job(cell).key in answers]
        if quantity.around:
            panels.append(_around(quantity, pairs, answers))
            continue
        found, panel = _across(claim, quantity, pairs, answers) if quantity.across else _each(claim, quantity, pairs, answers)
        rows += found
        panels += [panel] if panel.series else []
        if not found:
            rows.append(_row(claim, quantity, "", math.nan, math.nan, math.nan, "no run"))
    return Result(rows, panels, failures)


def _answer(kind: str, quantity: Quantity, cell: Cell, source: Answered) -> tuple[np.ndarray, np.ndarray]:
    key, _ = request(kind, quantity, cell)
    found = source["answers"].get(key)
    if found is None:
        return np.array(math.nan), np.array(0.0)
    return np.array(found["value"], float), np.array(found["error"], float)


def _series(quantity: Quantity, cell: Cell, coarse: Cell | None, answers: Mapping[str, Answered]) -> dict[str, np.ndarray]:
    """Times, measurement with both bars, and prediction of one cell; scalars or (T,)."""
    mine = answers[Job(cell).key]
    times = np.asarray(mine["times"], float)
    measured, own = _answer("measured", quantity, cell, mine)
    predicted, model = _answer("predicted", quantity, cell, mine) if quantity.predicted \
        else (np.array(math.nan), np.array(0.0))
    other = measured
    if coarse is not None:
        there = answers.get(Job(coarse).key)
        key, _ = request("measured", quantity, cell)
        other = np.full_like(measured, math.nan)
        if there is not None and key in there["answers"]:
            values = np.array(there["answers"][key]["value"], float)
            other = values if values.shape == measured.shape else _matched(times, np.asarray(there["times"], float), values)
    if measured.ndim and predicted.ndim == 0:
        predicted = np.full_like(measured, float(predicted))
    return {"times": times, "measured": measured, "own": own, "coarse": other, "predicted": predicted, "model": model + 0 *
    measured}


def _matched(times: np.ndarray, others: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values of a run with other outputs at `times`, NaN at depths that it has not."""
    nearest = np.array([int(np.argmin(np.abs(others - t))) for t in times])
    return np.where(np.abs(others[nearest] - times) <= 1e-9 * max(times[-1], 1e-300), values[nearest], math.nan)


def _at(quantity: Quantity, cell: Cell, times: np.ndarray, size: int) -> list[int | None]:
    """Indices of the outputs that are compared; None for a plain number."""
    if size == 0:
        return [None]
    if not quantity.at:
        return [size - 1]
    wanted = vector("quantities.at", resolve(quantity.at, cell.variables, "quantities.at"))
    return [int(np.argmin(np.abs(times[:size] - t))) for t in wanted]


def integration_error(cell: Cell) -> float:
    """Relative error that integration in depth leaves in a run and in its prediction, part of every bar.

    A coarser run with the same tolerance does not show it. Tokens are integrated to a local error of particles.rtol, densities
    with noise to density.rtol; the explicit steps of other densities follow the mesh, so that the coarser run measures them.
    """
    problem = cell.case().problem
    if cell.side == "tokens":
        return PREDICTION + STEPS * problem.particles.rtol
    adaptive = not problem.density.integrator.startswith("ssprk")
    return PREDICTION + (STEPS * problem.density.rtol if adaptive else 0.0)


def _points(claim: Claim, quantity: Quantity, cell: Cell, coarse: Cell | None,
            answers: Mapping[str, Answered]) -> list[tuple[float | None, Point]]:
    s = _series(quantity, cell, coarse, answers)
    left_over, made = integration_error(cell), []
    for i in _at(quantity, cell, s["times"], s["measured"].size if s["measured"].ndim else 0):
        m, o, c, p, e = (float(s[key][i] if i is not None else s[key])
                         for key in ("measured", "own", "coarse", "predicted", "model"))
        error = o + abs(m - c) + e + left_over * max(abs(m), abs(p) if math.isfinite(p) else 0.0)
        made.append((None if i is None else float(s["times"][i]), Point(cell, m, error, c, p, o, e)))
    return made


def _each(claim: Claim, quantity: Quantity, pairs: list[tuple[Cell, Cell | None]],
          answers: Mapping[str, Answered]) -> tuple[list[Row], Panel]:
    """One row for each run (and depth)."""
    rows, panel = [], Panel(quantity.name, "depth t", quantity.label or quantity.name, scale=quantity.scale)
    numeric = [key for key in claim.swept if all(isinstance(c.variables[short(key)], int | float) for c in claim.cells)]
    scalar: dict[str, Series] = {}
    for cell, coarse in pairs:
        for time, point in _points(claim, quantity, cell, coarse, answers):
            words = ", ".join(filter(None, [cell.label, "" if time is None else f"t = {time:.6g}"]))
            rows.append(_row(claim, quantity, words, point.predicted, point.measured, point.error))
            if time is None:
                x = NUMBER(numeric[0], cell.variables[short(numeric[0])]) if numeric else float(len(rows))
                axis = f"{short(numeric[0])} = " if numeric else " = "
                others = ", ".join(part for part in cell.label.split(", ") if not part.startswith(axis))
                entry = scalar.setdefault(others, {"label": others, "x": [], "measured": [], "error": [], "predicted": []})
                entry["x"].append(x)
                entry["measured"].append(point.measured)
                entry["error"].append(point.error)
                entry["predicted"].append(point.predicted)
        s = _series(quantity, cell, coarse, answers)
        if s["measured"].ndim:
            bar = s["own"] + np.nan_to_num(np.abs(s["measured"] - s["coarse"])) + s["model"]
            size = s["measured"].size
            panel.series.append({"label": cell.label, "x": listed(s["times"][:size]), "measured": listed(s["measured"]),
                                 "error": listed(bar), "predicted": listed(s["predicted"])})
    if scalar:
        panel.xlabel = short(numeric[0]) if numeric else "run"
        panel.series += scalar.values()
    return rows, panel


def _around(quantity: Quantity, pairs: list[tuple[Cell, Cell | None]], answers: Mapping[str, Answered]) -> Panel:
    """The profiles of the runs around the circle, over the angle in degrees."""
    panel = Panel(quantity.name, "angle (degrees)", quantity.label or quantity.name, scale=quantity.scale)
    for cell, _ in pairs:
        measured = np.atleast_1d(_answer("measured", quantity, cell, answers[Job(cell).key])[0])
        predicted = np.atleast_1d(_answer("predicted", quantity, cell, answers[Job(cell).key])[0])
        series: Series = {"label": cell.label, "x": listed(360 * np.arange(len(measured)) / len(measured)),
                          "measured": listed(measured), "error": [0.0] * len(measured), "predicted": listed(predicted)}
        panel.series.append(series)
    return panel


def _across(claim: Claim, quantity: Quantity, pairs: list[tuple[Cell, Cell | None]],
            answers: Mapping[str, Answered]) -> tuple[list[Row], Panel]:
    """One row for each group of runs that differ only in what `against` names (and for each depth)."""
    against = quantity.against or (short(claim.swept[0]) if claim.swept else "1")
    used = names(against, "quantities.against") if quantity.across not in ("spread", "mean", "maximum") or quantity.against \
        else {short(key) for key in claim.swept}
    # A variable that others are tied to is spanned together with them.
    groups: dict[str, list[tuple[Cell, Cell | None]]] = {}
    tied = not used & {short(key) for key in claim.swept}
    for cell, coarse in pairs:
        label = "" if tied else ", ".join(f"{short(k)} = {_short(cell.variables[short(k)])}" for k in claim.swept
                                          if short(k) not in used and len({str(c.variables[short(k)]) for c, _ in pairs}) > 1)
        groups.setdefault(label, []).append((cell, coarse))
    rows, panel = [], Panel(quantity.name, quantity.abscissa or against, quantity.label or quantity.name, scale=quantity.scale)
    combined: Series = {"label": "", "x": [], "measured": [], "error": [], "predicted": []}
    for label, members in groups.items():
        columns = [_points(claim, quantity, cell, coarse, answers) for cell, coarse in members]
        for slot in range(min(len(c) for c in columns)):
            time, points = columns[0][slot][0], [c[slot][1] for c in columns]
            fixed = all(c[slot][0] == time for c in columns)
            words = ", ".join(filter(None, [label, f"t = {time:.6g}" if time is not None and fixed and quantity.at else ""]))
            row, series = _reduced(claim, quantity, words, points, against)
            rows.append(row)
            if quantity.abscissa:
                combined["x"].append(evaluate_number(quantity.abscissa, points[0].cell.variables, "quantities.abscissa"))
                combined["measured"].append(row["measured"])
                combined["error"].append(row["error"])
                combined["predicted"].append(row["predicted"])
            else:
                panel.series.append(series)
    if quantity.abscissa and combined["x"]:
        panel.series = [combined]
    return (_averaged(claim, quantity, rows) if quantity.average else rows), panel


def _averaged(claim: Claim, quantity: Quantity, rows: list[Row]) -> list[Row]:
    """One row for the rows that differ only in the variable `average`: their mean, with its standard error (95 %) and bar."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        words = re.sub(rf"(, )?\b{re.escape(quantity.average)} = [^,)]*", "", row["quantity"][len(quantity.name):]).strip(" ()")
        groups.setdefault(words.removeprefix(", "), []).append(row)
    made = []
    for words, members in groups.items():
        values = np.array([row["measured"] for row in members], float)
        spread = 1.96 * float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
        # Bars of fits through the same runs are not independent of the spread: the mean of them is added, not its root.
        error = spread + float(np.mean([row["error"] for row in members]))
        note = f"mean of {len(values)} runs that differ in {quantity.average}"
        made.append(_row(claim, quantity, words, members[0]["predicted"], float(np.mean(values)), error, note))
    return made


def _short(value: object) -> str:
    text = f"{value:g}" if isinstance(value, int | float) else str(value)
    return text if len(text) < 28 else text[:25] + ".."


def _reduced(claim: Claim, quantity: Quantity, words: str, points: list[Point],
             against: str) -> tuple[Row, Series]:
    try:
        x = np.array([evaluate_number(against, p.cell.variables, "quantities.against") for p in points])
    except ProblemError:
        x = np.arange(len(points), dtype=float)
    fine, coarse = (np.array([abs(v - p.predicted) if quantity.gap else v for v, p in zip(values, points, strict=True)])
                    for values in ([p.measured for p in points], [p.coarse for p in points]))
    bars = np.array([p.error for p in points])
    predicted = evaluate_number(quantity.expected, points[0].cell.variables, "quantities.expected") if quantity.expected \
        else 0.0 if quantity.across == "spread" else points[0].predicted
    note, curve, statistical = "", None, 0.0
    try:
        level = NUMBER("quantities.level", resolve(quantity.level, points[0].cell.variables, "quantities.level"))
        value, statistical, note, curve = reduce_points(quantity, x, fine, level)
        other = reduce_points(quantity, x, coarse, level)[0] if np.isfinite(coarse).all() else math.nan
        # Bars of single runs beyond their refinement, such as those of a fit, shift the result at most by their size.
        own = max((p.own for p in points), default=0.0) if quantity.across in ("limit", "spread", "mean", "maximum") else 0.0
        # The refinements of two runs with errors of their own do not cancel in their difference.
        change = float(np.sort(np.abs(fine - coarse))[-2:].sum()) if quantity.across == "spread" else abs(value - other)
        error = statistical + change + own
        if quantity.across.endswith(" misfit"):  # what the bars of the runs would leave of a law that holds
            error = float(np.max(bars / np.abs(fine)))
        if not quantity.gap and not quantity.expected and quantity.across not in ("spread", "limit"):
            error += points[0].model
        if quantity.across == "limit":
            error += max(float(b - abs(f - c) - p.own) for b, f, c, p in zip(bars, fine, coarse, points, strict=True))
    except ProblemError as refused:
        value, error, note = math.nan, math.nan, refused.allowed
    without = int(np.sum(~np.isfinite(fine)))
    if without:  # fits go through the other runs
        note = "; ".join(filter(None, [f"{without} of {len(fine)} runs have no value", note]))
    row = _row(claim, quantity, words, predicted, value, error, note)
    series: Series = {"label": words, "x": listed(x), "measured": listed(fine), "error": listed(bars),
                      "predicted": [] if quantity.gap or quantity.expected else [p.predicted for p in points],
                      "fit": [] if curve is None else listed(curve), "note": note}
    if quantity.across in ("power", "exponential", "line", "crossing", "power misfit", "line misfit"):
        series["predicted"] = []
    if quantity.across in ("power", "exponential", "line") and quantity.relation == "equal" and math.isfinite(predicted):
        series["predicted"], series["guide"] = listed(through_middle(quantity.across, x, fine, predicted)), True
    if quantity.across == "limit" and math.isfinite(value):
        series["limit"] = [value, error]
    return row, series


def through_middle(kind: str, x: np.ndarray, y: np.ndarray, slope: float) -> np.ndarray:
    """The power law, exponential or line of a given slope, exponent or rate through the middle of points, at x; for figures."""
    with np.errstate(invalid="ignore", divide="ignore"):
        u = np.log(x) if kind == "power" else x
        v = y if kind == "line" else np.log(y)
    kept = np.isfinite(u) & np.isfinite(v)
    if not kept.any():
        return np.full_like(x, math.nan)
    line = v[kept].mean() + slope * (u - u[kept].mean())
    return line if kind == "line" else np.exp(line)


def bend(x: np.ndarray, y: np.ndarray, kind: str) -> float:
    """Twice the difference of the slopes that the two halves of the points have under a law: where it only holds in a limit, and
    the rest falls at least by half from one half to the other, the slope of the whole is off by no more than the difference, if
    two orders of the rest do not cancel each other in it."""
    order, middle = np.argsort(x), len(x) // 2
    u, v = x[order], y[order]
    u, v = (np.log(u) if kind == "power" else u), (v if kind == "line" else np.log(v))
    first, second = (np.polyfit(u[part], v[part], 1)[0] for part in (slice(None, middle + 1), slice(middle, None)))
    return 2 * float(abs(first - second))


def reduce_points(quantity: Quantity, x: np.ndarray, y: np.ndarray,
                  level: float = 0.0) -> tuple[float, float, str, np.ndarray | None]:
    """One number from values over the runs: (value, error, words, fitted values at x or None).

    Raises:
        ProblemError: too few points.
    """
    if quantity.across in ("power", "exponential", "line"):
        found = fit(x, y, quantity.across)
        if found.refusal:
            return math.nan, math.nan, found.words, found(x)
        bent = bend(x, y, quantity.across) if quantity.asymptotic else 0.0
        return found.slope, max(found.interval, bent), found.words, found(x)
    if quantity.across.endswith(" misfit"):
        found = fit(x, y, quantity.across.removesuffix(" misfit"))
        return float(np.max(np.abs(found(x) / y - 1))), 0.0, found.words, found(x)
    if quantity.across == "limit":
        return (*limit(x, y), "extrapolated to 0", None)
    if quantity.across == "crossing":
        return (*crossing(x, y, level), f"where it passes {level:g}", None)
    if quantity.across == "spread":
        return float(np.ptp(y)), 0.0, "largest minus smallest", None
    if quantity.across == "maximum":
        return float(np.max(y)), 0.0, "largest", None
    deviation = float(np.std(y, ddof=1)) if len(y) > 1 else math.nan
    return float(np.mean(y)), 1.96 * deviation / math.sqrt(len(y)), f"mean of {len(y)} runs", None


def _row(claim: Claim, quantity: Quantity, words: str, predicted: float, measured: float, error: float,
         note: str = "") -> Row:
    finding = not quantity.judged or (not quantity.predicted and not quantity.expected and quantity.across != "spread")
    if finding:
        predicted, factor = math.nan, math.nan
        verdict = "finding" if math.isfinite(measured) else "not resolved"
    else:
        found = judge(predicted, measured, error, relation=quantity.relation, tell=quantity.tell, reach=quantity.reach)
        verdict, factor = found.verdict, found.factor
    return {"claim": claim.id, "quantity": quantity.name + (f" ({words})" if words else ""), "predicted": predicted,
            "measured": measured, "error": error, "relation": quantity.relation, "tell": quantity.tell, "reach": quantity.reach,
            "note": note, "verdict": verdict, "factor": factor}
