"""Events of a run, read back from events.csv: clusters that merge, depart or arrive."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from solver.runs.tables import read_rows


@dataclass(frozen=True)
class Event:
    """What happened at a depth: kind is "merge", "departure" or "arrival"."""

    time: float
    kind: str


def read_events(folder: Path) -> list[Event]:
    """The events of a run folder in the order of time; none where there is no events.csv."""
    path = folder / "events.csv"
    if not path.exists():
        return []
    found = [Event(float(row["time"]), row["event"]) for row in read_rows(path) if row.get("time")]
    return sorted(found, key=lambda event: event.time)
