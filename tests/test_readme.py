"""What the README, and the files beside it, promise: every command, example, link and name in them holds."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SETTINGS = {"density.cells": 32, "density.degree": 1, "particles.count": 64, "time.end": 0.4, "time.outputs": 3}
SMALL = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
# Names in an environment file that differ from those of the Python packages.
CONDA_NAMES = {"matplotlib": "matplotlib-base", "POT": "pot"}


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)


def commands():
    """Commands that the README shows, one indented line each."""
    return [line.strip() for line in README.splitlines() if line.startswith("    docker/run ")]


def run(arguments, cwd):
    env = {name: value for name, value in os.environ.items() if not name.startswith(("OMPI_COMM", "PMIX_", "PRTE_"))}
    return subprocess.run([str(ROOT / "docker" / "run"), *arguments], cwd=cwd, env=env, text=True, capture_output=True,
                          timeout=250)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the bundled problems and the README's own problem."""
    path = tmp_path_factory.mktemp("readme")
    (path / "problems").symlink_to(ROOT / "problems")
    (path / "mine.toml").write_text(blocks("toml")[0])
    return path


def test_it_opens_with_an_animation():
    first = re.search(r"!\[.+\]\((.+)\)", README)
    assert README[:first.start()].strip() == "# coldflow"
    assert first[1].endswith(".gif")
    data = (ROOT / first[1]).read_bytes()
    assert data.startswith(b"GIF89a")
    assert data.count(b"\x21\xf9\x04") > 20  # frames
    assert len(data) < 2e6


def test_two_commands():
    assert commands()[:2] == ["docker/run coldflow compare problems/misaligned_circle.toml", "docker/run pytest"]


@pytest.mark.parametrize("command", [c for c in commands() if "coldflow" in c])
def test_command(command, folder, tmp_path):
    words = command.split()[1:]
    if "check" not in words:
        words += [*SMALL, "--quiet", *(["--no-verdict"] if "compare" in words else [])]
        if "--out" not in words:
            words += ["--out", str(tmp_path / "run")]
    done = run(words, folder)
    assert done.returncode == 0, done.stderr[-2000:]


def test_tests_can_be_collected(tmp_path):
    assert "docker/run pytest" in commands()
    done = run(["pytest", "--collect-only", "-q", str(ROOT / "tests" / "test_launcher.py")], ROOT)
    assert done.returncode == 0, done.stdout[-2000:]


def test_python_example(folder):
    example = blocks("python")[0].replace('load("mine.toml")', 'load("mine.toml", {"density.cells": "32", "time.end": "0.2"})')
    assert example != blocks("python")[0]
    done = run(["python3", "-c", example], folder)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("[0.0")


def test_every_command_is_listed():
    done = run(["coldflow", "--help"], ROOT)
    offered = set(re.findall(r"^  ([a-z]+)  ", done.stdout.partition("Commands:")[2], re.M))
    listed = set(re.findall(r"^\| `coldflow ([a-z]+)", README, re.M))
    assert offered == listed


def test_links_lead_somewhere():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if "://" not in target and "." in target:
                assert (page.parent / target).exists(), f"{page.name} refers to {target}"


