"""Cells, degree, tokens and steps for an accuracy that is asked for: W2 errors of density and tokens, estimated by refinement.

Both sides climb a ladder of sizes, each step the cells or tokens halved in width. The distance between two neighbours of the
ladder bounds the error of the finer one where errors at least halve, which is first order and seen as the ladder is climbed;
sizes between are left out as far as the observed order allows. Time steps have their own comparison, at a quarter of the
accuracy.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from problems import Problem, ProblemError
from solver.comparison.refinement import Extra, distances_between
from solver.comparison.variations import vary
from solver.comparison.verdict import judged_outputs
from solver.errors import RunError
from solver.particles.adaptive import gap_fraction, refuse_start
from solver.particles.density import kernel_width
from solver.runs.cost import density_cost, memory_there_is
from solver.runs.history import History

if TYPE_CHECKING:
    from mpi4py import MPI

OPTION = "--accuracy"
COLUMNS = ["side", "quantity", "setting", "size", "w2_difference", "seconds"]
FEWEST = {1: 32, 2: 80, 3: 200}  # cells and tokens to start with, by intrinsic dimension
MOST = {1: 2**16, 2: 2**18, 3: 2**18}
# N atoms are never closer to an even density in W2 than this times (volume/N)^(1/dimension): the root of the second moment of an
# interval, a regular hexagon, and a truncated octahedron, of unit size (Conway & Sloane 1999, §2.3).
ATOMS = {1: 0.2886, 2: 0.4005, 3: 0.4853}
STEPS = 0.25  # part of the accuracy that steps may take
FOLLOWED = 512  # random tokens that steps are tried on, where adaptive ones would not be the same with both
HALVINGS = 6
SLOWEST, FASTEST = 0.7, 4.0  # observed orders that are believed
FIXED_STEPS = ("euler", "ssprk22", "ssprk33", "ssprk104")

Settings = dict[str, float | int | str]
Runner = Callable[[Settings, str], "History | None"]
Row = dict[str, float | str]


class Ladder(NamedTuple):
    """What refines one side. settings: of a size, cells or tokens; factor: between neighbours; most: the largest size."""

    side: str
    settings: Callable[[int], Settings]
    first: int
    factor: int
    most: int


@dataclass
class Chosen:
    """Settings that reach an accuracy.

    Attributes:
        asked: the accuracy in W2. settings: of the problem, by dotted key.
        errors: estimated W2 error of "density" and "particles" at every judged output, by depth.
        rows: of accuracy.csv, one for each comparison made. seconds: that it all took.
    """

    asked: float
    settings: Settings = field(default_factory=dict)
    errors: dict[str, dict[float, float]] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def words(self) -> str:
        """What was chosen and what it cost, one line."""
        made = ", ".join(f"{key} = {value}" for key, value in self.settings.items())
        worst = ", ".join(f"{side} {max(found.values()):.2g}" for side, found in self.errors.items())
        return f"{made}; estimated W2 errors: {worst}; found in {self.seconds:.0f} s"

    def facts(self) -> dict[str, object]:
        """For run.json, from which `restored` makes it again."""
        errors = {side: [[t, error] for t, error in found.items()] for side, found in self.errors.items()}
        return {"asked": self.asked, "settings": self.settings, "errors": errors, "rows": self.rows, "seconds": self.seconds}

    def tell(self, rows: Sequence[dict[str, float]]) -> None:
        """Put the errors beside the distances of comparison.csv."""
        for row in rows:
            for side, found in self.errors.items():
                if row["time"] in found:
                    row[f"error_{side}"] = found[row["time"]]


def restored(facts: Mapping[str, object], asked: float) -> Chosen | None:
    """The choice that an earlier run with the same accuracy recorded in its run.json; None where it recorded none."""
    found = facts.get("accuracy")
    if not isinstance(found, dict) or found.get("asked") != asked:
        return None
    errors = {side: {float(t): float(error) for t, error in pairs} for side, pairs in found["errors"].items()}
    return Chosen(asked, dict(found["settings"]), errors, list(found["rows"]), float(found["seconds"]))


def refuse_accuracy(problem: Problem, accuracy: float) -> None:
    """Refuse what no refinement can reach, before anything is run.

    Raises:
        ProblemError.
    """
    if not 1e-8 <= accuracy <= 1.0:
        raise ProblemError(OPTION, accuracy, "must be a number at least 1e-08 and at most 1")
    if problem.space.manifold == "file":
        raise ProblemError(OPTION, accuracy, "for spaces whose mesh can be made as fine as needed; a mesh from a file has "
                           "space.refine")
    tdim, volume = problem.manifold.intrinsic, problem.manifold.volume
    if volume is None:
        raise ProblemError(OPTION, accuracy, "for spaces with a mesh, which R^d has not")
    least = ATOMS[tdim] * (volume / MOST[tdim]) ** (1 / tdim)
    if accuracy < least:
        raise ProblemError(OPTION, accuracy, f"must be at least {least:.2g} here: {MOST[tdim]} atoms in {tdim} dimensions are "
                           "never closer to a density in W2")


def choose(problem: Problem, accuracy: float, comm: MPI.Comm, extra: Extra) -> Chosen:
    """Cells, degree, tokens and steps with which the W2 errors of density and tokens are below `accuracy` (collective).

    Args:
        problem: whose other settings are kept. accuracy: of each side, at every judged output.
        comm: all ranks. extra: makes the runs, without a folder.

    Raises:
        ProblemError: it cannot be reached. RunError: it was not.
    """
    began = time.monotonic()
    refuse_accuracy(problem, accuracy)
    chosen = Chosen(accuracy)
    for side in ("density", "particles"):
        _choose_side(problem, side, comm, extra, chosen)
    chosen.seconds = round(comm.bcast(time.monotonic() - began), 1)
    return chosen


def _choose_side(problem: Problem, side: str, comm: MPI.Comm, extra: Extra, chosen: Chosen) -> None:
    """Extend the choice by one side (collective)."""

    def run(settings: Settings, label: str) -> History | None:
        varied = problem.with_({**chosen.settings, **settings})
        if chosen.settings.get("particles.sampling") == "adaptive" and "particles.gap" not in settings:
            varied = vary(varied, "particles", sampling="random", count=FOLLOWED, gap=None)
        make = extra.density if side == "density" else extra.particles
        return make(varied, f"accuracy-{label}", f"accuracy of the {side}: {label}")

    def apart(a: History, b: History) -> dict[float, float]:
        outputs = judged_outputs(problem, a.times)
        found = distances_between(problem, comm, a, b, outputs)
        return {a.times[i]: float(error) for i, error in zip(outputs, found, strict=True)}

    search = Search(problem, chosen, run, apart, comm)
    if side == "density":
        first = _first_cells(problem)
        chosen.settings["density.degree"] = search.degree(first)
        search.steps("density", _density_steps(problem), {"density.cells": first})
        tdim = problem.manifold.intrinsic
        ladder = Ladder(side, lambda n: {"density.cells": n}, first, 2**tdim, MOST[tdim])
    else:
        ladder = _token_ladder(problem, chosen)
        adaptive = chosen.settings.get("particles.sampling") == "adaptive"
        search.steps("particles", _token_steps(problem), {} if adaptive else ladder.settings(ladder.first))
    search.climb(ladder)


def _first_cells(problem: Problem) -> int:
    """Cells about as wide as the kernel and the first law: coarser ones could agree with each other without seeing anything."""
    tdim, volume = problem.manifold.intrinsic, problem.manifold.volume or 1.0
    width = min(kernel_width(problem.attention), problem.initial.width)
    return int(max(FEWEST[tdim], min(math.ceil(volume / width**tdim), MOST[tdim] // 64)))


def _first_tokens(problem: Problem, factor: int) -> int:
    """As few tokens as the quadrature of the first law allows."""
    count, most = FEWEST[problem.manifold.intrinsic], MOST[problem.manifold.intrinsic]
    while problem.particles.sampling == "quadrature" and count * factor < most:
        try:
            problem.initial.quadrature(count)
            break
        except ProblemError:
            count *= factor
    return count


def _density_steps(problem: Problem) -> list[Settings]:
    """Settings of ever smaller steps, the present ones first."""
    density = problem.density
    if density.integrator not in FIXED_STEPS:
        return [{"density.rtol": density.rtol / 10**k, "density.atol": density.atol / 10**k} for k in range(HALVINGS)]
    if density.step is not None:
        return [{"density.step": density.step / 2**k} for k in range(HALVINGS)]
    return [{"density.cfl": (density.cfl or 0.9) / 2**k} for k in range(HALVINGS)]


def _token_steps(problem: Problem) -> list[Settings]:
    """The same for tokens; none under noise, which hides the error of a step."""
    settings = problem.particles
    if problem.noise.diffusivity > 0.0:
        return []
    if settings.integrator == "dopri5":
        return [{"particles.rtol": max(settings.rtol / 10**k, 1e-14)} for k in range(HALVINGS)]
    step = settings.step or (0.05 if settings.integrator == "rk4" else 0.01)
    return [{"particles.step": step / 2**k} for k in range(HALVINGS)]


def _token_ladder(problem: Problem, chosen: Chosen) -> Ladder:
    """More tokens; on curves adaptive ones where there can be, since other tokens leave the mean field in the end."""
    settings, tdim = problem.particles, problem.manifold.intrinsic
    # Their gaps alone say how many they are: as many as `particles.count` at least would hide what a smaller gap changes.
    adaptive: Settings = {"particles.sampling": "adaptive", "particles.count": 1}
    if settings.sampling == "adaptive" or (settings.sampling == "quadrature" and tdim == 1):
        try:
            gap = gap_fraction(problem.with_(adaptive))
        except ProblemError:
            pass
        else:
            chosen.settings |= adaptive
            return Ladder("particles", lambda n: {"particles.gap": gap / n}, 1, 2, 2**16)
    factor = 2 if settings.sampling == "random" else 2**tdim
    return Ladder("particles", lambda n: {"particles.count": n}, _first_tokens(problem, factor), factor, MOST[tdim])


@dataclass
class Search:
    """Runs and comparisons of one side. run: of settings, with a label; apart: W2 at every judged output; of_steps: what shorter
    steps change."""

    problem: Problem
    chosen: Chosen
    run: Runner
    apart: Callable[[History, History], dict[float, float]]
    comm: MPI.Comm
    since: float = field(default_factory=time.monotonic)
    of_steps: float = 0.0

    def degree(self, cells: int) -> int:
        """The degree that needs least work for the accuracy, by errors against degree 3 on cells half as wide."""
        tdim, cold = self.problem.manifold.intrinsic, self.chosen.asked
        finer = self._made({"density.cells": cells * 2**tdim, "density.degree": 3}, f"{cells * 2**tdim} cells of degree 3")
        work = {}
        for degree in (1, 2, 3):
            settings: Settings = {"density.cells": cells, "density.degree": degree}
            worst = self._compare("density", "degree", degree, cells,
                                  self._made(settings, f"{cells} cells of degree {degree}"), finer)
            cost = density_cost(self.problem.with_(settings))
            if cost is None:
                raise ProblemError("space.manifold", self.problem.space.manifold, "a space with a mesh")
            narrower = max(worst / cold, 1.0) ** 0.5  # second order in the width of cells, which all these degrees have
            work[degree] = (cost.steps * cost.unknowns * narrower ** (tdim + 1), degree)
        return min(work.values())[1]

    def steps(self, side: str, ladder: list[Settings], size: Settings) -> None:
        """Steps so small that halving them changes less than a quarter of the accuracy; at the coarsest size, where they are
        longest."""
        if not ladder:
            return
        coarse = self._made({**size, **ladder[0]}, "first steps")
        for now, then in itertools.pairwise(ladder):
            fine = self._made({**size, **then}, "shorter steps")
            key, value = next(iter(now.items()))
            worst = self._compare(side, key, value, max(coarse.counts[-1], 1), coarse, fine)
            if worst <= STEPS * self.chosen.asked:
                self.chosen.settings |= now
                self.of_steps = worst
                return
            coarse = fine
        raise RunError(f"{OPTION} {self.chosen.asked:g} was not reached: the steps of the {side} still change W2 by {worst:.2g}")

    def climb(self, ladder: Ladder) -> None:
        """Refine until two neighbours are closer than what steps leave of the accuracy, and choose the finer one."""
        size, before = ladder.first, None
        coarse = None
        while True:
            fine_size = size * ladder.factor
            self._affordable(ladder, fine_size)
            coarse = coarse or self._made(ladder.settings(size), f"size {size}")
            fine = self._made(ladder.settings(fine_size), f"size {fine_size}")
            key, value = next(iter(ladder.settings(fine_size).items()))
            worst = self._compare(ladder.side, key, value, fine.counts[-1], coarse, fine)
            # Steps that cells bound were tried where they are longest, and err in proportion to their length at most.
            finer = fine_size / ladder.first if "density.cfl" in self.chosen.settings and ladder.side == "density" else 1.0
            of_steps = self.of_steps * finer ** (-1 / self.problem.manifold.intrinsic)
            allowed = self.chosen.asked - of_steps
            if worst <= allowed:
                self.chosen.settings |= ladder.settings(fine_size)
                found = self.apart(coarse, fine)
                self.chosen.errors[ladder.side] = {t: error + of_steps for t, error in found.items()}
                return
            order = 1.0 if before is None else math.log(before[1] / worst) / math.log(fine_size / before[0])
            order *= self.problem.manifold.intrinsic if ladder.factor != 2 or ladder.side == "density" else 1
            order = min(max(order, SLOWEST), FASTEST)
            before = fine_size, worst
            rungs = min(math.floor(math.log2(worst / allowed) / order), 3)
            while rungs > 0 and self._too_large(ladder, fine_size * ladder.factor ** (rungs + 1)):
                rungs -= 1  # the order may be better than it looked: nothing is left out on the way to the end
            size, coarse = (fine_size, fine) if rungs < 1 else (fine_size * ladder.factor**rungs, None)

    def _affordable(self, ladder: Ladder, size: int) -> None:
        """Stop before a size that is too large.

        Raises:
            RunError: with what was reached.
        """
        why = self._too_large(ladder, size)
        if why:
            reached = [float(row["w2_difference"]) for row in self.chosen.rows if row["side"] == ladder.side]
            last = f"; the last refinement changed the {ladder.side} by {reached[-1]:.2g} in W2" if reached else ""
            raise RunError(f"{OPTION} {self.chosen.asked:g} was not reached: {why}{last}")

    def _too_large(self, ladder: Ladder, size: int) -> str:
        """Why a size cannot be had, in words; empty if it can (collective)."""
        varied = self.problem.with_({**self.chosen.settings, **ladder.settings(size)})
        if varied.particles.sampling == "adaptive" and ladder.side == "particles":
            try:
                refuse_start(varied)
            except ProblemError:
                return f"more than particles.most = {varied.particles.most} tokens would be needed"
        elif size > ladder.most:
            return f"more than {ladder.most} {'cells' if ladder.side == 'density' else 'tokens'} would be needed"
        if ladder.side == "density":
            cost = density_cost(varied, self.comm.size)
            free = self.comm.bcast(memory_there_is())
            if cost is not None and cost.memory > free / 2:
                return f"{size} cells would need {cost.memory / 2**20:.0f} MiB of {free / 2**20:.0f}"
        return ""

    def _made(self, settings: Settings, label: str) -> History:
        found = self.run(settings, label)
        if found is None:
            made = ", ".join(f"{key} = {value}" for key, value in settings.items())
            raise RunError(f"{OPTION} {self.chosen.asked:g}: nothing can be run with {made}")
        return found

    def _compare(self, side: str, quantity: str, value: float | str, size: int, a: History, b: History) -> float:
        worst = max(self.apart(a, b).values())
        now = time.monotonic()
        self.chosen.rows.append({"side": side, "quantity": quantity, "setting": value, "size": float(size),
                                  "w2_difference": worst, "seconds": round(now - self.since, 2)})
        self.since = now
        return worst
