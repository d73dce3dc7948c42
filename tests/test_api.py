"""docs/api.md is the public API: its signatures and members are those of the code, and nothing public is missing."""

import dataclasses
import importlib
import inspect
import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "api.md").read_text()
# Each entry: its heading, "problems.load(source, overrides=None)", and the text below it.
ENTRIES = re.findall(r"^### `([\w.]+)(\([^`]*\))?`\n(.*?)(?=^##|\Z)", PAGE, re.M | re.S)


def resolve(name):
    """The object of a dotted name: the longest importable module, then attributes."""
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        for part in parts[cut:]:
            found = getattr(found, part)
        return found
    raise AssertionError(f"{name} cannot be imported")


def signature(function, *, method=False):
    """Parameters without annotations, as the page writes them."""
    parameters = list(inspect.signature(function).parameters.values())[int(method):]
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters]
    return str(inspect.Signature(bare))


def members(body):
    """(name, arguments or None) of the first column of the table of an entry."""
    rows = re.findall(r"^\| (`\..*?) \|", body, re.M)
    return [found for row in rows for found in re.findall(r"`\.(\w+)(\(.*?\))?`", row)]


@pytest.mark.parametrize(("name", "arguments", "body"), ENTRIES, ids=[name for name, *_ in ENTRIES])
def test_entry(name, arguments, body):
    found = resolve(name)
    if arguments:
        assert signature(found) == arguments
    fields = {field.name for field in dataclasses.fields(found)} if dataclasses.is_dataclass(found) else set()
    for member, given in members(body):
        if member in fields and not given:
            continue
        attribute = inspect.getattr_static(found, member)
        if given:
            assert signature(attribute, method=True) == given, f"{name}.{member}"
        else:
            assert not inspect.isfunction(attribute), f"{name}.{member} is called with {signature(attribute, method=True)}"


@pytest.mark.parametrize("package", ["problems", "solver"])
def test_everything_public_is_documented(package):
    documented = {name for name, *_ in ENTRIES}
    missing = [name for name in importlib.import_module(package).__all__ if f"{package}.{name}" not in documented]
    assert not missing, f"docs/api.md lacks {missing}"
