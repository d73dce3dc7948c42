"""A problem: everything a run needs to know, checked and resolved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meshes.manifold import Manifold
from meshes.simplicial import SimplicialManifold
from problems.attention import LARGEST_EXPONENT, Attention, read_attention, tabulate_attention
from problems.checks import refuse_unknown, table, text
from problems.errors import MISSING, ProblemError
from problems.laws import InitialLaw, read_law, tabulate_law
from problems.schedule import Time, read_time, tabulate_time
from problems.sections import Compare, Density, Noise, Particles, read, tabulate
from problems.space import Space, read_space, tabulate_space

SECTIONS = ("space", "attention", "noise", "initial", "time", "density", "particles", "compare")
REQUIRED = ("space", "attention", "initial")
FROM_FILE = ("cells", "geometry")  # settings of [density] that a mesh file leaves no room for


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


def read_problem(values: Mapping[str, Any], *, name: str = "problem", path: Path | None = None) -> Problem:
    """The problem of a parsed TOML file.

    Args:
        values: the whole file as nested tables.
        name: of the problem.
        path: the file, to which relative paths in it refer.

    Raises:
        ProblemError: for whatever is not allowed.
    """
    refuse_unknown("", values, ("title", *SECTIONS))
    sections = {}
    for section in SECTIONS:
        if section not in values and section in REQUIRED:
            raise ProblemError(section, MISSING, f"must be given as a table, [{section}]")
        sections[section] = table(section, values.get(section, {}))
    folder = path.parent if path else Path()
    space, manifold = read_space(sections["space"], folder)
    time = read_time(sections["time"])
    attention = read_attention(sections["attention"], space.dimension, time.end, time.rescaled)
    noise = read(Noise, "noise", sections["noise"])
    if noise.diffusivity > 0.0:
        # Noise is stiff: implicit unless asked otherwise.
        sections["density"].setdefault("integrator", "arkimex")
    density = read_density(sections["density"], space, manifold)
    problem = Problem(
        name=name,
        title=text("title", values.get("title", name.replace("_", " "))),
        space=space,
        attention=attention,
        noise=noise,
        initial=read_law(sections["initial"], manifold, folder),
        time=time,
        density=density,
        particles=read(Particles, "particles", sections["particles"]),
        compare=read(Compare, "compare", sections["compare"]),
        manifold=manifold,
        path=path,
    )
    _check_exponent(problem)
    return problem


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


def read_density(values: Mapping[str, Any], space: Space, manifold: Manifold) -> Density:
    """[density]; of a mesh file the number of cells and the degree of their geometry are the file's own, and known."""
    if not isinstance(manifold, SimplicialManifold):
        return read(Density, "density", values)
    for key in FROM_FILE:
        if key in values:
            more = "; space.refine cuts its cells" if key == "cells" else ""
            raise ProblemError(f"density.{key}", values[key], f'not for manifold = "file", whose mesh brings its own{more}')
    cells = len(manifold.cells.cells) * 2 ** (manifold.intrinsic * space.refine)
    return read(Density, "density", {**values, "cells": cells, "geometry": manifold.cells.geometry})


def tabulate_density(density: Density, space: Space) -> dict[str, Any]:
    """The TOML table of [density], without what a mesh file brings."""
    return {key: value for key, value in tabulate(density).items() if space.manifold != "file" or key not in FROM_FILE}


def _check_exponent(problem: Problem) -> None:
    """Unnormalised attention in true time overflows where beta <x, By> is large (docs/theory.md §8.1)."""
    if problem.time.rescaled or not problem.manifold.normalised:
        return
    for layer in problem.attention.layers:
        weights = layer.weights
        if weights.normalization == "none":
            largest = weights.beta * max(float(np.linalg.norm(head.score, 2)) for head in weights.heads)
            if not largest < LARGEST_EXPONENT or math.isnan(largest):
                allowed = (
                    f'must be true where normalization = "none" and beta |B| = {largest:.4g} is at least '
                    f"{LARGEST_EXPONENT:g}: exp would overflow"
                )
                raise ProblemError("time.rescaled", False, allowed)
