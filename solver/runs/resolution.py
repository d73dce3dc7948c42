"""What a mesh, a token set or a step cannot show: told before a run, while it runs, and in the verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from problems import Problem, ProblemError
from problems.attention import LARGEST_EXPONENT, Weights, spectral_norm
from problems.space import LAW, Grading
from solver.particles.adaptive import expected_tokens, largest_gap
from solver.runs.cost import density_cost

# Nodes further apart than this many kernel widths alias: at two, a sum over them is off by a hundredth.
FARTHEST = 2.0
# Fixed steps times the fastest rate of the drift beyond which a scheme no longer follows it; both stay stable up to about 2.
MOST_DIMENSIONS, EXTENT_SAMPLES = 64, 512
STEP_RATE = {"euler": 0.5, "rk4": 2.0}
MOST_NODES = 4096  # of a quadrature rule that stands for the start
FIXED_STEP = {"euler": 0.01, "rk4": 0.05}


@dataclass(frozen=True)
class Finding:
    """Something that is not resolved.

    Attributes:
        side: "density" or "particles". words: what is too coarse for what, with numbers. severe: whether a verdict must not
            be trusted for it.
    """

    side: str
    words: str
    severe: bool = True


def unresolved(problem: Problem, sides: tuple[str, ...] = ("density", "particles")) -> list[Finding]:
    """What the problem asks for and its discretisations cannot show; local, the same on every rank.

    Kernel width beta^{-1/2} (docs/theory.md §4.2) and width of the initial law against cells and the spacing of tokens; steps of
    the fixed-step schemes against the rate |V| (1 + beta |B|) at which the drift can pull tokens apart between two clusters.
    """
    found: list[Finding] = []
    if "density" in sides and problem.space.meshable:
        found += _density(problem)
    if "particles" in sides:
        found += _particles(problem)
    return found


def kernel_width(problem: Problem) -> float:
    """The least width (beta |B|)^{-1/2} of the attention kernels of all layers at finite temperature; infinite without any."""
    sharpest = (_sharpness(layer.weights) for layer in problem.attention.layers)
    return min((1.0 / math.sqrt(sharp) for sharp in sharpest if 0.0 < sharp < math.inf), default=math.inf)


def _sharpness(weights: Weights) -> float:
    """beta |B|; infinite at zero temperature, zero where a registered score says nothing of its width."""
    if weights.own_score is not None and math.isfinite(weights.beta):
        return 0.0
    return weights.beta * max((spectral_norm(head.score) for head in weights.heads), default=0.0) if weights.beta else 0.0


def _density(problem: Problem) -> list[Finding]:
    found = []
    density, tdim = problem.density, problem.manifold.intrinsic
    width = (float(problem.manifold.volume or 1.0) / density.cells) ** (1.0 / tdim)
    fine = width / (density.degree + 1)
    if isinstance(problem.space.grading, Grading):  # small cells where the law ends up, large ones where it starts
        fine /= problem.space.grading.ratio
    kernel = kernel_width(problem)
    if fine > FARTHEST * kernel:
        found.append(Finding("density", f"cells of width {width:.3g} and degree {density.degree} do not resolve the attention "
                             f"kernel, of width beta^(-1/2) = {kernel:.3g}: take at least {_cells(problem, kernel, fine)} cells"))
    if problem.space.grading != LAW and fine > FARTHEST * problem.initial.width:
        law = problem.initial.width
        found.append(Finding("density", f"cells of width {width:.3g} and degree {density.degree} do not resolve the initial law, "
                             f"which varies over {law:.3g}: take at least {_cells(problem, law, fine)} cells"))
    cost = density_cost(problem)
    if density.step is not None and cost is not None:
        by_cfl = width / max((2 * density.degree + 1) * tdim * _speed(problem), 1e-300)
        if density.step > 4 * by_cfl and density.integrator in ("euler", "ssprk22", "ssprk33", "ssprk104", "rk45"):
            found.append(Finding("density", f"density.step = {density.step:g} is beyond the stability bound of "
                                 f"{density.integrator}, about {by_cfl:.3g}"))
    if not density.limiter and density.degree > 0:
        found.append(Finding("density", "without density.limiter the density may become negative, and what is derived from it "
                             "meaningless", severe=False))
    return found


def extent(problem: Problem) -> float:
    """Where the space has no volume, that of the initial law: of the Gaussian of the same covariance, exp of its entropy
    (2 pi e)^(d/2) det^(1/2); zero in more than 64 dimensions and for laws on fewer, whose tokens nobody can tell too few of."""
    d = problem.manifold.dimension
    if d > MOST_DIMENSIONS:
        return 0.0
    points = problem.initial.quadrature(1)[0] if problem.initial.is_atomic else problem.initial.sample(EXTENT_SAMPLES, 0)
    covariance = np.atleast_2d(np.cov(np.asarray(points).T))
    sign, log = np.linalg.slogdet(2.0 * math.pi * math.e * covariance)
    return math.exp(min(0.5 * float(log), 700.0)) if sign > 0 and math.isfinite(log) else 0.0


def _cells(problem: Problem, wanted: float, fine: float) -> str:
    """The number of cells that would resolve the length `wanted`."""
    count = problem.density.cells * (fine / (FARTHEST * wanted)) ** problem.manifold.intrinsic
    return f"{math.ceil(count)}" if count < 1e9 else f"{count:.1e}"


def _particles(problem: Problem) -> list[Finding]:
    found = []
    settings, manifold = problem.particles, problem.manifold
    count = settings.count if not problem.initial.is_atomic else len(problem.initial.quadrature(1)[1])
    spacing = ((manifold.volume if manifold.volume is not None else extent(problem)) / count) ** (1.0 / manifold.intrinsic)
    if settings.sampling == "adaptive":
        count, spacing = expected_tokens(problem), largest_gap(problem)
    kernel = kernel_width(problem)
    if spacing > FARTHEST * kernel:
        found.append(Finding("particles", f"{count} tokens, {spacing:.3g} apart, do not resolve the attention kernel "
                             f"of width beta^(-1/2) = {kernel:.3g}: each sees little but itself, their mean field is another"))
    noisy = problem.noise.diffusivity > 0.0
    scheme = "euler" if noisy else settings.integrator
    if scheme in STEP_RATE:
        step, rate = settings.step or FIXED_STEP[scheme], drift_rate(problem)
        if step * rate > STEP_RATE[scheme]:
            words = (f"steps of {step:g} of {scheme} do not resolve the drift, whose rates reach {rate:.3g}: take "
                     f"particles.step = {STEP_RATE[scheme] / rate:.1g} or less")
            found.append(Finding("particles", words, severe=step * rate > 10))
    return found


def drift_rate(problem: Problem) -> float:
    """Largest rate at which the drift can change along the space, |V| (1 + beta |B|) over heads and layers, times the
    partition function for unnormalised attention in true depth; at zero temperature |V|, the jumps apart."""
    rates = []
    for layer in problem.attention.layers:
        weights = layer.weights
        value = sum(spectral_norm(head.value) for head in weights.heads)
        sharp = _sharpness(weights)
        if not math.isfinite(sharp):
            rates.append(value)
            continue
        rates.append(value * (1.0 + sharp) * _partition(problem, weights, sharp))
    return max(rates)


def _partition(problem: Problem, weights: Weights, sharp: float) -> float:
    """Largest partition function by which unnormalised attention multiplies speeds: exp(beta |B|) on the sphere, elsewhere that
    of the outermost token of the start, which grows like exp(beta |B| |x|^2)."""
    if weights.normalization != "none" or problem.attention.rescaled_time:
        return 1.0
    if problem.manifold.normalised or weights.own_score is not None or problem.initial.is_atomic:
        return math.exp(min(sharp, LARGEST_EXPONENT))
    settings = problem.particles
    try:
        points, masses = problem.initial.quadrature(min(settings.count, MOST_NODES))
    except ProblemError:  # a law without such a rule: nothing is foretold
        return math.exp(min(sharp, LARGEST_EXPONENT))
    drawn = points if settings.sampling == "quadrature" else points[masses * settings.count > 1.0]
    if not len(drawn):
        return 1.0
    far = drawn[np.argmax(np.einsum("ij,ij->i", drawn, drawn))]
    with np.errstate(divide="ignore"):
        logs = [float(np.logaddexp.reduce(np.log(masses) + weights.beta * points @ (head.score.T @ far)))
                for head in weights.heads]
    return math.exp(min(max(logs), LARGEST_EXPONENT))


def _speed(problem: Problem) -> float:
    """Largest speed that attention can give to a token of the density."""
    norms = (sum(spectral_norm(head.value) for head in layer.weights.heads) for layer in problem.attention.layers)
    return problem.manifold.reach * max(norms)
