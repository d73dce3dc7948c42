"""The files that a problem refers to, each read once and by one rank only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

T = TypeVar("T")


class Files:
    """What was read from files, by absolute path.

    A problem is built on every rank from the same tables; a file need not be visible from every node, so that its content
    travels with them.

    Args:
        contents: what another rank has read; nothing else is read then but what is missing from it.
    """

    def __init__(self, contents: dict[str, object] | None = None):
        self.contents: dict[str, object] = {} if contents is None else contents

    def read(self, path: Path, reader: Callable[[Path], T]) -> T:
        """What `reader` made of the file, this time or the first time."""
        if str(path) not in self.contents:
            self.contents[str(path)] = reader(path)
        return cast(T, self.contents[str(path)])
