"""Writes docs/gallery.md: what each bundled problem shows, its command and its picture.

    python3 docs/tools/gallery.py                the page, from the problem files
    python3 docs/tools/gallery.py RESULTS        the pictures too, from the run folders RESULTS/<problem>

The run folders come from the commands on the page. Standard library only, but for the pictures, which Matplotlib makes smaller.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "docs" / "gallery"
WIDTH = 1000
HEAD = """# Gallery

Every bundled problem, with the law over depth as its run draws it, and the command. Circles are unrolled: angle against
depth, and colour for density. Surfaces are shown at four depths. Made by `python3 docs/tools/gallery.py`.
"""


def description(path: Path) -> str:
    """The comment at the head of a problem file, as paragraphs."""
    lines = []
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            break
        lines.append(line[1:].strip())
    text = re.sub(r"([_*<>])", r"\\\1", "\n".join(lines))
    return text.replace("docs/theory.md", "[theory.md](theory.md)")


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for path in sorted((ROOT / "problems").glob("*.toml")):
        name, title = path.stem, tomllib.loads(path.read_text())["title"]
        parts.append(f"## {name}\n\n**{title}**\n\n{description(path)}\n")
        if (PICTURES / f"{name}.png").exists():
            parts.append(f"![{title}](gallery/{name}.png)\n")
        parts.append(f"<!-- not run: other tests run every bundled problem, smaller -->\n```sh\n"
                     f"coldflow compare {name} --out results/gallery/{name}\n```\n")
    return "\n".join(parts)


def shrink(source: Path, target: Path) -> None:
    """A picture at most WIDTH wide."""
    import matplotlib.image
    import numpy as np

    image = matplotlib.image.imread(source)[..., :3]
    factor = -(-image.shape[1] // WIDTH)
    if factor > 1:
        tall, wide = (size // factor * factor for size in image.shape[:2])
        image = image[:tall, :wide].reshape(tall // factor, factor, wide // factor, factor, 3).mean(axis=(1, 3))
    target.parent.mkdir(exist_ok=True)
    matplotlib.image.imsave(target, np.ascontiguousarray(image))


def main(arguments: list[str]) -> int:
    for path in sorted((ROOT / "problems").glob("*.toml")) if arguments else []:
        found = Path(arguments[0]) / path.stem / "figures" / "density.png"
        if found.exists():
            shrink(found, PICTURES / f"{path.stem}.png")
        else:
            print(f"no picture of {path.stem}: {found} does not exist")
    (ROOT / "docs" / "gallery.md").write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
