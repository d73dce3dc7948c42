"""A claim file: a problem, what is swept, and which named quantities are measured and predicted.

    [claim]         id, title, statement, source, cost = [seconds in full, quick], known = what is known about its verdict,
                    cases = names of the values 1, 2, .. of the variable `case`
    [start]         tokens = a name of `STARTS`, with its numbers; instead of [initial], for claims about few tokens
    [space] ..      the sections of a problem file
    [run]           side = "tokens" | "density"; coarser = { KEY = VALUE }: the run that gives the discretisation error
    [sweep]         KEY = [values], a product over all lists; KEY = "= formula" ties a key to the others; a name without
                    a dot is a variable for formulas only; the value "absent" leaves the key out; a formula that names its own
                    key begins from the value in the problem's sections, and --set KEY then sets that
    [[quantities]]  see `Quantity`
    [quick]         KEY = VALUE: the changes of the quick setting

Values that begin with "=" are formulas (`solver.sweeps.formula`); those of quantities also know least_NAME and most_NAME, the
ends of what a name of the sweep is over all runs. Nothing in a claim file is executed.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from problems import ProblemError
from problems.checks import choice, integer, nearest, refuse_unknown, table, tables, vector
from problems.errors import MISSING
from problems.loader import FOLDER, parse
from problems.overrides import override, toml_value
from problems.problem import SECTIONS, read_problem
from solver.claims.case import Case
from solver.claims.judge import RELATIONS, TELL
from solver.claims.starts import CHARGING, starting_tokens
from solver.particles.density import has_full_support
from solver.sweeps.formula import evaluate
from solver.sweeps.formula import names as names_in

ACROSS = {
    "power": "exponent of a power law fitted across the runs", "exponential": "rate of an exponential fitted across the runs",
    "line": "slope of a line fitted across the runs",
    "power misfit": "largest relative deviation from the fitted power law", "line misfit": "the same from the fitted line",
    "limit": "limit as `against` tends to 0",
    "crossing": "value of `against` where the quantity passes `level`", "spread": "largest minus smallest over the runs",
    "mean": "mean over the runs, with the standard error", "maximum": "largest over the runs",
}
TABLES = ("claim", "start", "run", "sweep", "quantities", "quick")


@dataclass(frozen=True)
class Quantity:
    """One thing that is measured and predicted.

    Attributes:
        name: in words, for the table. label: of the figure's axis, default the name.
        measured, predicted: names of `MEASUREMENTS` and `PREDICTIONS`; without `predicted` the measurement is a finding.
        options: keyword arguments for both. measured_with, predicted_with: for one of them alone.
        at: depths at which curves are compared; empty: the last output.
        where: formula that says to which cells of the sweep it applies; empty: all.
        relation: "equal", "at most" or "at least". tell, reach: see `judge`.
        across: a name of `ACROSS`, empty for one comparison per run; against: formula of the abscissa; level: of a crossing, a
        number or a
            formula.
        abscissa: formula of the horizontal axis of the figure, which then shows the result of each group of runs over it.
        average: variable over whose values the results of `across` are averaged, such as a seed; empty: none.
        asymptotic: the law of a fit across the runs holds in a limit of the abscissa only: its bar is at least twice the
            difference of the slopes of the two halves of the runs.
        gap: what goes across is |measured - predicted|, and `expected` (a formula) is its prediction.
        around: the measurement has a value for each of equally spaced angles around the circle, at the last output: it is drawn,
            and is no row of the table.
        judged: false where the prediction is an asymptote without a bar, drawn beside what is then a finding.
    """

    name: str
    measured: str
    predicted: str = ""
    label: str = ""
    options: dict[str, object] = field(default_factory=dict)
    measured_with: dict[str, object] = field(default_factory=dict)
    predicted_with: dict[str, object] = field(default_factory=dict)
    at: list[object] = field(default_factory=list)
    where: str = ""
    relation: str = "equal"
    tell: float = TELL
    reach: float | None = None
    across: str = ""
    against: str = ""
    level: float | str = 0.0
    abscissa: str = ""
    average: str = ""
    asymptotic: bool = False
    gap: bool = False
    expected: str = ""
    scale: str = "linear"
    judged: bool = True
    around: bool = False


@dataclass(frozen=True)
class Cell:
    """One run of a claim: nested problem tables, [start] table or None, values of all names, and what tells it apart."""

    values: dict[str, object]
    start: dict[str, object] | None
    variables: dict[str, object]
    label: str
    side: str

    def case(self, name: str = "claim") -> Case:
        """The resolved case. Raises ProblemError."""
        problem = read_problem(_copied(self.values), name=name, path=FOLDER / "claims" / f"{name}.toml")
        tokens = None if self.start is None else starting_tokens(self.start, problem.manifold.dimension)
        charges = has_full_support(problem) if self.start is None else self.start.get("tokens") in CHARGING
        return Case(problem, tokens, self.variables, charges)


@dataclass(frozen=True)
class Claim:
    """A claim, with --quick and --set applied.

    Attributes:
        id, title, statement, source, known: texts. cost: seconds in full and quick.
        side: "tokens" or "density". coarser: key -> value of the run that measures the discretisation error; empty: none.
        cells: the runs. coarse: for each cell the coarser one, or None.
        swept: names of the sweep's lists.
    """

    id: str
    title: str
    statement: str
    source: str
    known: str
    cost: tuple[float, float]
    side: str
    quantities: tuple[Quantity, ...]
    cells: tuple[Cell, ...]
    coarse: tuple[Cell | None, ...]
    swept: tuple[str, ...]


def claim_files() -> dict[str, Path]:
    """Claim id -> file, in the order of the papers."""
    files = sorted((FOLDER / "claims").glob("*.toml"))
    order = ("LT", "MS", "QC", "EM", "DM", "MP", "LN", "NT", "GF", "CT")

    def key(path: Path) -> tuple[int, int, str]:
        letters, digits = path.stem[:2].upper(), path.stem[2:]
        return order.index(letters) if letters in order else len(order), int(digits) if digits.isdigit() else 0, path.stem

    return {path.stem.upper(): path for path in sorted(files, key=key)}


def read_claim(name: str, *, quick: bool = False, settings: Mapping[str, str] | None = None) -> Claim:
    """The claim of an id such as "MS2", or of a file.

    Raises:
        ProblemError: no such claim, or anything in it, or in the settings, that is not allowed.
    """
    files = claim_files()
    path = files.get(name.upper()) or Path(name)
    if not path.is_file():
        raise ProblemError("claim", name, f"no such claim, {nearest(name.upper(), files)}")
    values = parse(path)
    refuse_unknown("", values, (*TABLES, "title", *SECTIONS))
    about = table("claim", values.pop("claim", {}))
    refuse_unknown("claim", about, ("id", "title", "statement", "source", "cost", "known", "cases"))
    run, sweep, fast = (table(key, values.pop(key, {})) for key in ("run", "sweep", "quick"))
    refuse_unknown("run", run, ("side", "coarser"))
    listed = tables("quantities", values.pop("quantities", MISSING))
    if values.get("start") is not None:
        values.setdefault("initial", {"law": "uniform"})
    changes: list[tuple[str, object]] = [(key, value) for key, value in (fast if quick else {}).items()]
    changes += [(key, toml_value(text)) for key, text in (settings or {}).items()]
    for key, value in changes:
        place = next((s for s in sweep if s == key or s.rsplit(".", 1)[-1] == key), None)
        if place is not None and not _refers_to_itself(sweep, place):
            tied = isinstance(value, str) and value.startswith("=")
            sweep[place] = value if tied or _depth(value) > _swept_depth(values, sweep, place) else [value]
        elif key.startswith("run."):
            run[key[4:]] = value
        else:
            override(values, place or key, value)
    side = choice("tokens", "density")("run.side", run.get("side", "tokens"))
    cases = about.get("cases", [])
    cells, coarse, named = [], [], [str(case) for case in cases] if isinstance(cases, list) else []
    finer = table("run.coarser", run.get("coarser", {}))
    lists = {key: value for key, value in sweep.items() if isinstance(value, list)}
    ties: dict[str, object] = {key: value for key, value in sweep.items() if not isinstance(value, list)}
    for combination in itertools.product(*lists.values()):
        chosen: dict[str, object] = dict(zip(lists, combination, strict=True))
        cells.append(_cell(values, {**chosen, **ties}, lists, side, named))
        coarse.append(_cell(values, {**chosen, **ties}, lists, side, named, finer) if finer else None)
    _add_ends(cells, sweep)
    quantities = tuple(q for entry in listed for q in _quantities(entry))
    cost = vector("claim.cost", about.get("cost", [0, 0]), 2)
    told = {key: str(about.get(key, default)) for key, default in
            (("id", path.stem.upper()), ("title", path.stem), ("statement", ""), ("source", ""), ("known", ""))}
    return Claim(**told, cost=(float(cost[0]), float(cost[1])), side=side, quantities=quantities, cells=tuple(cells),
                 coarse=tuple(coarse), swept=tuple(lists))


def _refers_to_itself(sweep: Mapping[str, object], place: str) -> bool:
    """Whether a key is tied to its own value in the problem's sections, such as "attention.beta" = "= beta / c": what is set is
    that value, which the formula then follows."""
    entry = sweep[place]
    return isinstance(entry, str) and entry.startswith("=") and "." in place and short(place) in names_in(entry[1:], place)


def short(key: str) -> str:
    """The name of a key in formulas and labels: its last part."""
    return key.rsplit(".", 1)[-1]


def _depth(value: object) -> int:
    depth = 0
    while isinstance(value, list):
        depth, value = depth + 1, value[0] if value else None
    return depth


def _swept_depth(values: Mapping[str, object], sweep: Mapping[str, object], place: str) -> int:
    """How many lists deep one value of a swept key is: the first of a list, what a formula gives in the first cell."""
    variables = _numbers(values)
    for key, entry in sweep.items():
        found = (entry[0] if entry else None) if isinstance(entry, list) else _resolved(values, key, entry, variables)
        if key == place:
            return _depth(found)
        variables[short(key)] = _resolved(values, key, found, variables)
    return 0


def resolve(value: object, variables: Mapping[str, object], field_name: str) -> object:
    """A value with its formulas ("= ..") computed, also inside lists and tables."""
    if isinstance(value, str) and value.startswith("="):
        return evaluate(value[1:], variables, field_name)
    if isinstance(value, list):
        return [resolve(v, variables, field_name) for v in value]
    return resolve_table(value, variables, field_name) if isinstance(value, dict) else value


def _resolved(base: Mapping[str, object], key: str, value: object, variables: Mapping[str, object]) -> object:
    """As `resolve`, of what a sweep gives a dotted key: the key's own name stands for its value in the problem's sections."""
    own = _own(base, key)
    return resolve(value, variables if own is None else {**variables, short(key): own}, key)


def resolve_table(values: Mapping[str, object], variables: Mapping[str, object], field_name: str) -> dict[str, object]:
    """As `resolve`, of a table."""
    return {key: resolve(value, variables, f"{field_name}.{key}") for key, value in values.items()}


def _copied(values: dict[str, object]) -> dict[str, object]:
    """A copy of nested tables that shares nothing with them."""
    found: dict[str, object] = json.loads(json.dumps(values))
    return found


def _numbers(values: Mapping[str, object]) -> dict[str, object]:
    """All numbers, vectors and matrices of the problem by the last part of their key, for formulas."""
    found: dict[str, object] = {}
    for entry in values.values():
        if isinstance(entry, dict):
            found |= {k: v for k, v in entry.items() if _numeric(v)}
            found |= {k: evaluate(v[1:], {}, k) for k, v in entry.items() if _constant(v, k)}
    return found


def _constant(value: object, key: str) -> bool:
    """Whether an entry is a formula of numbers alone, such as "= identity(3)"."""
    return isinstance(value, str) and value.startswith("=") and not names_in(value[1:], key)


def _numeric(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and all(_numeric(part) for part in value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(values: dict[str, object], chosen: dict[str, object], lists: Mapping[str, list[object]], side: str,
          names: list[str], coarser: Mapping[str, object] | None = None) -> Cell:
    base = _copied(values)
    variables = _numbers(base)
    for key, value in chosen.items():
        variables[short(key)] = found = _resolved(base, key, value, variables)
        if key == "run.side":
            side = str(found)
        elif "." in key:
            _put(base, key, found)
    variables = {**_numbers(resolve_table(base, variables, "claim")), **variables}
    base = resolve_table(base, variables, "claim")
    for key, value in (coarser or {}).items():
        _put(base, key, resolve(value, variables, f"run.coarser.{key}"))
    label = ", ".join(names[integer(1, len(names))("claim.cases", variables["case"]) - 1] if names and key == "case" else
                      f"{short(key)} = {_shown(variables[short(key)])}" for key in lists if len(lists[key]) > 1)
    start = base.pop("start", None)
    return Cell(base, None if start is None else table("start", start), variables, label, side)


def _add_ends(cells: list[Cell], sweep: Mapping[str, object]) -> None:
    """Let formulas of quantities know least_NAME and most_NAME, the ends of what a name of the sweep is over all runs."""
    for name in map(short, sweep):
        values = [cell.variables.get(name) for cell in cells]
        numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
        if numbers and len(numbers) == len(values):
            for cell in cells:
                cell.variables.update({f"least_{name}": min(numbers), f"most_{name}": max(numbers)})


def _own(base: Mapping[str, object], key: str) -> object:
    """The value of a dotted key in the problem's sections, such as initial.components[0].mean, or None."""
    found: object = base
    for part in re.findall(r"[^.\[\]]+", key) if "." in key else ():
        if isinstance(found, Mapping):
            found = found.get(part)
        elif isinstance(found, list) and part.isdigit() and int(part) < len(found):
            found = found[int(part)]
        else:
            return None
    return found if _numeric(found) else None


