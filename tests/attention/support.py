"""Laws that are hard for fast attention, and the weights to go with them."""

import numpy as np

from problems.attention import Head, Weights


def weights(beta, d=3, score=None, value=None, normalization="softmax"):
    """One head with B = score and V = value, identities by default."""
    eye = np.eye(d)
    return Weights(beta, (Head(eye, eye if score is None else score, eye if value is None else value),), normalization)


def on_sphere(rng, n, d=3):
    return unit(rng.normal(size=(n, d)))


def unit(points):
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def circle(n):
    """n equispaced points of the circle and their angles."""
    angle = 2 * np.pi * np.arange(n) / n
    return np.column_stack([np.cos(angle), np.sin(angle)]), angle


LAWS = ("full", "concentrated", "two clusters", "identical", "half empty", "wild masses", "lattice", "wakes", "extremes")


def law(name, rng, m, d):
    """Points (m, d) on the sphere and masses (m,)."""
    points, masses = on_sphere(rng, m, d), rng.random(m) + 1e-3
    if name == "concentrated":
        points = unit(on_sphere(rng, 1, d) + 10.0 ** rng.uniform(-9, -0.5) * rng.normal(size=(m, d)))
    elif name == "two clusters":
        member = rng.integers(0, 2, m)
        points = unit(on_sphere(rng, 2, d)[member] + 10.0 ** rng.uniform(-6, -0.5) * rng.normal(size=(m, d)))
        masses *= np.where(member == 0, 1.0, 10.0 ** rng.choice([-30.0, rng.uniform(-300, 0)]))
    elif name == "identical":
        points = np.repeat(points[:1], m, axis=0)
    elif name == "half empty":
        points[:, 0] = np.abs(points[:, 0])
        masses[rng.random(m) < 0.3] = 0.0
    elif name == "wild masses":
        masses *= 10.0 ** rng.uniform(-30, 0, m)
    elif name == "lattice":
        points = np.round(2 * points)
        points[~points.any(axis=1), 0] = 1.0
        points = unit(points)
    elif name == "wakes":
        # clusters, and between them points whose masses fall to 1e-300
        ends = on_sphere(rng, 3, d)
        at = rng.random((m, 1)) * (rng.random((m, 1)) < 0.4)
        a, b = ends[rng.integers(0, 3, m)], ends[rng.integers(0, 3, m)]
        points = unit((1 - at) * a + at * b + 10.0 ** rng.uniform(-8, -1) * rng.normal(size=(m, d)))
        masses *= 10.0 ** (-rng.uniform(0, 299) * at[:, 0])
    elif name == "extremes":
        points = unit(on_sphere(rng, 4, d)[rng.integers(0, 4, m)] + 10.0 ** rng.uniform(-4, 0) * rng.normal(size=(m, d)))
        masses = 10.0 ** rng.choice([-300.0, -150.0, 0.0, 300.0], m)
    if not masses.any():
        masses[0] = 1.0
    return points, masses


SCORES = ("identity", "diagonal", "random", "rank one", "negative", "zero", "rotating", "singular")


def score(name, rng, d):
    """B = Q^T K, (d, d)."""
    return {"identity": np.eye(d), "diagonal": np.diag(rng.uniform(0.2, 1, d)), "random": rng.normal(size=(d, d)),
            "rank one": np.outer(rng.normal(size=d), rng.normal(size=d)), "negative": -np.eye(d),
            "zero": np.zeros((d, d)), "rotating": np.eye(d)[::-1] * np.where(np.arange(d) < d // 2, 1.0, -1.0),
            "singular": rng.normal(size=(d, d)) * (np.arange(d) > 0)}[name]
