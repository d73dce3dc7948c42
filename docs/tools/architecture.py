"""Draws docs/architecture.svg: the rooms of the code on their floors, from the imports between them.

    python3 docs/tools/architecture.py          write the picture
    python3 docs/tools/architecture.py --check  exit code 1 if it is not up to date

A room is a package of `solver/`, `meshes` or `problems`; modules that lie directly in `solver/` are rooms of their own. A room
stands one floor above the highest room that it imports. An arrow that other arrows imply is not drawn. Standard library only.
"""

import ast
import sys
from collections import defaultdict
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "docs" / "architecture.svg"
PACKAGES = ("meshes", "problems", "solver")
# Doors rather than rooms: they start the command line, or gather names.
LEFT_OUT = {"__main__", "__init__"}
WIDTH, BOX, HEIGHT, FLOOR, MARGIN = 960, 160, 34, 70, 20

Edges = dict[str, set[str]]


def room_of(module: str) -> str:
    """Room of a module given by its dotted name."""
    package, _, rest = module.partition(".")
    return package if package != "solver" else (rest.partition(".")[0] or "__init__")


def modules() -> dict[str, Path]:
    """Dotted name and file of every module."""
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in files}


def imported(path: Path, known: dict[str, Path]) -> set[str]:
    """Modules of this project that a file imports, anywhere in it, for type checking too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in known else node.module
                      for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.partition(".")[0] in PACKAGES}


def rooms() -> Edges:
    """Every room and the rooms that it imports."""
    known = modules()
    edges: Edges = defaultdict(set)
    for name, path in known.items():
        room = room_of(name)
        if room in LEFT_OUT:
            continue
        edges[room] |= {room_of(other) for other in imported(path, known)} - {room} - LEFT_OUT
    return dict(sorted(edges.items()))


def floors(edges: Edges) -> dict[str, int]:
    """Floor of every room, 0 the lowest; ValueError names the rooms of a circle."""
    level: dict[str, int] = {}
    while len(level) < len(edges):
        ready = [room for room in edges if room not in level and edges[room] <= level.keys()]
        if not ready:
            raise ValueError(f"imports go round in a circle among {sorted(set(edges) - set(level))}")
        level |= {room: 1 + max((level[below] for below in edges[room]), default=-1) for room in ready}
    return level


def reduced(edges: Edges) -> Edges:
    """The same without arrows that a longer way implies."""
    below: Edges = {}
    for room in sorted(edges, key=floors(edges).__getitem__):
        below[room] = set().union(edges[room], *(below[other] for other in edges[room]))
    return {room: {other for other in others if not any(other in below[third] for third in others)}
            for room, others in edges.items()}


def title(room: str) -> str:
    """First sentence of a room's own docstring."""
    at = ROOT / room if room in PACKAGES else ROOT / "solver" / room
    file = at / "__init__.py" if at.is_dir() else at.with_suffix(".py")
    return (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n")[0]


def places(level: dict[str, int], arrows: Edges) -> dict[str, tuple[float, float]]:
    """Left upper corner of every box: floors from top to bottom, rooms ordered to shorten the arrows."""
    top = max(level.values())
    order = {floor: sorted(room for room in level if level[room] == floor) for floor in range(top + 1)}
    centre = {}
    for _ in range(8):
        for floor in range(top, -1, -1):
            row = order[floor]
            if centre:
                def wanted(room):
                    near = [centre[a] for a in arrows if room in arrows[a]] + [centre[b] for b in arrows[room]]
                    return sum(near) / len(near) if near else WIDTH / 2
                row.sort(key=lambda room: (wanted(room), room))
            step = (WIDTH - 2 * MARGIN) / len(row)
            for k, room in enumerate(row):
                centre[room] = MARGIN + (k + 0.5) * step
            if not all(room in centre for room in level):
                for room in level:
                    centre.setdefault(room, WIDTH / 2)
    return {room: (centre[room] - BOX / 2, MARGIN + (top - level[room]) * FLOOR) for room in level}


def draw() -> str:
    """The picture as SVG text; the same for the same imports."""
    edges = rooms()
    level, arrows = floors(edges), reduced(edges)
    place = places(level, arrows)
    height = 2 * MARGIN + max(level.values()) * FLOOR + HEIGHT
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
             'role="img" aria-label="Rooms of the code and the imports between them">',
             '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
             '<path d="M0 0 L8 4 L0 8 Z" fill="#777"/></marker></defs>',
             f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>']
    for room, others in arrows.items():
        for other in sorted(others):
            (x, y), (u, v) = place[room], place[other]
            x, y, u = x + BOX / 2, y + HEIGHT, u + BOX / 2
            bend = (v - y) / 2
            lines.append(f'<path d="M{x:.0f} {y:.0f} C{x:.0f} {y + bend:.0f} {u:.0f} {v - bend:.0f} {u:.0f} {v:.0f}" '
                         'fill="none" stroke="#999" marker-end="url(#tip)"/>')
    for room, (x, y) in place.items():
        outer = room in ("meshes", "problems")
        lines.append(f'<g><title>{escape(title(room))}</title>'
                     f'<rect x="{x:.0f}" y="{y:.0f}" width="{BOX}" height="{HEIGHT}" rx="6" '
                     f'fill="{"#fdf1dc" if outer else "#e8f0fa"}" stroke="{"#c90" if outer else "#47a"}"/>'
                     f'<text x="{x + BOX / 2:.0f}" y="{y + HEIGHT / 2 + 5:.0f}" font-size="15" text-anchor="middle">'
                     f'{room if outer else "solver." + room}</text></g>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def main() -> int:
    picture = draw()
    if "--check" in sys.argv[1:]:
        return int(not PICTURE.exists() or PICTURE.read_text() != picture)
    PICTURE.write_text(picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
