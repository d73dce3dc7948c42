"""events.csv: what happened to the tokens of a run and when, written while it lasts and read back for figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np

from problems import Problem
from solver.particles.events import Event as Found
from solver.particles.events import EventWatch, Place
from solver.particles.snapshot import ParticleSnapshot
from solver.particles.solver import ParticleSolver
from solver.projection.target import target
from solver.projection.terminal import dominant_directions
from solver.runs.checkpoints import on_first_rank
from solver.runs.folder import RunFolder
from solver.runs.history import decode, encode
from solver.runs.observers import Observer, Solver, Step
from solver.runs.tables import CsvTable, read_rows

COLUMNS = ["time", "event", "where", "masses", "place"]
# A place reaches this far, an angle, or a quarter of the way to the nearest other one.
LARGEST_REACH = 0.2


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


class Told(TypedDict):
    """What the state of the solver has of the events so far."""

    peaks: list[float]
    events: list[ToldEvent]


class ToldEvent(TypedDict):
    """An `Event` of `solver.particles.events` among them."""

    time: float
    kind: str
    where: list[float]
    masses: list[float]
    place: str


class EventRecorder(Observer[ParticleSnapshot]):
    """Dates merges, arrivals and departures of the tokens, and writes events.csv at every output.

    What was found is kept with the state of the solver, so that a run that goes on loses and repeats nothing.

    Args:
        folder: of the run; None: nothing is written but by whoever goes on from the state of the solver.
    """

    def __init__(self, folder: RunFolder | None):
        self.folder = folder
        self.watch: EventWatch | None = None
        self.solver: ParticleSolver | None = None
        self.table: CsvTable | None = None
        self.written = 0

    def begin(self, solver: Solver) -> None:
        if not isinstance(solver, ParticleSolver):
            raise TypeError("events are those of tokens")
        self.solver = solver
        if solver.noisy:  # noise moves tokens in and out of clusters all the time
            return
        watch = EventWatch(solver.problem, solver.masses, places_of(solver.problem))
        watch.start(solver.everything(), solver.time)
        if "events" in solver.memory:
            told = decode(solver.memory["events"], Told)
            watch.peaks = told["peaks"]
            watch.events = [Found(e["time"], e["kind"], tuple(e["where"]), tuple(e["masses"]), e["place"])
                            for e in told["events"]]
        self.watch = watch
        self.keep()
        on_first_rank(solver.comm, self.start_file)

    def start_file(self) -> None:
        """Start events.csv with what was found before (rank 0).

        Raises:
            OSError.
        """
        if self.folder is not None:
            self.table = self.folder.table("events.csv", COLUMNS, self.rows())
            if self.table.mended:
                self.folder.tell("events.csv was damaged and is written again from the checkpoint")
        self.written = len(self.watch.events) if self.watch is not None else 0

    def rows(self) -> list[dict[str, float | str]]:
        """The events not yet written, as rows of the table."""
        found = self.watch.events[self.written:] if self.watch is not None else []
        return [{"time": e.time, "event": e.kind, "where": join(e.where), "masses": join(e.masses), "place": e.place}
                for e in found]

    def step(self, info: Step) -> None:
        """Look at the tokens after a step (collective)."""
        watch, solver = self.watch, self.solver
        if watch is None or solver is None:
            return
        if watch.after(solver.everything(), solver.masses, info.time - info.dt, info.dt, solver.shorter):
            self.keep()

    def keep(self) -> None:
        """Hand what was found to the solver, to be kept with its state."""
        watch, solver = self.watch, self.solver
        if watch is not None and solver is not None:
            solver.memory["events"] = encode({"peaks": watch.peaks, "events": [
                {"time": e.time, "kind": e.kind, "where": e.where, "masses": e.masses, "place": e.place} for e in watch.events]})

    def save(self) -> None:
        """Masses at places have changed since the last event: a checkpoint between outputs takes them along."""
        self.keep()

    def output(self, snapshot: ParticleSnapshot) -> None:
        """Write what has happened since the last output (collective)."""
        if self.solver is not None and self.watch is not None:
            self.keep()
            on_first_rank(self.solver.comm, self.write)

    def write(self) -> None:
        """Add the events not yet written (rank 0)."""
        if self.table is not None and self.watch is not None:
            self.table.write_all(self.rows())
            self.written = len(self.watch.events)


def join(numbers: tuple[float, ...]) -> str:
    """Numbers of one cell of a table."""
    return " ".join(repr(float(number)) for number in numbers)


def places_of(problem: Problem) -> list[Place]:
    """Where theory lets tokens gather: the atoms of the target (docs/theory.md §3.2) and of the terminal phase (§4.7).

    None at zero temperature, where there is no departure, and where there are no such points. The same on every rank.
    """
    found: list[tuple[str, np.ndarray]] = []
    if problem.manifold.normalised and np.isfinite(problem.attention.at(0.0).beta):
        goal = target(problem)
        atoms = goal.atoms() if goal.exists and not goal.unmeasured else None
        if atoms is not None:
            found += [("target", point) for point in atoms[0]]
        directions = dominant_directions(problem)
        if directions is not None and directions.shape[1] == 1:
            ends = [sign * directions[:, 0] for sign in (1.0, -1.0)]
            found += [("terminal", end) for end in ends if all(np.linalg.norm(end - point) > 1e-6 for _, point in found)]
    if not found:
        return []
    points = np.stack([point for _, point in found])
    angles = np.arccos(np.clip(points @ points.T, -1.0, 1.0)) + np.pi * np.eye(len(points))
    return [Place(name, point, min(LARGEST_REACH, float(nearest) / 4))
            for (name, point), nearest in zip(found, angles.min(axis=1), strict=True)]
