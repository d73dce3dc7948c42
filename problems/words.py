"""A problem in words, for the terminal."""

from __future__ import annotations

import math

import numpy as np

from problems.attention import Attention, Weights, spectral_norm
from problems.problem import Problem
from problems.registered import Named
from problems.sections import SAMPLINGS
from problems.space import LAW, Grading


def describe(problem: Problem) -> list[tuple[str, str]]:
    """(label, text) lines that say what is solved; costs are left to the solver."""
    space, noise = problem.space, problem.noise.diffusivity
    lines = [("problem", problem.title), ("space", _space(problem))]
    lines += [("attention" if i == 0 else "", line) for i, line in enumerate(_attention(problem.attention))]
    if problem.drift.velocity is not None:
        lines.append(("drift", f"{_registered(problem.drift.velocity)} beside attention"))
    lines.append(("noise", f"diffusivity {noise:g}" if noise > 0.0 else "none"))
    lines.append(("initial law", problem.initial.words()))
    lines.append(("depth", _time(problem)))
    if space.meshable:
        density = problem.density
        scheme = f"degree {density.degree}, geometry order {density.geometry}, {density.integrator}"
        about = "" if space.manifold == "file" else "about "
        lines.append(("density", f"{about}{density.cells} cells, {scheme}"))
    else:
        lines.append(("density", f"none: {space.dimension} coordinates have no mesh, particles only"))
    particles = problem.particles
    runs = f", {particles.ensemble} runs" if particles.ensemble > 1 else ""
    count = f"up to {particles.most}" if particles.sampling == "adaptive" else f"{particles.count}"
    how = f"{count} tokens, {SAMPLINGS[particles.sampling]}, {particles.integrator}{runs}"
    lines.append(("particles", how))
    compare = problem.compare
    within = f"tolerance {compare.tolerance:g}" if compare.tolerance is not None else "tolerance from the noise floor"
    lines.append(("comparison", f"{compare.metric} Wasserstein distances, {within}"))
    if problem.diagnostics.columns:
        lines.append(("diagnostics", ", ".join(problem.diagnostics.names)))
    return lines


def _space(problem: Problem) -> str:
    space = problem.space
    if space.bounds is not None:
        sides = " x ".join(f"[{a:g}, {b:g}]" for a, b in space.bounds)
        return f"{space.manifold} {sides}, no mass crosses its walls"
    if space.path is not None:
        kind = "closed" if problem.manifold.closed else "flat"
        return f"{kind} mesh of dimension {problem.manifold.intrinsic} in R^{space.dimension} from {space.path}"
    if space.manifold == "euclidean":
        return f"R^{space.dimension}"
    graded = ""
    if space.grading == LAW:
        graded = ", cells as small as the law will be narrow"
    elif isinstance(space.grading, Grading):
        graded = f", cells {space.grading.ratio:g} times smaller within {space.grading.half_width:g} of the target"
    return f"{space.manifold} in R^{space.dimension}{graded}"


def _attention(attention: Attention) -> list[str]:
    if len(attention.layers) == 1:
        return _weights(attention.layers[0].weights)
    lines = [f"{len(attention.layers)} layers"]
    for layer in attention.layers:
        until = f"until {layer.until:g}" if math.isfinite(layer.until) else "from there on"
        lines += [f"{until}: {line}" for line in _weights(layer.weights)]
    return lines


def _weights(weights: Weights) -> list[str]:
    kind = "softmax" if weights.normalization == "softmax" else "unnormalised"
    lines = [f"{kind}, beta = {weights.beta:g}, {len(weights.heads)} head{'s' if len(weights.heads) > 1 else ''}"]
    if weights.own_score is not None:
        lines.append(f"score {_registered(weights.own_score)} of Q x and K y, every pair in NumPy")
    for head in weights.heads:
        lines.append(f"K^T Q = {_matrix(head.score.T)}, V = {_matrix(head.value)}")
    return lines


def _registered(function: Named) -> str:
    """A registered function with its arguments."""
    given = ", ".join(f"{key} = {value}" for key, value in function.options.items())
    return f'"{function.name}"' + (f" ({given})" if given else "")


def _matrix(matrix: np.ndarray) -> str:
    if np.array_equal(matrix, matrix[0, 0] * np.eye(len(matrix))):
        return "identity" if matrix[0, 0] == 1.0 else f"{matrix[0, 0]:g} identity"
    if len(matrix) > 3:
        return f"{len(matrix)} x {len(matrix)} matrix of norm {spectral_norm(matrix):.4g}"
    return "[" + ", ".join("[" + ", ".join(f"{entry:g}" for entry in row) + "]" for row in matrix) + "]"


def _time(problem: Problem) -> str:
    time = problem.time
    if time.stationary:
        return "until the density stands still"
    scaled = ", in units of e^(-beta)" if time.rescaled else ""
    return f"0 to {time.end:g}{scaled}, {len(time.outputs)} output{'s' if len(time.outputs) > 1 else ''}"
