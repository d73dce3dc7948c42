"""Before anything is written or built: is there memory and time for a problem, and can every part of it start?"""

from __future__ import annotations

import math

import click

from problems import Problem
from problems.errors import Mistakes, ProblemError
from problems.space import LAW, Grading
from solver.commands.plan import duration, mebibytes
from solver.particles.adaptive import refuse_start
from solver.particles.cell_sizes import first_run
from solver.ranks import Serial, world
from solver.runs.cost import Cost, density_cost, memory_there_is, token_cost

# A run that takes longer with the fastest kernels on all ranks must be asked for.
LONGEST_SECONDS = 30 * 86400.0
MOST_STEPS = 1e10
# What is known of memory before a run is right to about this factor.
SHARE = 0.8
BOTH = ("density", "particles")
LARGE = "coldflow.large"


def large_option() -> click.Option:
    """`--large`, for every command that reads a problem."""

    def allow(context: click.Context, _: click.Parameter, value: bool) -> None:
        context.find_root().meta[LARGE] = value

    return click.Option(["--large"], is_flag=True, expose_value=False, callback=allow,
                        help="Run what seems to need more memory or time than there is.")


def admit(problem: Problem, sides: tuple[str, ...] = BOTH) -> None:
    """Refuse a problem that this machine cannot hold, or a side of it that cannot start (collective).

    Args:
        problem: the resolved problem, the same on every rank.
        sides: of "density" and "particles", those that will be run or meshed.

    Raises:
        ProblemError: with every reason, on every rank alike.
    """
    wrong = Mistakes()
    if "density" in sides and not problem.space.meshable:
        name, d = problem.space.manifold, problem.space.dimension
        why = "all of R^d" if name == "euclidean" else f"a {name} of {d} coordinates"
        wrong.note("space.manifold", name, f"{why} has no mesh, hence no density; tokens need none (coldflow particles)")
    if not _large():
        wrong.check(_sizes, problem, sides)
        wrong.stop()  # what follows takes memory
    if "particles" in sides:
        wrong.check(_tokens, problem)
    if "density" in sides and problem.space.meshable:
        wrong.check(_mesh, problem)
    wrong.stop()


def possible_sides(problem: Problem) -> tuple[str, ...]:
    """The sides that a problem means to have: no density without a mesh, no tokens where a noisy law is asked for at rest."""
    restless = problem.time.stationary and problem.noise.diffusivity > 0.0
    return (*(("density",) if problem.space.meshable else ()), *(() if restless else ("particles",)))


def _large() -> bool:
    context = click.get_current_context(silent=True)
    return bool(context is not None and context.find_root().meta.get(LARGE))


def _sizes(problem: Problem, sides: tuple[str, ...]) -> None:
    wrong, comm = Mistakes(), world()
    there_is = comm.bcast(memory_there_is() if comm.rank == 0 else None)
    settings = {"density": ("density.cells", problem.density.cells), "particles": ("particles.count", problem.particles.count)}
    for side in sides:
        cost = density_cost(problem, comm.size) if side == "density" else token_cost(problem, comm.size)
        if cost is None:
            continue
        field, value = settings[side]
        if cost.memory > SHARE * there_is * _nodes():
            many = problem.time.outputs
            if len(many) > 1000 and cost.memory / len(many) * 1000 < there_is:
                field, value = "time.outputs", len(many)
            elif side == "particles" and problem.particles.ensemble > 1 and cost.memory / problem.particles.ensemble < there_is:
                field, value = "particles.ensemble", problem.particles.ensemble
            elif problem.manifold.dimension > 1000:
                field, value = "space.dimension", problem.manifold.dimension
            wrong.note(field, value, f"takes about {mebibytes(cost.memory)} of memory for the {side}, there are "
                       f"{mebibytes(there_is * _nodes())}; must be less, or ask for it with --large")
            continue
        _time(cost, side, problem, field, value, wrong)
    wrong.stop()


def _time(cost: Cost, side: str, problem: Problem, field: str, value: object, wrong: Mistakes) -> None:
    seconds = cost.least / world().size
    if seconds <= LONGEST_SECONDS and cost.steps <= MOST_STEPS:
        return
    step = problem.density.step if side == "density" else problem.particles.step
    if step is not None and cost.steps > 1e6:
        field, value = f"{side}.step", step
    elif cost.steps > 1e6:
        field, value = "time.end", problem.time.end
    takes = f"about {cost.steps:.3g} steps of the {side}, at least {duration(seconds)}"
    way = "more" if field.endswith(".step") else "less"
    wrong.note(field, value, f"takes {takes}; must be {way}, or ask for it with --large")


def _nodes() -> int:
    """How many machines share the run, if the ranks are spread evenly."""
    comm = world()
    if isinstance(comm, Serial) or comm.size == 1:
        return 1
    from mpi4py import MPI

    here = comm.Split_type(MPI.COMM_TYPE_SHARED)
    size = here.size
    here.Free()
    return max(1, round(comm.size / size))


def _tokens(problem: Problem) -> None:
    """Whether the tokens can be drawn and followed."""
    wrong, settings = Mistakes(), problem.particles
    law, sampling = problem.initial, settings.sampling
    if sampling == "quadrature":
        wrong.check(law.quadrature, settings.count)
    elif sampling == "sobol":
        wrong.check(law.sobol, 2, settings.seed)
    elif sampling == "adaptive":
        wrong.check(refuse_start, problem)
    if problem.time.stationary and problem.noise.diffusivity > 0.0:
        wrong.note("time.end", problem.time.end, "must be a depth for tokens with noise, which never lets them rest")
    elif problem.time.stationary and settings.integrator != "dopri5":
        wrong.note("particles.integrator", settings.integrator, 'must be "dopri5" where time.end = "stationary"')
    for i, system in enumerate(problem.compare.also):
        where = f"compare.also[{i}].count"
        try:
            if system.sampling == "quadrature":
                law.quadrature(system.count)
            elif system.sampling == "sobol":
                law.sobol(2, system.seed)
        except ProblemError as error:
            wrong.note(where, system.count, f"{system.sampling} tokens: {error.allowed}")
    wrong.stop()


def _mesh(problem: Problem) -> None:
    """Whether the density can start: a set to grade towards, and a law that the mesh does not miss."""
    if isinstance(problem.space.grading, Grading):
        from solver.projection.target import target

        if not any(analysis.exists for analysis in target(problem).analyses):
            given = problem.space.grading._asdict()
            raise ProblemError("space.grading", given, "V K^T Q has no target set E to grade towards")
    if problem.space.grading == LAW:
        refuse_start(first_run(problem))
        return  # cells follow the initial law as well, once tokens have said where it goes
    density, tdim = problem.density, problem.manifold.intrinsic
    width = (float(problem.manifold.volume or 1.0) / density.cells) ** (1 / tdim)
    if problem.initial.is_atomic or not math.isfinite(problem.initial.width) or problem.initial.width > 2 * width:
        return
    # In doubt: the mesh itself decides.
    try:
        from solver.density.geometry import Geometry
        from solver.density.initial import initial_state
        from solver.density.mesh import density_mesh
    except ImportError:  # no dolfinx here, hence no density either
        return
    initial_state(problem, Geometry(density_mesh(problem, world()), density.degree))
