"""report.html: runs, sweeps and claims as one self-contained page, to send, to print or to keep."""

from __future__ import annotations

import base64
import contextlib
import csv
import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import jinja2
import numpy as np

from problems import ProblemError
from solver.runs.contents import Facts, Phase, add_file
from solver.runs.disk import write_text

CAPTIONS = {
    "distances.png": "Distance to the push-forward target against depth, or between density and tokens where there is none.",
    "energy.png": "Energy of the law against depth.",
    "density.png": "The token law, computed as a density on the mesh.",
    "tokens.png": "Density (shaded) and tokens (dots) at chosen depths.",
    "tokens_convergence.png": "Distance between density and tokens against the number of tokens.",
    "mesh_convergence.png": "Distance between density and tokens against the mesh width.",
    "sweep.png": "One curve for each value of the sweep.",
}
FINDINGS = {f"closest_w{p}_{side}": f"closest W{p}, {side} to target" for side in ("density", "particles") for p in (1, 2)}
FINDINGS |= {f"terminal_w1_{side}": f"{side} to E(V)" for side in ("density", "particles")}
FINDINGS["terminal_level_w2"] = "target to E(V), W2"
RUN_TABLES = ("comparison.csv", "verdict.csv", "diagnostics.csv", "particles.csv", "events.csv", "target.csv")
KEYS = {"verdict.csv": 1, "sweep.csv": 1, "claims.csv": 2}
SHOWN = 25
BLOCK = 5  # columns side by side, beside the first: what a phone and a printed page are wide enough for


class Block(TypedDict):
    """Columns side by side: their names, in parts that may stand on lines of their own, and the cells row by row."""

    columns: list[list[str]]
    rows: list[list[str]]


class Table(TypedDict):
    """A CSV file as the page shows it: how many of its rows are shown, and the names of columns without any content."""

    name: str
    blocks: list[Block]
    shown: int
    count: int
    empty: list[str]


@dataclass
class Section:
    """What the page says of one folder; `kind` is run, sweep or claims."""

    kind: str
    title: str
    folder: str
    figures: list[dict[str, str]] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    summary: list[tuple[str, str]] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    film: list[dict[str, str]] = field(default_factory=list)
    problem: str = ""
    provenance: list[tuple[str, str]] = field(default_factory=list)
    repeat: str = ""


def write_report(folders: Path | Sequence[Path], out: Path | None = None) -> Path:
    """Write one page of what the folders hold, figures included; returns its path. Serial.

    Args:
        folders: of runs, sweeps and claims.
        out: file to write; default report.html in the only folder, else in the current one.

    Raises:
        ProblemError: a folder that is none of these.
    """
    folders = [folders] if isinstance(folders, Path) else list(folders)
    sections = [section_of(folder) for folder in folders]
    path = out or (folders[0] / "report.html" if len(folders) == 1 else Path("report.html"))
    if path.is_dir() or not path.parent.is_dir():
        raise ProblemError("--out", str(path), "a file in a folder that exists")
    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        Path(__file__).with_name("page.html").read_text())
    title = sections[0].title if len(sections) == 1 else f"{len(sections)} results"
    write_text(path, template.render(title=title, sections=sections))
    if path.name == "report.html":
        add_file(path.parent, path.name)
    return path


def section_of(folder: Path) -> Section:
    """What a folder holds, by the file that tells its kind.

    Raises:
        ProblemError: none of them is there.
    """
    if (folder / "run.json").exists():
        with sound(folder / "run.json"):
            return run_section(folder)
    for kind in ("sweep", "claims"):
        if (folder / f"{kind}.csv").exists():
            with sound(folder):
                return collection_section(folder, kind)
    raise ProblemError("RUN_DIR", str(folder), "a run, sweep or claims folder (it has no run.json, sweep.csv or claims.csv)")


def run_section(folder: Path) -> Section:
    """A run: findings, phases, figures, film, tables, problem, provenance."""
    facts: Facts = json.loads((folder / "run.json").read_text())
    problem = (folder / "problem.toml").read_text() if (folder / "problem.toml").exists() else ""
    phases = facts.get("phases") or []
    whole = max((phase["end"] for phase in phases), default=1.0) - min((phase["start"] for phase in phases), default=0.0)
    for phase in phases:
        phase["share"] = 100 * (phase["end"] - phase["start"]) / (whole or 1.0)
    command = facts.get("command", "compare")
    versions = [(name, str(value)) for name, value in facts.get("versions", {}).items()]
    git = facts.get("git", {})
    provenance = [*versions, ("commit", git.get("commit", "unknown") + (" (edited)" if git.get("modified") else "")),
                  ("processor", facts.get("host", {}).get("cpu", "unknown")), ("ranks", str(facts.get("ranks", "unknown"))),
                  ("started", str(facts.get("started", "unknown"))), ("wall time", f"{facts.get('wall_seconds', 0):.1f} s")]
    return Section(
        "run", str(facts.get("title", folder.name)), str(folder), figures_of(folder), tables_of(folder, RUN_TABLES),
        summary_lines(facts), phases, film_of(folder), problem, provenance, f"coldflow {command} problem.toml")


