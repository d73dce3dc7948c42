"""Clusters by single linkage against brute force, their centres and radii, and merge times."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage

from solver.particles.clusters import MergeTimes, find_clusters
from tests.particles.support import on_circle, problem, run


def same_partition(a, b):
    return len(np.unique(a)) == len(np.unique(b)) == len(np.unique(np.column_stack((a, b)), axis=0))


@pytest.mark.parametrize("d", [1, 2, 3, 6])
@pytest.mark.parametrize("threshold", [0.01, 0.1, 0.3, 1.0])
def test_against_hierarchical_linkage(d, threshold):
    rng = np.random.default_rng(d)
    points = np.concatenate((rng.normal(size=(60, d)), 0.05 * rng.normal(size=(60, d)) + 1))
    found = find_clusters(points, np.full(120, 1 / 120), threshold, sphere=False)
    assert same_partition(found.labels, fcluster(linkage(points, "single"), threshold, "distance"))
    assert found.masses == pytest.approx(np.bincount(found.labels) / 120)
    assert np.all(np.diff(found.masses) <= 0)


@pytest.mark.parametrize("stretch", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("threshold", [0.003, 0.01, 0.03, 0.1])
def test_wakes_against_hierarchical_linkage(stretch, threshold):
    """Laws that gather along thin lines: cells of very different numbers of tokens, nearly linked or not."""
    points = np.random.default_rng(5).normal(size=(3000, 3)) * np.exp([stretch, 0.0, -stretch])
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    found = find_clusters(points, np.full(3000, 1 / 3000), threshold, sphere=True)
    chord = 2 * np.sin(threshold / 2)
    assert same_partition(found.labels, fcluster(linkage(points, "single"), chord, "distance"))


def test_on_the_sphere_distances_are_arcs():
    angles = np.array([0.0, 0.1, 0.2, 1.0, np.pi])
    masses = np.array([0.1, 0.2, 0.1, 0.4, 0.2])
    found = find_clusters(on_circle(angles), masses, 0.1 + 1e-9, sphere=True)
    assert found.count == 3
    assert sorted(found.masses) == pytest.approx([0.2, 0.4, 0.4])
    first = found.labels[0]
    assert found.centres[first] == pytest.approx(on_circle(np.array([0.1]))[0])
    assert found.radii[first] == pytest.approx(0.1)


def test_dense_clusters_stay_cheap():
    """Two tight heaps of 20000 tokens: 4e8 pairs if they were all looked at."""
    rng = np.random.default_rng(0)
    points = np.concatenate((1e-3 * rng.normal(size=(20000, 3)), 1e-3 * rng.normal(size=(20000, 3)) + [1, 0, 0]))
    found = find_clusters(points, np.full(40000, 1 / 40000), 0.05, sphere=False)
    assert found.masses == pytest.approx([0.5, 0.5])


def test_many_scattered_tokens_stay_cheap():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(30000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    found = find_clusters(points, np.full(30000, 1 / 30000), 0.02, sphere=True)
    assert found.masses.sum() == pytest.approx(1)
    assert 1 < found.count < 30000


def test_coincident_tokens():
    points = np.tile([[0.6, 0.8]], (10, 1))
    found = find_clusters(points, np.full(10, 0.1), 1e-3, sphere=True)
    assert found.count == 1
    assert found.radii[0] == pytest.approx(0, abs=1e-15)
    assert found.centres[0] == pytest.approx([0.6, 0.8])


def test_merge_times():
    """Two close Diracs and one far: the pair merges first, at the depth its closed form gives (docs/theory.md §5.2)."""
    beta, threshold = 6.0, 0.2
    p = problem(beta=beta, end=3.0, outputs=301, particles={"rtol": 1e-6})
    watch = MergeTimes(threshold)
    snapshots = run(p, (on_circle(np.array([0.0, 0.5, 3.0])), np.array([0.3, 0.3, 0.4])))
    for snapshot in snapshots:
        watch(snapshot)
    crossing = next(s.time for s in snapshots if np.arccos(np.clip(s.points[0] @ s.points[1], -1, 1)) <= threshold)
    earlier, later, parts = watch.merges[0]
    assert later == crossing
    assert earlier == pytest.approx(crossing - 0.01)
    assert parts == pytest.approx((0.3, 0.3))
    assert watch.history[0][1] == 3
    assert watch.history[-1][1] == 2
