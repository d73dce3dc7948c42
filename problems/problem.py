"""A problem: everything a run needs to know, checked and resolved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshes.manifold import Manifold
from meshes.simplicial import SimplicialManifold
from problems.attention import Attention, read_attention, tabulate_attention
from problems.checks import Check, refuse_unknown, table, text
from problems.errors import MISSING, Mistakes, ProblemError
from problems.fields import Field
from problems.files import Files
from problems.laws import InitialLaw, read_law, tabulate_law
from problems.schedule import Time, read_time, tabulate_time
from problems.sections import Compare, Density, Noise, Particles, read, tabulate
from problems.space import Space, read_space, tabulate_space
from problems.together import check_together

SECTIONS = ("space", "attention", "noise", "initial", "time", "density", "particles", "compare")
REQUIRED = ("space", "attention", "initial")


@dataclass(frozen=True, eq=False)
class Problem:
    """A resolved problem; the same on every rank.

    Attributes:
        name: of the run folder, the stem of the file. title: one line of prose. path: the file, None if there
            is none.
        space, attention, noise, initial, time, density, particles, compare: the sections of the file.
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

    @property
    def noise_rate(self) -> float:
        """Diffusivity per unit of the run's depth, which `time.rescaled` stretches by e^beta (docs/theory.md §8.1)."""
        slow = math.exp(-self.attention.layers[0].weights.beta) if self.attention.rescaled_time else 1.0
        return self.noise.diffusivity * slow


def read_problem(values: Mapping[str, Any], *, name: str = "problem", path: Path | None = None,
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
    wrong.check(refuse_unknown, "", values, ("title", *SECTIONS))
    title = wrong.check(_title, "title", values["title"]) if "title" in values else _untitled(name)
    sections: dict[str, dict[str, Any]] = {}
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
    particles, compare = (wrong.check(read, kind, section, given[section]) if section in given else None
                          for section, kind in (("particles", Particles), ("compare", Compare)))
    wrong.check(check_together, manifold, attention, noise, initial, time, density, particles, compare)
    wrong.stop()
    return Problem(name, title, space, attention, noise, initial, time, density, particles, compare, manifold, path)


def _title(field: str, value: Any) -> str:
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


def tabulate_problem(problem: Problem) -> dict[str, Any]:
    """The problem as nested TOML tables, every default written out."""
    return {
        "title": problem.title,
        "space": tabulate_space(problem.space),
        "attention": tabulate_attention(problem.attention),
        "noise": tabulate(problem.noise),
        "initial": tabulate_law(problem.initial),
        "time": tabulate_time(problem.time),
        "density": tabulate_density(problem.density, problem.space),
        "particles": tabulate(problem.particles),
        "compare": tabulate(problem.compare),
    }


FROM_FILE = ("cells", "geometry")  # settings of [density] that a mesh file leaves no room for


def read_density(values: Mapping[str, Any], space: Space | None, manifold: Manifold | None) -> Density:
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


def tabulate_density(density: Density, space: Space) -> dict[str, Any]:
    """The TOML table of [density], without what a mesh file brings."""
    return {key: value for key, value in tabulate(density).items() if space.manifold != "file" or key not in FROM_FILE}
