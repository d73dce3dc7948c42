"""From uniform numbers to other laws, exactly: by closed formulas or by inverting distributions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.special import ndtri, roots_legendre

from meshes.manifold import Manifold


def sphere_uniforms(dimension: int) -> int:
    """How many uniform numbers `uniform_sphere` takes."""
    return dimension - 1 if dimension <= 3 else dimension


def uniform_sphere(u: np.ndarray, dimension: int) -> np.ndarray:
    """Uniform points (n, d) on S^{d-1} from uniform numbers (n, sphere_uniforms(d))."""
    if dimension == 2:
        return circle(2.0 * math.pi * u[:, 0])
    if dimension == 3:
        z = 2.0 * u[:, 0] - 1.0
        return np.column_stack([np.sqrt((1.0 - z) * (1.0 + z))[:, None] * circle(2.0 * math.pi * u[:, 1]), z])
    normal = ndtri(u)
    return normal / np.linalg.norm(normal, axis=1, keepdims=True)


def circle(angle: np.ndarray) -> np.ndarray:
    """Points (n, 2) of the circle at `angle` (n,) in radians."""
    return np.column_stack([np.cos(angle), np.sin(angle)])


def rotation_to(axis: np.ndarray) -> np.ndarray:
    """A rotation (d, d) that takes the last basis vector to the unit vector `axis` (d,).

    In two dimensions the rotation; beyond, the product of two reflections, smooth but at axis = -e_d.
    """
    d = len(axis)
    if d == 2:
        return np.array([[axis[1], axis[0]], [-axis[0], axis[1]]])
    pole = np.zeros(d)
    pole[-1] = 1.0
    if axis[-1] < 0.0:  # go by way of -e_d, which keeps the division below away from 0
        flip = np.eye(d)
        flip[0, 0] = flip[-1, -1] = -1.0
        return flip @ rotation_to(flip @ axis)
    total = axis + pole
    return np.eye(d) - np.outer(total, total) / (1.0 + axis[-1]) + 2.0 * np.outer(axis, pole)


class InverseDistribution:
    """Quantiles of a smooth law on [a, b] given by its log density, to about 1e-14 in probability.

    The distribution function is a composite Gauss-Legendre integral, split until each panel is exact; a
    quantile is found by bracketed Newton steps in its panel.
    """

    def __init__(self, log_density: Callable[[np.ndarray], np.ndarray], a: float, b: float, *, width: float | None = None):
        """
        Args:
            log_density: (n,) -> (n,), up to a constant.
            a, b: ends of the interval.
            width: length on which the density varies; panels are a fraction of it.
        """
        panels = int(min(max(32, math.ceil(2.0 * (b - a) / (width or (b - a)))), 200_000))
        self.edges = np.linspace(a, b, panels + 1)
        self.nodes, self.weights = roots_legendre(16)
        inside = self._inside(self.edges[:-1], self.edges[1:])
        logs = log_density(inside.ravel())
        self.log_density, self.shift = log_density, float(np.max(logs))
        masses = self._masses(self.edges[:-1], self.edges[1:])
        self.total = float(masses.sum())
        self.cumulative = np.concatenate([[0.0], np.cumsum(masses)]) / self.total

    @property
    def log_normaliser(self) -> float:
        """log of the integral of exp(log_density) over [a, b]."""
        return math.log(self.total) + self.shift

    def quantile(self, u: np.ndarray) -> np.ndarray:
        """Quantiles (n,) of probabilities u (n,)."""
        panel = np.clip(np.searchsorted(self.cumulative, u, side="right") - 1, 0, len(self.edges) - 2)
        start = self.edges[panel]
        low, high = start.copy(), self.edges[panel + 1].copy()
        wanted = u - self.cumulative[panel]
        mass = self.cumulative[panel + 1] - self.cumulative[panel]
        x = low + (high - low) * np.where(mass > 0.0, wanted / np.where(mass > 0.0, mass, 1.0), 0.5)
        for _ in range(60):
            miss = self._masses(start, x) / self.total - wanted
            low, high = np.where(miss < 0.0, x, low), np.where(miss > 0.0, x, high)
            slope = np.exp(self.log_density(x) - self.shift) / self.total
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                new = x - miss / slope
            # Newton steps where they stay in the bracket, else bisection.
            new = np.where((new >= low) & (new <= high), new, 0.5 * (low + high))
            moved = np.max(np.abs(new - x), initial=0.0)
            x = new
            if moved <= 4e-16 * max(abs(self.edges[0]), abs(self.edges[-1])):
                break
        return x

    def _inside(self, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
        half = 0.5 * (stop - start)
        return (start + half)[:, None] + half[:, None] * self.nodes

    def _masses(self, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
        inside = self._inside(start, stop)
        values = np.exp(self.log_density(inside.ravel()) - self.shift).reshape(inside.shape)
        return 0.5 * (stop - start) * (values @ self.weights)


def log_area(manifold: Manifold) -> float:
    """log of the length, area or volume of a bounded manifold; of a sphere also where that itself is below all doubles."""
    if manifold.normalised:
        d = manifold.dimension
        return math.log(2.0) + 0.5 * d * math.log(math.pi) - math.lgamma(0.5 * d)
    return math.log(manifold.volume or math.nan)
