"""Adaptive tokens on the sphere and in the plane: triangles that keep their mass, against closed forms."""

import math
import re

import numpy as np
import pytest
from mpi4py import MPI
from scipy.optimize import brentq

from problems import ProblemError
from solver.commands.admission import admit
from solver.particles.adaptive import largest_gap, refuse_start, start_adaptive
from solver.particles.bisection import Edges, bisected
from solver.particles.flips import flipped
from solver.particles.solver import ParticleSolver
from solver.particles.surface_start import start_triangulation
from solver.particles.triangulation import areas, normals
from tests.particles.support import SMOOTH_SPHERE, problem, run

ADAPTIVE = {"sampling": "adaptive", "rtol": 1e-7}
SPHERE = {"space": "sphere", "dimension": 3}


def intact(snapshot):
    """Masses exact; every edge of the closed surface between two triangles, Euler characteristic 2."""
    edges = Edges(snapshot.cells)
    assert math.fsum(snapshot.cell_masses) == pytest.approx(1.0, abs=4e-16)
    assert math.fsum(snapshot.masses) == pytest.approx(1.0, abs=4e-16)
    assert min(snapshot.masses.min(), snapshot.cell_masses.min()) > 0.0
    assert edges.joined().all()
    assert len(snapshot.points) - len(edges.ends) + len(snapshot.cells) == 2


def test_zero_temperature_is_exact():
    """docs/theory.md §3.3: the law stays angular central Gaussian, its moments are those of quadrature tokens."""
    value = np.diag([1.0, 0.6, 0.2])
    cold = {**SPHERE, "beta": np.inf, "end": 1.0, "attention": {"value": value.tolist()}}
    last = run(problem(**cold, particles={**ADAPTIVE, "gap": 0.1}))[-1]
    intact(last)
    exact = -1.8 - np.log(4 * np.pi) - 1.5 * np.log(np.sum((last.points * np.exp(-np.diag(value))) ** 2, axis=1))
    # A token put in takes log rho from a quadratic: third order in the gap, .1.
    assert np.abs(last.log_density[0] - exact).max() < 1e-4
    fixed = run(problem(**cold, particles={"count": 4000}))[-1]
    assert last.row["second"] == pytest.approx(fixed.row["second"], abs=2e-4)


def test_the_density_of_new_tokens_in_a_narrow_cluster_at_second_order():
    """docs/theory.md §3.3 at a depth where the two clusters are .01 wide, far below every gap: log rho there is what the fits of
    all tokens put in have made of it. With limits that did not depend on the gap the error was .11, .083 and .049."""
    value, found = np.diag([3.0, 1.0, 0.0]), []
    for gap in (1.2, 0.6, 0.3):
        last = run(problem(**SPHERE, beta=np.inf, end=1.5, attention={"value": value.tolist()},
                           particles={**ADAPTIVE, "gap": gap, "count": 16}))[-1]
        stretched = np.sum((last.points * np.exp(-1.5 * np.diag(value))) ** 2, axis=1)
        exact = -1.5 * np.trace(value) - np.log(4 * np.pi) - 1.5 * np.log(stretched)
        found.append(float(np.sqrt(last.masses @ (last.log_density[0] - exact) ** 2)))
    assert found[1] < found[0] / 2 and found[2] < found[0] / 16


def test_kuramoto_on_the_sphere_at_second_order():
    """docs/theory.md §5.1: R(1) = .4747500790 from w_0 = .2, and log rho of the family with that mean."""
    def mean(r):
        return (1 + r * r) / (2 * r) - (1 - r * r) ** 2 / (4 * r * r) * np.log((1 + r) / (1 - r))

    w, found = brentq(lambda r: mean(r) - 0.4747500790, 0.1, 0.9), []
    for gap in (0.5, 0.25):
        last = run(problem(**SPHERE, beta=0.0, law="poisson-kernel", initial={"components": [{"mean": [0, 0, 0.2]}]},
                           particles={**ADAPTIVE, "gap": gap}))[-1]
        intact(last)
        exact = 2 * np.log((1 - w * w) / np.sum((last.points - [0, 0, w]) ** 2, axis=1)) - np.log(4 * np.pi)
        found.append((abs(last.row["mean"][2] - 0.4747500790), np.abs(last.log_density[0] - exact).max()))
    assert found[1][0] < 1e-3 and found[1][1] < 1e-3
    assert np.all(np.array(found[0]) / found[1] > 3.0)


