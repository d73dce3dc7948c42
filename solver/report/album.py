"""Pictures drawn one by one: one that fails is named in one line, and neither the run nor the other pictures suffer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Album:
    """The figures of one run.

    Args:
        folder: where they go; made if missing.
        say: told in one line of each picture that could not be drawn.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]):
        self.folder, self.say = folder, say
        self.failed: list[str] = []

    def draw(self, name: str, draw: Callable[Concatenate[Path, P], None], *arguments: P.args, **options: P.kwargs) -> None:
        """Call draw(path, ...) for the file `name`; what goes wrong in it ends here."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            draw(self.folder / name, *arguments, **options)
        except Exception as error:
            self.fail(name, error)

    def attempt(self, what: str, work: Callable[[], T]) -> T | None:
        """The result of what several pictures need, None if it fails."""
        try:
            return work()
        except Exception as error:
            self.fail(what, error)
            return None

    def fail(self, what: str, error: Exception) -> None:
        """Note and say what was not drawn."""
        words = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        self.failed.append(f"{what}: {words}")
        self.say(f"picture not drawn: {what} ({words})")
