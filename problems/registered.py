"""What users add without changing coldflow: initial laws, attention scores, velocities, diagnostics and spaces of their own.

Each is a function, registered under a name from Python or offered by the entry points of an installed package; problem files
name it. Nothing in a problem file is executed.

    from problems import register_diagnostic

    @register_diagnostic("near-pole")
    def near_pole(points, masses, height=0.9):
        return masses[points[:, -1] > height].sum()

`REGISTRIES` lists the kinds: what their functions are given and return is said by the decorators.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points

import numpy as np

from meshes.manifold import Manifold
from problems.checks import Check
from problems.errors import MISSING, ProblemError

Function = Callable[..., object]


class OwnFunctionError(Exception):
    """A registered function raised an error, or returned what it must not; says which one and what."""


class Registry:
    """The registered functions of one kind, by name.

    Attributes:
        kind: in words, for messages. group: of the entry points. functions: those known so far, by name.
    """

    def __init__(self, kind: str, group: str):
        self.kind, self.group = kind, group
        self.functions: dict[str, Function] = {}

    def add(self, name: str, function: Function) -> None:
        """Make a function known under a name, in the place of an earlier one.

        Raises:
            ValueError: the name is no text of letters, digits, "-" and "_".
        """
        if not isinstance(name, str) or not name.replace("-", "").replace("_", "").isalnum():
            raise ValueError(f"a name is made of letters, digits, - and _, not {name!r}")
        self.functions[name] = function

    def find(self, name: object) -> Function | None:
        """The function of that name, looked for among the entry points of installed packages too; None without."""
        if not isinstance(name, str):
            return None
        if name not in self.functions:
            for entry in entry_points(group=self.group, name=name):
                self.functions[name] = entry.load()
        return self.functions.get(name)

    def names(self) -> list[str]:
        """Every name there is, sorted; nothing is loaded."""
        return sorted({*self.functions, *(entry.name for entry in entry_points(group=self.group))})

    def allowed(self) -> str:
        """What a problem file may name, in words."""
        names = self.names()
        listed = f"registered: {', '.join(names)}" if names else "none is registered here"
        return f"not a registered {self.kind}; {listed} (docs/extending.md)"


LAWS = Registry("initial law", "coldflow.laws")
SCORES = Registry("attention score", "coldflow.scores")
VELOCITIES = Registry("velocity", "coldflow.velocities")
DIAGNOSTICS = Registry("diagnostic", "coldflow.diagnostics")
MANIFOLDS = Registry("token space", "coldflow.manifolds")
REGISTRIES = (LAWS, SCORES, VELOCITIES, DIAGNOSTICS, MANIFOLDS)


@dataclass(frozen=True, eq=False)
class Named:
    """A registered function as a problem file names it, with the arguments that stand there.

    Attributes:
        field: the key that names it. name: its name. options: its further arguments. function: itself.
    """

    field: str
    name: str
    options: Mapping[str, object]
    function: Function

    def values(self, shape: tuple[int, ...], *arguments: np.ndarray) -> np.ndarray:
        """What the function gives for these arrays, as floats of this shape.

        Raises:
            OwnFunctionError: it raised an error, or returned another shape.
        """
        try:
            found = np.asarray(self.function(*arguments, **self.options), float)
        except Exception as error:  # whatever a user's function raises
            raise OwnFunctionError(f'{self.field} "{self.name}" raised {type(error).__name__}: {error}') from error
        if found.shape != shape:
            raise OwnFunctionError(f'{self.field} "{self.name}" must return an array of shape {shape}, not {found.shape}')
        return found

    def try_out(self, shape: tuple[int, ...], *arguments: np.ndarray) -> np.ndarray:
        """`values`, for the check of a problem.

        Raises:
            ProblemError: what is wrong with the function, or an argument that it does not take.
        """
        try:
            inspect.signature(self.function).bind(*arguments, **self.options)
        except TypeError as error:
            raise ProblemError(self.field, self.name, f"does not take these keys: {error}") from None
        except ValueError:  # written in C, without a signature
            pass
        try:
            return self.values(shape, *arguments)
        except OwnFunctionError as error:
            raise ProblemError(self.field, self.name, f"cannot be used: {error}") from None

    def table(self) -> str | dict[str, object]:
        """What a problem file says: the name, or a table with the arguments."""
        return {"name": self.name, **self.options} if self.options else self.name


def named(registry: Registry) -> Check[Named]:
    """The check of a key that names a registered function: its name, or a table with `name` and its further arguments."""
    def accept(field: str, value: object) -> Named:
        options = {}
        if isinstance(value, Mapping):
            options = {key: entry for key, entry in value.items() if key != "name"}
            value = value.get("name", MISSING)
        function = registry.find(value)
        if not isinstance(value, str) or function is None:
            raise ProblemError(field, value, registry.allowed())
        return Named(field, value, options, function)

    name = {"type": "string", "pattern": r"^[\w-]+$"}
    table = {"type": "object", "properties": {"name": name}, "required": ["name"]}
    return Check(accept, {"anyOf": [name, table]})


def probe_points(manifold: Manifold, count: int = 4) -> np.ndarray:
    """A few points (count, d) of a space, always the same ones, on which a function is tried before a run."""
    bounds = getattr(manifold, "bounds", None)
    raw = np.random.default_rng(0).uniform(0.1, 0.9, (count, manifold.dimension))
    if bounds is not None:
        low, high = np.array(bounds).T
        return low + (high - low) * raw
    return manifold.retract(raw)


def register_law(name: str) -> Callable[[Function], Function]:
    """A decorator that makes a density known to problems as `[initial] law = name`, on every rank that runs it.

    The function takes points (n, d) on the space and the other keys of [initial] by name, and returns densities (n,), not
    negative, with respect to length, area or volume; any total, it is normalised. It must give the same on every rank.
    """
    return _decorator(LAWS, name)


def register_score(name: str) -> Callable[[Function], Function]:
    """A decorator that makes a score known to problems as `[attention] score = name`.

    The function takes queries Qx (n, k) and keys Ky (m, k), and returns scores f (n, m) that attention weighs as
    e^{beta f(Qx, Ky)}; -inf means that y is not attended to from x. The score of the papers is `queries @ keys.T`. Every pair is
    evaluated, in NumPy, by parts of the targets.
    """
    return _decorator(SCORES, name)


def register_velocity(name: str, divergence: Function | None = None) -> Callable[[Function], Function]:
    """A decorator that makes an external drift known to problems as `[drift] velocity = name`.

    The function takes points (n, d) on the space, and returns velocities (n, d), which are added to the field of attention before
    its tangent part is taken; they depend on the place alone. `divergence`: a function of the same arguments that returns the
    divergence (n,) of the tangent part along the space; with it tokens go on carrying their density.
    """
    def register(function: Function) -> Function:
        if divergence is not None:
            function.divergence = divergence  # type: ignore[attr-defined]
        return _decorator(VELOCITIES, name)(function)

    return register


def register_diagnostic(name: str) -> Callable[[Function], Function]:
    """A decorator that makes a number known to problems as one of `[diagnostics] columns`.

    The function takes points (n, d) and masses (n,) of a law, its quadrature points for a density, and returns one number; NaN
    leaves the cell empty.
    """
    return _decorator(DIAGNOSTICS, name)


def register_manifold(name: str) -> Callable[[Function], Function]:
    """A decorator that makes a space for tokens known to problems as `[space] manifold = name`.

    The function takes the other keys of [space] by name, and returns a `meshes.own.TokenSpace`.
    """
    return _decorator(MANIFOLDS, name)


def _decorator(registry: Registry, name: str) -> Callable[[Function], Function]:
    def register(function: Function) -> Function:
        registry.add(name, function)
        return function

    return register
