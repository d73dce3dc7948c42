"""The push-forward target: half-space masses, densities on E's circle and sphere, and when there is no target."""

import numpy as np
import pytest
from scipy.special import i0e, ive

from solver.projection.target import target
from tests.particles.support import SMOOTH_CIRCLE, on_circle, problem, rotation


def vmf(mean, kappa):
    return {"law": "von-mises-fisher", "initial": {"components": [{"mean": list(mean), "concentration": kappa}]}}


def test_uniform_start_gives_two_halves():
    for d, name in ((2, "circle"), (3, "sphere"), (7, "sphere")):
        value = np.diag(np.arange(d, 0, -1.0)) + 0.2 * np.triu(np.ones((d, d)), 1)
        goal = target(problem(name, dimension=d, attention={"value": value.tolist()}))
        points, masses = goal.atoms()
        assert masses.tolist() == [0.5, 0.5]
        assert goal.atom_error == 0.0
        assert np.array_equal(points[0], -points[1])


@pytest.mark.parametrize("oblique", [0.0, 0.3, -2.0])
def test_masses_on_the_circle_are_exact(oblique):
    goal = target(problem(attention={"value": [[2.0, oblique], [0.0, 1.0]]}, **SMOOTH_CIRCLE))
    pole = np.arctan2(goal.analysis.limit[0, 1], goal.analysis.limit[0, 0])

    def primitive(t):
        return (t + 0.3 * np.sin(t) + 0.1 * np.sin(3 * t) / 3 - 0.1 * np.cos(2 * t)) / (2 * np.pi)

    expected = primitive(pole + np.pi / 2) - primitive(pole - np.pi / 2)
    assert goal.atoms()[1][0] == pytest.approx(expected, abs=1e-14)
    assert goal.atom_error < 1e-13


@pytest.mark.parametrize("kappa", [0.5, 20.0, 1e3])
@pytest.mark.parametrize("d", [3, 4, 6])
def test_masses_of_axial_laws(d, kappa):
    """A von Mises-Fisher law about the pole: its upper half is a one-dimensional integral."""
    q = rotation(d, 3)
    values = np.arange(d, 0, -1.0)
    value = q @ np.diag(values) @ q.T  # symmetric, E = span of q's first column
    goal = target(problem("sphere", dimension=d, attention={"value": value.tolist()}, **vmf(q[:, 0], kappa)))
    z, w = np.polynomial.legendre.leggauss(400)
    a = np.pi / 4 * (z + 1)

    def half(sign):
        return w @ (np.exp(kappa * (sign * np.cos(a) - 1)) * np.sin(a) ** (d - 2))

    index = int(np.argmax(np.abs(goal.atoms()[0] @ q[:, 0] - 1) < 1e-9))
    assert goal.atoms()[1][index] == pytest.approx(half(1) / (half(1) + half(-1)), abs=1e-12 if kappa < 100 else 1e-10)


def test_masses_of_atoms(tmp_path):
    (tmp_path / "points.csv").write_text("1,0,1\n0,1,2\n-0.6,0.8,1\n")
    goal = target(problem(attention={"value": [[2.0, 0.0], [0.0, 1.0]]}, law="table",
                          initial={"path": str(tmp_path / "points.csv")}))
    assert goal.atoms()[1] == pytest.approx([0.5, 0.5])  # the token at ker Pi is shared


def test_uniform_law_on_the_great_circle_stays_uniform():
    goal = target(problem("sphere", attention={"value": np.diag([1.0, 1.0, 0.0]).tolist()}))
    points, masses = goal.measure(60)
    assert len(points) == 60
    assert np.abs(points[:, 2]).max() == 0
    assert np.ptp(masses) < 1e-15
    assert goal.density(on_circle(np.linspace(0, 6, 9))) == pytest.approx(1 / (2 * np.pi), rel=1e-13)


def test_von_mises_fisher_in_the_plane_of_the_great_circle():
    """Mean in the plane: f(phi) = kappa/(4 pi sinh kappa) int exp(kappa cos a cos phi) cos a da, with Struve-like tails."""
    kappa = 3.0
    goal = target(problem("sphere", attention={"value": np.diag([1.0, 1.0, 0.0]).tolist()}, **vmf([1, 0, 0], kappa)))
    phi = np.linspace(0, np.pi, 7)
    z, w = np.polynomial.legendre.leggauss(60)
    a = np.pi / 2 * z
    fibres = np.exp(kappa * np.outer(np.cos(phi), np.cos(a))) * np.cos(a)
    expected = kappa / (8 * np.sinh(kappa)) * fibres @ w
    assert goal.density(on_circle(phi)) == pytest.approx(expected, rel=1e-12)


def test_von_mises_fisher_along_the_projection_is_uniform_on_the_circle():
    goal = target(problem("sphere", attention={"value": np.diag([1.0, 1.0, 0.0]).tolist()}, **vmf([0, 0, 1], 6.0)))
    assert goal.density(on_circle(np.linspace(0, 6, 5))) == pytest.approx(1 / (2 * np.pi), rel=1e-12)


