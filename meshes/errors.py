"""The error of bad input: one line that names the field, its value, and what is allowed.

It lives here because imports point one way, meshes <- problems <- solver; the packages above take it from
`problems.errors`.
"""

from __future__ import annotations


class Missing:
    """The value of a field that was not given; there is one, `MISSING`, on every rank."""

    def __repr__(self) -> str:
        return "missing"

    def __reduce__(self) -> str:
        return "MISSING"


MISSING = Missing()


class ProblemError(ValueError):
    """Bad input (exit code 2); a run that fails is `solver.errors.RunError`.

    Args:
        field: dotted key of the problem file ("attention.beta"), or the name of a command-line argument.
        value: what was given; `MISSING` if nothing was.
        allowed: what is allowed instead, without a full stop.
    """

    def __init__(self, field: str, value: object, allowed: str):
        self.field, self.value, self.allowed = field, value, allowed
        shown = "missing" if value is MISSING else _one_line(value)
        sign = ":" if value is MISSING else " ="
        super().__init__(f"{field}{sign} {shown}; {_flat(allowed)}")


def _flat(text: str) -> str:
    return " ".join(str(text).split())


def _one_line(value: object) -> str:
    width = 100
    if isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, str):
        text, width = f'"{value}"', 400  # long enough for paths
    else:
        text = str(value)
    text = _flat(text)
    return text if len(text) <= width else text[: width - 4] + " ..."
