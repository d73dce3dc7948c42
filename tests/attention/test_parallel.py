"""Sources across ranks: the same field for every number of ranks, and the ring."""

import sys

import numpy as np
import pytest
from mpi4py import MPI

from solver.attention import Attention, energy, gather_sources, ring_field
from solver.attention.divergence import field_with_divergence
from solver.errors import RunError
from tests.attention.support import on_sphere, weights

N = 3000
RELAYED = ("relayed field", "relayed with divergence", "divergence")


def share(comm):
    """This rank's part of one law, dealt out in a scrambled order."""
    rng = np.random.default_rng(0)
    points, masses = on_sphere(rng, N), rng.random(N)
    order = rng.permutation(N)[comm.rank::comm.size]
    return points[order], masses[order], order


def evaluate(comm, path):
    """Fields at all points for several temperatures, written by rank 0 in canonical order."""
    points, masses, order = share(comm)
    sources, everything = gather_sources(comm, points, masses, order)
    result = {}
    for beta in (2.0, 300.0, 1e4, np.inf):
        attention = Attention(weights(beta))
        field = attention.field(points, sources, everything)[0]
        ring = ring_field(comm, attention, points, points, masses)[0]
        numbers = energy(attention, points, masses, sources, everything, comm)
        rows = comm.gather((order, field, ring))
        if rows:
            order_all, fields, rings = (np.concatenate(part) for part in zip(*rows, strict=True))
            back = np.argsort(order_all)
            result |= {f"field {beta}": fields[back], f"ring {beta}": rings[back], f"energy {beta}": numbers}
    # By way of a larger sphere, the mass falling to 1e-60 of its largest between two clusters.
    thin = everything * np.exp(-140.0 * (1.0 - sources[:, 0] ** 2))
    attention = Attention(weights(80.0, 3, np.diag([1.0, 0.8, 0.6])), method="relayed")
    values, divergence, _ = field_with_divergence(attention, points, sources, thin, sphere=True, crowd=sources)
    rows = comm.gather((order, attention.field(points, sources, thin, sources)[0], values, divergence))
    if rows:
        order_all, *parts = (np.concatenate(part) for part in zip(*rows, strict=True))
        back = np.argsort(order_all)
        result |= {name: part[back] for name, part in zip(RELAYED, parts, strict=True)}
    if comm.rank == 0:
        np.savez(path, sources=sources, masses=everything, **result)


@pytest.fixture(scope="module")
def runs(mpirun, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    for ranks in (1, 2, 3):
        mpirun(ranks, "-m", "tests.attention.test_parallel", folder / f"{ranks}.npz")
    return [np.load(folder / f"{ranks}.npz") for ranks in (1, 2, 3)]


def test_fields_do_not_depend_on_the_number_of_ranks(runs):
    for other in runs[1:]:
        np.testing.assert_array_equal(other["sources"], runs[0]["sources"])
        np.testing.assert_array_equal(other["masses"], runs[0]["masses"])
        for name in runs[0].files:
            if name.startswith("field"):
                np.testing.assert_allclose(other[name], runs[0][name], rtol=0, atol=1e-12, err_msg=name)
            elif name.startswith("energy"):
                np.testing.assert_allclose(other[name], runs[0][name], rtol=1e-12, err_msg=name)


def test_relayed_fields_do_not_depend_on_the_number_of_ranks(runs):
    """Groups of targets differ, and with them what is left out: within the accuracy, 1e-10; divergences have a factor beta."""
    for other in runs[1:]:
        for name, allowed in zip(RELAYED, (1e-10, 1e-10, 1e-8), strict=True):
            np.testing.assert_allclose(other[name], runs[0][name], rtol=0, atol=allowed, err_msg=name)


def test_the_ring_gives_the_same_field(runs):
    for run in runs:
        for beta in (2.0, 300.0, 1e4, np.inf):
            np.testing.assert_allclose(run[f"ring {beta}"], run[f"field {beta}"], rtol=0, atol=1e-10)


def test_a_crowd_of_as_many_points_as_the_targets_decides():
    """What one rank of several would choose for its targets, near the origin, is not what the crowd is served best by."""
    rng = np.random.default_rng(0)
    points, masses = on_sphere(rng, 1000), rng.random(1000)
    attention, chosen = Attention(weights(300.0)), []
    for targets, crowd in ((0.01 * points, None), (0.01 * points, points), (points, None)):
        attention.field(targets, points, masses, crowd)
        chosen.append(attention.report.method)
    assert chosen[1] == chosen[2] != chosen[0]


def test_a_rank_without_targets_or_sources():
    empty = np.empty((0, 3))
    points, masses = gather_sources(MPI.COMM_SELF, np.eye(3), np.ones(3), np.array([2, 0, 1]))
    np.testing.assert_array_equal(points, np.eye(3)[[1, 2, 0]])
    assert Attention(weights(5.0)).field(empty, points, masses)[0].shape == (0, 3)


def test_the_ring_takes_masses_of_both_signs_and_refuses_what_is_not_finite():
    rng = np.random.default_rng(1)
    points, masses = on_sphere(rng, 200), rng.random(200)
    masses[::5] *= -0.1
    attention = Attention(weights(3.0))
    expected = attention.field(points[:9], points, masses)[0]
    got = ring_field(MPI.COMM_SELF, attention, points[:9], points, masses)[0]
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-13)
    with pytest.raises(RunError, match="not finite"):
        ring_field(MPI.COMM_SELF, attention, points[:9], points, masses * np.nan)
    with pytest.raises(RunError, match="positive mass"):
        ring_field(MPI.COMM_SELF, attention, points[:9], points, 0.0 * masses)


if __name__ == "__main__":
    evaluate(MPI.COMM_WORLD, sys.argv[1])
