"""Are the verdicts of a folder of results those that are recorded? python3 tests/claims/same_verdicts.py OUT

Prints every claim whose verdict is another one or that has none, and ends with 1 if there is one. A claim that is known to be
contradicted stays so.
"""

import csv
import json
import sys
from pathlib import Path

RECORDED = Path(__file__).with_name("recorded.csv")
ORDER = ("contradicted", "not resolved", "shown", "finding")


def verdicts(rows: list[dict[str, str]]) -> dict[str, str]:
    """The verdict of each claim: the worst of its rows."""
    found: dict[str, str] = {}
    for row in rows:
        found[row["claim"]] = min(found.get(row["claim"], ORDER[-1]), row["verdict"], key=ORDER.index)
    return found


def main(folder: Path) -> int:
    with RECORDED.open(newline="") as file:
        expected = verdicts(list(csv.DictReader(file)))
    rows = [row for path in sorted(folder.glob("*/claim.json")) for row in json.loads(path.read_text())["rows"]]
    found = verdicts(rows)
    other = [(name, verdict, found.get(name, "no result")) for name, verdict in expected.items() if found.get(name) != verdict]
    for name, verdict, now in other:
        print(f"{name}: {now}, recorded as {verdict}")
    print(f"{len(expected) - len(other)} of {len(expected)} claims have the verdict that is recorded")
    return 1 if other else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
