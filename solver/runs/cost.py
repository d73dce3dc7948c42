"""What a run takes: unknowns, steps, memory, time; known before anything is allocated."""

from __future__ import annotations

import math
import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from problems import Problem
from problems.space import LAW
from solver.particles.adaptive import expected_tokens
from solver.particles.stiff import serves

PAIR_SECONDS = 1.2e-9  # one pair of the dense attention kernel
OWN_PAIR_SECONDS = 2e-8  # one pair of a registered score, in NumPy
PRODUCT_SECONDS = 1e-9  # one entry of the two weight matrices of a head, for one token
SOURCE_SECONDS = 2e-7  # one token or node of the fast kernels, at their best
UNKNOWN_SECONDS = 1.0 / 15e6
STAGES = {"euler": 1, "ssprk22": 2, "ssprk33": 4, "ssprk104": 10, "rk45": 6, "arkimex": 6, "bdf": 2, "theta": 4}
TOKEN_STAGES = {"dopri5": 6, "rk4": 4, "euler": 1}
CHOOSING = ("rk45", "arkimex", "bdf", "theta")
SAFETY = 0.9  # the solver's own CFL number
BASE_BYTES, LIGHT_BYTES = 200 * 2**20, 150 * 2**20  # interpreter, PETSc and dolfinx; without dolfinx
# Addresses that libraries take beside memory, without and with PETSc; only a limit on addresses (ulimit -v) counts them.
LIBRARY_BYTES = (100 * 2.0**20, 350 * 2.0**20)
CELL_BYTES = 4000.0  # mesh, geometry and operators of one cell
UNKNOWN_BYTES = 600.0
STATIONARY_DEPTH = 10.0


@dataclass(frozen=True)
class Cost:
    """What one side of a run takes on one core.

    Attributes:
        size: cells of the density, or tokens of all members.
        chosen: whether steps are chosen by their error and cannot be foretold: `steps` is what stability alone would ask for.
        unknowns: numbers that are integrated. steps: in depth, roughly. memory: bytes, over all ranks.
        follows: whether cells follow the law, and become smaller than foretold, the steps more, where it gathers; or adaptive
            tokens of a surface do, and become more.
        dense, least: seconds with the dense attention kernel, and with the fast ones at their best.
    """

    size: float
    unknowns: float
    steps: float
    memory: float
    dense: float
    least: float
    chosen: bool = False
    follows: bool = False


# Ten stages bear steps three times as long (solver/density/schemes.py).
LONGER = {"ssprk104": 3.0}


def density_cost(problem: Problem, ranks: int = 1) -> Cost | None:
    """The density; None where the space has no mesh. Orders of magnitude, not promises; `ranks` take memory, not time."""
    if not problem.space.meshable:
        return None
    manifold, density = problem.manifold, problem.density
    tdim, d = manifold.intrinsic, manifold.dimension
    cells = float(density.cells)
    unknowns = cells * math.comb(density.degree + tdim, tdim)
    width = (float(manifold.volume or 1.0) / cells) ** (1 / tdim)
    longest = (density.cfl or SAFETY) * width * LONGER.get(density.integrator, 1.0)
    by_cfl = _depth(problem) * manifold.reach * _rate(problem) * (2 * density.degree + 1) * tdim / longest
    steps = max(by_cfl if density.step is None else _depth(problem) / density.step, float(len(problem.time.outputs)))
    targets = cells * (density.degree + 1) ** tdim / (1 if tdim == 1 else 2) + 2
    sources = cells * (density.degree + 2) ** tdim
    cold = manifold.normalised and all(math.isinf(layer.weights.beta) for layer in problem.attention.layers)
    own = problem.attention.has_own_score
    pairs = 0.0 if cold and not own else targets * sources  # a full support at zero temperature: the velocity is known
    stages = STAGES[density.integrator]
    # Every output keeps the law as atoms.
    kept = len(problem.time.outputs) * cells * tdim * (d + 3) * 8
    everywhere = BASE_BYTES + sources * 8 * 12 + _weights(problem)  # on each rank
    memory = ranks * everywhere + cells * tdim**2 * CELL_BYTES + unknowns * UNKNOWN_BYTES + kept
    each = OWN_PAIR_SECONDS if own else PAIR_SECONDS
    fast = pairs * each if own else min(pairs * each, (targets + sources) * SOURCE_SECONDS)
    dense = steps * stages * (pairs * each + unknowns * UNKNOWN_SECONDS)
    least = steps * (fast + unknowns * UNKNOWN_SECONDS)
    chosen = density.integrator in CHOOSING and not problem.time.stationary
    return Cost(cells, unknowns, steps, memory, dense, least, chosen, problem.space.grading == LAW)


# Explicit steps that tokens take until they have gathered into few clusters, and the depth up to which that may be all.
STEPS_TO_GATHER, LONGEST_REST = 200.0, 1e9
# Of tokens at walls and facets, for each intrinsic dimension: measured on intervals, rectangles, boxes, an L-shape, an ellipse,
# a torus and a meshed box, with 32 to 2000 tokens, to depths .3 and 2.
BUMPS_PER_WAY, MOST_BUMPS = 20.0, 30.0