def test_gaussian_in_the_plane():
    """docs/theory.md §5.4 in both coordinates, Sigma = .5/(1 + t); the flow is linear, so that triangles stay straight and only
    sums over them err, at fourth order in the gap."""
    last = run(problem("euclidean", dimension=2, beta=1.0, end=1.0, law="normal", attention={"value": [[-1.0, 0.0], [0.0, -1.0]]},
                       initial={"components": [{"mean": [0.5, 0.5], "covariance": 0.5}]},
                       particles={**ADAPTIVE, "gap": 1.0, "rtol": 1e-6}))[-1]
    mean = last.row["mean"]
    assert mean == pytest.approx([0.5 * np.exp(-1) / 2**0.5] * 2, abs=1e-4)
    assert last.row["second"] - np.outer(mean, mean) == pytest.approx(np.eye(2) / 4, abs=1e-3)
    assert math.fsum(last.cell_masses) == pytest.approx(1.0, abs=4e-16)


def test_narrow_laws_keep_their_share_and_place():
    """A law of the sphere far narrower than the first triangles, beside one that is not: means coth(k) - 1/k, halves of the mass;
    one so narrow that log rho differs by more than exp can say along every edge; and a narrow one in the plane."""
    def start(space, law, components):
        case = problem(**space, beta=20.0, end=1e-3, law=law, initial={"components": components}, particles=ADAPTIVE)
        return run(case)[0]

    narrow, wide = {"mean": [1, 0, 0], "concentration": 1e7}, {"mean": [0, 1, 0], "concentration": 3.0}
    both = start(SPHERE, "von-mises-fisher", [narrow, wide])
    intact(both)
    assert both.row["mean"] == pytest.approx([0.5, 0.5 * (1 / np.tanh(3.0) - 1 / 3), 0.0], abs=1e-4)
    alone = start(SPHERE, "von-mises-fisher", [narrow])
    assert math.fsum(alone.cell_masses) == pytest.approx(1.0, abs=4e-16)
    assert alone.row["mean"] == pytest.approx([1.0, 0.0, 0.0], abs=1e-5)
    plane = start({"space": "euclidean", "dimension": 2}, "normal",
                  [{"mean": [0.2, 0.0], "covariance": 1e-8}, {"mean": [1.2, 0.0], "covariance": 0.1}])
    assert plane.row["mean"] == pytest.approx([0.7, 0.0], abs=1e-4)


def test_unnormalised_attention_against_quadrature_tokens():
    usa = {**SPHERE, "beta": 2.0, "end": 0.3, "attention": {"normalization": "none"}, **SMOOTH_SPHERE}
    adaptive = run(problem(**usa, particles={**ADAPTIVE, "gap": 0.3}))[-1]
    fixed = run(problem(**usa, particles={"count": 600}))[-1]
    assert adaptive.row["mean"] == pytest.approx(fixed.row["mean"], abs=1e-3)
    assert adaptive.row["second"] == pytest.approx(fixed.row["second"], abs=1e-3)


def test_cutting_keeps_area_and_orientation_and_leaves_no_hanging_corner():
    cells, points, _ = start_triangulation(problem(**SPHERE, beta=1.0, particles={**ADAPTIVE, "gap": 0.8}), 0.6)
    cells = cells.cells
    flat = points * [1.0, 0.7, 0.4]  # so that edges differ in length
    edges = Edges(cells)
    length = np.linalg.norm(np.diff(flat[edges.ends], axis=1)[:, 0], axis=1)
    wanted = np.random.default_rng(0).random(len(length)) < 0.2
    marked = edges.closed(wanted, length)
    assert marked[wanted].all()
    more = np.concatenate([flat, flat[edges.ends[marked]].mean(axis=1)])
    cut, parent = bisected(cells, edges, marked, length)
    assert np.bincount(parent, areas(more, cut)) == pytest.approx(areas(flat, cells))
    assert Edges(cut).joined().all() and np.bincount(parent).max() <= 4
    assert np.all(np.einsum("ij,ij->i", normals(more, cut), normals(flat, cells)[parent]) > 0)


