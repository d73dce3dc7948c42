"""A claim file: a problem, what is swept, and which named quantities are measured and predicted.

    [claim]         id, title, statement, source, cost = [seconds in full, quick], known = what is known about its verdict,
                    cases = names of the values 1, 2, .. of the variable `case`
    [start]         tokens = a name of `STARTS`, with its numbers; instead of [initial], for claims about few tokens
    [space] ..      the sections of a problem file
    [run]           side = "tokens" | "density"; coarser = { KEY = VALUE }: the run that gives the discretisation error
    [sweep]         KEY = [values], a product over all lists; KEY = "= formula" ties a key to the others; a name without
                    a dot is a variable for formulas only
    [[quantities]]  see `Quantity`
    [quick]         KEY = VALUE: the changes of the quick setting

Values that begin with "=" are formulas (`solver.sweeps.formula`). Nothing in a claim file is executed.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from problems import ProblemError
from problems.checks import nearest, refuse_unknown
from problems.errors import MISSING
from problems.loader import FOLDER, parse
from problems.overrides import override, toml_value
from problems.problem import SECTIONS, read_problem
from solver.claims.case import Case
from solver.claims.judge import RELATIONS, TELL
from solver.claims.starts import starting_tokens
from solver.sweeps.formula import evaluate

ACROSS = {
    "power": "exponent of a power law fitted across the runs", "exponential": "rate of an exponential fitted across the runs",
    "line": "slope of a line fitted across the runs", "limit": "limit as `against` tends to 0",
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
        average: variable over whose values the results of `across` are averaged, such as a seed; empty: none.
        gap: what goes across is |measured - predicted|, and `expected` (a formula) is its prediction.
    """

    name: str
    measured: str
    predicted: str = ""
    label: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    measured_with: dict[str, Any] = field(default_factory=dict)
    predicted_with: dict[str, Any] = field(default_factory=dict)
    at: list[Any] = field(default_factory=list)
    where: str = ""
    relation: str = "equal"
    tell: float = TELL
    reach: float | None = None
    across: str = ""
    against: str = ""
    level: float | str = 0.0
    average: str = ""
    gap: bool = False
    expected: str = ""
    scale: str = "linear"


@dataclass(frozen=True)
class Cell:
    """One run of a claim: nested problem tables, [start] table or None, values of all names, and what tells it apart."""

    values: dict[str, Any]
    start: dict[str, Any] | None
    variables: dict[str, Any]
    label: str
    side: str

    def case(self, name: str = "claim") -> Case:
        """The resolved case. Raises ProblemError."""
        values = json.loads(json.dumps(self.values))
        problem = read_problem(values, name=name, path=FOLDER / "claims" / f"{name}.toml")
        tokens = None if self.start is None else starting_tokens(self.start, problem.manifold.dimension)
        return Case(problem, tokens, self.variables)


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
    about = values.pop("claim", {})
    refuse_unknown("claim", about, ("id", "title", "statement", "source", "cost", "known", "cases"))
    run, sweep, fast = (values.pop(key, {}) for key in ("run", "sweep", "quick"))
    refuse_unknown("run", run, ("side", "coarser"))
    listed = values.pop("quantities", [])
    if values.get("start") is not None:
        values.setdefault("initial", {"law": "uniform"})
    changes = [(key, value) for key, value in (fast if quick else {}).items()]
    changes += [(key, toml_value(text)) for key, text in (settings or {}).items()]
    for key, value in changes:
        place = next((s for s in sweep if s == key or s.rsplit(".", 1)[-1] == key), None)
        if place is not None:
            tied = isinstance(value, str) and value.startswith("=")
            depth = _depth(sweep[place][0]) if isinstance(sweep[place], list) and sweep[place] else 0
            sweep[place] = value if tied or _depth(value) > depth else [value]
        elif key.startswith("run."):
            run[key[4:]] = value
        else:
            override(values, key, value if isinstance(value, str) else _text(value))
    side = run.get("side", "tokens")
    if side not in ("tokens", "density"):
        raise ProblemError("run.side", side, 'must be "tokens" or "density"')
    cells, coarse, named = [], [], list(about.get("cases", []))
    lists = {key: value for key, value in sweep.items() if isinstance(value, list)}
    ties: dict[str, Any] = {key: value for key, value in sweep.items() if not isinstance(value, list)}
    for combination in itertools.product(*lists.values()):
        chosen: dict[str, Any] = dict(zip(lists, combination, strict=True))
        cells.append(_cell(values, {**chosen, **ties}, lists, side, named))
        finer = run.get("coarser") or {}
        coarse.append(_cell(values, {**chosen, **ties}, lists, side, named, finer) if finer else None)
    quantities = tuple(q for entry in listed for q in _quantities(entry))
    if not quantities:
        raise ProblemError("quantities", MISSING, "must hold at least one [[quantities]] table")
    cost = about.get("cost", [0, 0])
    return Claim(about.get("id", path.stem.upper()), about.get("title", path.stem), about.get("statement", ""),
                 about.get("source", ""), about.get("known", ""), (float(cost[0]), float(cost[1])), side, quantities,
                 tuple(cells), tuple(coarse), tuple(lists))


