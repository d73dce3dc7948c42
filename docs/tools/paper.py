"""Puts the claims of docs/claims.md into the table of paper.md: claim, predicted, measured, verdict.

    python3 docs/tools/paper.py

Nothing happens while docs/claims.md does not exist. Standard library only.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = ("claim", "quantity", "predicted", "measured", "verdict")
PLACE = re.compile(r"(<!-- claims:[^\n]*\n)(.*?)(<!-- end of claims -->)", re.S)


def rows(text: str) -> list[dict[str, str]]:
    """Rows of all Markdown tables whose header has a column "verdict", by lower-case column."""
    found, header = [], None
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))] if line.startswith("|") else None
        if cells is None:
            header = None
        elif header is None:
            header = [cell.lower() for cell in cells]
        elif not set("".join(cells)) <= set(":- ") and "verdict" in header:
            found.append(dict(zip(header, cells, strict=False)))
    return found


def table(claims: list[dict[str, str]]) -> str:
    """The same rows with the columns of the paper."""
    kept = [name for name in COLUMNS if any(name in claim for claim in claims)]
    lines = [kept, ["---"] * len(kept), *([claim.get(name, "") for name in kept] for claim in claims)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def main() -> int:
    source, paper = ROOT / "docs" / "claims.md", ROOT / "paper.md"
    if not source.exists():
        print("docs/claims.md does not exist yet")
        return 0
    claims = rows(source.read_text())
    text = paper.read_text()
    paper.write_text(PLACE.sub(lambda match: match[1] + table(claims) + match[3], text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
