"""Targets that an expansion is not certain of: summed to rounding, in whatever way, so that a rank may choose for its own."""

import numpy as np
import pytest

from problems.attention import Head, Weights
from solver.attention import Attention
from solver.attention.divergence import field_with_divergence
from solver.attention.head import HeadField
from tests.attention.support import on_sphere

BETA = 100.0


def gathered_law(d):
    """Points of which most are in two clusters, the others spread, with one part in 1e7 of the mass: a wake."""
    rng = np.random.default_rng(d)
    ends = np.eye(d)[0] * np.where(rng.random((4000, 1)) < 0.5, 1.0, -1.0) + 0.02 * rng.normal(size=(4000, d))
    points = np.concatenate([ends / np.linalg.norm(ends, axis=1, keepdims=True), on_sphere(rng, 2000, d)])
    return points, np.concatenate([np.full(4000, 1.0), np.full(2000, 1e-7)]) / 4000.0


@pytest.mark.parametrize("way", ["cells", "pairs", "leaves"])
@pytest.mark.parametrize(("d", "method"), [(2, "fourier"), (3, "harmonics"), (3, "nufft")])
def test_each_way_sums_to_rounding(d, method, way, monkeypatch):
    """Rounding in the field is some 1e-15 |z|, in second moments |z| times as much."""
    points, masses = gathered_law(d)
    targets = on_sphere(np.random.default_rng(1), 500, d)
    weights = Weights(BETA, (Head(np.eye(d), np.eye(d), np.diag([2.0, 1.0, 0.5][:d])),))
    left, plan, sums = [], HeadField.plan_for, HeadField._remaining
    monkeypatch.setattr(HeadField, "plan_for", lambda *given, **order: plan(*given, **order) if way == "cells" else None)
    monkeypatch.setattr(HeadField, "prefers_pairs", lambda *_: way == "pairs")
    monkeypatch.setattr(HeadField, "_remaining", lambda head, z, law: left.append(z / BETA) or sums(head, z, law))
    fast, oracle = Attention(weights, method=method, accuracy=1e-10), Attention(weights, method="numpy")
    values, divergence, _ = field_with_divergence(fast, targets, points, masses, sphere=True)
    expected, exact, _ = field_with_divergence(oracle, targets, points, masses, sphere=True)
    assert np.abs(values - expected).max() < 1e-10
    assert np.abs(divergence - exact).max() < 1e-10 * BETA
    values = fast.field(targets, points, masses)[0]
    rows = np.flatnonzero(np.isin(targets[:, 0].round(12), left[0][:, 0].round(12)))
    assert 20 <= len(rows) == fast.report.refined <= 480, "some targets, not all, are left to the sums"
    assert np.abs(values - expected)[rows].max() < 1e-12


def test_the_choice_of_a_rank_does_not_show(monkeypatch):
    points, masses = gathered_law(3)
    targets = on_sphere(np.random.default_rng(1), 400, 3)
    attention = Attention(Weights(BETA, (Head(np.eye(3), np.eye(3), np.eye(3)),)), method="nufft", accuracy=1e-8)
    whole = field_with_divergence(attention, targets, points, masses, sphere=True)[:2]
    monkeypatch.setattr(HeadField, "plan_for", lambda *_, **__: None)
    parts = [field_with_divergence(attention, part, points, masses, sphere=True, crowd=targets)[:2]
             for part in (targets[:10], targets[10:])]
    for one, other in zip(whole, map(np.concatenate, zip(*parts, strict=True)), strict=True):
        assert np.abs(one - other).max() < 1e-11 * BETA
