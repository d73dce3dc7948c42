"""The uniform law, and laws given by harmonics."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.polynomial import legendre

from meshes.manifold import Flat, Manifold
from meshes.simplicial import SimplicialManifold
from problems.checks import VECTOR, Check, refuse_unknown, vector
from problems.errors import MISSING, Mistakes, ProblemError
from problems.fields import Field
from problems.laws.base import InitialLaw
from problems.laws.transforms import InverseDistribution, circle, log_area, rotation_to, sphere_uniforms, uniform_sphere

# Below this (relative to the uniform law) a density counts as negative rather than as zero up to rounding.
NEGATIVE = -1e-12
# The minimum of a density of so many waves is a matter of a second.
MOST_WAVES = 256


class Uniform(InitialLaw):
    """The uniform law of a sphere or a box."""

    name = "uniform"

    def __init__(self, manifold: Manifold, options: Mapping[str, object]):
        super().__init__(manifold, options)
        if manifold.volume is None:
            raise ProblemError("initial.law", "uniform", f'there is none on manifold = "{manifold.name}"')

    def density(self, points: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):  # from some 500 dimensions on a sphere has no area that a double could hold
            return np.exp(self.log_density(points))

    def log_density(self, points: np.ndarray) -> np.ndarray:
        return np.full(len(points), -log_area(self.manifold))

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
            raise ProblemError("particles.sampling", "random or sobol", f'must be "quadrature" on {self.manifold.name}')
        low, high = np.array(self.manifold.bounds).T
        return low + (high - low) * u


WAVES = VECTOR | {"minItems": 0, "maxItems": MOST_WAVES}


class Harmonics(InitialLaw):
    """A finite sum of harmonics, nowhere negative.

    Circle: (1 + sum_k a_k cos kt + b_k sin kt)/(2 pi), keys `cos` = [a_1, ..] and `sin` = [b_1, ..]. Sphere:
    (1 + sum_l c_l P_l(<axis, x>))/(4 pi), keys `axis` (default e_3) and `legendre` = [c_1, ..].
    """

    name = "harmonics"
    fields = tuple(Field(key, Check(lambda field, value: value, schema), meaning) for key, schema, meaning in (
        ("cos", WAVES, "circle: [a1, ..] of the density (1 + sum a_k cos kt + b_k sin kt)/(2 pi)"),
        ("sin", WAVES, "circle: [b1, ..]"),
        ("axis", VECTOR, "sphere: the axis, default the third"),
        ("legendre", WAVES | {"minItems": 1}, "sphere: [c1, ..] of the density (1 + sum c_l P_l)/(4 pi)")))

    def __init__(self, manifold: Manifold, options: Mapping[str, object]):
        super().__init__(manifold, options)
        if manifold.name == "circle":
            self._read_circle(options)
        elif manifold.name == "sphere" and manifold.dimension == 3:
            self._read_sphere(options)
        else:
            raise ProblemError("initial.law", "harmonics", 'only for manifold = "circle" or "sphere" (of dimension 3)')

    def _read_circle(self, options: Mapping[str, object]) -> None:
        wrong = Mistakes()
        wrong.check(refuse_unknown, "initial", options, ("cos", "sin"))
        a, b = (wrong.check(_waves, f"initial.{key}", options.get(key, [])) for key in ("cos", "sin"))
        wrong.stop()
        size = max(len(a), len(b))
        self.waves = np.arange(1, size + 1)
        self.a, self.b = np.pad(a, (0, size - len(a))), np.pad(b, (0, size - len(b)))
        # The stationary points of the density are unit roots of a polynomial: the minimum is exact, not searched for.
        c = 0.5j * self.waves * (self.a - 1j * self.b)
        roots = np.roots(np.concatenate([c[::-1], [0.0], np.conj(c)])) if size and np.any(c) else np.zeros(0)
        angles = np.concatenate([np.angle(roots), 2.0 * math.pi * np.arange(8 * size + 8) / (8 * size + 8)])
        self._refuse_negative(self._relative_circle(angles), "cos" if "cos" in options else "sin", options)

    def _read_sphere(self, options: Mapping[str, object]) -> None:
        wrong = Mistakes()
        wrong.check(refuse_unknown, "initial", options, ("axis", "legendre"))
        axis = wrong.check(vector, "initial.axis", options.get("axis", [0.0, 0.0, 1.0]), 3)
        if axis is not None and not np.any(axis):
            wrong.note("initial.axis", options["axis"], "must be a vector other than zero")
        c = wrong.check(vector, "initial.legendre", options.get("legendre", MISSING), None, MOST_WAVES)
        wrong.stop()
        self.axis = axis / np.abs(axis).max()
        self.axis /= np.linalg.norm(self.axis)
        self.c = np.concatenate([[1.0], c])
        roots = legendre.legroots(np.trim_zeros(legendre.legder(self.c), "b")) if np.any(self.c[2:]) else np.zeros(0)
        z = np.concatenate([[-1.0, 1.0], roots[np.abs(roots.imag) < 1e-6].real.clip(-1.0, 1.0)])
        self._refuse_negative(legendre.legval(z, self.c), "legendre", options)

    def _refuse_negative(self, values: np.ndarray, key: str, options: Mapping[str, object]) -> None:
        if not values.min() >= NEGATIVE:
            allowed = f"the density must not be negative; its minimum is {values.min():.6g} times the uniform one"
            raise ProblemError(f"initial.{key}", options.get(key), allowed)

    def _relative_circle(self, angle: np.ndarray) -> np.ndarray:
        phase = np.multiply.outer(angle, self.waves)
        return 1.0 + np.cos(phase) @ self.a + np.sin(phase) @ self.b

    @property
    def width(self) -> float:
        return 1.0 / max(1, len(self.waves) if self.manifold.dimension == 2 else len(self.c) - 1)

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


def _waves(field: str, value: object) -> np.ndarray:
    """Coefficients (k,) of a sum of waves, which may be empty."""
    return np.zeros(0) if isinstance(value, (list, tuple)) and not value else vector(field, value, None, MOST_WAVES)