def test_versions_agree():
    import solver

    citation = (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^version: (.+)$", citation, re.M)[1] == solver.__version__
    assert PROJECT["dynamic"] == ["version"]
    assert re.search(r"^license: (.+)$", citation, re.M)[1] == PROJECT["license"]["text"]
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


def test_addresses_of_the_repository_agree():
    citation = (ROOT / "CITATION.cff").read_text()
    home = PROJECT["urls"]["Homepage"]
    assert re.findall(r'^(?:url|repository-code): "(.+)"$', citation, re.M) == [home, home]
    for page in (*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "paper.md", ROOT / "CONTRIBUTING.md"):
        for address in re.findall(r"https://github\.com/coldflow[^\s)`]*", page.read_text()):
            assert address.startswith(home), f"{page.name}: {address}"
    assert all(address.startswith(home) for address in PROJECT["urls"].values())


def test_conda_environment_is_complete():
    lines = (ROOT / "environment.yml").read_text().splitlines()
    held = {re.match(r"  - ([A-Za-z0-9_-]+)", line)[1] for line in lines if line.startswith("  - ")}
    needed = [*PROJECT["dependencies"], *(name for extra in PROJECT["optional-dependencies"].values() for name in extra)]
    for requirement in needed:
        name = re.match(r"[A-Za-z0-9_-]+", requirement)[0]
        assert CONDA_NAMES.get(name, name) in held, f"environment.yml lacks {name}"


def imported(*folders):
    """First names of what the modules of some folders import, the project's own and Python's left out."""
    found = set()
    for file in (file for folder in folders for file in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            found |= {name.partition(".")[0] for name in names}
    return found - set(sys.stdlib_module_names) - {"solver", "problems", "meshes", "tests", "notebooks", "notebook_pages"}


def test_dependencies_are_those_that_are_imported():
    """No dependency is dead, and nothing is imported that no list names, but for what comes with something named."""
    modules = {"POT": "ot", "pillow": "PIL", "tomli-w": "tomli_w", "fenics-dolfinx": "dolfinx"}
    comes_with = {"basix", "ufl", "nbformat", "IPython"}  # dolfinx, nbclient and ipykernel
    elsewhere = {"torch", "pykeops", "paraview", "_typeshed"}  # used where they are installed; of type checkers
    tools = {"pytest-timeout", "pytest-xdist", "ipykernel", "ruff", "mypy"}  # run, not imported
    named = {re.match(r"[A-Za-z0-9_-]+", name)[0]
             for names in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()) for name in names}
    found = imported("solver", "problems", "meshes", "tests")
    assert {modules.get(name, name) for name in named if name not in tools} == found - comes_with - elsewhere


def names_on(page):
    """All words in code style on a page of docs/, examples left out."""
    text = re.sub(r"^```.*?^```", "", (ROOT / "docs" / page).read_text(), flags=re.M | re.S)
    return set(re.findall(r"[A-Za-z0-9_.-]+", " ".join(re.findall(r"`([^`\n]+)`", text))))


def test_every_key_is_documented():
    """docs/problem-file.md names every key that the loader accepts."""
    from dataclasses import fields

    from problems import attention, schedule, sections, space
    from problems.laws import LAWS

    keys = {field.name for section in (sections.Noise, sections.Density, sections.Particles, sections.Compare)
            for field in fields(section) if field.metadata.get("check")}
    keys |= {field.key for field in (*space.FIELDS, *space.GRADING, *attention.FIELDS, attention.UNTIL, *schedule.FIELDS)}
    keys |= {*LAWS, *(key for law in LAWS.values() for key in law.keys)}
    keys |= {*sections.DENSITY_INTEGRATORS, *sections.PARTICLE_INTEGRATORS, *sections.SAMPLINGS, *sections.METRICS}
    keys |= {*space.MANIFOLDS}
    missing = sorted(keys - names_on("problem-file.md"))
    assert not missing, f"docs/problem-file.md does not name {missing}"


def test_every_file_and_column_is_documented():
    """docs/run-folder.md names every file of a run and every column of its tables."""
    from solver.commands.sweep import SHOWN
    from solver.comparison.verdict import CONVERGENCE_COLUMNS, VERDICT_COLUMNS
    from solver.runs.contents import NAMES
    from solver.runs.tables import DISTANCES_COLUMNS, diagnostics_columns

    names = {*SHOWN, *DISTANCES_COLUMNS, *VERDICT_COLUMNS, *CONVERGENCE_COLUMNS, *diagnostics_columns(1, density=True)}
    held = {name.strip("/") for name in names_on("run-folder.md")}
    files = {name for name in NAMES if not any(fnmatch(held_name, name) for held_name in held)}
    missing = sorted((names - held) | files)
    assert not missing, f"docs/run-folder.md does not name {missing}"


def test_documented_layers_are_those_of_the_bundled_problem():
    from problems import load

    example = re.search(r"^```toml\n(.*?)^```", (ROOT / "docs" / "problem-file.md").read_text(), re.M | re.S)[1]
    bundled = tomllib.loads((ROOT / "problems" / "layered_circle.toml").read_text())
    assert tomllib.loads(example)["attention"] == bundled["attention"]
    assert load("layered_circle").attention.switch_times == (4.0,)
