"""[initial]: the law of the tokens at depth 0.

    [initial]
    law = "von-mises-fisher"
    [[initial.components]]
    weight = 1.0
    mean = [1.0, 0.0]
    concentration = 20.0

`LAWS` lists every law: where it lives, and how it is built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from meshes.manifold import Manifold
from meshes.simplicial import SimplicialManifold
from problems.checks import choice, refuse_unknown
from problems.errors import MISSING, ProblemError
from problems.laws.base import InitialLaw
from problems.laws.mixture import Mixture
from problems.laws.normal import Normal
from problems.laws.on_mesh import NormalOnMesh
from problems.laws.simple import Harmonics, Table, Uniform
from problems.laws.spherical import AngularCentralGaussian, PoissonKernel, VonMisesFisher, WrappedNormal


class Law(NamedTuple):
    """How a law is built.

    Attributes:
        build: (manifold, options) -> InitialLaw.
        keys: of [initial], besides `law`.
        home: whether it lives on a manifold.
        where: the same in words.
    """

    build: Callable[[Manifold, Mapping[str, Any]], InitialLaw]
    keys: tuple[str, ...]
    home: Callable[[Manifold], bool]
    where: str


def _on_sphere(manifold: Manifold) -> bool:
    return manifold.normalised


def _mixture(name: str, kind: type, home: Callable[[Manifold], bool], where: str) -> Law:
    return Law(partial(Mixture, name, kind), Mixture.keys, home, where)


def _normal(manifold: Manifold, options: Mapping[str, Any]) -> InitialLaw:
    if isinstance(manifold, SimplicialManifold):
        return NormalOnMesh(manifold, options)
    return Mixture("normal", Normal, manifold, options)


LAWS: dict[str, Law] = {
    "uniform": Law(Uniform, (), lambda m: m.volume is not None, "circle, sphere, boxes and meshes"),
    "harmonics": Law(Harmonics, Harmonics.keys, lambda m: m.normalised and m.dimension <= 3, "circle and sphere of dimension 3"),
    "von-mises-fisher": _mixture("von-mises-fisher", VonMisesFisher, _on_sphere, "circle and sphere"),
    "wrapped-normal": _mixture("wrapped-normal", WrappedNormal, lambda m: m.name == "circle", "circle"),
    "normal": Law(_normal, Mixture.keys, lambda m: not m.normalised, "flat spaces and meshes"),
    "angular-central-gaussian": _mixture("angular-central-gaussian", AngularCentralGaussian, _on_sphere, "circle and sphere"),
    "poisson-kernel": _mixture("poisson-kernel", PoissonKernel, _on_sphere, "circle and sphere"),
    "table": Law(Table, Table.keys, lambda m: True, "every space"),
}


def read_law(table: Mapping[str, Any], manifold: Manifold, folder: Path) -> InitialLaw:
    """The initial law from the TOML table [initial]; paths in it are relative to `folder`."""
    name = choice(*LAWS)("initial.law", table.get("law", MISSING))
    law = LAWS[name]
    if not law.home(manifold):
        suitable = [other for other, entry in LAWS.items() if entry.home(manifold)]
        allowed = f'lives on {law.where}; space.manifold = "{manifold.name}" takes {", ".join(suitable)}'
        raise ProblemError("initial.law", name, allowed)
    refuse_unknown("initial", table, ("law", *law.keys))
    options = {key: value for key, value in table.items() if key != "law"}
    if isinstance(options.get("path"), str) and options["path"].strip():
        options["path"] = str(Path(folder, options["path"]).resolve())
    return law.build(manifold, options)


def tabulate_law(law: InitialLaw) -> dict[str, Any]:
    """The TOML table of [initial]."""
    return {"law": law.name, **law.options}
