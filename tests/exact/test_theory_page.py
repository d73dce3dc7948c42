"""docs/theory.md shows numbers; each is computed here again from the formula beside it, without the solver."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.special import gamma, iv, ive, lpmv

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "theory.md").read_text()
SIZE = 192


def item(number):
    """Text of one numbered item, headings of the page being `### 3.4 Rates`."""
    return re.search(rf"^### {re.escape(number)} .*?\n(.*?)(?=^##|\Z)", PAGE, re.M | re.S)[1]


def shows(number, values, form):
    """Asserts that an item shows all values in this format, without the leading zero or with it."""
    text = item(number).replace(" + ", " ").replace("$", " ")
    for value in np.ravel(values):
        shown = format(value, form)
        assert re.search(rf"(?<![\d.])-?0?{re.escape(re.sub('^-?0', '', shown))}(?!\d)", text), \
            f"item {number} does not show {shown}"


def flow(drift, start, depths):
    """(T, n): solution at each depth, every one an end of a step, where no interpolation enters."""
    states = [np.asarray(start, dtype=float)]
    for begin, end in zip([0, *depths[:-1]], depths, strict=True):
        states.append(solve_ivp(drift, (begin, end), states[-1], method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1])
    return np.array(states[1:])


def distances_under_stretching(depths):
    """(T, 2): W1 and W2 of a uniform start on the circle to its two targets, V = diag(1, 0), B = I.

    A quarter of the circle is enough; it is cut where the angle changes fast.
    """
    cuts = np.pi / 2 - 10.0 ** -np.arange(1, 8)
    moment = [[quad(lambda a, t=t, p=p: np.arctan(np.exp(-t) * np.tan(a)) ** p, 0, np.pi / 2, points=cuts, limit=400)[0]
               * 2 / np.pi for p in (1, 2)] for t in depths]
    return np.array(moment) ** [1, 0.5]


def distances_to_great_circle(depths):
    """(T,): W2 of a uniform start on the sphere to the great circle, V = diag(1, 1, 0): latitudes shrink."""
    return np.sqrt([quad(lambda z, t=t: np.arctan2(np.exp(-t) * z, np.sqrt(1 - z * z)) ** 2, 0, 1)[0] for t in depths])


def test_rates_at_zero_temperature():
    depths = [0, 1, 2, 4]
    w1, w2 = distances_under_stretching(depths).T
    for t, *row in zip(depths, w2, w1, distances_to_great_circle(depths), strict=True):
        assert f"| {t} | " + " | ".join(f"{value:.6f}" for value in row) + " |" in item("3.4")
    w1, w2 = distances_under_stretching([12.0])[0]
    assert w1 == pytest.approx(2 / np.pi * np.exp(-12) * 13, rel=1e-5)
    assert w2 == pytest.approx(np.sqrt(2 * np.log(2)) * np.exp(-6), rel=1e-5)
    nodes = 10.0 ** -np.arange(1, 9)
    polar = quad(lambda z: np.arctan2(np.exp(-12) * np.sqrt(1 - z * z), z) ** 2, 0, 1, points=nodes, limit=400)[0]
    assert np.sqrt(polar) == pytest.approx(np.sqrt(np.pi * np.log(2)) * np.exp(-6), rel=1e-5)


def test_rates_of_growth():
    beta, degrees = 5.0, np.arange(1, 5)
    for d in (2, 3):
        ratio = iv(degrees + d / 2 - 1, beta) / iv(d / 2 - 1, beta)
        shows("4.5", degrees * (degrees + d - 2) / beta * ratio, ".5f")
    beta, degrees = 4e4, np.arange(1, 1000)
    rates = degrees**2 * ive(degrees, beta) / (beta * ive(0, beta))
    assert rates.max() == pytest.approx(2 / np.e, rel=1e-4)
    assert degrees[rates.argmax()] == pytest.approx(np.sqrt(2 * beta), rel=1e-2)


def heat_factor(score, value, beta):
    """β X / ∂ log f at angle .4, for B = score, V = value, both multiples of I, on the circle."""
    angles, at = np.arange(4000) * 2 * np.pi / 4000, 0.4
    density = 1 + 0.3 * np.cos(angles) + 0.2 * np.sin(2 * angles)
    weights = density * np.exp(beta * (score * np.cos(angles - at) - 1))
    slope = (-0.3 * np.sin(at) + 0.4 * np.cos(2 * at)) / (1 + 0.3 * np.cos(at) + 0.2 * np.sin(2 * at))
    return beta * value * (weights @ np.sin(angles - at)) / weights.sum() / slope


@pytest.mark.parametrize("sign", [1, -1])
def test_heat_phase_needs_positive_scores(sign):
    """§4.3: the drift is γ grad log f / β up to O(1/β²) where B = I; not where B = -I."""
    errors = [abs(heat_factor(1, sign, beta) / sign - 1) for beta in (100, 200)]
    assert errors[1] < 0.6 * errors[0] < 0.03
    assert abs(heat_factor(-1, sign, 200.0) / sign - 1) > 0.5


def test_misaligned_circle_at_zero_temperature():
    score, value = np.array([[0.5, 0.25], [0.5, 1.0]]), np.diag([2.0, 1.0])
    np.testing.assert_allclose(value @ score, [[1, 0.5], [0.5, 1]])
    edge = np.array([1, 1]) / np.sqrt(2)
    rate = 1 / np.linalg.norm(score @ edge)
    shows("4.8", [rate, 1 / (2 * rate)], ".3f")

    def drift(_, angle):
        attended = score @ [np.cos(angle), np.sin(angle)]
        move = value @ (attended / np.linalg.norm(attended, axis=0))
        return move[1] * np.cos(angle) - move[0] * np.sin(angle)

    # Starts on both sides of 45 degrees, thick in the neighbourhood of the repelling directions 90 degrees away.
    nodes, weights = np.polynomial.legendre.leggauss(300)
    logs = (nodes + 1) * 20
    gap, weights = np.pi / 2 * np.exp(-logs), 20 * weights * np.exp(-logs) / 2
    squares = 0
    for side in (1, -1):
        path = flow(drift, np.pi / 4 + side * (np.pi / 2 - gap), [1, 2, 4])
        squares = squares + (path - np.pi / 4) ** 2 @ weights
    shows("4.8", np.sqrt(squares), ".6f")


def order_of_mean(r):
    """h_3 of §5.1."""
    return (1 + r * r) / (2 * r) - (1 - r * r) ** 2 / (4 * r * r) * np.log((1 + r) / (1 - r))


def test_infinite_temperature():
    radius = [(1 + (0.2**-2 - 1) * np.exp(-t)) ** -0.5 for t in (2, 4)]
    shows("5.1", radius, ".10f")
    r = radius[0]
    square = quad(lambda a: a * a * (1 - r * r) / (1 - 2 * r * np.cos(a) + r * r) / np.pi, 0, np.pi)[0]
    shows("5.1", np.sqrt(square), ".7f")
    shows("5.1", order_of_mean(flow(lambda t, w: (1 - w * w) / 2 * order_of_mean(w), [0.2], [1, 2])), ".10f")


@pytest.mark.parametrize("d", [2, 3])
def test_family_at_infinite_temperature_solves_the_equation(d, step=1e-5):
    """∂_t f + div(f P_x V m) = 0 at one point, with a general V."""
    generator = np.random.default_rng(d)
    value, w, x = generator.normal(size=(d, d)), generator.normal(size=d), generator.normal(size=d)
    w, x = 0.5 * w / np.linalg.norm(w), x / np.linalg.norm(x)
    move = value @ w / 0.5 * (0.5 if d == 2 else order_of_mean(0.5))
    change = (1 + w @ w) / 2 * move - (move @ w) * w

    def density(w, x):
        return ((1 - w @ w) / ((x - w) @ (x - w))) ** (d - 1)

    tangent = move - (x @ move) * x
    ahead, behind = ((x + s * tangent) / np.linalg.norm(x + s * tangent) for s in (step, -step))
    in_time = (density(w + step * change, x) - density(w - step * change, x)) / (2 * step)
    along = (density(w, ahead) - density(w, behind)) / (2 * step)
    assert in_time + along - (d - 1) * (x @ move) * density(w, x) == pytest.approx(0, abs=1e-8)


def test_few_tokens():
    two = quad(lambda r: (np.exp(4 * (1 - r)) + 1) / (2 * (1 - r * r)), 0, 0.999, limit=400)[0]
    shows("5.2", two, ".8f")
    n, beta = 32, 5
    many = quad(lambda r: (np.exp(beta) + (n - 1) * np.exp(beta * r))
                / (2 * np.exp(beta * r) * (1 - r) * ((n - 1) * r + 1)), 0, 0.999, limit=400)[0]
    shows("5.3", many, ".4f")


def test_normal_law():
    mean, variance = flow(lambda t, y: [-(1 + y[1]) * y[0], -2 * y[1] ** 2], [0.5, 0.5], [2])[0]
    shows("5.4", mean, ".10f")
    assert variance == pytest.approx(1 / 6, rel=1e-9)


def test_smooth_start_on_the_circle():
    start = np.arange(SIZE) / SIZE * 2 * np.pi
    mass = (1 + 0.3 * np.cos(start) + 0.2 * np.sin(2 * start) + 0.1 * np.cos(3 * start)) / SIZE

    def drift(_, angle):
        apart = angle[None, :] - angle[:, None]
        kernel = mass * np.exp(5 * (np.cos(apart) - 1))
        return (kernel * np.sin(apart)).sum(1) / kernel.sum(1)

    moments = [[mass @ np.exp(1j * k * angle) for k in (1, 2)] for angle in flow(drift, start, [1, 2])]
    shows("5.5", [np.real(moments), np.imag(moments)], ".10f")
    shows("5.5", mass @ np.exp(5 * np.cos(start[None, :] - start[:, None])) @ mass / 10, ".9f")


def test_smooth_start_on_the_sphere():
    height, weights = np.polynomial.legendre.leggauss(64)
    mass = weights / 2 * (1 + 0.3 * height + 0.4 * lpmv(0, 2, height))

    def drift(_, z):
        r = np.sqrt(1 - z * z)
        across, along = 5 * np.outer(r, r), 5 * np.outer(z, z)
        scale = np.exp(along + across - 5) * mass       # the mean over the azimuth of the source
        total = (scale * ive(0, across)).sum(1)
        up, out = (scale * ive(0, across)) @ z / total, (scale * ive(1, across)) @ r / total
        return up - (z * up + r * out) * z

    shows("5.5", [[mass @ z, mass @ lpmv(0, 2, z)] for z in flow(drift, height, [1, 2])], ".10f")


def coefficient(k, d, beta):
    """a_k of §5.6."""
    return gamma(d / 2) * (2 / beta) ** (d / 2 - 1) * iv(k + d / 2 - 1, beta)


def first_moment(beta, kappa, cycles=400):
    """r_1 of the stationary law on the circle, by fixed point iteration on the Fourier coefficients."""
    angles = np.arange(SIZE) / SIZE * 2 * np.pi
    waves = np.arange(SIZE // 2 + 1)
    response = iv(waves, beta) / beta if beta else np.where(waves == 1, 0.5, 0)
    density = np.exp(np.cos(angles))
    for _ in range(cycles):
        density /= density.mean()
        density = np.exp(kappa * np.fft.irfft(np.fft.rfft(density) * response, SIZE))
    return density @ np.cos(angles) / density.sum()


def test_noise():
    shows("5.6", [first_moment(*pair) for pair in ((1, 2.5), (2, 2), (0, 2.5))], ".10f")
    for d in (2, 3):
        assert 1e-4 / coefficient(1, d, 1e-4) == pytest.approx(d, rel=1e-6)


def test_first_moment_near_the_threshold():
    """NT1: r_1² over its prediction tends to 1 with κ/κ_c, at first order in the distance."""
    beta, ratio = 1.0, iv(2, 1.0) / iv(1, 1.0)
    critical = beta / coefficient(1, 2, beta)
    gaps = np.array([0.02, 0.04])
    found = np.array([first_moment(beta, critical * (1 + gap), 4000) ** 2 for gap in gaps])
    error = 1 - found / (2 * gaps * (1 - ratio) / (1 - 2 * ratio))
    assert error[0] == pytest.approx(error[1] / 2, rel=0.1)
    assert error[0] < 0.05


@pytest.mark.parametrize("d", [2, 3, 6])
@pytest.mark.parametrize("softmax", [True, False])
def test_divergence_along_a_token(d, softmax, step=1e-5):
    """§9.1 against a centred difference along d - 1 orthonormal tangents."""
    generator = np.random.default_rng(d)
    sources = generator.normal(size=(9, d))
    sources /= np.linalg.norm(sources, axis=1, keepdims=True)
    mass, beta = generator.dirichlet(np.ones(9)), 1.7
    value, score = generator.normal(size=(d, d)), generator.normal(size=(d, d))

    def weights(x):
        weight = mass * np.exp(beta * sources @ (score @ x))
        return weight / weight.sum() if softmax else weight

    def velocity(x):
        move = value @ (weights(x) @ sources)
        return move - (x @ move) * x

    x = generator.normal(size=d)
    x /= np.linalg.norm(x)
    tangents = np.linalg.svd(x[None])[2][1:]
    turned = [(x * np.cos(step) + q * np.sin(step), x * np.cos(step) - q * np.sin(step)) for q in tangents]
    measured = sum(q @ (velocity(a) - velocity(b)) / (2 * step) for q, (a, b) in zip(tangents, turned, strict=True))
    mean = weights(x) @ sources
    spread = (sources.T * weights(x)) @ sources - (np.outer(mean, mean) if softmax else 0)
    projector = np.eye(d) - np.outer(x, x)
    expected = beta * np.trace(projector @ value @ spread @ score) - (d - 1) * x @ (value @ mean)
    assert measured == pytest.approx(expected, rel=1e-7, abs=1e-8)
