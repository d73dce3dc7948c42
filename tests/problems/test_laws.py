"""Initial laws: densities, exact samples, Sobol points and quadrature nodes, each against the others and closed forms."""

import math

import numpy as np
import pytest
from scipy import stats
from scipy.special import ive

from problems import ProblemError, loads
from problems.laws import LAWS
from problems.laws.nodes import manifold_nodes

ROTATED = "[[2.0, 0.5, 0.0], [0.5, 1.0, 0.2], [0.0, 0.2, 0.7]]"


def problem(space, law, components=()):
    tables = "".join(f"[[initial.components]]\n{entry}\n" for entry in components)
    return loads(f"[space]\n{space}\n[attention]\nbeta = 1.0\n[initial]\nlaw = {law}\n{tables}")


CIRCLE, SPHERE = 'manifold = "circle"', 'manifold = "sphere"'
CASES = {
    "uniform circle": (CIRCLE, '"uniform"'),
    "uniform sphere": (SPHERE, '"uniform"'),
    "uniform S^4": (SPHERE + "\ndimension = 5", '"uniform"'),
    "uniform box": ('manifold = "box"\nbounds = [[0.0, 1.0], [-1.0, 1.0], [2.0, 5.0]]', '"uniform"'),
    "harmonics circle": (CIRCLE, '"harmonics"\ncos = [0.3, 0.0, 0.1]\nsin = [0.0, 0.2]'),
    "harmonics touching zero": (CIRCLE, '"harmonics"\ncos = [1.0]'),
    "harmonics sphere": (SPHERE, '"harmonics"\naxis = [1.0, -2.0, -0.5]\nlegendre = [0.3, 0.4]'),
    "von Mises": (
        CIRCLE,
        '"von-mises-fisher"',
        ["mean = [1.0, 2.0]\nconcentration = 20.0", "mean = -1.0\nconcentration = 300.0"],
    ),
    "von Mises-Fisher": (
        SPHERE,
        '"von-mises-fisher"',
        ["mean = [1.0, 2.0, 3.0]\nconcentration = 5.0\nweight = 3.0", "mean = [-1.0, 0.2, -2.0]\nconcentration = 50.0"],
    ),
    "von Mises-Fisher S^3": (
        SPHERE + "\ndimension = 4",
        '"von-mises-fisher"',
        ["mean = [1.0, 2.0, 3.0, 1.0]\nconcentration = 3.0"],
    ),
    "wrapped normal": (CIRCLE, '"wrapped-normal"', ["mean = [1.0, 2.0]\ndeviation = 0.3", "mean = 1.0\ndeviation = 2.5"]),
    "angular Gauss circle": (CIRCLE, '"angular-central-gaussian"', ["matrix = [[2.0, 0.5], [0.5, 1.0]]"]),
    "angular Gauss sphere": (SPHERE, '"angular-central-gaussian"', [f"matrix = {ROTATED}"]),
    "Poisson kernel circle": (CIRCLE, '"poisson-kernel"', ["mean = [0.3, 0.2]", "mean = [-0.5, 0.0]"]),
    "Poisson kernel sphere": (SPHERE, '"poisson-kernel"', ["mean = [0.3, 0.2, 0.1]"]),
    "normal line": ('manifold = "interval"\nbounds = [[0.0, 2.0]]', '"normal"', ["mean = [1.7]\ncovariance = [[0.1]]"]),
    "normal plane": (
        'manifold = "rectangle"\nbounds = [[0.0, 2.0], [-1.0, 3.0]]',
        '"normal"',
        ["mean = [1.0, 0.0]\ncovariance = [[0.1, 0.05], [0.05, 0.2]]", "mean = [2.0, 2.0]\ncovariance = 0.5"],
    ),
    "normal box": (
        'manifold = "box"\nbounds = [[0.0, 2.0], [-1.0, 3.0], [0.0, 2.0]]',
        '"normal"',
        ["mean = [1.0, 0.0, 3.0]\ncovariance = [[0.2, 0, 0], [0, 0.3, 0], [0, 0, 0.4]]"],
    ),
    "normal R^2": (
        'manifold = "euclidean"\ndimension = 2',
        '"normal"',
        ["mean = [1.0, 0.0]\ncovariance = [[0.1, 0.05], [0.05, 0.2]]", "mean = [2.0, 2.0]\ncovariance = 0.5"],
    ),
}
NODES = {"uniform S^4": 20_000, "von Mises-Fisher S^3": 20_000, "uniform box": 8_000, "normal box": 27_000}
EVERY = pytest.mark.parametrize("case", CASES)


