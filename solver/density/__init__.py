"""The density of the token law: discontinuous Galerkin on a mesh of the token space, in parallel."""

from solver.density.evolve import DensitySolver, StepInfo
from solver.density.snapshot import DensitySnapshot

__all__ = ["DensitySnapshot", "DensitySolver", "StepInfo"]
