"""Normal laws on a mesh from a file: restricted to the curve, surface or domain and scaled to mass one."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from meshes.cells import lagrange_nodes
from meshes.closest import closest_on_simplices
from meshes.simplicial import SimplicialManifold
from problems.checks import tables
from problems.errors import ProblemError
from problems.laws.mixture import Mixture
from problems.laws.normal import Normal

# Gauss nodes per cell and direction for the scaling.
ORDER = 6
LEBESGUE = 3.0  # bounds the sum of |Lagrange basis functions| up to degree 3
VANISHING = 1e-200


class NormalOnMesh(Mixture):
    """A mixture of normal densities of the ambient space, seen on the mesh; the keys are those of the flat normal law.

    Samples are drawn by rejection from laws constant on each cell, so that there are no Sobol points.
    """

    def __init__(self, manifold: SimplicialManifold, options: Mapping[str, object]):
        super().__init__("normal", Normal, manifold, options)
        self.mesh = manifold
        points, volumes = manifold.nodes(len(manifold.cells.cells) * ORDER**manifold.intrinsic)
        self.parts = [part for part in self.components if isinstance(part, Normal)]
        self.peaks = []
        given = tables("initial.components", options["components"])
        for i, part in enumerate(self.parts):
            mass = float(volumes @ np.exp(part.log_density(points)))
            if not mass > VANISHING:
                allowed = "must be a point near the mesh, where the density does not vanish"
                raise ProblemError(f"initial.components[{i}].mean", given[i]["mean"], allowed)
            part.log_norm += math.log(mass)
            self.peaks.append(self._peaks(part))

    def _peaks(self, part: Normal) -> np.ndarray:
        """log of the largest density (c,) on each cell, or more: at its point closest to the mean, in deviations."""
        cells = self.mesh.cells
        nodes = cells.points[cells.cells]
        count, size, d = nodes.shape
        white = np.linalg.solve(part.factor, (nodes.reshape(-1, d) - part.mean).T).T.reshape(count, size, d)
        corners = white[:, : cells.dimension + 1]
        distance = np.sqrt(closest_on_simplices(np.zeros((count, d)), corners)[1])
        # A curved cell is off its straight one by no more than its nodes are, times the sum of |basis functions|.
        straight = np.einsum("kv,cvd->ckd", lagrange_nodes(cells.dimension, cells.geometry), corners)
        bulge = LEBESGUE * np.linalg.norm(white - straight, axis=2).max(axis=1)
        return -0.5 * np.maximum(distance - bulge, 0.0) ** 2 - part.log_norm

    def sample(self, n: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        points = np.empty((n, self.manifold.dimension))
        chosen = rng.choice(len(self.weights), size=n, p=self.weights)
        for i in range(len(self.weights)):
            points[chosen == i] = self._draw(i, int(np.sum(chosen == i)), rng)
        return points

    def _draw(self, i: int, n: int, rng: np.random.Generator) -> np.ndarray:
        part, peaks = self.parts[i], self.peaks[i]
        drawn = np.empty((0, self.manifold.dimension))
        while len(drawn) < n:
            share = self.mesh.measures * np.exp(peaks - peaks.max())
            cells = rng.choice(len(share), size=2 * (n - len(drawn)) + 16, p=share / share.sum())
            tries = self.mesh.uniform_in(cells, rng.random((len(cells), self.mesh.intrinsic)))
            accepted = np.log(rng.random(len(cells))) < part.log_density(tries) - peaks[cells]
            drawn = np.concatenate([drawn, tries[accepted]])
        return drawn[:n]

    def sobol(self, n: int, seed: int) -> np.ndarray:
        raise ProblemError("particles.sampling", "sobol", 'not for a normal law on a mesh; must be "quadrature" or "random"')

    def quadrature(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        points, volumes = self.mesh.nodes(n)
        masses = volumes * self.density(points)
        return points, masses / masses.sum()
