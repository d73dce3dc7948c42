"""A problem: everything a run needs to know, checked and resolved."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from meshes.manifold import Manifold
from meshes.simplicial import SimplicialManifold
from problems.attention import Attention, read_attention, tabulate_attention
from problems.checks import Check, refuse_unknown, table, text
from problems.diagnostics import Diagnostics, read_diagnostics, tabulate_diagnostics
from problems.drift import Drift, read_drift, tabulate_drift
from problems.errors import MISSING, Mistakes, ProblemError
from problems.fields import Field
from problems.files import Files
from problems.laws import InitialLaw, read_law, tabulate_law
from problems.overrides import override_all, plain_table, read_changes
from problems.schedule import Time, read_time, tabulate_time
from problems.sections import Compare, Density, Noise, Particles, read, tabulate
from problems.space import Space, read_space, tabulate_space
from problems.together import check_together

SECTIONS = ("space", "attention", "drift", "noise", "initial", "time", "density", "particles", "compare", "diagnostics")
REQUIRED = ("space", "attention", "initial")
NO_DRIFT, NO_COLUMNS = Drift(), Diagnostics()


@dataclass(frozen=True, eq=False)
class Problem:
    """A resolved problem; the same on every rank.

    Attributes:
        name: of the run folder, the stem of the file. title: one line of prose. path: the file, None if there
            is none.
        space, attention, drift, noise, initial, time, density, particles, compare, diagnostics: the sections of the file.
        manifold: the token space as maps of points.
    """

    name: str
    title: str
    space: Space
    attention: Attention
    noise: Noise
    initial: InitialLaw
    time: Time
    density: Density
    particles: Particles
    compare: Compare
    manifold: Manifold
    path: Path | None = None
    drift: Drift = NO_DRIFT
    diagnostics: Diagnostics = NO_COLUMNS
    # What the problem was made of, so that a change means the same as on the command line: tables as they were given, files read.
    # Neither belongs to a problem that dataclasses.replace makes of this one.
    given: Mapping[str, object] | None = field(init=False, default=None)
    files: Files | None = field(init=False, default=None)

    def with_(self, *changes: str | Mapping[str, object], **sections: Mapping[str, object]) -> Problem:
        """This problem with some keys changed, checked as a whole again; the problem itself stays as it is.

        Args:
            changes: texts KEY=VALUE as for `--set`, or mappings from dotted keys to values.
            sections: the keys to change in a section, as in `with_(time={"end": 2.0})`.

        Raises:
            ProblemError: for everything that is not allowed, every mistake at once.
        """
        values = plain_table(self.given if self.given is not None else tabulate_problem(self))
        override_all(values, read_changes(changes, sections))
        return read_problem(values, name=self.name, path=self.path, files=self.files)

    def __repr__(self) -> str:
        weights = self.attention.layers[0].weights
        heads = f"{len(weights.heads)} head{'s' * (len(weights.heads) > 1)}"
        layers = f", {len(self.attention.layers)} layers" if len(self.attention.layers) > 1 else ""
        noise = f", diffusivity {self.noise.diffusivity:g}" if self.noise.diffusivity > 0.0 else ""
        end = self.time.end if isinstance(self.time.end, str) else f"{self.time.end:g}"
        return (f"<Problem {self.name}: {self.space.manifold} in {self.manifold.dimension} coordinates, beta {weights.beta:g}, "
                f"{heads}{layers}{noise}, to depth {end}>")

    def _repr_html_(self) -> str:
        given = self.given if self.given is not None else tabulate_problem(self)
        rows = "".join(f"<tr><td>{html.escape(section)}</td><td><code>{html.escape(shortened(values))}</code></td></tr>"
                       for section, values in given.items() if section != "title")
        return f"<b>{html.escape(self.title)}</b><table>{rows}</table>"

    @property
    def noise_rate(self) -> float:
        """Diffusivity per unit of the run's depth, which `time.rescaled` stretches by e^beta (docs/theory.md §8.1)."""
        slow = math.exp(-self.attention.layers[0].weights.beta) if self.attention.rescaled_time else 1.0
        return self.noise.diffusivity * slow


