"""A law at every output: in memory while a run lasts, and as records of its journal so that an ended run can go on."""

from __future__ import annotations

import dataclasses
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict, TypeVar, overload

import numpy as np

from problems import Problem
from problems.errors import ProblemError
from solver.runs.frames import table
from solver.runs.journal import Record
from solver.runs.shown import Shown
from solver.runs.tables import Row
from solver.wasserstein.measure import Distance, Measure

T = TypeVar("T")

# The density to plot: points (n, d), values (n,), triangles (m, 3) or None.
Picture = tuple[np.ndarray, np.ndarray, np.ndarray | None]
SAME = 1e-9  # relative difference of depths that are the same
PICTURE = ("picture_points", "picture_values", "triangles")


GOLDEN = 0.6180339887498949


def owner(output: int, ranks: int) -> int:
    """The rank that keeps an output besides rank 0, and compares it: even on any evenly chosen outputs."""
    return int(output * GOLDEN % 1.0 * ranks)


class Kept(Sequence[T]):
    """What a rank keeps of every output, in order; nothing of those that other ranks keep.

    Raises:
        LookupError: for an output that is not kept here.
    """

    def __init__(self, items: Iterable[T | None] = ()):
        self._items = list(items)

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, output: int) -> T: ...
    @overload
    def __getitem__(self, output: slice) -> list[T]: ...
    def __getitem__(self, output: int | slice) -> T | list[T]:
        if isinstance(output, slice):
            return [self[i] for i in range(*output.indices(len(self)))]
        found = self._items[output]
        if found is None:
            raise LookupError(f"output {output} is kept on rank 0")
        return found

    def append(self, item: T | None) -> None:
        """Add an output; None: it is not kept here."""
        self._items.append(item)


class Bound(TypedDict):
    """A `Distance` as the journal has it."""

    value: float
    error: float
    method: str
    lower: float
    upper: float


class Words(TypedDict):
    """What the journal has of an output beside its arrays: its row, and the distances to the target by exponent."""

    row: Row
    to_target: dict[str, Bound]


@dataclass
class History(Shown):
    """A law at every output, in the order of time. Numbers are the same on all ranks; arrays are kept where they are used: on
    rank 0, and where histories are compared (`shared`) each output on its `owner` too.

    `rows` hold the diagnostics by column name, `measures` the law as weighted points, `pictures` the density to plot
    (points (n, d), values (n,), triangles (m, 3) or None), empty for particles; `carried` what tokens carry beside their masses,
    `log_density` (N,), `cells` and `cell_masses` by name, empty dicts elsewhere; `to_target` the distances to the target with
    their bounds, by exponent; `problem` and `side`, "density" or "particles", say what it is the history of;
    `counts` and `spreads` are the number of atoms and `Measure.spread` of every output, on all ranks.
    """

    drawn = "history"

    times: list[float] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    measures: Kept[Measure] = field(default_factory=Kept)
    pictures: Kept[Picture] = field(default_factory=Kept)
    carried: Kept[dict[str, np.ndarray]] = field(default_factory=Kept)
    to_target: list[dict[int, Distance]] = field(default_factory=list)
    problem: Problem | None = None
    side: str = ""
    rank: int = 0
    ranks: int = 1
    shared: bool = False
    counts: list[int] = field(default_factory=list)
    spreads: list[float] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<History {self.words()}>"

    def _repr_html_(self) -> str:
        names = [name for name in self.rows[0] if not name.startswith(("mean_", "second_"))] if self.rows else []
        return f"<p>History {html.escape(self.words())}</p>{table(self.rows, names)}"

    def words(self) -> str:
        """What it is the history of, one line."""
        of = " ".join(part for part in ("of the", self.side or "law", f"of {self.problem.name}" if self.problem else "") if part)
        if not self.times:
            return f"{of}: no outputs"
        found = self.column("w2_target")
        goal = f", W2 to the target {found[0]:.4g} to {found[-1]:.4g}" if np.isfinite(found).all() else ""
        return (f"{of}: {len(self.times)} outputs from t = {self.times[0]:g} to {self.times[-1]:g}, {self.counts[-1]} weighted "
                f"points{goal}")

    def law(self, t: float | None = None) -> Measure:
        """The law at an output depth, as weighted points; default the last. On rank 0.

        Raises:
            LookupError: on another rank, which does not keep it.
            ProblemError: the run has no output there; nothing is interpolated.
        """
        if not self.times:
            raise ProblemError("t", t, "the history has no outputs yet")
        if t is None:
            return self.measures[-1]
        near = int(np.argmin(np.abs(np.array(self.times) - t)))
        if abs(self.times[near] - t) > SAME * max(1.0, abs(t)):
            raise ProblemError("t", t, f"must be an output depth, the nearest of which is {self.times[near]:.12g} "
                               "(time.outputs says where there are some)")
        return self.measures[near]

    def sides(self) -> list[Shown]:
        return [self]

    def keep(self, row: Row, measure: Measure, picture: Picture | None, to_target: dict[int, Distance],
             carried: Mapping[str, np.ndarray] | None = None) -> None:
        """Add one output."""
        here = self.rank == 0 or (self.shared and owner(len(self.times), self.ranks) == self.rank)
        self.times.append(row["time"])
        self.rows.append(row)
        self.to_target.append(to_target)
        self.counts.append(len(measure.masses))
        self.spreads.append(measure.spread)
        self.measures.append(measure if here else None)
        self.carried.append(dict(carried or {}) if here else None)
        if picture is not None:
            self.pictures.append(picture if here else None)

    def record(self) -> Record:
        """The newest output for the journal; on rank 0."""
        measure, row = self.measures[-1], self.rows[-1]
        bounds = {str(p): dataclasses.asdict(found) for p, found in self.to_target[-1].items()}
        arrays = {"time": np.array(row["time"]), "step": np.array(row["step"]), "points": measure.points,
                  "masses": measure.masses,
                  "resolution": np.array(measure.resolution), "words": encode({"row": row, "to_target": bounds})}
        arrays |= {f"carried_{name}": part for name, part in self.carried[-1].items()}
        if self.pictures:
            arrays |= {name: part for name, part in zip(PICTURE, self.pictures[-1], strict=True) if part is not None}
        return arrays

    def restore(self, record: Record) -> None:
        """Add one output of the journal."""
        words = decode(record["words"], Words)
        picture = None
        if "picture_values" in record:
            picture = record["picture_points"], record["picture_values"], record.get("triangles")
        self.keep(words["row"], Measure(record["points"], record["masses"], record["resolution"][()]), picture,
                  {int(p): Distance(**found) for p, found in words["to_target"].items()},
                  {name.removeprefix("carried_"): part for name, part in record.items() if name.startswith("carried_")})


def encode(words: Mapping[str, object]) -> np.ndarray:
    """Numbers and texts by name as an array of bytes; floats come back to the last bit."""
    return np.frombuffer(json.dumps(words, default=lambda value: value.item()).encode(), dtype=np.uint8)


def decode(array: np.ndarray, kind: type[T]) -> T:
    """What `encode` was given, of the type that the caller wrote."""
    words: T = json.loads(array.tobytes())
    return words
