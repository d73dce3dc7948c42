"""Write tests/claims/recorded.csv from a folder of results: python3 tests/claims/record.py results/claims.

Claims that the folder has no results of keep their rows.
"""

import csv
import json
import math
import sys
from pathlib import Path

from solver.claims.claim import claim_files
from solver.claims.library import Kept, as_number
from solver.claims.page import commit_of

COLUMNS = ["claim", "quantity", "measured", "error", "verdict", "commit", "command"]


def main(folder: Path, target: Path) -> None:
    """One row for each row of the claims' tables, in the order of the library."""
    before: dict[str, list[dict[str, str]]] = {}
    if target.exists():
        with target.open(newline="") as file:
            for row in csv.DictReader(file):
                before.setdefault(row["claim"], []).append(row)
    with target.open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n", extrasaction="ignore")
        table.writeheader()
        for name in claim_files():
            path = folder / name / "claim.json"
            table.writerows(rows_of(json.loads(path.read_text())) if path.exists() else before.get(name, []))


def rows_of(kept: Kept) -> list[dict[str, str]]:
    """The rows of one claim.json as text."""
    return [{**{key: str(row.get(key, "")) for key in COLUMNS}, "commit": commit_of(kept),
             **{key: "" if math.isnan(as_number(row[key])) else repr(as_number(row[key])) for key in ("measured", "error")}}
            for row in kept["rows"]]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).with_name("recorded.csv"))
