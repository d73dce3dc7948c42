"""Arrivals and departures at a place, one of each however the mass goes."""

import itertools

import numpy as np

from solver.particles.events import EventWatch, Place
from tests.particles.support import problem


def test_what_has_departed_does_not_arrive_again_while_it_leaves():
    place = Place("target", np.array([1.0, 0.0]), 0.2)
    masses = np.full(10, 0.1)

    def tokens(near):
        """`near` tokens at the place, the others opposite."""
        return np.where(np.arange(10)[:, None] < near, [1.0, 0.0], [-1.0, 0.0])

    watch = EventWatch(problem(), masses, [place])
    watch.start(tokens(0), 0.0)
    for i, (before, now) in enumerate(itertools.pairwise((0, 1, 6, 8, 4, 3, 2, 1, 0, 0, 2, 1))):
        watch.after(tokens(now), masses, float(i), 1.0, lambda tau, a=before, b=now: tokens(b if tau >= 0.5 else a))
    seen = [(event.kind, int(event.time), event.masses) for event in watch.events if event.place]
    kinds = [(kind, step) for kind, step, _ in seen]
    # There from 1 on; 8 at most, of which half have left at 4; the next ones come after all had gone.
    assert kinds == [("arrival", 0), ("departure", 3), ("arrival", 9), ("departure", 10)]
    assert np.allclose([m[0] for _, _, m in seen], [0.1, 0.8, 0.2, 0.2])
    for event in watch.events:
        assert event.place == "" or np.isclose(event.time % 1.0, 0.5, atol=1e-6)


def test_a_spread_law_that_gathers_has_no_events_of_single_tokens():
    """Two thousand strays that come together in one step cost a look at the clusters, not a date for every pair."""
    points = np.random.default_rng(1).normal(size=(2000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    asked = []
    watch = EventWatch(problem("sphere"), np.full(2000, 1 / 2000), [])
    watch.start(points, 0.0)
    assert not watch.after(np.tile(points[0], (2000, 1)), watch.masses, 0.0, 1.0, lambda tau: asked.append(tau) or points)
    assert len(asked) < 100


def test_clusters_that_strays_link_merge_at_the_end_of_the_step():
    """Two clusters that do not move, and tokens that come to stand between them."""
    angles = np.repeat([0.0, 0.12], 50)
    between = np.linspace(0.0, 0.12, 5)[1:-1]
    before, after = (np.concatenate([angles, where]) for where in (np.full(3, 2.0) + np.arange(3), between))
    masses = np.concatenate([np.full(100, 0.0099), np.full(3, 0.01 / 3)])
    case = problem(beta=5.0)  # links within .0447

    def tokens(values):
        return np.stack([np.cos(values), np.sin(values)], axis=1)

    watch = EventWatch(case, masses, [])
    watch.start(tokens(before), 0.0)
    assert watch.after(tokens(after), masses, 2.0, 1.0, lambda tau: tokens(before))
    assert [(event.kind, event.time) for event in watch.events] == [("merge", 3.0)]
    assert np.allclose(watch.events[0].masses, 0.495)