def short(key: str) -> str:
    """The name of a key in formulas and labels: its last part."""
    return key.rsplit(".", 1)[-1]


def _depth(value: Any) -> int:
    depth = 0
    while isinstance(value, list):
        depth, value = depth + 1, value[0] if value else None
    return depth


def _text(value: Any) -> str:
    return json.dumps(value).replace("Infinity", "inf")


def resolve(value: Any, variables: Mapping[str, Any], field_name: str) -> Any:
    """A value with its formulas ("= ..") computed, also inside lists and tables."""
    if isinstance(value, str) and value.startswith("="):
        return evaluate(value[1:], variables, field_name)
    if isinstance(value, list):
        return [resolve(v, variables, field_name) for v in value]
    if isinstance(value, dict):
        return {k: resolve(v, variables, f"{field_name}.{k}") for k, v in value.items()}
    return value


def _numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """All plain numbers of the problem by the last part of their key, for formulas."""
    found: dict[str, Any] = {}
    for table in values.values():
        if isinstance(table, dict):
            found |= {k: v for k, v in table.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return found


def _cell(values: dict[str, Any], chosen: dict[str, Any], lists: Mapping[str, Any], side: str,
          names: list[str], coarser: Mapping[str, Any] | None = None) -> Cell:
    base = json.loads(json.dumps(values))
    variables = _numbers(base)
    for key, value in chosen.items():
        found = resolve(value, variables, key)
        variables[short(key)] = found
        if key == "run.side":
            side = found
        elif "." in key:
            override(base, key, found if isinstance(found, str) else _text(found))
    variables = {**_numbers(resolve(base, variables, "claim")), **variables}
    base = resolve(base, variables, "claim")
    for key, value in (coarser or {}).items():
        found = resolve(value, variables, f"run.coarser.{key}")
        override(base, key, found if isinstance(found, str) else _text(found))
    label = ", ".join(names[int(variables["case"]) - 1] if names and key == "case" else
                      f"{short(key)} = {_shown(variables[short(key)])}" for key in lists if len(lists[key]) > 1)
    start = base.pop("start", None)
    return Cell(base, start, variables, label, side)


def _shown(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, int | float) else str(value)
    return text if len(text) < 28 else text[:25] + ".."


def _quantities(entry: dict[str, Any]) -> list[Quantity]:
    """One entry of [[quantities]], repeated for the values under its key `for`."""
    known = {f.name for f in dataclasses.fields(Quantity)} - {"options"} | {"with", "for"}
    refuse_unknown("quantities", entry, known)
    if not isinstance(entry.get("name"), str) or not isinstance(entry.get("measured"), str):
        raise ProblemError("quantities.name", entry.get("name"), "every quantity needs a name and what is measured")
    if entry.get("relation", "equal") not in RELATIONS:
        raise ProblemError("quantities.relation", entry["relation"], "must be one of " + ", ".join(RELATIONS))
    if entry.get("across", "") not in ("", *ACROSS):
        raise ProblemError("quantities.across", entry["across"], "must be one of " + ", ".join(ACROSS))
    loops = entry.get("for", {})
    made = []
    for combination in itertools.product(*loops.values()):
        extra = dict(zip(loops, combination, strict=True))
        plain = {k: v for k, v in entry.items() if k not in ("with", "for")}
        plain["name"] = entry["name"].format(**extra)
        made.append(Quantity(**plain, options={**entry.get("with", {}), **extra}))
    return made
