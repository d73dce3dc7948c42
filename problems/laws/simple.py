"""Uniform law, laws given by harmonics, and laws given as a table of points."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.polynomial import legendre

from meshes.manifold import Flat, Manifold
from meshes.simplicial import SimplicialManifold
from problems.checks import refuse_unknown, text, vector
from problems.errors import MISSING, ProblemError
from problems.laws.base import InitialLaw
from problems.laws.transforms import InverseDistribution, circle, rotation_to, sphere_uniforms, uniform_sphere

# Below this (relative to the uniform law) a density counts as negative rather than as zero up to rounding.
NEGATIVE = -1e-12


class Uniform(InitialLaw):
    """The uniform law of a sphere or a box."""

    name = "uniform"

    def __init__(self, manifold: Manifold, options: Mapping[str, Any]):
        super().__init__(manifold, options)
        if manifold.volume is None:
            raise ProblemError("initial.law", "uniform", f'there is none on manifold = "{manifold.name}"')

    def density(self, points: np.ndarray) -> np.ndarray:
        return np.full(len(points), 1.0 / (self.manifold.volume or math.nan))

    @property
    def uniforms(self) -> int:
        if isinstance(self.manifold, SimplicialManifold):
            return self.manifold.uniforms
        return sphere_uniforms(self.manifold.dimension) if self.manifold.normalised else self.manifold.dimension

    def transform(self, u: np.ndarray) -> np.ndarray:
        if self.manifold.normalised:
            return uniform_sphere(u, self.manifold.dimension)
        if isinstance(self.manifold, SimplicialManifold):
            return self.manifold.uniform(u)
        if not isinstance(self.manifold, Flat):
            raise TypeError(f"no uniform points on {self.manifold.name}")
        low, high = np.array(self.manifold.bounds).T
        return low + (high - low) * u


class Harmonics(InitialLaw):
    """A finite sum of harmonics, nowhere negative.

    Circle: (1 + sum_k a_k cos kt + b_k sin kt)/(2 pi), keys `cos` = [a_1, ..] and `sin` = [b_1, ..]. Sphere:
    (1 + sum_l c_l P_l(<axis, x>))/(4 pi), keys `axis` (default e_3) and `legendre` = [c_1, ..].
    """

    name = "harmonics"
    keys = ("cos", "sin", "axis", "legendre")

    def __init__(self, manifold: Manifold, options: Mapping[str, Any]):
        super().__init__(manifold, options)
        if manifold.name == "circle":
            self._read_circle(options)
        elif manifold.name == "sphere" and manifold.dimension == 3:
            self._read_sphere(options)
        else:
            raise ProblemError("initial.law", "harmonics", 'only for manifold = "circle" or "sphere" (of dimension 3)')

    def _read_circle(self, options: Mapping[str, Any]) -> None:
        refuse_unknown("initial", options, ("cos", "sin"))
        a, b = (vector(f"initial.{key}", options[key]) if options.get(key) else np.zeros(0) for key in ("cos", "sin"))
        size = max(len(a), len(b))
        self.waves = np.arange(1, size + 1)
        self.a, self.b = np.pad(a, (0, size - len(a))), np.pad(b, (0, size - len(b)))
        # The stationary points of the density are unit roots of a polynomial: the minimum is exact, not searched for.
        c = 0.5j * self.waves * (self.a - 1j * self.b)
        roots = np.roots(np.concatenate([c[::-1], [0.0], np.conj(c)])) if size and np.any(c) else np.zeros(0)
        angles = np.concatenate([np.angle(roots), 2.0 * math.pi * np.arange(8 * size + 8) / (8 * size + 8)])
        self._refuse_negative(self._relative_circle(angles), "cos" if "cos" in options else "sin", options)

    def _read_sphere(self, options: Mapping[str, Any]) -> None:
        refuse_unknown("initial", options, ("axis", "legendre"))
        axis = vector("initial.axis", options.get("axis", [0.0, 0.0, 1.0]), 3)
        if not np.linalg.norm(axis) > 0.0:
            raise ProblemError("initial.axis", options["axis"], "must be a vector other than zero")
        self.axis = axis / np.linalg.norm(axis)
        self.c = np.concatenate([[1.0], vector("initial.legendre", options.get("legendre", MISSING))])
        roots = legendre.legroots(np.trim_zeros(legendre.legder(self.c), "b")) if np.any(self.c[2:]) else np.zeros(0)
        z = np.concatenate([[-1.0, 1.0], roots[np.abs(roots.imag) < 1e-6].real.clip(-1.0, 1.0)])
        self._refuse_negative(legendre.legval(z, self.c), "legendre", options)

    def _refuse_negative(self, values: np.ndarray, key: str, options: Mapping[str, Any]) -> None:
        if values.min() < NEGATIVE:
            allowed = f"the density must not be negative; its minimum is {values.min():.6g} times the uniform one"
            raise ProblemError(f"initial.{key}", options.get(key), allowed)

    def _relative_circle(self, angle: np.ndarray) -> np.ndarray:
        phase = np.multiply.outer(angle, self.waves)
        return 1.0 + np.cos(phase) @ self.a + np.sin(phase) @ self.b

    def density(self, points: np.ndarray) -> np.ndarray:
        points = np.asarray(points, dtype=float)
        if self.manifold.dimension == 2:
            values = self._relative_circle(np.arctan2(points[:, 1], points[:, 0]))
        else:
            values = legendre.legval(points @ self.axis, self.c)
        return np.maximum(values, 0.0) / (self.manifold.volume or math.nan)

    @property
    def uniforms(self) -> int:
        return self.manifold.dimension - 1

    def transform(self, u: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            if self.manifold.dimension == 2:
                log_density = lambda t: np.log(np.maximum(self._relative_circle(t), 0.0))  # noqa: E731
                width = math.pi / max(1, len(self.waves))
                return circle(InverseDistribution(log_density, 0.0, 2.0 * math.pi, width=width).quantile(u[:, 0]))
            log_density = lambda z: np.log(np.maximum(legendre.legval(z, self.c), 0.0))  # noqa: E731
            z = InverseDistribution(log_density, -1.0, 1.0, width=2.0 / len(self.c)).quantile(u[:, 0])
        local = np.column_stack([np.sqrt((1.0 - z) * (1.0 + z))[:, None] * circle(2.0 * math.pi * u[:, 1]), z])
        return local @ rotation_to(self.axis).T


class Table(InitialLaw):
    """Point masses from a CSV file with rows x_1, .., x_d, weight; a header and lines after # are skipped.

    Points must lie on the manifold; weights must be positive and are scaled to sum to one. Key: `path`,
    relative to the problem file.
    """

    name = "table"
    keys = ("path",)
    is_atomic = True

    def __init__(self, manifold: Manifold, options: Mapping[str, Any]):
        super().__init__(manifold, options)
        path = text("initial.path", options.get("path", MISSING))
        rows = _read_rows(Path(path), manifold.dimension)
        self._points, self._masses = _checked_atoms(rows, manifold, path)

    def atoms(self) -> tuple[np.ndarray, np.ndarray]:
        """The points (m, d) and their masses (m,), which sum to one."""
        return self._points.copy(), self._masses.copy()

    def density(self, points: np.ndarray) -> np.ndarray:
        raise ProblemError("initial.law", self.name, "point masses have no density")

    def quadrature(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        return self.atoms()

    @property
    def uniforms(self) -> int:
        return 1

    def transform(self, u: np.ndarray) -> np.ndarray:
        cumulative = np.cumsum(self._masses)
        return self._points[np.minimum(np.searchsorted(cumulative, u[:, 0], side="right"), len(cumulative) - 1)]

    def words(self) -> str:
        return f"{len(self._masses)} points from {self.options['path']}"


def _read_rows(path: Path, dimension: int) -> np.ndarray:
    field, want = "initial.path", f"rows of {dimension} coordinates and a weight, separated by commas"
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            lines = [(i, row) for i, row in enumerate(csv.reader(stream), 1) if row and not row[0].lstrip().startswith("#")]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise ProblemError(field, str(path), f"cannot be read ({reason}); must be a CSV file of {want}") from None
    rows = []
    for position, (line, row) in enumerate(lines):
        try:
            values = [float(entry) for entry in row]
        except ValueError:
            if position == 0:
                continue  # the header
            raise ProblemError(field, str(path), f"line {line} is not numeric; must be {want}") from None
        if len(values) != dimension + 1 or not all(map(math.isfinite, values)):
            raise ProblemError(field, str(path), f"line {line} is not {want}")
        if values[-1] < 0.0:
            raise ProblemError(field, str(path), f"line {line} has weight {values[-1]:g}; weights must not be negative")
        rows.append(values)
    if not rows or sum(row[-1] for row in rows) <= 0.0:
        raise ProblemError(field, str(path), f"holds no mass; must have {want}")
    return np.array(rows)


def _checked_atoms(rows: np.ndarray, manifold: Manifold, path: str) -> tuple[np.ndarray, np.ndarray]:
    points, weights = rows[:, :-1], rows[:, -1]
    points, weights = points[weights > 0.0], weights[weights > 0.0]
    if manifold.normalised and not np.all(np.linalg.norm(points, axis=1) > 0.0):
        raise ProblemError("initial.path", path, "a point at the origin is not on the sphere")
    placed = manifold.retract(points)
    off = np.linalg.norm(placed - points, axis=1)
    if off.max() > 1e-6:
        worst = int(off.argmax())
        raise ProblemError("initial.path", path, f"point {points[worst].tolist()} is {off[worst]:.3g} off the {manifold.name}")
    return placed, weights / weights.sum()
