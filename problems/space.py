"""[space]: where tokens live.

    [space]
    manifold = "circle" | "sphere" | "interval" | "rectangle" | "box" | "euclidean" | "file"
    dimension = 3                 # of "sphere" (beyond 3 for particles only) and "euclidean" (particles only)
    bounds = [[a, b], ..]         # of the flat boxes, a pair per coordinate; beyond three for particles only
    path = "surface.msh"          # of "file", beside the problem file
    refine = 1                    # of "file": how often its cells are cut into halves for the density
    grading = { half_width = 0.2, ratio = 10.0 }   # see `Grading`

The circle and the sphere have radius one; a "euclidean" space is all of R^d.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from meshes.manifold import Manifold, flat, sphere
from problems.checks import choice, integer, matrix, number, refuse_unknown, table, text
from problems.errors import MISSING, ProblemError

# Each manifold with the keys it takes besides `manifold` and `grading`, and the number of its bounds.
MANIFOLDS: dict[str, tuple[tuple[str, ...], int | None]] = {
    "circle": (("dimension",), None),
    "sphere": (("dimension",), None),
    "interval": (("bounds",), 1),
    "rectangle": (("bounds",), 2),
    "box": (("bounds",), None),
    "euclidean": (("dimension",), None),
    "file": (("path", "refine"), None),
}
KEYS = ("manifold", "dimension", "bounds", "path", "refine", "grading")
MOST_REFINED = 6


class Grading(NamedTuple):
    """Cells within `half_width` (a length) of the target set E are `ratio` times smaller than far from it."""

    half_width: float
    ratio: float


@dataclass(frozen=True)
class Space:
    """Where tokens live.

    Attributes:
        manifold: a name of `MANIFOLDS`.
        dimension: d, the number of coordinates of a token.
        bounds: d pairs (a, b) of a flat box, else None.
        path: absolute path of the mesh file, else None.
        grading: None for even cells.
        refine: how many times the cells of the mesh file are cut into halves in every direction; its geometry stays.
    """

    manifold: str
    dimension: int
    bounds: tuple[tuple[float, float], ...] | None = None
    path: str | None = None
    grading: Grading | None = None
    refine: int = 0

    @property
    def meshable(self) -> bool:
        """Whether a mesh, hence a density, exists; otherwise the space is for particles only."""
        return self.manifold == "file" or (self.manifold != "euclidean" and self.dimension <= 3)


def read_space(values: Mapping[str, Any], folder: Path) -> tuple[Space, Manifold]:
    """[space] from its TOML table, paths relative to `folder`; also the manifold as maps of points."""
    refuse_unknown("space", values, KEYS)
    name = choice(*MANIFOLDS)("space.manifold", values.get("manifold", MISSING))
    keys, sides = MANIFOLDS[name]
    for key in values:
        if key not in ("manifold", *(() if name == "file" else ("grading",)), *keys):
            raise ProblemError(f"space.{key}", values[key], f'not for manifold = "{name}", which takes {", ".join(keys)}')
    grading = _grading(values["grading"]) if "grading" in values else None
    if name == "file":
        return _file_space(values, folder)
    if "bounds" in keys:
        bounds = _bounds(values.get("bounds", MISSING), sides)
        return Space(name, len(bounds), bounds, None, grading), flat(bounds)
    dimension = _dimension(name, values)
    if name == "euclidean":
        if grading is not None:
            raise ProblemError("space.grading", values["grading"], 'not for manifold = "euclidean", which has no mesh')
        return Space(name, dimension), flat(None, dimension)
    manifold = sphere(dimension)
    return Space(manifold.name, dimension, None, None, grading), manifold


def tabulate_space(space: Space) -> dict[str, Any]:
    """The TOML table of [space]."""
    result: dict[str, Any] = {"manifold": space.manifold}
    if space.manifold in ("sphere", "euclidean"):
        result["dimension"] = space.dimension
    if space.bounds is not None:
        result["bounds"] = [list(side) for side in space.bounds]
    if space.path is not None:
        result["path"] = space.path
    if space.refine:
        result["refine"] = space.refine
    if space.grading is not None:
        result["grading"] = space.grading._asdict()
    return result


def _dimension(name: str, values: Mapping[str, Any]) -> int:
    field = "space.dimension"
    if name == "circle":
        return integer(2, 2)(field, values.get("dimension", 2))
    if name == "sphere":
        return integer(2, 10**6)(field, values.get("dimension", 3))
    return integer(1, 10**6)(field, values.get("dimension", MISSING))


def _bounds(value: Any, sides: int | None) -> tuple[tuple[float, float], ...]:
    field = "space.bounds"
    if value is MISSING:
        raise ProblemError(
            field,
            value,
            f"must be {sides or 'one'} pair{'s' if sides == 2 else ''} [a, b]" + (" per coordinate" if sides is None else ""),
        )
    pairs = matrix(field, value, sides, 2)
    for low, high in pairs:
        if not low < high:
            raise ProblemError(field, [float(low), float(high)], "must be pairs [a, b] with a < b")
    return tuple((float(low), float(high)) for low, high in pairs)


def _grading(value: Any) -> Grading:
    values = table("space.grading", value)
    refuse_unknown("space.grading", values, Grading._fields)
    half_width = number(0.0, open_low=True)("space.grading.half_width", values.get("half_width", MISSING))
    ratio = number(1.0, 1e6)("space.grading.ratio", values.get("ratio", MISSING))
    return Grading(half_width, ratio)


def _file_space(values: Mapping[str, Any], folder: Path) -> tuple[Space, Manifold]:
    # Only here are mesh formats needed, and their library is slow to import.
    from meshes import file

    path = Path(folder, text("space.path", values.get("path", MISSING))).resolve()
    manifold = file.read(path).manifold
    refine = integer(0, MOST_REFINED)("space.refine", values.get("refine", 0))
    return Space("file", manifold.dimension, None, str(path), None, refine), manifold
