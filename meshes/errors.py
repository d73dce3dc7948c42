"""The error of bad input: one line that names the field, its value, and what is allowed.

It lives here because imports point one way, meshes <- problems <- solver; the packages above take it from
`problems.errors`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

LONGEST_FIELD = 100
DEEPEST = 6
MEANT = re.compile(r'^unknown key, did you mean "([^"]*)"')


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
        self.field, self.allowed = field, allowed
        # A table nested ten thousand deep can be neither printed nor sent to another rank.
        self.value = value if _depth(value) <= DEEPEST else "a deeply nested value"
        shown = "missing" if value is MISSING else _one_line(self.value)
        sign = ":" if value is MISSING else " ="
        super().__init__(f"{_short(_flat(field), LONGEST_FIELD)}{sign} {shown}; {_flat(allowed)}")

    @property
    def errors(self) -> tuple[ProblemError, ...]:
        """Every single mistake; here this one."""
        return (self,)

    def __reduce__(self) -> tuple[type, tuple]:
        return ProblemError, (self.field, self.value, self.allowed)


class ProblemsError(ProblemError):
    """Several mistakes of one input, one line each; `field`, `value` and `allowed` are those of the first.

    Args:
        errors: the single mistakes, at least one.
    """

    def __init__(self, errors: Sequence[ProblemError]):
        first = errors[0]
        super().__init__(first.field, first.value, first.allowed)
        self._errors = tuple(errors)
        self.args = ("\n".join(map(str, errors)),)

    @property
    def errors(self) -> tuple[ProblemError, ...]:
        return self._errors

    def __reduce__(self) -> tuple[type, tuple]:
        return ProblemsError, (self._errors,)


def refusal(errors: Iterable[ProblemError]) -> ProblemError:
    """One error for all the mistakes found, each named once and in the order in which they were found."""
    single = list({str(one): one for error in errors for one in error.errors}.values())
    # A mistyped key is one mistake, not also the lack of the key that was meant.
    meant = {f"{one.field.rpartition('.')[0]}.{name[1]}" for one in single if (name := MEANT.search(one.allowed))}
    single = [one for one in single if one.value is not MISSING or f".{one.field}".removeprefix("." if "." in one.field else "")
              not in meant]
    return single[0] if len(single) == 1 else ProblemsError(single)


def _flat(text: str) -> str:
    """On one line, and without characters that a terminal acts on."""
    line = " ".join(str(text).split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in line)


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 4] + " ..."


def _depth(value: object) -> int:
    """How deep tables and lists are nested, counted up to `DEEPEST` + 1."""
    level, layer = 0, [value]
    while layer and level <= DEEPEST:
        inner: list[object] = []
        for item in layer:
            if isinstance(item, dict):
                inner += item.values()
            elif isinstance(item, list | tuple):
                inner += item
        layer, level = inner, level + 1
    return level


def _one_line(value: object) -> str:
    width = 100
    if isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, str):
        text, width = f'"{value}"', 400  # long enough for paths
    elif isinstance(value, int) and value.bit_length() > 10_000:  # Python refuses to print numbers of thousands of digits
        text = f"{'-' if value < 0 else ''}a whole number of {value.bit_length()} bits"
    elif isinstance(value, Mapping):  # as in the file, not as Python has it
        text = "{" + ", ".join(f"{key} = {_one_line(entry)}" for key, entry in value.items()) + "}"
    else:
        text = str(value)
    return _short(_flat(text), width)
