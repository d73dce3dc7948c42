"""Noise floors against laws of known rate, with wide margins: each fails by chance less than once in 10^6 runs, and the
seeds are fixed."""

import numpy as np
import pytest

import solver.wasserstein.sampling_noise as noise
from solver.wasserstein.measure import Measure
from solver.wasserstein.sampling_noise import noise_floor
from tests.wasserstein.support import SPACES, random_points


def uniform_circle(count: int) -> Measure:
    t = 2 * np.pi * (np.arange(count) + 0.5) / count
    return Measure(np.stack([np.cos(t), np.sin(t)], 1), np.full(count, 1 / count))


def test_uniform_circle_follows_the_central_limit_theorem():
    """W_2^2 of N uniform points from the law tends to (2 pi)^2 int (B - mean)^2 / N, B a Brownian bridge: pi^2/3N."""
    law = uniform_circle(5_000)
    floor = noise_floor(law, 1000, p=2, manifold=SPACES["circle"], against="measure", pairs=40, seed=1)
    assert floor.mean == pytest.approx(0.95 * np.sqrt(np.pi**2 / 3000), rel=0.15)
    two = noise_floor(law, 1000, p=2, manifold=SPACES["circle"], pairs=40, seed=2)
    assert two.mean == pytest.approx(np.sqrt(2) * floor.mean, rel=0.2)
    assert not two.exceeded_by(two.mean)
    assert two.exceeded_by(2 * two.mean + 3 * two.deviation)


def test_two_clusters_have_the_slow_rate_of_their_masses():
    """W_2^2 = pi^2 |difference of masses|, whose mean is sqrt(2 / pi) (2 N)^(-1/2)."""
    pair = Measure([[1.0, 0.0], [-1.0, 0.0]], [0.5, 0.5])
    floors = [noise_floor(pair, n, p=1, manifold=SPACES["circle"], pairs=200).mean for n in (100, 400)]
    assert floors[1] == pytest.approx(np.pi * np.sqrt(2 / np.pi) / np.sqrt(2 * 400), rel=0.3)
    assert floors[0] / floors[1] == pytest.approx(2.0, rel=0.3)


def test_extrapolation_on_the_sphere_meets_the_direct_value(monkeypatch):
    law = Measure(random_points(np.random.default_rng(5), 20_000, "sphere"), np.full(20_000, 1 / 20_000))
    direct = noise_floor(law, 800, p=2, manifold=SPACES["sphere"], pairs=4)
    monkeypatch.setattr(noise, "DIRECT", 200)
    further = noise_floor(law, 800, p=2, manifold=SPACES["sphere"], pairs=8)
    assert "times" in further.method
    assert further.mean == pytest.approx(direct.mean, rel=0.3)


def test_the_same_seed_gives_the_same_floor_and_bad_options_are_refused():
    law = uniform_circle(100)
    assert noise_floor(law, 50, manifold=SPACES["circle"]) == noise_floor(law, 50, manifold=SPACES["circle"])
    for options in ({"pairs": 1}, {"against": "nothing"}):
        with pytest.raises(ValueError, match="not"):
            noise_floor(law, 50, manifold=SPACES["circle"], **options)
