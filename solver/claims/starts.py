"""Named starts of token systems: the places and masses that the papers' few-token claims begin with.

Each is a function of the dimension and of the numbers that the claim's [start] table gives; it returns points (N, d), unit
vectors on circle and sphere, and masses (N,) with sum one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from problems import ProblemError

Array = NDArray[np.float64]


def _circle(angles: Array, dimension: int) -> Array:
    points = np.zeros((len(angles), dimension))
    points[:, 0], points[:, 1] = np.cos(angles), np.sin(angles)
    return points


def _weights(masses: Sequence[float] | Array | None, count: int) -> Array:
    found = np.ones(count) if masses is None else np.asarray(masses, float)
    if found.shape != (count,) or not (found >= 0).all() or not found.sum() > 0:
        raise ProblemError("start.masses", found.tolist(), f"must be {count} numbers that are not negative, and not all zero")
    return found / found.sum()


def orthonormal(dimension: int) -> tuple[Array, Array]:
    """d tokens on the axes of R^d: all pairs at a right angle (docs/theory.md §5.3)."""
    return np.eye(dimension), _weights(None, dimension)


def angles(dimension: int, angles: Sequence[float], masses: Sequence[float] | None = None) -> tuple[Array, Array]:
    """Tokens on the circle of the first two axes at given angles in radians, with given masses."""
    return _circle(np.asarray(angles, float), dimension), _weights(masses, len(angles))


def lattice(dimension: int, clusters: int, split: float = 0.0, shift: float = 0.0, mode: int = 1) -> tuple[Array, Array]:
    """k equal clusters, equally spaced on the circle of the first two axes; each is two tokens.

    Args:
        clusters: k. split: half the distance of the two tokens of a cluster, in radians.
        shift: amplitude of the displacement shift * cos(2 pi p j/k) of cluster j; mode: p.
    """
    j = np.arange(clusters)
    centres = 2 * np.pi * j / clusters + shift * np.cos(2 * np.pi * mode * j / clusters)
    both = np.stack((centres - split, centres + split), axis=1).ravel()
    return _circle(both, dimension), _weights(None, 2 * clusters)


def disturbed(dimension: int, count: int, noise: float, seed: int = 0) -> tuple[Array, Array]:
    """Equally spaced tokens on the circle, each displaced by an independent normal angle of deviation noise * 2 pi/N."""
    step = 2 * np.pi / count
    moved = step * (np.arange(count) + noise * np.random.default_rng(int(seed)).standard_normal(count))
    return _circle(moved, dimension), _weights(None, count)


def uniform(dimension: int, count: int, offset: float = 0.0, seed: int = -1) -> tuple[Array, Array]:
    """N equally spaced tokens on the circle, the first at `offset` spacings from angle 0; with a seed of 0 or more independent
    uniform
    ones."""
    if seed >= 0:
        return _circle(2 * np.pi * np.random.default_rng(int(seed)).random(count), dimension), _weights(None, count)
    return _circle(2 * np.pi * (np.arange(count) + offset) / count, dimension), _weights(None, count)


def wrapped_normals(dimension: int, count: int, centres: Sequence[float], deviation: float | Sequence[float],
                    masses: Sequence[float] | None = None, lift: float = 0.0) -> tuple[Array, Array]:
    """Equally spaced tokens on the circle of the first two axes, weighted with a mixture of wrapped normal laws of one deviation,
    or of one each. Tokens whose mass is below rounding are left out.

    In d = 3 they lie on the great circle of the first two axes, or with a `lift` alternately at that angle above and below it.
    """
    grid = 2 * np.pi * np.arange(count) / count
    weights, widths = _weights(masses, len(centres)), np.broadcast_to(np.asarray(deviation, float), len(centres))
    turns = 2 * np.pi * np.arange(-3, 4)
    gaps = grid[:, None, None] - np.asarray(centres, float)[None, :, None] + turns
    density = np.einsum("c,ncw->n", weights / widths, np.exp(-0.5 * (gaps / widths[:, None]) ** 2))
    points = _circle(grid, dimension)
    if lift:
        points *= np.cos(lift)
        points[:, 2] = np.sin(lift) * (-1.0) ** np.arange(count)
    kept = density > 1e-16 * density.max()
    return points[kept], _weights(density[kept], int(kept.sum()))


def graded(dimension: int, concentration: float, panels: int = 18, nodes: int = 8,
           azimuths: int = 8) -> tuple[Array, Array]:
    """A von Mises-Fisher law about the first axis of circle or sphere, by tokens that crowd towards its antipode: Gauss-Legendre
    nodes in the polar angle, on panels that halve from one to the next, at equally spaced azimuths.

    Args:
        concentration: of the law. panels: halvings of the distance to the antipode. nodes: on each panel. azimuths: on the
            sphere; the circle has its two sides.

    Raises:
        ProblemError: another dimension than 2 and 3.
    """
    if dimension not in (2, 3):
        raise ProblemError("start.tokens", "graded", f"is for circle and sphere alone, not for d = {dimension}")
    u, w = np.polynomial.legendre.leggauss(int(nodes))
    edges = np.pi * np.concatenate((0.5 ** np.arange(int(panels) + 1), [0.0]))
    half, middle = (edges[:-1] - edges[1:]) / 2, (edges[:-1] + edges[1:]) / 2
    apart = (middle[:, None] + half[:, None] * u).ravel()  # from the antipode
    theta = np.pi - apart
    weights = (half[:, None] * w).ravel() * np.exp(concentration * (np.cos(theta) - 1)) * np.sin(apart) ** (dimension - 2)
    if dimension == 2:
        return _circle(np.concatenate((theta, -theta)), 2), _weights(np.tile(weights, 2), 2 * len(theta))
    phi = 2 * np.pi * np.arange(int(azimuths)) / int(azimuths)
    points = np.stack([part.ravel() for part in np.broadcast_arrays(
        np.cos(theta)[:, None], np.sin(theta)[:, None] * np.cos(phi), np.sin(theta)[:, None] * np.sin(phi))], axis=1)
    return points, _weights(np.repeat(weights, len(phi)), len(points))


def across(dimension: int, mean: Sequence[float], concentration: float, value: Sequence[Sequence[float]],
           query: Sequence[Sequence[float]], key: Sequence[Sequence[float]], panels: int = 20, nodes: int = 4,
           azimuths: int = 48) -> tuple[Array, Array]:
    """A von Mises-Fisher law on the sphere by tokens that crowd towards the great circle {<l, x> = 0}, l the left eigenvector of
    V K^T Q of largest real part: what starts near that circle arrives last (docs/theory.md §3.2, §3.4). Gauss-Legendre nodes in
    <l, x>, |l| = 1, on panels that halve towards 0 from both sides, at equally spaced azimuths about l.

    Args:
        mean, concentration: of the law. value, query, key: matrices (3, 3). panels: on each side. nodes: on each panel.

    Raises:
        ProblemError: another dimension than 3.
    """
    if dimension != 3:
        raise ProblemError("start.tokens", "across", f"is for the sphere alone, not for d = {dimension}")
    numbers, vectors = np.linalg.eig((np.asarray(value, float) @ np.asarray(key, float).T @ np.asarray(query, float)).T)
    axis = np.real(vectors[:, int(np.argmax(numbers.real))])
    frame = np.linalg.svd(axis[None])[2]  # its first row is the axis
    u, w = np.polynomial.legendre.leggauss(int(nodes))
    edges = np.concatenate((0.5 ** np.arange(int(panels) + 1), [0.0]))
    half, middle = (edges[:-1] - edges[1:]) / 2, (edges[:-1] + edges[1:]) / 2
    height, weight = (middle[:, None] + half[:, None] * u).ravel(), (half[:, None] * w).ravel()
    height, weight = np.concatenate((height, -height)), np.tile(weight, 2)
    phi = 2 * np.pi * (np.arange(int(azimuths)) + 0.5) / int(azimuths)
    radius = np.sqrt(1 - height**2)
    local = np.stack([part.ravel() for part in np.broadcast_arrays(
        height[:, None], radius[:, None] * np.cos(phi), radius[:, None] * np.sin(phi))], axis=1)
    points = local @ frame
    centre = np.asarray(mean, float) / np.linalg.norm(mean)
    masses = np.repeat(weight, len(phi)) * np.exp(concentration * (points @ centre - 1))
    return points, _weights(masses.tolist(), len(points))


STARTS: dict[str, Callable[..., tuple[Array, Array]]] = {
    "orthonormal": orthonormal, "angles": angles, "lattice": lattice, "disturbed": disturbed, "uniform": uniform,
    "wrapped-normals": wrapped_normals, "graded": graded, "across": across,
}
# Starts that stand for a law which charges the whole sphere.
CHARGING = ("across",)


def starting_tokens(table: Mapping[str, object], dimension: int) -> tuple[Array, Array]:
    """The tokens of a [start] table.

    Raises:
        ProblemError: an unknown name, or numbers that the start does not take.
    """
    options = dict(table)
    name = options.pop("tokens", None)
    if not isinstance(name, str) or name not in STARTS:
        raise ProblemError("start.tokens", name, "must be one of " + ", ".join(STARTS))
    try:
        return STARTS[name](dimension, **options)
    except TypeError as error:
        raise ProblemError("start", name, f"cannot begin with this table: {error}") from None
