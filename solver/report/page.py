"""report.html: one self-contained page of a run folder, to send or to keep."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from problems import ProblemError
from solver.runs.folder import write_text
from solver.runs.tables import read_columns

CAPTIONS = {
    "distances.png": "Distance to the push-forward target against depth.",
    "density.png": "The token law, computed as a density on the mesh.",
    "tokens.png": "Density (shaded) and tokens (dots) at chosen depths.",
    "tokens_convergence.png": "Distance between density and tokens against the number of tokens.",
    "mesh_convergence.png": "Distance between density and tokens against the mesh width.",
}
FINDINGS = {f"closest_w{p}_{side}": f"closest W{p}, {side} to target" for side in ("density", "particles") for p in (1, 2)}
FINDINGS |= {f"terminal_w1_{side}": f"{side} to E(V)" for side in ("density", "particles")}
FINDINGS["terminal_level_w2"] = "target to E(V), W2"
SHOWN = 25


def write_report(folder: Path) -> Path:
    """Write report.html from what a run folder holds, figures included; returns its path. Serial.

    Raises:
        ProblemError: not a run folder.
    """
    facts_file = folder / "run.json"
    if not facts_file.exists():
        raise ProblemError("RUN_DIR", str(folder), "a run folder (it has no run.json)")
    facts = json.loads(facts_file.read_text())
    figures = [{"name": path.name, "caption": CAPTIONS.get(path.name, path.stem.replace("_", " ")),
                "data": base64.b64encode(path.read_bytes()).decode()}
               for path in sorted((folder / "figures").glob("*.png"), key=figure_order)]
    tables = [table_of(folder / name) for name in ("comparison.csv", "verdict.csv", "diagnostics.csv", "particles.csv")
              if (folder / name).exists()]
    template = jinja2.Environment(autoescape=True).from_string(
        (Path(__file__).with_name("page.html")).read_text())
    page = template.render(title=facts.get("title", folder.name), facts=facts, figures=figures, tables=tables,
                           summary=summary_lines(facts), problem=(folder / "problem.toml").read_text())
    write_text(folder / "report.html", page)
    return folder / "report.html"


def figure_order(path: Path) -> tuple[int, str]:
    """The figures in the order of `CAPTIONS`, others after them."""
    names = list(CAPTIONS)
    return (names.index(path.name) if path.name in names else len(names), path.name)


def summary_lines(facts: dict[str, Any]) -> list[tuple[str, str]]:
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


def table_of(path: Path) -> dict[str, Any]:
    """At most `SHOWN` evenly spread rows of a CSV file, numbers shortened; the file itself stays in the folder."""
    import csv

    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    if path.name == "verdict.csv":
        body = rows[1:]
    else:
        columns = read_columns(path)
        body = [[short(columns[name][i]) for name in rows[0]] for i in range(len(rows) - 1)]
    keep = sorted({round(i) for i in np.linspace(0, len(body) - 1, min(SHOWN, len(body)))}) if body else []
    return {"name": path.name, "columns": rows[0], "rows": [[short(c) for c in body[i]] for i in keep],
            "count": len(body)}


def short(value: object) -> str:
    """Six significant digits."""
    try:
        number = float(value)
    except ValueError:
        return str(value)
    return "" if np.isnan(number) else f"{number:.6g}"
