"""What draws a result in a notebook: named from above, where pictures are made, and imported when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

# Name -> "module:function"; filled by the package as it is imported.
DRAWN_BY: dict[str, str] = {}


class Pictures(Protocol):
    """PNG files by name. A notebook shows them; elsewhere `save` writes them to a folder."""

    def __getitem__(self, name: str, /) -> bytes: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...
    def _repr_html_(self) -> str: ...
    def save(self, folder: str | Path) -> list[Path]: ...


class Film(Protocol):
    """An animated GIF. A notebook plays it; elsewhere `save` writes it to a file."""

    def _repr_html_(self) -> str: ...
    def save(self, path: str | Path) -> Path: ...


def drawer(name: str) -> Callable[..., Pictures]:
    """The function that draws `name`, "history" or "comparison"."""
    module, _, function = DRAWN_BY[name].partition(":")
    found: Callable[..., Pictures] = getattr(importlib.import_module(module), function)
    return found


def film_maker() -> Callable[..., Film]:
    """The function that makes a film of histories."""
    module, _, function = DRAWN_BY["film"].partition(":")
    found: Callable[..., Film] = getattr(importlib.import_module(module), function)
    return found