def collection_section(folder: Path, kind: str) -> Section:
    """A sweep or the claims: their table, their figures, and what became of each run or claim."""
    if kind == "claims":
        return claims_section(folder)
    runs: list[tuple[str, Facts]] = [
        (path.parent.relative_to(folder).as_posix(), json.loads(path.read_text()))
            for path in sorted(folder.glob("*/run.json"))]
    title = runs[0][1].get("title", folder.name) if runs else f"Sweep in {folder.name}"
    summary = [(name, str(facts.get("exit_reason", "unknown"))) for name, facts in runs]
    repeat = next((repeating(facts["arguments"]) for _, facts in runs if facts.get("arguments", [""])[0] == kind),
                  f"coldflow {kind} PROBLEM --over KEY=VALUES --out {shlex.quote(str(folder))}")
    return Section(kind, str(title), str(folder), figures_of(folder), tables_of(folder, [f"{kind}.csv"], every=True), summary,
                   repeat=repeat)


def repeating(arguments: Sequence[str]) -> str:
    """The command with these arguments, made from the beginning."""
    return shlex.join(["coldflow", *(word for word in arguments if word not in ("--resume", "--force"))])


def claims_section(folder: Path) -> Section:
    """Claims: their table, the verdict of each, its figure with its title, and the commands that repeat them."""
    kept = [(path.parent, json.loads(path.read_text())) for path in sorted(folder.glob("*/claim.json"))]
    figures = [{"caption": f"{claim['claim']}: {claim['title']}: {claim['verdict']}.", "data": encoded(path.read_bytes())}
               for place, claim in kept if (path := place / f"{claim['claim']}.png").is_file()]
    summary = [(f"{claim['claim']}: {claim['title']}", str(claim["verdict"])) for _, claim in kept]
    tables = tables_of(folder, ["claims.csv"], every=True)
    return Section("claims", f"Claims in {folder.name}", str(folder), figures, tables, summary,
                   repeat="\n".join(str(claim["command"]) for _, claim in kept) or "coldflow claims --all")


def figures_of(folder: Path) -> list[dict[str, str]]:
    """The figures of a folder, in the order of `CAPTIONS`, others after them."""
    names = list(CAPTIONS)
    paths = sorted((folder / "figures").glob("*.png"),
                   key=lambda path: (names.index(path.name) if path.name in names else len(names), path.name))
    return [{"caption": CAPTIONS.get(path.name, path.stem.replace("_", " ")), "data": encoded(path.read_bytes())}
            for path in paths]


def film_of(folder: Path) -> list[dict[str, str]]:
    """Pictures for the slider; none where the run has no film or it cannot be drawn."""
    try:
        from solver.report.film import frames

        return [{"t": f"{t:.4g}", "data": encoded(data)} for t, data in frames(folder)]
    except Exception:  # a page without a slider is better than none
        return []


def encoded(data: bytes) -> str:
    """Bytes as the text of a data URL."""
    return base64.b64encode(data).decode()


def summary_lines(facts: Facts) -> list[tuple[str, str]]:
    """The findings in words."""
    lines = []
    for key, value in facts.get("summary", {}).items():
        words = FINDINGS.get(key, key.replace("_", " "))
        if isinstance(value, dict):
            lines.append((words, f"{value['value']:.4f} at t = {value['time']:.4g}"))
        else:
            lines.append((words, f"{value:.4f}" if isinstance(value, float) else str(value)))
    verdict = facts.get("verdict")
    if verdict:
        outcome = "agree" if verdict["agree"] else str(verdict.get("outcome", "disagree")).upper()
        lines.append(("verdict", outcome + f": {verdict['reason']}"))
    lines.append(("ended", str(facts.get("exit_reason", "unknown"))))
    return lines


def tables_of(folder: Path, names: Sequence[str], *, every: bool = False) -> list[Table]:
    """The tables that are there."""
    found = []
    for name in names:
        if (folder / name).exists():
            with sound(folder / name):
                found.append(table_of(folder / name, every))
    return found


@contextlib.contextmanager
def sound(path: Path) -> Iterator[None]:
    """While a file of a results folder is read, whoever wrote it.

    Raises:
        ProblemError: it is not as a run leaves it.
    """
    try:
        yield
    except ProblemError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError, csv.Error) as error:
        words = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ProblemError("RUN_DIR", str(path), f"is damaged: {words[:200]}") from None


def table_of(path: Path, every: bool = False) -> Table:
    """Rows of a CSV file, at most `SHOWN` at equal distances and the last unless `every`, numbers shortened, in blocks of columns
    that each begin with the first ones; empty columns are left out."""
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    head, body = rows[0], rows[1:]
    stride = 1 if every else max(1, -(-(len(body) - 1) // (SHOWN - 1)))
    keep = sorted({*range(0, len(body), stride), len(body) - 1}) if body else []
    full = [i for i in range(len(head)) if any(row[i] for row in body)] or list(range(len(head)))
    keys = KEYS.get(path.name, 1)
    first, others = full[:keys], full[keys:]
    blocks: list[Block] = []
    for start in range(0, max(len(others), 1), BLOCK):
        columns = [*first, *others[start:start + BLOCK]]
        blocks.append({"columns": [head[i].split("_") for i in columns],
                       "rows": [[short(body[k][i]) for i in columns] for k in keep]})
    empty = [head[i] for i in range(len(head)) if i not in full]
    return {"name": path.name, "blocks": blocks, "shown": len(keep), "count": len(body), "empty": empty}


def short(text: str) -> str:
    """Six significant digits; words as they are."""
    try:
        number = float(text)
    except ValueError:
        return text
    return "" if np.isnan(number) else f"{number:.6g}"
