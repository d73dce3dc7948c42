"""[space]: where tokens live.

    [space]
    manifold = "circle" | "sphere" | "interval" | "rectangle" | "box" | "euclidean" | "file"
    dimension = 3                 # of "sphere" (beyond 3 for particles only) and "euclidean" (particles only)
    bounds = [[a, b], ..]         # of the flat boxes, a pair per coordinate; beyond three for particles only
    path = "surface.msh"          # of "file", beside the problem file
    refine = 1                    # of "file": how often its cells are cut into halves for the density
    grading = { half_width = 0.2, ratio = 10.0 }   # see `Grading`; or "law": cells follow the law through the whole run

The circle and the sphere have radius one; a "euclidean" space is all of R^d.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from meshes.manifold import Manifold, flat, sphere
from meshes.own import TokenSpace
from problems.checks import VECTOR, Check, choice, integer, matrix, number, table
from problems.checks import path as check_path
from problems.errors import MISSING, Mistakes, ProblemError
from problems.fields import Field, object_schema, read_fields
from problems.files import Files
from problems.registered import MANIFOLDS as OWN_MANIFOLDS
from problems.registered import Function

# Each manifold with the keys it takes besides `manifold`, and the number of its bounds.
MANIFOLDS: dict[str, tuple[tuple[str, ...], int | None]] = {
    "circle": (("dimension", "grading"), None),
    "sphere": (("dimension", "grading"), None),
    "interval": (("bounds",), 1),
    "rectangle": (("bounds",), 2),
    "box": (("bounds",), None),
    "euclidean": (("dimension",), None),
    "file": (("path", "refine"), None),
}
MOST_REFINED = 6
LARGEST_DIMENSION = 10_000
DIMENSION = integer(1, LARGEST_DIMENSION)
PAIR = {"type": "array", "minItems": 2, "maxItems": 2, "items": VECTOR["items"]}


class Grading(NamedTuple):
    """Cells within `half_width` (a length) of the target set E are `ratio` times smaller than far from it."""

    half_width: float
    ratio: float


GRADING = (
    Field("half_width", number(0.0, math.pi / 2, open_low=True), "distance to the target set where cells are small", MISSING),
    Field("ratio", number(1.0, 64.0), "how many times smaller they are than those far from it", MISSING),
)


LAW = "law"


def _grading(field: str, value: object) -> Grading | str:
    if isinstance(value, str):
        if value != LAW:
            raise ProblemError(field, value, f'must be "{LAW}" or a table with half_width and ratio')
        return LAW
    values, wrong = table(field, value), Mistakes()
    read = read_fields(field, values, GRADING, wrong)
    wrong.stop()
    return Grading(**read)


def _bounds(field: str, value: object) -> tuple[tuple[float, float], ...]:
    if value is MISSING:
        raise ProblemError(field, value, "must be one pair [a, b] per coordinate")
    wrong, pairs = Mistakes(), matrix(field, value, None, 2)
    if len(pairs) > LARGEST_DIMENSION:
        raise ProblemError(field, f"{len(pairs)} pairs", f"must be at most {LARGEST_DIMENSION}")
    sides = [(float(low), float(high)) for low, high in pairs]
    for low, high in sides:
        if not low < high:
            wrong.note(field, [low, high], "must be pairs [a, b] with a < b")
        elif not high - low > NARROWEST * max(abs(low), abs(high)):
            wrong.note(field, [low, high], "must be pairs [a, b] further apart than rounding")
    wrong.stop()
    return tuple(sides)


# Sides shorter than this, relative to their distance from the origin, have no room for cells.
NARROWEST = 1e-9
FIELDS = (
    Field("manifold", choice(*MANIFOLDS), "where tokens live", MISSING),
    Field("dimension", DIMENSION, 'number of coordinates of a token, for "sphere" (default 3) and "euclidean"; a sphere '
          "beyond 3, and all of R^d, have no mesh and take tokens only"),
    Field("bounds", Check(_bounds, {"type": "array", "minItems": 1, "items": PAIR}),
          "[[a, b], ..], one pair for each coordinate of an interval, rectangle or box"),
    Field("path", check_path, 'of a mesh file (.msh, .xdmf or .vtu), for "file", relative to the problem file'),
    Field("refine", integer(0, MOST_REFINED), "of a mesh file: how many times its cells are cut into halves for the density; "
          "its geometry stays", 0),
    Field("grading", Check(_grading, {"anyOf": [object_schema(GRADING), {"const": LAW}]}),
          'cells near the target set are smaller than those far from it; or "law": they are small wherever the law will be '
          "narrow, as a first run of adaptive tokens says; circle, and sphere of dimension 3"),
)


@dataclass(frozen=True)
class Space:
    """Where tokens live.

    Attributes:
        manifold: a name of `MANIFOLDS`.
        dimension: d, the number of coordinates of a token.
        bounds: d pairs (a, b) of a flat box, else None.
        path: absolute path of the mesh file, else None.
        grading: None for even cells; "law" for cells that follow the law.
        refine: how many times the cells of the mesh file are cut into halves in every direction; its geometry stays.
        options: the further keys of a registered space, else None.
    """

    manifold: str
    dimension: int
    bounds: tuple[tuple[float, float], ...] | None = None
    path: str | None = None
    grading: Grading | str | None = None
    refine: int = 0
    options: Mapping[str, object] | None = None

    @property
    def meshable(self) -> bool:
        """Whether a mesh, hence a density, exists; otherwise the space is for particles only."""
        if self.options is not None:
            return False
        return self.manifold == "file" or (self.manifold != "euclidean" and self.dimension <= 3)


def read_space(values: Mapping[str, object], folder: Path, files: Files) -> tuple[Space, Manifold]:
    """[space] from its TOML table, paths relative to `folder`; also the manifold as maps of points.

    Raises:
        ProblemError: with every mistake of the section.
    """
    wrong, own = Mistakes(), values.get("manifold")
    function = OWN_MANIFOLDS.find(own) if isinstance(own, str) and own not in MANIFOLDS else None
    if function is not None:
        return _own(str(own), function, {key: value for key, value in values.items() if key != "manifold"})
    found = read_fields("space", values, FIELDS, wrong)
    if "manifold" not in found:
        wrong.stop()
    name: str = found["manifold"]
    keys, sides = MANIFOLDS[name]
    for field in FIELDS:
        if field.key in values and field.key not in ("manifold", *keys):
            wrong.note(f"space.{field.key}", values[field.key], f'not for manifold = "{name}", which takes {", ".join(keys)}')
    if "bounds" in keys and "bounds" not in values:
        wrong.note("space.bounds", MISSING, f"must be {sides or 'one'} pair{'s' if sides == 2 else ''} [a, b]"
                   + (" per coordinate" if sides is None else ""))
    elif "bounds" in keys and sides and found.get("bounds") is not None and len(found["bounds"]) != sides:
        wrong.check(matrix, "space.bounds", values["bounds"], sides, 2)
    if "dimension" in found:
        found["dimension"] = wrong.check(_dimension, name, values)
    if "path" in keys and "path" not in values:
        wrong.note("space.path", MISSING, "must be the path of a mesh file")
    if name == "sphere" and found.get("grading") is not None and (found.get("dimension") or 3) > 3:
        wrong.note("space.grading", values["grading"], "only for a sphere of dimension 3, others have no mesh")
    wrong.stop()
    if name == "file":
        path = Path(folder, found["path"]).resolve()
        manifold = files.read(path, _mesh)
        return Space("file", manifold.dimension, None, str(path), None, found["refine"]), manifold
    if "bounds" in keys:
        return Space(name, len(found["bounds"]), found["bounds"]), flat(found["bounds"])
    if name == "euclidean":
        return Space(name, found["dimension"]), flat(None, found["dimension"])
    manifold = sphere(found["dimension"])
    return Space(manifold.name, found["dimension"], None, None, found["grading"]), manifold


def tabulate_space(space: Space) -> dict[str, object]:
    """The TOML table of [space]."""
    result: dict[str, object] = {"manifold": space.manifold, **(space.options or {})}
    if space.manifold in ("sphere", "euclidean"):
        result["dimension"] = space.dimension
    if space.bounds is not None:
        result["bounds"] = [list(side) for side in space.bounds]
    if space.path is not None:
        result["path"] = space.path
    if space.refine:
        result["refine"] = space.refine
    if space.grading is not None:
        result["grading"] = space.grading if isinstance(space.grading, str) else space.grading._asdict()
    return result


def _dimension(name: str, values: Mapping[str, object]) -> int:
    field = "space.dimension"
    if name == "circle":
        return integer(2, 2)(field, values.get("dimension", 2))
    if name == "sphere":
        return integer(2, LARGEST_DIMENSION)(field, values.get("dimension", 3))
    if name == "euclidean":
        return DIMENSION(field, values.get("dimension", MISSING))
    return 0


def _own(name: str, function: Function, options: dict[str, object]) -> tuple[Space, Manifold]:
    """A registered space, from the function that makes it and the further keys of [space]."""
    field = "space.manifold"
    try:
        inspect.signature(function).bind(**options)
    except TypeError as error:
        raise ProblemError(field, name, f"does not take these keys: {error}") from None
    try:
        found = function(**options)
    except Exception as error:  # whatever a user's function raises
        raise ProblemError(field, name, f"cannot be used: it raised {type(error).__name__}: {error}") from None
    if not isinstance(found, TokenSpace):
        raise ProblemError(field, name, f"must return a meshes.own.TokenSpace, not {type(found).__name__}")
    if found.mistake():
        raise ProblemError(field, name, f"cannot be used: {found.mistake()}")
    object.__setattr__(found, "name", name)
    return Space(name, found.dimension, options=options), found


def _mesh(path: Path) -> Manifold:
    # Only here are mesh formats needed, and their library is slow to import.
    from meshes import file

    return file.read(path).manifold