def test_flips_make_triangles_round_and_keep_what_they_cover():
    """A sheet drawn out to three times its length: in the end no two angles opposite an edge exceed a straight one together."""
    i, j = (part.ravel() for part in np.meshgrid(np.arange(12), np.arange(12), indexing="ij"))
    points = np.column_stack([3.0 * i + 0.9 * (j % 2) + 1.5 * j, j]) / 12
    at = np.arange(144).reshape(12, 12)
    a, b, c, d = (part.ravel() for part in (at[:-1, :-1], at[1:, :-1], at[1:, 1:], at[:-1, 1:]))
    cells = np.concatenate([np.column_stack([a, b, c]), np.column_stack([a, c, d])])
    area, before = areas(points, cells).sum(), len(flipped(points, cells)[0])
    for _ in range(20):
        pairs, new = flipped(points, cells)
        assert len(np.unique(pairs)) == pairs.size
        cells[pairs] = new
    assert before > 50 and not len(flipped(points, cells)[0])
    assert np.all(normals(points, cells)[:, 2] > 0.0)
    assert areas(points, cells).sum() == pytest.approx(area, rel=1e-13)
    assert len(points) - len(Edges(cells).ends) + len(cells) == 1


def test_triangles_do_not_turn_over_and_tokens_stay_few():
    """Attention that squeezes a sphere onto a great circle: 2227 tokens and 62 triangles turned over, before there were flips."""
    case = problem(**SPHERE, beta=50.0, end=1.5, outputs=3,
                   particles={"sampling": "adaptive", "gap": 1.6, "rtol": 1e-3, "count": 16},
                   attention={"key": [[0.5, 0.5, 0.0], [0.25, 1.0, 0.1], [0.0, 0.2, 0.7]],
                              "value": np.diag([2.0, 1.0, 0.5]).tolist()})
    for snapshot in run(case):
        intact(snapshot)
        corners = snapshot.points[snapshot.cells]
        assert np.all(np.einsum("ij,ij->i", normals(snapshot.points, snapshot.cells), corners.mean(axis=1)) > 0.0)
    assert len(snapshot.points) < 1500


def test_a_step_can_be_taken_again_after_tokens_were_added():
    """As events do that are dated within it; the triangles were those after the step."""
    case = problem(**SPHERE, beta=50.0, end=0.3, particles={"sampling": "adaptive", "gap": 1.6, "rtol": 1e-3, "count": 16},
                   attention={"value": np.diag([2.0, 1.0, 0.5]).tolist()})
    solver, counts = ParticleSolver(case, MPI.COMM_SELF), []

    def again(step):
        half, whole = solver.shorter(0.5 * step.dt), solver.everything()
        counts.append((len(half), len(whole)))

    solver.run(lambda snapshot: None, again)
    assert any(before != after for before, after in counts)


def test_merging_keeps_mass_and_surface():
    """A law denser than it is asked to be: most tokens go, mass and closed surface stay, moments to second order."""
    case = problem(**SPHERE, beta=1.0, **SMOOTH_SPHERE, particles=ADAPTIVE)
    triangles, points, logs = start_triangulation(case, 0.12)
    before, count = triangles.sources(points, logs, triangles.token_masses(points, logs)), len(points)
    for _ in range(6):
        points, logs, _ = triangles.adapt(points, logs, 0.6, 10**6)
    after = triangles.sources(points, logs, triangles.token_masses(points, logs))
    edges = Edges(triangles.cells)
    assert len(points) < 0.4 * count
    assert math.fsum(triangles.masses) == pytest.approx(1.0, abs=4e-16)
    assert edges.joined().all() and len(points) - len(edges.ends) + len(triangles.cells) == 2
    assert after[1] @ after[0] == pytest.approx(before[1] @ before[0], abs=0.6**2 / 50)


def test_resumed_run_is_the_uninterrupted_one():
    case = problem(**SPHERE, beta=5.0, end=1.0, outputs=3, particles={**ADAPTIVE, "gap": 0.6, "rtol": 1e-4},
                   attention={"value": [[2.0, 0, 0], [0, 1.0, 0], [0, 0, 0.5]]})
    whole, states, later = [], [], []
    solver = ParticleSolver(case, MPI.COMM_SELF)
    solver.run(lambda s: (whole.append(s), states.append(solver.state_dict())))
    again = ParticleSolver(case, MPI.COMM_SELF)
    again.load_state(states[1])
    again.run(later.append)
    intact(whole[-1])
    assert np.array_equal(whole[-1].points, later[-1].points) and np.array_equal(whole[-1].cells, later[-1].cells)


