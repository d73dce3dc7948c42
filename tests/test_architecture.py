"""The picture of the rooms is that of the imports, and docs/architecture.md names every room."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOL = ROOT / "docs" / "tools" / "architecture.py"


@pytest.fixture(scope="module")
def architecture():
    spec = importlib.util.spec_from_file_location("architecture", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_picture_is_up_to_date(architecture):
    assert architecture.PICTURE.read_text() == architecture.draw(), "run python3 docs/tools/architecture.py"


def test_every_room_is_described(architecture):
    page = (ROOT / "docs" / "architecture.md").read_text()
    described = set(re.findall(r"^\| `(\w+)` \|", page, re.M)) | {"meshes", "problems"}
    assert described == set(architecture.rooms())


def test_a_circle_is_refused(architecture):
    with pytest.raises(ValueError, match=r"circle among \['a', 'b'\]"):
        architecture.floors({"a": {"b"}, "b": {"a"}, "c": set()})


def test_implied_arrows_are_left_out(architecture):
    assert architecture.reduced({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {"a": {"b"}, "b": {"c"}, "c": set()}
