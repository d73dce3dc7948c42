"""Measured profiles: the density of tokens around the circle at the last output, for figures."""

from __future__ import annotations

import numpy as np

from solver.claims.case import Array, Run


def grid(count: int) -> Array:
    """(count,) equally spaced angles from 0 on, at which profiles are given."""
    return 2 * np.pi * np.arange(count) / count


def density_around(points: Array, masses: Array, count: int) -> Array:
    """Density relative to the uniform law at the angles of `grid`, (count,), of tokens (N, d) with masses (N,) in the plane of
    the first two axes: each token's mass over half the distance between its neighbours, interpolated in the logarithm."""
    angles = np.mod(np.arctan2(points[:, 1], points[:, 0]), 2 * np.pi)
    order = np.argsort(angles)
    a, m = angles[order], masses[order]
    room = np.mod(np.roll(a, -1) - np.roll(a, 1), 2 * np.pi) / 2
    value = 2 * np.pi * m / np.maximum(room, 1e-12)
    return np.asarray(np.exp(np.interp(grid(count), a, np.log(np.maximum(value, 1e-300)), period=2 * np.pi)))


def profile(run: Run, count: int = 180) -> Array:
    """`density_around` of the tokens at the last output."""
    return density_around(run.points[-1], run.masses[-1], count)


TABLE = (profile,)