def test_cap_is_kept():
    last = run(problem(**SPHERE, beta=20.0, end=0.5, particles={**ADAPTIVE, "rtol": 1e-4, "gap": 0.6, "most": 1400},
                       attention={"value": [[2.0, 0, 0], [0, 1.0, 0], [0, 0, 0.5]]}))[-1]
    assert len(last.points) <= 1400 and last.row["largest_gap"] > 0.6 / 20**0.5


@pytest.mark.parametrize(("space", "why"), [
    ({"space": "sphere", "dimension": 4}, "in 3 dimensions"), ({"space": "box", "bounds": [[0, 1]] * 3}, "in 3 dimensions"),
    ({"space": "rectangle", "bounds": [[0, 1]] * 2}, "between walls")])
def test_other_spaces_are_refused(space, why):
    with pytest.raises(ProblemError, match=f"for curves, closed surfaces and the open plane, not {why}"):
        problem(**space, particles=ADAPTIVE)


def test_too_many_tokens_at_the_start_are_refused_before_they_are_made():
    """`check` says so as well: a gap of .35 widths at beta = 1e4 would be over a million triangles."""
    narrow = problem("sphere", beta=1e4, end=0.1, particles={"sampling": "adaptive"})
    with pytest.raises(ProblemError, match=r"particles\.most = 100000; at least the 11"):
        start_adaptive(narrow)
    with pytest.raises(ProblemError, match=r"particles\.most"):
        admit(narrow, ("particles",))


def test_zero_temperature_has_no_kernel_to_resolve():
    cold = problem("sphere", beta=np.inf, end=0.1, particles={"sampling": "adaptive", "count": 100})
    assert 100 < len(start_adaptive(cold)[1]) < 2000


NORMAL = {"space": "euclidean", "dimension": 2, "law": "normal",
          "initial": {"components": [{"mean": [0.1, 0.0], "covariance": 0.3}]}}


@pytest.mark.parametrize("space", [SPHERE, NORMAL])
def test_layers_at_zero_temperature_are_as_cheap_as_the_warm_ones(space):
    """One cold layer among warm ones needs no narrower triangles: the kernel of the others is what is to be resolved."""
    warm = {"until": 0.1, "beta": 5.0}
    mixed = problem(**space, attention={"layers": [warm, {"beta": np.inf}]}, particles=ADAPTIVE)
    assert largest_gap(mixed) == largest_gap(problem(**space, attention={"layers": [warm, {"beta": 5.0}]}, particles=ADAPTIVE))
    admit(mixed, ("particles",))
    run(problem(**space, attention={"layers": [warm, {"beta": np.inf}]}, particles=ADAPTIVE, end=0.2))


def test_too_many_tokens_in_the_plane_are_refused_before_they_are_made(monkeypatch):
    """The least number is told without making any: the start has that many, and a few more where the law is steep."""
    monkeypatch.setattr("solver.particles.adaptive.start_triangulation", None)
    with pytest.raises(ProblemError, match=r"particles.most = 100000; at least the \d+ tokens of the start"):
        admit(problem(**NORMAL, beta=2000.0, particles=ADAPTIVE), ("particles",))
    monkeypatch.undo()
    for beta in (20.0, 60.0):
        some = problem(**NORMAL, beta=beta, particles=ADAPTIVE)
        made = len(start_adaptive(some)[1])
        with pytest.raises(ProblemError, match="at least the ") as told:
            refuse_start(problem(**NORMAL, beta=beta, particles=ADAPTIVE | {"most": made // 2}))
        assert made / 2 < int(re.search(r"the (\d+) tokens", str(told.value)).group(1)) <= made


def test_unnormalised_attention_in_the_plane_is_refused():
    with pytest.raises(ProblemError, match="not in the plane with unnormalised attention"):
        problem("euclidean", dimension=2, beta=1.0, law="normal", attention={"normalization": "none"},
                initial={"components": [{"mean": [0.0, 0.0], "covariance": [[1.0, 0.0], [0.0, 1.0]]}]},
                particles={"sampling": "adaptive"})