def token_cost(problem: Problem, ranks: int = 1) -> Cost:
    """The token system; `ranks` take memory, not time."""
    settings, d = problem.particles, problem.manifold.dimension
    count = float(settings.count if not problem.initial.is_atomic else len(problem.initial.quadrature(1)[1]))
    if settings.sampling == "adaptive":
        count = float(expected_tokens(problem))
    noisy = problem.noise.diffusivity > 0.0
    kind = "euler" if noisy else settings.integrator
    if kind == "dopri5":  # stable up to about 3 over the strength of the drift; one or two steps to an output, more at the start
        way, outputs = _depth(problem) * _rate(problem), len(problem.time.outputs)
        steps, least = 1.5 * outputs + 2.5 * way + 2.0 + min(_bumps(problem, way), 2.0 * count), max(float(outputs), way / 3)
        if serves(problem) and _depth(problem) <= LONGEST_REST:  # implicit steps, once tokens have gathered
            least = min(least, STEPS_TO_GATHER)
    else:
        steps = least = _depth(problem) / (settings.step or (0.05 if kind == "rk4" else 0.01))
    steps, least = (max(value, float(len(problem.time.outputs))) for value in (steps, least))
    members = count * settings.ensemble
    kept = len(problem.time.outputs) * count * (d + 1) * 8
    everywhere = LIGHT_BYTES + 3 * members * d * 8 + _weights(problem)  # on each rank, with all tokens as sources
    memory = ranks * everywhere + members * d * 8 * (TOKEN_STAGES[kind] + 3) + kept
    own = problem.attention.has_own_score
    pair = OWN_PAIR_SECONDS if own else PAIR_SECONDS * max(1.0, d / 4)
    products = d * d * PRODUCT_SECONDS  # of a token with the score and the value
    dense = steps * TOKEN_STAGES[kind] * members * (count * pair + products)
    least *= TOKEN_STAGES[kind] * members * ((count * pair if own else min(count * pair, SOURCE_SECONDS)) + products)
    # At zero temperature steps shrink wherever a token's favourite changes; without the partition function the speed is that of
    # the outermost tokens, and grows like e^{beta |x|^2}.
    layers = [layer.weights for layer in problem.attention.layers]
    unbounded = not problem.manifold.normalised and any(weights.normalization == "none" for weights in layers)
    chosen = kind == "dopri5" and (unbounded or any(math.isinf(weights.beta) for weights in layers))
    follows = settings.sampling == "adaptive" and problem.manifold.intrinsic == 2
    return Cost(members, members * d, steps, memory, dense, least, chosen, follows)


def _depth(problem: Problem) -> float:
    return STATIONARY_DEPTH if problem.time.stationary else float(problem.time.end)


def _bumps(problem: Problem, way: float) -> float:
    """Further explicit steps of tokens that run into walls, or over the facets of a mesh, on a way in units of the size of the
    space: few for each token, and nearly as many for 32 as for 2000, which share their steps. Half of them where no weights
    push outwards."""
    manifold = problem.manifold
    if manifold.normalised or manifold.volume is None:
        return 0.0
    values = [sum((head.value for head in layer.weights.heads), np.zeros(())) for layer in problem.attention.layers]
    outwards = any(np.linalg.eigvalsh(value + value.T).max() > 0.0 for value in values)
    return manifold.intrinsic * min(BUMPS_PER_WAY * way, MOST_BUMPS) * (1.0 if outwards else 0.5)


def _rate(problem: Problem) -> float:
    """Largest speed of a token in units of the size of the space, over layers; heads and an external drift add up."""
    return problem.drift.speed(problem.manifold) / problem.manifold.reach + max(
        sum(_row_norm(head.value) for head in layer.weights.heads) for layer in problem.attention.layers)


def _row_norm(matrix: np.ndarray) -> float:
    """Largest sum of a row's absolute values, a few rows at a time: large matrices need no second one beside them."""
    return max(float(np.abs(rows).sum(axis=1).max()) for rows in np.array_split(matrix, max(1, len(matrix) // 256)))


def _weights(problem: Problem) -> float:
    """Bytes of the weights; matrices that are not given share one identity."""
    heads = [head for layer in problem.attention.layers for head in layer.weights.heads]
    own = {id(matrix): matrix.nbytes for head in heads for matrix in (head.query, head.key, head.value)}
    return 4.0 * sum(own.values())


def memory_there_is() -> float:
    """Bytes that this process may still take: of the machine, of its control group, and of the limit of its shell."""
    found = [float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found += [float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    except (OSError, ValueError, IndexError):
        pass
    for limit, used in (("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
                        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes")):
        try:
            found.append(float(Path(limit).read_text()) - float(Path(used).read_text()))
        except (OSError, ValueError):
            continue
    for kind, libraries in ((resource.RLIMIT_AS, LIBRARY_BYTES["petsc4py" in sys.modules]), (resource.RLIMIT_DATA, 0.0)):
        soft = resource.getrlimit(kind)[0]
        if soft != resource.RLIM_INFINITY:
            found.append(float(soft) - libraries)
    return max(min(found), 0.0)
