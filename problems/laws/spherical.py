"""Bell-shaped laws on circle and sphere, components of mixtures."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from scipy.special import gammaln, ive, ndtri

from meshes.manifold import Manifold
from problems.checks import VECTOR, Check, matrix, number, vector
from problems.errors import MISSING, Mistakes, ProblemError
from problems.fields import Field
from problems.laws.mixture import DIRECTION, SQUARE, Component, direction, positive_definite
from problems.laws.transforms import (
    InverseDistribution,
    circle,
    log_area,
    rotation_to,
    sphere_uniforms,
    uniform_sphere,
)

CONCENTRATION = Field("concentration", number(0.0, 1e12, open_low=True), "of the law at its mean", MISSING)
DEVIATION = Field("deviation", number(1e-8, 1e8), "in radians", MISSING)


class VonMisesFisher(Component):
    """Density proportional to exp(concentration <mean, x>), in any dimension (Mardia & Jupp 2000, §9.3).

    Keys: `mean` (its direction), `concentration` > 0.
    """

    fields = (Field("mean", DIRECTION, "direction of the maximum, of any length; on the circle also an angle", MISSING),
              CONCENTRATION)

    def __init__(self, manifold: Manifold, prefix: str, values: Mapping[str, object]):
        self.d, wrong = manifold.dimension, Mistakes()
        mean = wrong.check(direction, prefix, "mean", values.get("mean", MISSING), manifold)
        kappa = wrong.check(CONCENTRATION.check, f"{prefix}.concentration", values.get("concentration", MISSING))
        wrong.stop()
        self.mean, self.kappa = mean, kappa
        self.width = 1.0 / math.sqrt(max(self.kappa, 1.0))
        nu = self.d / 2 - 1
        # Less the maximum exp(kappa), kept apart: log of (2 pi)^{d/2} I_nu(kappa) kappa^{-nu} e^{-kappa}.
        bessel = ive(nu, self.kappa)
        if bessel > 1e-280:
            self.log_norm = 0.5 * self.d * math.log(2.0 * math.pi) + math.log(bessel) - nu * math.log(self.kappa)
        else:  # tiny kappa against nu: the leading terms of the power series
            series = math.log1p(self.kappa**2 / (4.0 * (nu + 1.0))) - nu * math.log(2.0) - gammaln(nu + 1.0)
            self.log_norm = 0.5 * self.d * math.log(2.0 * math.pi) + series - self.kappa
        self.uniforms = 1 if self.d == 2 else 1 + sphere_uniforms(self.d - 1)

    def log_density(self, points: np.ndarray) -> np.ndarray:
        # 1 - <mean, x> from the chord, without cancellation next to the mean.
        return -0.5 * self.kappa * np.sum((points - self.mean) ** 2, axis=1) - self.log_norm

    def transform(self, u: np.ndarray) -> np.ndarray:
        width = min(math.pi, 4.0 / math.sqrt(self.kappa))
        if self.d == 2:
            law = InverseDistribution(lambda t: self.kappa * _cos_minus_one(t), -math.pi, math.pi, width=width)
            return circle(law.quantile(u[:, 0]) + math.atan2(self.mean[1], self.mean[0]))
        if self.d == 3:
            # 1 - z = -log(u + (1 - u) e^{-2 kappa})/kappa, exactly.
            drop = -np.log(u[:, 0] + (1.0 - u[:, 0]) * math.exp(-2.0 * self.kappa)) / self.kappa
            drop = np.clip(drop, 0.0, 2.0)
            height, radius = 1.0 - drop, np.sqrt(drop * (2.0 - drop))
        else:
            angle = self._polar_angle(u[:, 0], width)
            height, radius = np.cos(angle), np.sin(angle)
        around = uniform_sphere(u[:, 1:], self.d - 1)
        return np.column_stack([radius[:, None] * around, height]) @ rotation_to(self.mean).T

    def _polar_angle(self, u: np.ndarray, width: float) -> np.ndarray:
        def log_density(angle: np.ndarray) -> np.ndarray:
            with np.errstate(divide="ignore"):
                return self.kappa * _cos_minus_one(angle) + (self.d - 2) * np.log(np.sin(angle))

        return InverseDistribution(log_density, 0.0, math.pi, width=min(width, 4.0 / math.sqrt(self.d))).quantile(u)


class WrappedNormal(Component):
    """A normal angle, wrapped round the circle. Keys: `mean` (vector or angle), `deviation` in radians."""

    fields = (Field("mean", DIRECTION, "a vector, or an angle in radians", MISSING), DEVIATION)
    uniforms = 1

    def __init__(self, manifold: Manifold, prefix: str, values: Mapping[str, object]):
        wrong = Mistakes()
        mean = wrong.check(direction, prefix, "mean", values.get("mean", MISSING), manifold)
        deviation = wrong.check(DEVIATION.check, f"{prefix}.deviation", values.get("deviation", MISSING))
        wrong.stop()
        self.angle, self.deviation = math.atan2(mean[1], mean[0]), deviation
        self.width = min(self.deviation, 1.0)

    def log_density(self, points: np.ndarray) -> np.ndarray:
        angle = np.arctan2(points[:, 1], points[:, 0]) - self.angle
        angle -= 2.0 * math.pi * np.round(angle / (2.0 * math.pi))
        s = self.deviation
        if s < 2.0:  # images: those beyond 8 deviations do not count
            images = 2.0 * math.pi * np.arange(-3, 4)
            exponent = -0.5 * ((angle[:, None] + images) / s) ** 2
            top = exponent.max(axis=1)
            total = np.log(np.exp(exponent - top[:, None]).sum(axis=1))
            return top + total - math.log(s * math.sqrt(2.0 * math.pi))
        k = np.arange(1, 8)
        return np.log1p(2.0 * np.cos(angle[:, None] * k) @ np.exp(-0.5 * (k * s) ** 2)) - math.log(2.0 * math.pi)

    def transform(self, u: np.ndarray) -> np.ndarray:
        return circle(self.angle + self.deviation * ndtri(u[:, 0]))


class AngularCentralGaussian(Component):
    """The law of z/|z|, z normal of covariance L (Tyler 1987): |L|^{-1/2} (x^T L^{-1} x)^{-d/2}/area.

    A uniform law stays in this family at zero temperature (docs/theory.md §3.3). Key: `matrix` = L.
    """

    fields = (Field("matrix", SQUARE, "L, symmetric positive definite", MISSING),)

    def __init__(self, manifold: Manifold, prefix: str, values: Mapping[str, object]):
        self.d = manifold.dimension
        field, given = f"{prefix}.matrix", values.get("matrix", MISSING)
        self.factor = positive_definite(field, matrix(field, given, self.d, self.d), given)
        deviations = np.diag(self.factor)
        self.width = float(deviations.min() / deviations.max())
        self.log_norm = float(np.log(np.diag(self.factor)).sum()) + log_area(manifold)
        self.uniforms = sphere_uniforms(self.d)

    def log_density(self, points: np.ndarray) -> np.ndarray:
        white = np.linalg.solve(self.factor, points.T)
        return -0.5 * self.d * np.log(np.sum(white**2, axis=0)) - self.log_norm

    def transform(self, u: np.ndarray) -> np.ndarray:
        points = uniform_sphere(u, self.d) @ self.factor.T
        return points / np.linalg.norm(points, axis=1, keepdims=True)


class PoissonKernel(Component):
    """f_w = ((1 - |w|^2)/|x - w|^2)^{d-1}/area, invariant under attention at beta = 0 (docs/theory.md §5.1).

    The image of the uniform law under the Moebius map that takes 0 to w. Key: `mean` = w, |w| < 1; on the
    circle w is the mean.
    """

    fields = (Field("mean", Check(lambda field, value: value, VECTOR), "w, a vector shorter than one", MISSING),)

    def __init__(self, manifold: Manifold, prefix: str, values: Mapping[str, object]):
        self.d = manifold.dimension
        self.w = vector(f"{prefix}.mean", values.get("mean", MISSING), self.d)
        if not np.linalg.norm(self.w) < 1.0:
            raise ProblemError(f"{prefix}.mean", values["mean"], "must be a vector shorter than 1")
        self.width = float(1.0 - np.linalg.norm(self.w))
        self.log_area = log_area(manifold)
        self.uniforms = sphere_uniforms(self.d)

    def log_density(self, points: np.ndarray) -> np.ndarray:
        gap = (1.0 - np.linalg.norm(self.w)) * (1.0 + np.linalg.norm(self.w))
        return (self.d - 1) * (math.log(gap) - np.log(np.sum((points - self.w) ** 2, axis=1))) - self.log_area

    def transform(self, u: np.ndarray) -> np.ndarray:
        moved = uniform_sphere(u, self.d) + self.w
        gap = 1.0 - self.w @ self.w
        points = gap / np.sum(moved**2, axis=1, keepdims=True) * moved + self.w
        return points / np.linalg.norm(points, axis=1, keepdims=True)


def _cos_minus_one(angle: np.ndarray) -> np.ndarray:
    return -2.0 * np.sin(0.5 * angle) ** 2
