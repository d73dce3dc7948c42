"""The plan counts what a run will need."""

import math

from problems import load
from solver.commands.plan import duration, plan


def test_unknowns_are_counted():
    words = " ".join(text for _, text in plan(load("sphere_great_circle", {"density.cells": "2000", "density.degree": "2"})))
    assert "2000 cells" in words and f"{2000 * math.comb(4, 2)} unknowns" in words


def test_cost_grows_with_the_square_of_the_tokens():
    few, many = (dict(plan(load("smooth_circle", {"particles.count": str(n)})))["particles"] for n in (10**5, 10**6))
    assert few.startswith("100000 tokens") and many.startswith("1000000 tokens")
    assert few != many


def test_tokens_alone_have_a_plan_without_a_mesh():
    lines = dict(plan(load("smooth_sphere", {"space.dimension": "8", "initial": '{law = "uniform"}'})))
    assert list(lines) == ["particles"]


def test_durations():
    assert [duration(s) for s in (0.2, 90, 150, 8000, 3e5)] == ["1 s", "90 s", "2 min", "2 h", "3 days"]
