"""The rooms of the project: imports go downwards only, without circles, and no room grows out of sight."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# From the top to the bottom; rooms of one line do not import each other. What a room imports stands below it.
FLOORS = (
    ("solver.__main__",),
    ("solver.cli",),
    ("solver.commands",),
    ("solver.claims", "solver.bench"),
    ("solver.sweeps",),
    ("solver.comparison",),
    ("solver.report",),
    ("solver.runs",),
    ("solver.density",),
    ("solver.particles",),
    ("solver.projection",),
    ("solver.wasserstein",),
    ("solver.attention",),
    ("solver.ranks",),
    ("solver.compiled", "solver.errors", "solver.guardian"),
    ("problems",),
    ("meshes",),
)
LONGEST = 400
MOST_IN_SOLVER = 20


def modules():
    """Module name -> file, for everything that is shipped."""
    found = {}
    for package in ("meshes", "problems", "solver"):
        for file in sorted((ROOT / package).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(name, file, known):
    """Modules of the project that a module imports, anywhere in it: in functions and for type checking only, too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in known}
        elif isinstance(node, ast.ImportFrom):
            package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            source = ".".join(part for part in (base, node.module) if part)
            inside = {f"{source}.{alias.name}" for alias in node.names} & known.keys()
            found |= inside or ({source} & known.keys())
    return found - {name}


@pytest.fixture(scope="module")
def graph():
    known = modules()
    return {name: imports(name, file, known) for name, file in known.items()}


def floor(name):
    """Number of the floor of a module; packages' own __init__ files offer what is inside and count as their room."""
    for level, rooms in enumerate(FLOORS):
        if any(name == room or name.startswith(room + ".") for room in rooms):
            return level
    raise AssertionError(f"{name} has no floor: name its room in FLOORS")


def test_every_import_points_downwards(graph):
    upward = []
    for name, targets in graph.items():
        if name == "solver":  # the public names, imported when they are asked for
            continue
        room = name.split(".")[:2]
        for target in targets:
            if target.split(".")[:2] != room and floor(target) <= floor(name) and not (
                    floor(target) == floor(name) and name.split(".")[0] == target.split(".")[0] != "solver"):
                upward.append(f"{name} -> {target}")
    assert not upward, upward


def test_no_circle(graph):
    done, path = set(), []

    def visit(name):
        if name in path:
            raise AssertionError(" -> ".join([*path[path.index(name):], name]))
        if name in done:
            return
        path.append(name)
        for target in sorted(graph[name]):
            visit(target)
        path.pop()
        done.add(name)

    for name in sorted(graph):
        visit(name)


def test_few_things_lie_in_solver_itself():
    things = [p.name for p in (ROOT / "solver").iterdir() if p.name != "__pycache__" and not p.name.startswith(".")]
    assert len(things) <= MOST_IN_SOLVER, sorted(things)


def test_modules_keep_to_one_theme():
    lengths = {name: len(file.read_text().splitlines()) for name, file in modules().items()}
    assert not {name: n for name, n in lengths.items() if n > LONGEST}
    assert sorted(lengths.values())[len(lengths) // 2] <= 125


def test_tests_keep_to_one_theme():
    lengths = {str(file): len(file.read_text().splitlines()) for file in (ROOT / "tests").rglob("*.py")}
    assert not {name: n for name, n in lengths.items() if n > LONGEST}


def test_a_test_that_does_not_run_says_why():
    silent = [f"{file}:{node.lineno}" for file in (ROOT / "tests").rglob("*.py") for node in ast.walk(ast.parse(file.read_text()))
              if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
              and node.func.attr in ("skip", "skipif", "xfail", "importorskip")
              and ast.unparse(node.func).startswith("pytest.")
              and not any(word.arg == "reason" for word in node.keywords)
              and not (node.func.attr in ("skip", "xfail") and node.args)]
    assert not silent


def test_pictures_are_drawn_in_one_room_only(graph):
    drawing = [name for name, file in modules().items()
               if "matplotlib" in file.read_text() and not name.startswith("solver.report")
               and any(isinstance(node, ast.Import | ast.ImportFrom) and "matplotlib" in ast.dump(node)
                       for node in ast.walk(ast.parse(file.read_text())))]
    assert not drawing
