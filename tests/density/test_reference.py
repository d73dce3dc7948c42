"""Reference tables and time schemes."""

import basix
import numpy as np
import pytest
from numpy.polynomial import Polynomial

from solver.density.reference import VOLUMES, density_element, positivity_weight, quadrature, reference, tabulate
from solver.density.schemes import NU
from solver.density.subcells import composite_quadrature, edge_pieces, subdivision


def every_dimension(test):
    """Run a test for cells of dimension 1, 2 and 3 in one go."""
    def run(degree):
        for tdim in (1, 2, 3):
            test(tdim, degree)
    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@pytest.mark.parametrize("degree", range(4))
@every_dimension
def test_basis_is_orthonormal_and_starts_constant(tdim, degree):
    r = reference(tdim, degree, False)
    points, weights = quadrature(tdim, 2 * degree)
    table = tabulate(density_element(tdim, degree), points)
    assert np.allclose(table.T @ (weights[:, None] * table), np.eye(r.size), atol=1e-13)
    assert np.allclose(r.basis[:, 0], r.constant)
    assert r.weights.sum() == pytest.approx(VOLUMES[tdim])
    assert np.all(r.weights > 0)


@pytest.mark.parametrize("degree", range(4))
@every_dimension
def test_divergence_theorem_on_the_reference_cell(tdim, degree):
    """int d_a v = sum of int n_a v over the facets, for every basis function and direction."""
    r = reference(tdim, degree, True)
    normals = np.asarray(basix.cell.facet_outward_normals(getattr(basix.CellType, r.cell_name)))
    cell = getattr(basix.CellType, r.cell_name)
    corners = basix.geometry(cell)[np.array(basix.topology(cell)[tdim - 1])]
    sides = corners[:, 1:] - corners[:, :1]
    # facet measures relative to the reference facet
    scale = np.sqrt(np.linalg.det(sides @ np.swapaxes(sides, 1, 2))) if tdim > 1 else np.ones(2)
    inside = np.einsum("q,qai->ai", r.weights, r.gradient)
    across = np.einsum("f,fa,r,fri->ai", scale, normals, r.facet_weights, r.facet_basis)
    assert np.allclose(inside, across, atol=1e-12)


@pytest.mark.parametrize("degree", range(4))
@every_dimension
def test_positivity_weight_bounds_facet_values_by_the_mean(tdim, degree):
    """int f >= t * sum of facet weights times f for polynomials that are non-negative where the limiter looks."""
    r = reference(tdim, degree, True)
    rng = np.random.default_rng(degree)
    for _ in range(200):
        c = rng.normal(size=r.size)
        c[0] += (0.0 - (r.check_basis @ c).min()) / r.constant  # touches zero at the lowest check point
        total = c[0] / r.constant
        facets = np.einsum("r,fri,i->", r.facet_weights, r.facet_basis, c)
        assert total >= r.positivity * facets - 1e-12 * abs(total)


@pytest.mark.parametrize("degree", range(4))
@every_dimension
def test_positivity_weights_are_those_of_the_linear_programme(tdim, degree):
    for affine in (True, False):
        r = reference(tdim, degree, affine)
        cell = basix.geometry(getattr(basix.CellType, r.cell_name))
        every = np.vstack([r.points, r.facet_points.reshape(-1, tdim), cell, r.nodes]).round(14)
        check = cell if degree <= 1 else np.unique(every, axis=0)
        assert r.positivity == pytest.approx(positivity_weight(tdim, degree, check, r.points, r.facet_points, r.facet_weights),
                                             rel=1e-9)


def test_positivity_weights_of_the_line():
    """Gauss-Lobatto: 1/2 for degree 1, 1/6 for degrees 2 and 3 (Zhang & Shu 2010)."""
    assert [reference(1, p, True).positivity for p in range(4)] == pytest.approx([1 / 2, 1 / 2, 1 / 6, 1 / 6])


def stability_polynomial(name, stages):
    z = Polynomial([0.0, 1.0])
    if name == "euler":
        return 1 + z
    if name == "rks2":
        return 1 / stages + (stages - 1) / stages * (1 + z / (stages - 1)) ** stages
    if name == "rks3":
        n = round(stages**0.5)
        step = 1 + z / (stages - n)
        early, late = (n - 1) * (n - 2) // 2, n * (n + 1) // 2 - 1
        mixed = (n / (2 * n - 1)) * step**early + ((n - 1) / (2 * n - 1)) * step ** (late + 1)
        return mixed * step ** (stages - late - 1)
    first = (1 + z / 6) ** 5
    second = 1 / 25 + 9 / 25 * first
    last = (15 * second - 5 * first) * (1 + z / 6) ** 4
    return second + 0.6 * last + 0.1 * z * last


def upwind_spectrum(degree):
    """Eigenvalues of upwind discontinuous Galerkin for unit speed and unit cells, over all phases."""
    r = reference(1, degree, True)
    inside = np.einsum("q,qi,qj->ij", r.weights, r.gradient[:, 0], r.basis)
    left, right = r.facet_basis[0, 0], r.facet_basis[1, 0]
    phases = np.exp(-1j * np.linspace(0.0, 2 * np.pi, 200))
    return np.concatenate([np.linalg.eigvals(inside - np.outer(right, right) + p * np.outer(left, right)) for p in phases])


@pytest.mark.parametrize("degree", range(4))
def test_stability_limits(degree):
    spectrum = upwind_spectrum(degree)
    for scheme, limits in NU.items():
        if degree > {"euler": 0, "rks2": 1}.get(scheme[0], 3):
            continue  # stable at no fixed ratio
        growth, nu = stability_polynomial(*scheme), limits[degree]
        check_stability(growth, nu, spectrum)


def check_stability(growth, nu, spectrum):
    assert np.abs(growth(nu * spectrum)).max() <= 1 + 1e-9
    assert np.abs(growth(1.08 * nu * spectrum)).max() > 1 + 1e-9  # the table is not far below the limit either


@pytest.mark.parametrize(("tdim", "per_cell"), [(1, 1), (1, 5), (2, 1), (2, 4), (2, 9), (3, 1)])
def test_subcells_cover_the_cell(tdim, per_cell):
    pieces = edge_pieces(tdim, per_cell)
    vertices, simplices = subdivision(tdim, pieces)
    assert len(simplices) == per_cell
    points, weights = composite_quadrature(tdim, pieces, 3)
    assert weights.sum() == pytest.approx(VOLUMES[tdim])
    assert np.allclose(weights.sum(axis=1), VOLUMES[tdim] / per_cell)
    exact = {1: 1 / 4, 2: 1 / 20, 3: 1 / 120}[tdim]  # int x^3
    assert np.sum(weights * points[..., 0] ** 3) == pytest.approx(exact)
    assert vertices.min() == 0 and vertices.max() == 1