def _put(base: dict[str, object], key: str, found: object) -> None:
    """Set the entry at a dotted key; "absent" takes it out, for keys that only some runs of a sweep may have."""
    if found == "absent":
        section, name = key.rsplit(".", 1)
        place = base.get(section)
        if isinstance(place, dict):
            place.pop(name, None)
    else:
        override(base, key, found)


def _shown(value: object) -> str:
    text = f"{value:g}" if isinstance(value, int | float) else str(value)
    return text if len(text) < 28 else text[:25] + ".."


def _quantities(entry: dict[str, object]) -> list[Quantity]:
    """One entry of [[quantities]], repeated for the values under its key `for`."""
    known = {f.name for f in dataclasses.fields(Quantity)} - {"options"} | {"with", "for"}
    refuse_unknown("quantities", entry, known)
    name = entry.get("name")
    if not isinstance(name, str) or not isinstance(entry.get("measured"), str):
        raise ProblemError("quantities.name", name, "every quantity needs a name and what is measured")
    if entry.get("relation", "equal") not in RELATIONS:
        raise ProblemError("quantities.relation", entry["relation"], "must be one of " + ", ".join(RELATIONS))
    if entry.get("across", "") not in ("", *ACROSS):
        raise ProblemError("quantities.across", entry["across"], "must be one of " + ", ".join(ACROSS))
    loops = {key: values for key, values in table("quantities.for", entry.get("for", {})).items() if isinstance(values, list)}
    options = table("quantities.with", entry.get("with", {}))
    made = []
    for combination in itertools.product(*loops.values()):
        extra = dict(zip(loops, combination, strict=True))
        plain: dict[str, Any] = {k: v for k, v in entry.items() if k not in ("with", "for")}
        plain |= {key: str(plain[key]).format(**extra) for key in ("name", "label") if key in plain}
        made.append(Quantity(**plain, options=options | extra))
    return made