def moments(points, masses):
    """Mean and second moments in one vector."""
    second = np.einsum("n,ni,nj->ij", masses, points, points)
    return np.concatenate([masses @ points, second[np.triu_indices(points.shape[1])]])


def entries(points):
    """The coordinates and their products, one row per point."""
    i, j = np.triu_indices(points.shape[1])
    return np.column_stack([points, points[:, i] * points[:, j]])


@EVERY
def test_density_integrates_to_one(case):
    p = problem(*CASES[case])
    if p.manifold.volume is None:
        side = np.linspace(-8.0, 10.0, 400)
        x, y = np.meshgrid(side, side, indexing="ij")
        total = p.initial.density(np.column_stack([x.ravel(), y.ravel()])).sum() * (side[1] - side[0]) ** 2
    else:
        points, volumes = manifold_nodes(p.manifold, NODES.get(case, 4000))
        assert volumes.sum() == pytest.approx(p.manifold.volume, rel=1e-12)
        total = volumes @ p.initial.density(points)
    assert total == pytest.approx(1.0, abs=1e-10)


@EVERY
def test_quadrature_converges_spectrally(case):
    law = problem(*CASES[case]).initial
    n = NODES.get(case, 2000)
    fine, coarse = law.quadrature(2 * n), law.quadrature(n)
    for points, masses in (fine, coarse):
        assert masses.min() >= 0.0
        assert masses.sum() == pytest.approx(1.0, abs=1e-14)
        assert np.abs(law.manifold.retract(points) - points).max() < 1e-15
    assert np.abs(moments(*fine) - moments(*coarse)).max() < 1e-9


@EVERY
def test_samples_have_the_moments_of_the_density(case):
    law = problem(*CASES[case]).initial
    n = 40_000
    samples = law.sample(n, seed=7)
    assert samples.shape == (n, law.manifold.dimension)
    assert np.abs(law.manifold.retract(samples) - samples).max() < 1e-15
    exact = moments(*law.quadrature(NODES.get(case, 4000)))
    rows = entries(samples)
    # Five standard errors: one false alarm in 1.7 million numbers, of which there are about 150 here.
    assert np.all(np.abs(rows.mean(axis=0) - exact) <= 5.0 * rows.std(axis=0) / math.sqrt(n) + 1e-13)


@EVERY
def test_sobol_points_beat_random_ones(case):
    law = problem(*CASES[case]).initial
    exact = moments(*law.quadrature(NODES.get(case, 4000)))
    spread = entries(law.sample(4096, seed=1)).std(axis=0).max()
    points = law.sobol(4096, seed=3)
    error = np.abs(moments(points, np.full(4096, 1 / 4096)) - exact).max()
    assert error < 0.25 * spread / 64


@EVERY
def test_same_seed_same_points(case):
    law = problem(*CASES[case]).initial
    for draw in (law.sample, law.sobol):
        assert np.array_equal(draw(33, 5), draw(33, 5))
        assert not np.array_equal(draw(33, 5), draw(33, 6))
    assert np.abs(law.sobol(64, 5)[:33] - law.sobol(33, 5)).max() < 1e-12


@pytest.mark.parametrize("case", ["harmonics circle", "von Mises", "wrapped normal", "Poisson kernel circle"])
def test_samples_on_the_circle_follow_the_whole_distribution(case):
    law = problem(*CASES[case]).initial
    points, masses = law.quadrature(2000)
    grid = np.arctan2(points[:, 1], points[:, 0]) % (2 * math.pi)
    cumulative = np.cumsum(masses) - 0.5 * masses
    samples = law.sample(20_000, seed=11)
    angle = np.arctan2(samples[:, 1], samples[:, 0]) % (2 * math.pi)
    # Kolmogorov-Smirnov at a level of one false alarm in a million.
    assert stats.kstest(np.interp(angle, grid, cumulative), "uniform").pvalue > 1e-6


