"""Every code block of docs/ is run, in small sizes and in the order of its page, or says on the line above why it is not.

    <!-- not run: needs Slurm -->

Python and commands run in one folder for each page; a TOML block that begins with a comment `# name.toml` is saved there
under that name, and every TOML block must be a valid problem. The README's blocks are run by test_readme.py.
"""

import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
MARK = re.compile(r"<!-- not run: .+ -->")
FENCE = re.compile(r"^```(\w*)\s*$")
SETTINGS = {"density.cells": "32", "density.degree": "1", "particles.count": "64", "time.end": "0.4", "time.outputs": "3"}
RUNS = ("compare", "solve", "particles", "sweep")
# Commands on bundled problems that need no folder of their own: one run is enough, however many pages show them.
seen: set[str] = set()


@dataclass
class Block:
    """One code block: its page, first line, language ("" for an indented one), text, and whether a mark excuses it."""

    page: Path
    line: int
    language: str
    text: str
    marked: bool


def blocks(page):
    """Fenced and indented code blocks of a page in order. Displayed equations and lists are none."""
    found, lines, at, above = [], page.read_text().splitlines(), 0, ""
    while at < len(lines):
        start, fence = at, FENCE.match(lines[at])
        if fence:
            at = next(k for k in range(start + 1, len(lines)) if lines[k] == "```")
            found.append(Block(page, start + 1, fence[1], "\n".join(lines[start + 1:at]) + "\n", bool(MARK.match(above))))
        elif lines[at].startswith("    ") and (start == 0 or not lines[start - 1].strip()) and not in_list(lines, start):
            while at < len(lines) and (lines[at].startswith("    ") or not lines[at].strip()):
                at += 1
            body = "\n".join(line[4:] for line in lines[start:at]).strip() + "\n"
            found.append(Block(page, start + 1, "", body, bool(MARK.match(above))))
            at -= 1
        if lines[at].strip():
            above = lines[at]
        at += 1
    return found


def in_list(lines, at):
    """Whether an indented line goes on with an item of a list."""
    before = next((line for line in reversed(lines[:at]) if line.strip() and not line.startswith("    ")), "")
    return bool(re.match(r"\s*([*-]|\d+\.) ", before))


def small(words):
    """A command in a small size, up to a small depth unless it runs to rest, and without extra runs."""
    if words[0] not in RUNS:
        return words
    own, dashes, petsc = words, [], []
    if "--" in words:
        cut = words.index("--")
        own, dashes, petsc = words[:cut], ["--"], words[cut + 1:]
    rest = "time.end=stationary" in words
    if "--over" in own:  # two values are as good as many
        at = own.index("--over") + 1
        own = [*own[:at], ",".join(own[at].split(",")[:2]), *own[at + 1:]]
    own_mesh = Path(words[1]).is_file() and 'manifold = "file"' in Path(words[1]).read_text()
    left = [key for key in SETTINGS if not (rest and key.startswith("time.")) and not (own_mesh and key == "density.cells")]
    sizes = [f"{key}={SETTINGS[key]}" for key in left]
    sizes = [word for size in sizes for word in ("--set", size)]
    return [*own, *sizes, "--quiet", *(["--no-verdict"] if words[0] == "compare" else []), *dashes, *petsc]


def run_command(line, folder):
    """Run one `coldflow` line; in this process unless it needs ranks or PETSc options of its own."""
    from solver.cli import dispatch

    words = shlex.split(line, comments=True)
    changed = {}
    while "=" in words[0]:
        name, _, changed[name] = words.pop(0).partition("=")
    if words[0] == "docker/run":
        words = words[1:]
    launcher, words = words[:words.index("coldflow")], words[words.index("coldflow") + 1:]
    words = small(words)
    if launcher or changed or "--" in words:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMPI_COMM", "PMIX_", "PRTE_"))}
        environment |= changed | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run([*launcher, "python3", "-m", "solver", *words], cwd=folder, env=environment, text=True,
                              capture_output=True, timeout=250)
        assert done.returncode == 0, f"{line}: {done.stderr[-2000:]}"
        return
    key = shlex.join(words)
    if "--out" not in words and words[0] in ("check", "target", "problems", "doctor"):
        if key in seen:
            return
        seen.add(key)
    assert dispatch(words) == 0, line


def complete(text):
    """A fragment of a problem file with what it lacks."""
    needed = {"space": '[space]\nmanifold = "circle"\n', "attention": "[attention]\nbeta = 1.0\n",
              "initial": '[initial]\nlaw = "uniform"\n'}
    return text + "\n" + "".join(table for name, table in needed.items() if f"[{name}]" not in text)


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_blocks_run(page, tmp_path, monkeypatch, capsys):
    from problems import loads

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    (tmp_path / "problems").symlink_to(ROOT / "problems")
    names = {}
    for block in blocks(page):
        if block.marked:
            continue
        where = f"{page.name}, line {block.line}"
        if block.language == "toml":
            name = re.match(r"# ([\w-]+\.toml)\n", block.text)
            loads(complete(block.text))
            if name:
                Path(name[1]).write_text(block.text)
        elif block.language == "python":
            exec(compile(block.text, where, "exec"), names)
        else:
            for line in block.text.replace("\\\n", " ").splitlines():
                if line.strip():
                    assert re.match(r"(\w+=\w+ )*(docker/run )?(mpirun -n \d )?coldflow ", line), f"{where} is not run: {line}"
                    run_command(line, tmp_path)


def test_readme_is_run_or_marked():
    for block in blocks(ROOT / "README.md"):
        shown = block.language in ("toml", "python") or all(line.startswith("docker/run ") for line in block.text.splitlines())
        assert shown or block.marked, f"README.md, line {block.line}, is neither run nor marked"


def test_blocks_are_found(tmp_path):
    page = tmp_path / "page"
    page.write_text("Text\n\n    coldflow a\n    coldflow b\n\n* item\n\n    still the item\n\n"
                    "<!-- not run: why -->\n```sh\nx\n```\n\n```python\ny\n```\n")
    found = [(block.line, block.language, block.text, block.marked) for block in blocks(page)]
    assert found == [(3, "", "coldflow a\ncoldflow b\n", False), (11, "sh", "x\n", True), (15, "python", "y\n", False)]


def test_gallery_shows_every_bundled_problem():
    """A heading, the command and a picture each; the page is what its script writes from the problem files."""
    from problems import bundled

    page = (ROOT / "docs" / "gallery.md").read_text()
    for name, title in bundled():
        assert f"## {name}\n\n**{title}**" in page, "run python3 docs/tools/gallery.py"
        assert f"\ncoldflow compare {name} " in page
        assert f"](gallery/{name}.png)" in page
        assert (ROOT / "docs" / "gallery" / f"{name}.png").exists()


def test_every_page_is_on_the_site():
    """mkdocs.yml lists every page of docs/ once."""
    listed = re.findall(r"^ +- [^:]+: ([\w-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M)
    assert len(listed) == len(set(listed))
    assert {page.name for page in PAGES} <= set(listed)
