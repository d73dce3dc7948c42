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
from typing import NamedTuple

from meshes.manifold import Manifold
from meshes.own import TokenSpace
from meshes.simplicial import SimplicialManifold
from problems.checks import choice, refuse_unknown, tables
from problems.checks import path as check_path
from problems.errors import MISSING, Mistakes
from problems.fields import Field
from problems.files import Files
from problems.laws.base import InitialLaw
from problems.laws.mixture import Component, Mixture, components_field
from problems.laws.normal import Normal
from problems.laws.on_mesh import NormalOnMesh
from problems.laws.on_own import NormalOnOwn
from problems.laws.registered import Registered
from problems.laws.simple import Harmonics, Uniform
from problems.laws.spherical import AngularCentralGaussian, PoissonKernel, VonMisesFisher, WrappedNormal
from problems.laws.table import Table, read_rows
from problems.registered import LAWS as OWN_LAWS


class Law(NamedTuple):
    """How a law is built.

    Attributes:
        build: (manifold, options) -> InitialLaw.
        fields: the keys of [initial] besides `law`.
        home: whether it lives on a manifold.
        where: the same in words.
    """

    build: Callable[[Manifold, Mapping[str, object]], InitialLaw]
    fields: tuple[Field[object], ...]
    home: Callable[[Manifold], bool]
    where: str

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(field.key for field in self.fields)


def _on_sphere(manifold: Manifold) -> bool:
    return manifold.normalised


def _mixture(name: str, kind: type[Component], home: Callable[[Manifold], bool], where: str) -> Law:
    return Law(partial(Mixture, name, kind), (components_field(kind),), home, where)


def _normal(manifold: Manifold, options: Mapping[str, object]) -> InitialLaw:
    if isinstance(manifold, SimplicialManifold):
        return NormalOnMesh(manifold, options)
    if isinstance(manifold, TokenSpace):
        return NormalOnOwn(manifold, options)
    return Mixture("normal", Normal, manifold, options)


LAWS: dict[str, Law] = {
    "uniform": Law(Uniform, (), lambda m: m.volume is not None, "circle, sphere, boxes and meshes"),
    "harmonics": Law(Harmonics, Harmonics.fields, lambda m: m.normalised and m.dimension <= 3,
                     "circle and sphere of dimension 3"),
    "von-mises-fisher": _mixture("von-mises-fisher", VonMisesFisher, _on_sphere, "circle and sphere"),
    "wrapped-normal": _mixture("wrapped-normal", WrappedNormal, lambda m: m.name == "circle", "circle"),
    "normal": Law(_normal, (components_field(Normal),), lambda m: not m.normalised, "flat spaces and meshes"),
    "angular-central-gaussian": _mixture("angular-central-gaussian", AngularCentralGaussian, _on_sphere, "circle and sphere"),
    "poisson-kernel": _mixture("poisson-kernel", PoissonKernel, _on_sphere, "circle and sphere"),
    "table": Law(Table, Table.fields, lambda m: True, "every space"),
}
LAW = Field("law", choice(*LAWS), "the law of the tokens at depth 0", MISSING)


def read_law(table: Mapping[str, object], manifold: Manifold | None, folder: Path, files: Files) -> InitialLaw | None:
    """The initial law from the TOML table [initial]; paths in it are relative to `folder`.

    Without a manifold, not known because of mistakes elsewhere, only the keys are checked and nothing is built.

    Raises:
        ProblemError: with every mistake of the section.
    """
    wrong = Mistakes()
    given_name = table.get("law")
    own = OWN_LAWS.find(given_name) if isinstance(given_name, str) and given_name not in LAWS else None
    options = {key: value for key, value in table.items() if key != "law"}
    if own is not None:
        return Registered(str(given_name), own, manifold, options) if manifold is not None else None
    name = wrong.check(LAW.check, "initial.law", table.get("law", MISSING))
    if name is None:
        wrong.check(refuse_unknown, "initial", table, sorted({"law"}.union(*(law.keys for law in LAWS.values()))))
        wrong.stop()
    law = LAWS[name]
    if manifold is not None and not law.home(manifold):
        suitable = [other for other, entry in LAWS.items() if entry.home(manifold)]
        wrong.note("initial.law", name, f'lives on {law.where}; space.manifold = "{manifold.name}" takes {", ".join(suitable)}')
        wrong.stop()  # its keys are those of another law
    wrong.check(refuse_unknown, "initial", table, ("law", *law.keys))
    if "path" in law.keys:
        given = wrong.check(check_path, "initial.path", options.get("path", MISSING))
        if given is not None and manifold is not None and not wrong.errors:
            path = Path(folder, given).resolve()
            options["path"] = str(path)
            options["rows"] = files.read(path, partial(read_rows, dimension=manifold.dimension))
    if wrong.errors or manifold is None:
        if "components" in law.keys:
            wrong.check(tables, "initial.components", options.get("components", MISSING))
        wrong.stop()
        return None
    return law.build(manifold, options)


def tabulate_law(law: InitialLaw) -> dict[str, object]:
    """The TOML table of [initial]."""
    return {"law": law.name, **law.options}
