"""The error of bad input, for everything above the meshes."""

from meshes.errors import MISSING, ProblemError

__all__ = ["MISSING", "ProblemError"]
