"""References hold: every `§` leads to a heading of docs/theory.md or into a published source; every page that is named exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("meshes", "problems", "solver", "tests", "docs", "docker", ".ci", ".github", "notebooks")
SUFFIXES = {".py", ".c", ".h", ".toml", ".md", ".html", ".yml", ".yaml", ".cff", ".ipynb", ".def", ".sh", ""}
# Pages that a command makes, and those that the site makes of the project's own.
MADE = {"docs/claims.md", "claims.md"}
ON_SITE = {"index.md", "contributing.md", "code-of-conduct.md", "security.md", "changelog.md"}
ON_SITE |= {f"notebooks/{path.stem}.md" for path in (ROOT / "docs/notebooks").glob("*.ipynb")}
# A paper or book is cited by its year, "(Hairer & Wanner 1996, §IV.2)".
PUBLISHED = re.compile(r"\b(?:19|20)\d\d[a-z]?, §[IVX\d.]+")
SECTION = re.compile(r"§\s?(\d+(?:\.\d+)?)?(?:\s?(?:-|–|to)\s?§?(\d+(?:\.\d+)?))?")
PAGE = re.compile(r"(?<![\w*])((?:[\w.-]+/)*[\w-]+\.md)\b")


def texts():
    """Path relative to the project and text of every source, document and setting."""
    files = [path for path in ROOT.iterdir() if path.is_file()]
    files += [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    for path in sorted(files):
        if path.suffix in SUFFIXES and "__pycache__" not in path.parts and path.name != Path(__file__).name:
            yield path.relative_to(ROOT), path.read_text(errors="replace")


FILES = list(texts())


def headings(text):
    """Numbers of sections and items in order: "3", "3.1", .. from lines such as `### 3.1 Flow`."""
    return re.findall(r"^#{2,3} (\d+(?:\.\d+)?)\.? ", text, re.M)


THEORY = headings((ROOT / "docs" / "theory.md").read_text())


def dead_sections(text):
    """What follows a § and is no number of docs/theory.md."""
    found = []
    for match in SECTION.finditer(PUBLISHED.sub("", text)):
        numbers = [number for number in match.groups() if number] or [match[0].strip()]
        found += [number for number in numbers if number not in THEORY]
    return found


def dead_pages(path, text):
    """Names of pages that lead nowhere, from the project's folder or, in documents and tests, from docs/ or beside."""
    starts = [ROOT]
    site = path.name == "mkdocs.yml" or path.parent == Path("docs/tools")
    if site or path.suffix in (".md", ".ipynb") or path.parts[0] == "tests":
        starts += [ROOT / path.parent, ROOT / "docs"]
    return [name for name in PAGE.findall(re.sub(r"https?://\S+", "", text))
            if name not in MADE and not (site and name in ON_SITE) and not any((at / name).exists() for at in starts)]


def test_theory_is_numbered_without_gaps():
    sections = [int(number) for number in THEORY if "." not in number]
    assert sections == list(range(1, len(sections) + 1))
    for section in sections:
        items = [int(number.split(".")[1]) for number in THEORY if number.startswith(f"{section}.")]
        assert items == list(range(1, len(items) + 1)), f"items of section {section}"


def test_sections_resolve():
    dead = {str(path): found for path, text in FILES if (found := dead_sections(text))}
    assert not dead, f"no such section in docs/theory.md: {dead}"


def test_pages_exist():
    dead = {str(path): found for path, text in FILES if (found := dead_pages(path, text))}
    assert not dead, f"no such page: {dead}"


def test_code_names_the_theory_by_its_path():
    """A bare "theory.md" leads nowhere from a source file."""
    loose = [str(path) for path, text in FILES if path.parts[0] in ("meshes", "problems", "solver")
             and re.search(r"(?<!docs/)\btheory\.md", text)]
    assert not loose


@pytest.mark.parametrize(("text", "found"), [
    ("docs/theory.md §3.2, §4.8", []), ("§3 to §5", []), ("(Hairer & Wanner 1996, §IV.2)", []),
    ("docs/theory.md §3.99", ["3.99"]), ("§12", ["12"]), ("see § below", ["§"]),
])
def test_dead_sections_are_found(text, found):
    assert dead_sections(text) == found


@pytest.mark.parametrize(("path", "text", "found"), [
    ("solver/x.py", "docs/theory.md and README.md", []), ("solver/x.py", "contract.md §2", ["contract.md"]),
    ("solver/x.py", "theory.md", ["theory.md"]), ("docs/x.md", "[theory.md](theory.md), docs/none.md", ["docs/none.md"]),
])
def test_dead_pages_are_found(path, text, found):
    assert dead_pages(Path(path), text) == found
