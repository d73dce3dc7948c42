"""The error of bad input, for everything above the meshes, and what gathers the mistakes of one file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from meshes.errors import MISSING, ProblemError, ProblemsError, refusal

__all__ = ["MISSING", "Mistakes", "ProblemError", "ProblemsError", "refusal"]

T = TypeVar("T")


class Mistakes:
    """Gathers mistakes, so that all those of a file are told at once.

    Attributes:
        errors: those found so far.
    """

    def __init__(self) -> None:
        self.errors: list[ProblemError] = []

    def check(self, function: Callable[..., T], *arguments: object) -> T:
        """The result of `function(*arguments)`, or None where that raises ProblemError, which is noted.

        The type does not mention None: what depends on the result waits for `stop`, which does not return then.
        """
        try:
            return function(*arguments)
        except ProblemError as error:
            self.errors.append(error)
            return None  # type: ignore[return-value]

    def note(self, field: str, value: object, allowed: str) -> None:
        """Note a mistake; the arguments are those of ProblemError."""
        self.errors.append(ProblemError(field, value, allowed))

    def stop(self) -> None:
        """Raise what was found.

        Raises:
            ProblemError: with every mistake noted so far, if there is one.
        """
        if self.errors:
            raise refusal(self.errors)