def test_densities_in_closed_form():
    x = np.array([[math.cos(0.7), math.sin(0.7)]])
    vm = problem(CIRCLE, '"von-mises-fisher"', ["mean = [1.0, 0.0]\nconcentration = 20.0"]).initial.density(x)[0]
    assert vm == pytest.approx(math.exp(20 * (math.cos(0.7) - 1)) / (2 * math.pi * ive(0, 20.0)), rel=1e-13)
    kappa, z = 20.0, np.array([[0.6, 0.0, 0.8]])
    vmf = problem(SPHERE, '"von-mises-fisher"', ["mean = [0.0, 0.0, 2.0]\nconcentration = 20.0"]).initial.density(z)[0]
    assert vmf == pytest.approx(kappa * math.exp(0.8 * kappa) / (4 * math.pi * math.sinh(kappa)), rel=1e-12)
    # docs/theory.md §3.3: a uniform start under V = diag(1, 0), B = I.
    t = 1.3
    acg = problem(CIRCLE, '"angular-central-gaussian"', [f"matrix = [[{math.exp(2 * t)!r}, 0.0], [0.0, 1.0]]"]).initial
    assert acg.density(x)[0] == pytest.approx(1 / (2 * math.pi * (math.cosh(t) - math.sinh(t) * math.cos(1.4))), rel=1e-13)
    # docs/theory.md §5.1: on the circle f_w is the Poisson kernel, with mean w.
    points, masses = problem(CIRCLE, '"poisson-kernel"', ["mean = [0.2, -0.1]"]).initial.quadrature(400)
    assert masses @ points == pytest.approx([0.2, -0.1], abs=1e-14)


def test_huge_and_tiny_concentrations_stay_finite():
    for kappa in (1e-9, 1e-3, 1e4, 1e9):
        law = problem(SPHERE, '"von-mises-fisher"', [f"mean = [0.0, 1.0, 0.0]\nconcentration = {kappa!r}"]).initial
        assert np.all(np.isfinite(law.sample(1000, 0)))
        assert np.all(np.isfinite(law.density(law.sample(100, 0))))
    high = problem(SPHERE + "\ndimension = 300", '"von-mises-fisher"', [f"mean = {[1.0] * 300}\nconcentration = 50.0"]).initial
    x = high.sample(4000, 0)
    # <mean, x> has mean I_{d/2}/I_{d/2-1}; five standard errors.
    height = x @ (np.ones(300) / math.sqrt(300.0))
    assert abs(height.mean() - ive(150, 50.0) / ive(149, 50.0)) < 5 * height.std() / math.sqrt(4000)
    assert np.all(np.isfinite(np.log(high.density(x))))


def test_component_weights_are_scaled_to_one():
    both = ["mean = [1.0, 0.0]\nconcentration = 3.0\nweight = 6.0", "mean = [0.0, 1.0]\nconcentration = 3.0\nweight = 2.0"]
    law = problem(CIRCLE, '"von-mises-fisher"', both).initial
    single = [problem(CIRCLE, '"von-mises-fisher"', [entry]).initial for entry in both]
    x = law.sample(50, 0)
    assert law.density(x) == pytest.approx(0.75 * single[0].density(x) + 0.25 * single[1].density(x), rel=1e-13)


def test_too_few_nodes_for_a_narrow_law_are_refused():
    law = problem(SPHERE, '"von-mises-fisher"', ["mean = [0.0, 1.0, 0.0]\nconcentration = 1e4"]).initial
    with pytest.raises(ProblemError, match=r"particles.count = 100; 98 quadrature nodes do not resolve the initial law"):
        law.quadrature(100)


def test_quadrature_ends_where_tensor_rules_do():
    with pytest.raises(ProblemError, match=r'particles.sampling = "quadrature"; there is no quadrature rule in 11 dim'):
        problem(SPHERE + "\ndimension = 12", '"uniform"').initial.quadrature(1000)


def test_table_of_points(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text("# two points\nx,y,weight\n1,0,3\n0,1,1\n0,-1,0\n")
    law = problem(CIRCLE, f'"table"\npath = "{path}"').initial
    points, masses = law.quadrature(4096)
    assert law.is_atomic
    assert points.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert masses.tolist() == [0.75, 0.25]
    # Five standard errors of a binomial share.
    assert abs(law.sample(10_000, 0)[:, 0].mean() - 0.75) < 5 * math.sqrt(0.1875 / 10_000)
    assert law.sobol(1024, 0)[:, 0].mean() == pytest.approx(0.75, abs=1e-3)
    with pytest.raises(ProblemError, match="point masses have no density"):
        law.density(points)


def test_every_law_is_covered():
    named = {case[1].split('"')[1] for case in CASES.values()}
    assert named | {"table"} == set(LAWS)