def read_problem(values: Mapping[str, object], *, name: str = "problem", path: Path | None = None,
                 files: Files | None = None) -> Problem:
    """The problem of a parsed TOML file.

    Args:
        values: the whole file as nested tables.
        name: of the problem.
        path: the file, to which relative paths in it refer.
        files: what was read from the files it names, by another rank; what is not in it is read and added.

    Raises:
        ProblemError: for whatever is not allowed, with every mistake of the file.
    """
    wrong, files = Mistakes(), files if files is not None else Files()
    kept = plain_table(values)
    wrong.check(refuse_unknown, "", values, ("title", *SECTIONS))
    title = wrong.check(_title, "title", values["title"]) if "title" in values else _untitled(name)
    sections: dict[str, dict[str, object]] = {}
    for section in SECTIONS:
        if section not in values and section in REQUIRED:
            wrong.note(section, MISSING, f"must be given as a table, [{section}]")
        else:
            sections[section] = wrong.check(table, section, values.get(section, {}))
    given = {section: found for section, found in sections.items() if found is not None}
    folder = path.parent if path else Path()
    space, manifold = (wrong.check(read_space, given["space"], folder, files) if "space" in given else None) or (None, None)
    time = wrong.check(read_time, given["time"]) if "time" in given else None
    attention = None
    if "attention" in given:
        attention = wrong.check(read_attention, given["attention"], space.dimension if space else None,
                                time.end if time else None, bool(time and time.rescaled))
    noise = wrong.check(read, Noise, "noise", given["noise"]) if "noise" in given else None
    if noise is not None and noise.diffusivity > 0.0 and "density" in given:
        # Noise is stiff: implicit unless asked otherwise.
        given["density"].setdefault("integrator", "arkimex")
    initial = wrong.check(read_law, given["initial"], manifold, folder, files) if "initial" in given else None
    density = wrong.check(read_density, given["density"], space, manifold) if "density" in given else None
    particles = wrong.check(read_particles, given["particles"]) if "particles" in given else None
    compare = wrong.check(read, Compare, "compare", given["compare"]) if "compare" in given else None
    drift = wrong.check(read_drift, given["drift"]) if "drift" in given else None
    numbers = wrong.check(read_diagnostics, given["diagnostics"]) if "diagnostics" in given else None
    wrong.check(check_together, manifold, attention, noise, initial, time, density, particles, compare, drift, space)
    if numbers is not None and manifold is not None:
        wrong.check(numbers.try_out, manifold)
    if particles is not None and particles.sampling == "adaptive" and initial is not None and initial.is_atomic:
        wrong.note("particles.sampling", "adaptive", 'for laws with a density, not for point masses; must be "quadrature"')
    wrong.stop()
    if (space is None or attention is None or noise is None or initial is None or time is None or density is None
            or particles is None or compare is None or manifold is None or drift is None or numbers is None):
        raise TypeError("a section is missing, and no mistake was noted")  # which `stop` would have raised
    problem = Problem(name, title, space, attention, noise, initial, time, density, particles, compare, manifold, path, drift,
                      numbers)
    object.__setattr__(problem, "given", kept)
    object.__setattr__(problem, "files", files)
    return problem


def shortened(values: object) -> str:
    """Keys and values of a section on one line, long values cut."""
    if not isinstance(values, Mapping):
        return str(values)
    texts = {key: str(value) for key, value in values.items()}
    return ", ".join(f"{key} = {text if len(text) <= WIDEST else text[:WIDEST] + '...'}" for key, text in texts.items())


WIDEST = 80


def _title(field: str, value: object) -> str:
    title = " ".join(text(field, value).split())
    if len(title) > LONGEST_TITLE:
        raise ProblemError(field, value, f"must be one line of at most {LONGEST_TITLE} letters, not {len(title)}")
    if not title.isprintable():
        raise ProblemError(field, value, "must not hold control characters")
    return title


def _untitled(name: str) -> str:
    """A title from the name of the file."""
    return "".join(c if c.isprintable() else "?" for c in name.replace("_", " "))[:LONGEST_TITLE] or "untitled"


LONGEST_TITLE = 200
TITLE = Field("title", Check(_title, {**text.schema, "maxLength": LONGEST_TITLE}), "of figures and reports, one line of prose")


def tabulate_problem(problem: Problem) -> dict[str, object]:
    """The problem as nested TOML tables, every default written out."""
    tables = {
        "title": problem.title,
        "space": tabulate_space(problem.space),
        "attention": tabulate_attention(problem.attention),
        "drift": tabulate_drift(problem.drift),
        "noise": tabulate(problem.noise),
        "initial": tabulate_law(problem.initial),
        "time": tabulate_time(problem.time),
        "density": tabulate_density(problem.density, problem.space),
        "particles": tabulate_particles(problem.particles),
        "compare": tabulate(problem.compare),
        "diagnostics": tabulate_diagnostics(problem.diagnostics),
    }
    # Empty where nothing is asked for: what was written before there were such sections stays the same.
    return {name: values for name, values in tables.items() if values or name not in ("drift", "diagnostics")}


FROM_FILE = ("cells", "geometry")  # settings of [density] that a mesh file leaves no room for


def read_density(values: Mapping[str, object], space: Space | None, manifold: Manifold | None) -> Density:
    """[density]; of a mesh file the number of cells and the degree of their geometry are the file's own, and known."""
    if space is None or not isinstance(manifold, SimplicialManifold):
        return read(Density, "density", values)
    wrong = Mistakes()
    for key in FROM_FILE:
        if key in values:
            more = "; space.refine cuts its cells" if key == "cells" else ""
            wrong.note(f"density.{key}", values[key], f'not for manifold = "file", whose mesh brings its own{more}')
    cells = len(manifold.cells.cells) * 2 ** (manifold.intrinsic * space.refine)
    density = wrong.check(read, Density, "density", {**values, "cells": cells, "geometry": manifold.cells.geometry})
    wrong.stop()
    return density


def tabulate_density(density: Density, space: Space) -> dict[str, object]:
    """The TOML table of [density], without what a mesh file brings."""
    return {key: value for key, value in tabulate(density).items() if space.manifold != "file" or key not in FROM_FILE}


def read_particles(values: Mapping[str, object]) -> Particles:
    """[particles]; the number of adaptive tokens is found, not chosen, and starts from one."""
    adaptive = values.get("sampling") == "adaptive"
    particles, wrong = read(Particles, "particles", {"count": 1, **values} if adaptive else values), Mistakes()
    for key in ADAPTIVE_ONLY:
        if key in values and not adaptive:
            wrong.note(f"particles.{key}", values[key], 'only for particles.sampling = "adaptive"')
    wrong.stop()
    return particles


ADAPTIVE_ONLY = ("gap", "most")


def tabulate_particles(particles: Particles) -> dict[str, object]:
    """The TOML table of [particles], without the keys that its sampling does not take."""
    unused = ADAPTIVE_ONLY if particles.sampling != "adaptive" else ()
    return {key: value for key, value in tabulate(particles).items() if key not in unused}
