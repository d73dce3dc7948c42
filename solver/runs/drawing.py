"""What draws a result in a notebook: named from above, where pictures are made, and imported when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

# Name -> "module:function"; filled by the package as it is imported.
DRAWN_BY: dict[str, str] = {}


def drawer(name: str) -> Callable[..., Any]:
    """The function that draws `name`."""
    module, _, function = DRAWN_BY[name].partition(":")
    return getattr(importlib.import_module(module), function)