@pytest.mark.parametrize("d", [3, 4, 5])
def test_oblique_projection_against_a_fine_sample(d):
    """Moments of T_#mu_0 by fibre integrals, and by mapping many nodes of mu_0: two routes, one answer."""
    value = np.diag([1.0, 1.0] + [0.0] * (d - 2))
    value[0, d - 1], value[1, 2] = 0.4, -0.3
    law = vmf(np.linspace(1, 0.2, d), 2.0)
    goal = target(problem("sphere", dimension=d, attention={"value": value.tolist()}, **law))
    points, masses = goal.measure(64)
    nodes, weights = goal.problem.initial.quadrature(200_000)
    mapped = goal.map(nodes)
    # The image of the nodes is no better than the map is smooth: T jumps across ker Pi.
    assert masses @ points == pytest.approx(weights @ mapped, abs=1e-4 if d < 5 else 1e-3)
    assert masses @ points**2 == pytest.approx(weights @ mapped**2, abs=1e-4 if d < 5 else 1e-3)
    finer = goal.measure(128)
    assert masses @ points == pytest.approx(finer[1] @ finer[0], abs=1e-12)


def test_angular_central_gaussian_in_closed_form():
    """z ~ N(0, L) gives x = z/|z|; T(x) = Pi z/|Pi z| is angular central Gaussian with the matrix Pi L Pi^T on E."""
    shape = np.array([[2.0, 0.3, 0.5], [0.3, 1.0, -0.2], [0.5, -0.2, 1.5]])
    value = np.array([[1.0, 0.0, 0.4], [0.0, 1.0, -0.3], [0.0, 0.0, 0.0]])
    goal = target(problem("sphere", attention={"value": value.tolist()}, law="angular-central-gaussian",
                          initial={"components": [{"matrix": shape.tolist()}]}))
    basis = goal.analysis.basis
    inner = basis.T @ goal.analysis.projector @ shape @ goal.analysis.projector.T @ basis
    u = on_circle(np.linspace(0, 6, 11))
    expected = 1 / (2 * np.pi * np.sqrt(np.linalg.det(inner)) * np.einsum("ni,ij,nj->n", u, np.linalg.inv(inner), u))
    assert goal.density(u) == pytest.approx(expected, rel=1e-12)


def test_map_is_the_projection_map():
    goal = target(problem(attention={"query": [[1.0, 0], [0, 1]], "key": [[0.5, 0.5], [0.25, 1.0]], "value": [[2.0, 0], [0, 1]]}))
    x = on_circle(np.array([0.3, 3.0, 2.5, 5.0]))
    e = np.array([1.0, 1.0]) / np.sqrt(2)
    assert goal.map(x) == pytest.approx(np.sign(x @ e)[:, None] * e)
    assert np.isnan(goal.map(np.array([[0.0, 0.0]]))).all()


@pytest.mark.parametrize(("options", "word"), [
    ({"attention": {"value": [[0.0, -1.0], [1.0, 0.0]]}}, "rotates"),
    ({"attention": {"value": [[0.0, 0.0], [0.0, 0.0]]}}, "zero"),
    ({"attention": {"layers": [{"until": 0.5, "value": [[2.0, 0], [0, 1]]}, {"value": [[1.0, 0], [0, 2]]}]}}, "with depth"),
    ({"attention": {"heads": [{"query": [[2.0, 0], [0, 1]]}, {"query": [[1.0, 0], [0, 3]]}]}}, "do not add up"),
    ({"space": "rectangle", "bounds": [[-1, 1], [-1, 1]]}, "Without layer normalisation"),
])
def test_no_target_and_why(options, word):
    goal = target(problem(**options))
    assert not goal.exists
    assert word in " ".join(goal.words)
    assert goal.summary()["exists"] is False
    with pytest.raises(ValueError, match="no target"):
        goal.map(np.eye(2))


def test_heads_that_share_their_scores_add_up():
    turn = rotation(2, 5)
    heads = [{"query": [[2.0, 0], [0, 1]], "value": [[1.0, 0.2], [0, 0]]},
             {"query": [[6.0, 0], [0, 3]], "value": [[0.5, 0], [0, 0.3]]}]
    goal = target(problem(attention={"heads": heads}))
    assert goal.analysis.matrix == pytest.approx(np.array([[1.5, 0.2], [0, 0.3]]) @ np.diag([2.0, 1.0]))
    orthogonal = target(problem(attention={"heads": [{"key": turn.tolist()}, {"value": [[2.0, 0], [0, 1]]}]}))
    assert orthogonal.analysis.matrix == pytest.approx(turn.T + np.diag([2.0, 1.0]))


def test_layers_that_differ_in_beta_alone_share_a_target():
    layers = [{"until": 0.5, "beta": 5.0}, {"beta": 50.0}]
    goal = target(problem(beta=None, attention={"value": [[2.0, 0], [0, 1]], "layers": layers}))
    assert goal.exists
    assert goal.predictions.beta == 50.0


def test_first_moment_of_a_von_mises_law_on_the_circle_itself():
    """V = I: T is the identity and the measure is mu_0 itself."""
    goal = target(problem(**vmf([0.6, 0.8], 4.0)))
    points, masses = goal.measure(200)
    assert masses @ points == pytest.approx(ive(1, 4.0) / i0e(4.0) * np.array([0.6, 0.8]), abs=1e-14)
