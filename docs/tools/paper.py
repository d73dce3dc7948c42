"""Puts the first table of docs/claims.md into paper.md: claim, what it says, verdict, command.

    python3 docs/tools/paper.py

Standard library only.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = ("claim", "subject", "verdict", "command")
PLACE = re.compile(r"(<!-- claims:[^\n]*\n)(.*?)(<!-- end of claims -->)", re.S)


def rows(text: str) -> list[dict[str, str]]:
    """Rows of the first table of docs/claims.md, by column; links are left out."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    header = next(i for i, line in enumerate(lines) if line.startswith("| claim |"))
    found = []
    for line in lines[header + 2:]:
        cells = [re.sub(r"\[(.*?)\]\(#.*?\)", r"\1", cell.strip()) for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        if not re.fullmatch(r"[A-Z]{2}\d+", cells[0]):
            break
        found.append(dict(zip(COLUMNS, cells, strict=False)))
    return found


def table(claims: list[dict[str, str]]) -> str:
    """The same rows in Markdown."""
    lines = [list(COLUMNS), ["---"] * len(COLUMNS), *([claim.get(name, "") for name in COLUMNS] for claim in claims)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def main() -> int:
    paper = ROOT / "paper.md"
    claims = rows((ROOT / "docs" / "claims.md").read_text())
    text = paper.read_text()
    paper.write_text(PLACE.sub(lambda match: match[1] + table(claims) + match[3], text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
