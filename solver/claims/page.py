"""docs/claims.md: every claim with predicted, measured, verdict, command and commit, written by the command."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from solver.claims.evaluate import Row
from solver.claims.library import Kept, as_number

HEAD = """# Claims: predicted and measured

Written by `coldflow claims --write-docs`, last on {when}; do not edit. Each line of each table was computed by the command above
it, on the commit and at the cost (seconds of one core) in the first table. *Predicted* follows from the parameters by the
formulas of docs/theory.md; *measured* comes from runs, with an error bar from a second, coarser run and from fits. The verdict is
*shown* if the two agree within the bar and the bar is narrow: the last column is the factor by which the prediction could have
been wrong at most without being contradicted. It is *contradicted* if they differ by more than the bar, and *not resolved* if the
bar is too wide to tell. A *finding* has no prediction.

{summary}
"""


def number_text(value: float, digits: int = 6) -> str:
    """A number for the page: few digits, nothing where there is none."""
    return "" if not math.isfinite(value) else f"{value:.{digits}g}"


def measured_text(measured: float, error: float) -> str:
    """A measurement with its error, both to the error's second digit."""
    if not math.isfinite(measured):
        return "no value"
    if not math.isfinite(error) or error <= 0 or error < 1e-12 * max(abs(measured), 1e-300):
        return number_text(measured, 8)
    if 1e-3 <= abs(measured) < 1e5 or measured == 0:
        places = min(12, max(0, 1 - math.floor(math.log10(error))))
        return f"{measured:.{places}f} ± {error:.2g}"
    return f"{measured:.{max(2, min(10, 2 + math.floor(math.log10(abs(measured) / error))))}g} ± {error:.2g}"


def told_text(row: Row) -> str:
    """What the error bar would have told apart."""
    factor = as_number(row.get("factor"))
    if row["verdict"] != "shown" or not math.isfinite(factor):
        return ""
    return f"{factor:.10f}".rstrip("0") if factor - 1 < 1e-9 else f"{1 + float(f'{factor - 1:.2g}'):.10g}"


RELATION = {"equal": "", "at most": "≤ ", "at least": "≥ "}


def claims_page(kept: Sequence[Kept], when: str, before: str = "", order: Sequence[str] = ()) -> str:
    """The page for these claims (contents of claim.json).

    Args:
        before: an earlier page, whose claims stay as they are where `kept` has nothing newer.
        order: of the ids; those that are not in it go to the end.
    """
    found = _earlier(before)
    for k in kept:
        line = [f"[{k['claim']}](#{anchor(k)})", k["title"], k["verdict"], f"`{k['command']}`", commit_of(k), cost_of(k)]
        found[k["claim"]] = line, _section(k)
    names = sorted(found, key=lambda name: list(order).index(name) if name in order else len(order))
    verdicts = [found[name][0][2] for name in names]
    count = {name: verdicts.count(name) for name in ("shown", "contradicted", "not resolved", "finding")}
    summary = f"**{len(names)} claims: " + ", ".join(f"{n} {name}" for name, n in count.items() if n) + ".**"
    table = "".join("| " + " | ".join(found[name][0]) + " |\n" for name in names)
    return "\n".join([HEAD.format(when=when, summary=summary),
                      "| claim | | verdict | command | commit | cost |\n|---|---|---|---|---|---|\n" + table,
                      *(found[name][1] for name in names)])


def _section(k: Kept) -> str:
    lines = [f"## {k['claim']}: {k['title']}", "", k["statement"].strip(), "", f"*{k['source']}.* `{k['command']}`", ""]
    lines += ["| quantity | predicted | measured | verdict | tells a factor |", "|---|---|---|---|---|"]
    for row in k["rows"]:
        predicted = RELATION[row.get("relation", "equal")] + number_text(as_number(row["predicted"]), 8)
        cells = [row["quantity"].replace("|", "/"), predicted if row["verdict"] != "finding" else "",
                 measured_text(as_number(row["measured"]), as_number(row["error"])), row["verdict"], told_text(row)]
        lines.append("| " + " | ".join(cells) + " |")
    if k["failures"]:
        lines += ["", "Runs that failed: " + "; ".join(k["failures"]) + "."]
    if k["known"]:
        lines += ["", k["known"].strip()]
    return "\n".join(lines) + "\n"


def _earlier(page: str) -> dict[str, tuple[list[str], str]]:
    """Claim id -> cells of its line in the first table and its section, of a page written earlier."""
    head, *sections = re.split(r"^(?=## )", page, flags=re.MULTILINE)
    lines = {match[1]: [cell.strip() for cell in match[0].strip("| ").split(" | ")]
             for match in re.finditer(r"^\| \[(\w+)\]\(#.*$", head, flags=re.MULTILINE)}
    names = {re.match(r"## (\w+):", section): section.rstrip("\n") + "\n" for section in sections}
    return {match[1]: ((lines[match[1]] + [""] * 3)[:6], section)
            for match, section in names.items() if match and match[1] in lines}


def commit_of(kept: Kept) -> str:
    """The commit of the code that a claim was computed with, or nothing."""
    git = kept.get("git", "")
    return (git.get("commit", "") if isinstance(git, dict) else git)[:12]


def cost_of(kept: Kept) -> str:
    """What the runs of a claim took, in words."""
    seconds = kept.get("seconds", 0.0)
    return f"{max(1, round(seconds))} s" if seconds else ""


def anchor(kept: Kept) -> str:
    """The anchor that a heading gets on the usual hosts."""
    text = f"{kept['claim']}: {kept['title']}".lower()
    return "".join(c for c in text if c.isalnum() or c in " -_").replace(" ", "-")
