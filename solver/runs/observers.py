"""What watches a run: recorders, checkpoints, field files and progress, handed to a solver that knows none of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import numpy as np
from rich.console import Console

from solver.runs.checkpoints import Store
from solver.runs.progress import Ticker, notebook_ticker, ticker

if TYPE_CHECKING:
    from solver.density.output import DensityWriter
    from solver.density.snapshot import DensitySnapshot


class Snapshot(Protocol):
    """A law at one output, of either solver: its depth, the steps taken, and its numbers by name."""

    @property
    def time(self) -> float: ...
    @property
    def step(self) -> int: ...
    @property
    def row(self) -> Mapping[str, float | np.ndarray]: ...


class Step(Protocol):
    """One accepted step, of either solver."""

    @property
    def time(self) -> float: ...
    @property
    def dt(self) -> float: ...


class Solver(Protocol):
    """What an observer may ask of the solver it watches: its depth, and all that a restart needs (collective)."""

    @property
    def time(self) -> float: ...
    def state_dict(self) -> dict[str, float | np.ndarray]: ...


S_contra = TypeVar("S_contra", bound=Snapshot, contravariant=True)


class Observer(Generic[S_contra]):
    """Is told of the begin, every output, every step and the end of a run, on every rank alike; does nothing with it."""

    def begin(self, solver: Solver) -> None:
        """The solver is ready, at its initial law or where it goes on from."""

    def output(self, snapshot: S_contra) -> None:
        """The law at an output depth."""

    def step(self, info: Step) -> None:
        """A step was accepted."""

    def save(self) -> None:
        """What a restart needs is to be written now (collective)."""

    def close(self) -> None:
        """The run is over, on every rank (collective)."""

    def abandon(self) -> None:
        """The run has ended early, perhaps on this rank alone: let go of what is held, without a collective call."""


class Checkpoints(Observer[Snapshot]):
    """Saves what a restart needs at every output, and whenever it is asked to.

    Args:
        store: of the run.
    """

    def __init__(self, store: Store):
        self.store = store
        self.solver: Solver | None = None

    def begin(self, solver: Solver) -> None:
        self.solver = solver

    def output(self, snapshot: Snapshot) -> None:
        self.save()

    def save(self) -> None:
        if self.solver is not None:
            self.store.save(self.solver.state_dict())

    def close(self) -> None:
        if self.solver is not None and not self.store.finished:
            self.store.save(self.solver.state_dict(), finished=True)


class FieldFiles(Observer["DensitySnapshot"]):
    """The density for ParaView, at every output; a resumed run writes its earlier outputs again from the journal.

    Args:
        folder: of the run. store: whose journal has the earlier outputs.
    """

    def __init__(self, folder: Path, store: Store):
        self.folder, self.store = folder, store
        self.writer: DensityWriter | None = None

    def begin(self, solver: Solver) -> None:
        from solver.density.evolve import DensitySolver
        from solver.density.following import FollowingSolver
        from solver.density.output import DensityWriter
        from solver.density.snapshot import DensitySnapshot

        if not isinstance(solver, DensitySolver | FollowingSolver):
            raise TypeError("fields are those of a density")
        self.writer = DensityWriter(self.folder, solver.operator_of(0.0))
        for record in self.store.earlier():
            operator, time = solver.operator_of(float(record["time"])), float(record["time"])
            self.output(DensitySnapshot(operator, operator.scatter_cells(record["coefficients"]), time, int(record["step"])))

    def output(self, snapshot: DensitySnapshot) -> None:
        if self.writer is not None:
            if self.writer.operator is not snapshot.operator:
                self.writer.follow(snapshot.operator)
            self.writer.write(snapshot)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()

    def abandon(self) -> None:
        if self.writer is not None:
            self.writer.abandon()


class ProgressLine(Observer[Snapshot]):
    """Depth, step, mass and distance to the target on the terminal.

    Args:
        console: of rank 0; None shows nothing. label: of the run. end: last depth, None if not known.
        show: what shows HTML below the cell of a notebook, instead of a console; None outside of one.
        distance: W2 to the target at the newest output, None where there is none.
    """

    def __init__(self, console: Console | None, label: str, end: float | None, distance: Callable[[], float | None],
                 show: Callable[[str], None] | None = None):
        self.shown = ticker(console, label, end) if show is None else notebook_ticker(show, label, end)
        self.distance = distance
        self.ticker: Ticker = Ticker()

    def begin(self, solver: Solver) -> None:
        self.ticker = self.shown.__enter__()

    def output(self, snapshot: Snapshot) -> None:
        distance = self.distance()
        self.ticker.update(snapshot.time, **({} if distance is None else {"W2": distance}))

    def step(self, info: Step) -> None:
        mass = getattr(info, "mass", None)
        self.ticker.update(info.time, dt=info.dt, **({} if mass is None else {"mass": mass}))

    def close(self) -> None:
        self.shown.__exit__(None, None, None)

    abandon = close
