"""What the sections of a problem file must agree on."""

from __future__ import annotations

import itertools

from meshes.manifold import Flat, Manifold
from meshes.own import TokenSpace
from problems.attention import LARGEST_EXPONENT, Attention, spectral_norm
from problems.drift import Drift
from problems.errors import Mistakes
from problems.laws import InitialLaw
from problems.schedule import Time
from problems.sections import Compare, Density, Noise, Particles
from problems.space import LAW, Space

IMPLICIT = ("arkimex", "bdf", "theta")
MULTISTEP = ("bdf", "theta")


def check_together(manifold: Manifold | None, attention: Attention | None, noise: Noise | None, initial: InitialLaw | None,
                   time: Time | None, density: Density | None, particles: Particles | None, compare: Compare | None,
                   drift: Drift | None = None, space: Space | None = None) -> None:
    """Check what no section can check by itself; a section with mistakes of its own is None.

    Raises:
        ProblemError: with every mistake found.
    """
    wrong = Mistakes()
    noisy = noise is not None and noise.diffusivity > 0.0
    if time and attention and manifold:
        _exponent(manifold, attention, time, wrong)
    if time and attention:
        _layers(attention, time, wrong)
    if particles and particles.sampling == "adaptive":
        others = 'must be "quadrature", "sobol" or "random"'
        if noisy:
            wrong.note("particles.sampling", "adaptive", f"not with noise, under which no cell keeps its mass; {others}")
        if attention and manifold and not manifold.closed and manifold.intrinsic > 1 and any(
                layer.weights.normalization == "none" for layer in attention.layers):
            wrong.note("particles.sampling", "adaptive", f"not in the plane with unnormalised attention, which throws what is "
                       f"far out beyond all numbers; {others}")
        if attention and attention.has_own_score:
            wrong.note("particles.sampling", "adaptive", f"not with a registered score, of unknown width; {others}")
        if manifold and (isinstance(manifold, TokenSpace) or not (manifold.intrinsic == 1 or has_triangles(manifold))):
            kind = "between walls" if manifold.intrinsic == 2 else f"in {manifold.intrinsic} dimensions"
            wrong.note("particles.sampling", "adaptive", f"for curves, closed surfaces and the open plane, not {kind}; {others}")
    if space and space.grading == LAW:
        _following(attention, noisy, initial, time, drift, wrong)
    if density and noisy and density.integrator not in IMPLICIT:
        wrong.note("density.integrator", density.integrator, "with noise it must be arkimex, bdf or theta (implicit)")
    if density and noisy and manifold and density.degree == 0 and 1 < manifold.intrinsic <= 3:
        wrong.note("density.degree", density.degree, "must be 1, 2 or 3 with noise, except on curves")
    if density and initial and initial.is_atomic and density.integrator in MULTISTEP:
        wrong.note("density.integrator", density.integrator, "not for a law of points, which it would make negative for a while: "
                   "must be arkimex, or explicit without noise")
    if drift and drift.velocity is not None and manifold:
        wrong.check(drift.try_out, manifold)
    if time and not time.stationary:
        _steps(float(time.end), density, particles, wrong)
    if time and time.outputs and compare and compare.until is not None and compare.until < time.outputs[0]:
        wrong.note("compare.until", compare.until, f"must be at least the first output, {time.outputs[0]:g}")
    wrong.stop()


def _following(attention: Attention | None, noisy: bool, initial: InitialLaw | None, time: Time | None, drift: Drift | None,
               wrong: Mistakes) -> None:
    """Where no first run of adaptive tokens can say how small the cells must be."""
    others = "must be a table with half_width and ratio, or not be given"
    reasons = (
        (noisy, "with noise, under which tokens do not know their density"),
        (bool(attention and attention.has_own_score), "with a registered score, under which tokens do not know their density"),
        (bool(initial and initial.is_atomic), "for point masses, which have no density"),
        (bool(time and time.stationary), 'with time.end = "stationary": the first run needs a depth'),
        (bool(drift and drift.velocity is not None and drift.divergence is None), "with a drift that gives no divergence"),
    )
    for holds, why in reasons:
        if holds:
            wrong.note("space.grading", LAW, f"not {why}; {others}")


def has_triangles(manifold: Manifold) -> bool:
    """Whether adaptive tokens of a surface can be the corners of triangles: on the sphere and other closed surfaces, and in the
    plane without walls, where mass would gather in a place that no triangle can say."""
    return manifold.intrinsic == 2 and (manifold.closed or (isinstance(manifold, Flat) and manifold.bounds is None))


def _exponent(manifold: Manifold, attention: Attention, time: Time, wrong: Mistakes) -> None:
    """Unnormalised attention in true time overflows where beta <x, By> is large (docs/theory.md §8.1)."""
    if not manifold.normalised:
        return
    for layer in attention.layers:
        weights = layer.weights
        if weights.normalization != "none" or weights.own_score is not None:
            continue
        norm = max(spectral_norm(head.score) for head in weights.heads)
        if time.rescaled and not weights.beta * (norm - 1.0) < LARGEST_EXPONENT:
            wrong.note("attention.beta", weights.beta,
                       f"beta (|B| - 1) must be below {LARGEST_EXPONENT:g}, |B| is {norm:.4g}: "
                       "exp would overflow, scale query or key down")
        elif not time.rescaled and not weights.beta * norm < LARGEST_EXPONENT:
            wrong.note("time.rescaled", False, f'must be true where normalization = "none" and beta |B| = '
                       f"{weights.beta * norm:.4g} is at least {LARGEST_EXPONENT:g}: exp would overflow")


def _layers(attention: Attention, time: Time, wrong: Mistakes) -> None:
    """Switches of layers that rounding cannot tell apart would be steps of length nothing."""
    last = max([0.0 if time.stationary else float(time.end), *attention.switch_times])
    for earlier, later in itertools.pairwise((0.0, *attention.switch_times)):
        if not later - earlier > 1e-12 * last:
            wrong.note("attention.layers", [earlier, later], f"switches must be further apart than rounding, {1e-12 * last:.3g}")


def _steps(end: float, density: Density | None, particles: Particles | None, wrong: Mistakes) -> None:
    """A step that does not change the depth is no step."""
    for name, section in (("density", density), ("particles", particles)):
        if section and section.step is not None and section.step < 1e-14 * end:
            wrong.note(f"{name}.step", section.step, f"must be above rounding, {1e-14 * end:.3g} for time.end = {end:g}")
