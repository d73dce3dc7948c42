"""Random mutations of problem files, meshes and tables: each is accepted, or refused in one line for each mistake.

    docker/run python3 tests/problems/mutations.py 5000

mutates the bundled files, a small mesh in each format and a table, one after the other in one process of at most 2 GB, and stops
at the first that takes over 20 s, leaves a file or ends in anything but a problem or a `ProblemError`. What is accepted, and
small, is run up to its first output. An eighth of the mutations goes to run folders (`tests/commands/mutated_folders.py`). The
suite runs 400 of files and a few of folders.
"""

from __future__ import annotations

import copy
import os
import random
import resource
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import meshio  # noqa: E402

from problems import ProblemError, load  # noqa: E402
from problems.loader import FOLDER  # noqa: E402
from problems.toml_text import toml_text  # noqa: E402

SECONDS, BYTES = 20, 2 * 2**30
# What a value of any kind is replaced by.
VALUES = [
    0, -1, 1, 2, 3, 10**9, 10**30, 2**63, 2**64, 10**400, 0.0, -0.0, 0.5, 1e-300, 1e-320, 1e-31, 1e29, 1e200, 1e300, 1.7e308,
    -1e308, float("nan"), float("inf"), float("-inf"), True, False, "", " ", "inf", "nan", "\0", "\x1b[31mred",
    "[bold]x[/bold]", "$\\frac{1}{0}$", "a" * 5000, "../../../etc/passwd", "/dev/zero", "/dev/stdin", "/", "é", "\u202e", [],
    [[]], [[[1.0]]], {}, {"a": 1}, [{}], [1.0] * 2000, [[1e200, 0.0], [0.0, 1e200]], [[1e-200, 0.0], [0.0, 1e-200]],
    [0.0, 1e-18], list(range(100)), "uniform", "table", "sphere", "euclidean", "file", "normal", "stationary", 344, 700,
    10_000,
]


def places(values, path=()):
    """Paths of all entries of nested tables and lists."""
    items = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def mutated_tables(rng: random.Random, values: dict) -> dict:
    """One to three entries replaced, removed, renamed, or doubled."""
    for _ in range(rng.randint(1, 3)):
        path = rng.choice(list(places(values)) or [("title",)])
        place = values
        for key in path[:-1]:
            place = place[key]
        action = rng.random()
        if action < 0.7:
            place[path[-1]] = copy.deepcopy(rng.choice(VALUES))
        elif action < 0.8:
            del place[path[-1]]
        elif isinstance(place, dict):
            odd = str(path[-1])[:-1] + rng.choice("xyz_.")
            place[odd if action < 0.9 else rng.choice(["a", "beta", "law", "path", "\0"])] = \
                copy.deepcopy(rng.choice(VALUES))
        else:
            place.append(copy.deepcopy(rng.choice(VALUES)))
    return values


def mutated_bytes(rng: random.Random, content: bytes) -> bytes:
    """A stretch of bytes cut, doubled, replaced or flipped, one to five times."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 5)):
        a = rng.randrange(len(data) + 1)
        b = min(len(data), a + rng.choice([1, 1, 2, 5, 20, 200]))
        action = rng.random()
        if action < 0.3:
            del data[a:b]
        elif action < 0.5:
            data[a:a] = data[a:b] * rng.choice([1, 2, 50])
        elif action < 0.7:
            data[a:b] = bytes(rng.randrange(256) for _ in range(b - a))
        else:
            data[a:b] = rng.choice([
                b"-1", b"99999999999", b"1e308", b"nan", b"inf", b"\0", b'"', b"[", b"\n", b"=", b".", b",", b"<", b"-"])
        if not data:
            break
    return bytes(data)


def cases(rng: random.Random, folder: Path, count: int) -> Iterator[Path]:
    """`count` mutated problem files in `folder`, with mutated meshes and tables beside them."""
    files = sorted(FOLDER.glob("*.toml"))
    angle = 2 * np.pi * np.arange(12) / 12
    mesh = meshio.Mesh(np.column_stack([np.cos(angle), np.sin(angle), 0 * angle]),
                       [("line", np.column_stack([np.arange(12), np.roll(np.arange(12), -1)]))])
    meshes = {}
    formats = {".msh": {"file_format": "gmsh22", "binary": False}, ".vtu": {"binary": False}, ".xdmf": {"data_format": "XML"}}
    for kind, options in formats.items():
        mesh.write(folder / f"circle{kind}", **options)
        meshes[kind] = (folder / f"circle{kind}").read_bytes()
    table = "".join(f"{np.cos(t)},{np.sin(t)},1.0\n" for t in angle).encode()
    path = folder / "case.toml"
    rest = '[attention]\nbeta = 1.0\n[initial]\nlaw = "{}"\n'
    for i in range(count):
        kind = i % 8
        if kind < 4:
            path.write_text(toml_text(mutated_tables(rng, tomllib.loads(rng.choice(files).read_text()))), encoding="utf-8",
                            errors="replace")
        elif kind < 6:
            path.write_bytes(mutated_bytes(rng, rng.choice(files).read_bytes()))
        elif kind == 6:
            (folder / "table.csv").write_bytes(mutated_bytes(rng, table))
            path.write_text('[space]\nmanifold = "circle"\n' + rest.format("table") + 'path = "table.csv"\n')
        else:
            suffix = rng.choice(sorted(meshes))
            (folder / f"circle{suffix}").write_bytes(mutated_bytes(rng, meshes[suffix]))
            path.write_text(f'[space]\nmanifold = "file"\npath = "circle{suffix}"\n' + rest.format("uniform"))
        yield path


def judge(path: Path, admit=None) -> str:
    """"accepted" or "refused"; anything else is raised: a foreign error, a hang, lines that are not one per mistake."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"over {SECONDS} s")

    signal.signal(signal.SIGALRM, stop)
    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of the processor: the machine may have other things to do
    signal.alarm(10 * SECONDS)
    try:
        problem = load(path)
        if admit is not None:
            admit(problem)
        return "accepted"
    except ProblemError as error:
        lines = str(error).split("\n")
        assert len(lines) == len(error.errors), lines
        assert all(line.isprintable() and len(line) < 1500 for line in lines), lines
        return "refused"
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)


def run(count: int, seed: int, folder: Path, admit=None) -> dict[str, int]:
    """How many were accepted and refused."""
    found = {"accepted": 0, "refused": 0}
    before = None
    for i, path in enumerate(cases(random.Random(seed), folder, count)):
        try:
            found[judge(path, admit)] += 1
        except BaseException:
            print(f"mutation {i} of seed {seed}: {path}", file=sys.stderr)
            raise
        present = {p.name for p in folder.iterdir()} - {"table.csv"}
        assert before is None or present == before, present - before
        before = present
    return found


class Reached(Exception):  # noqa: N818  (no error)
    """The first output was there."""


def first_output(problem) -> None:
    """Run both sides of a small problem up to their first output, which needs nothing that `check` may not have promised."""
    from mpi4py import MPI

    from solver.commands.admission import possible_sides
    from solver.runs.cost import density_cost, token_cost
    from solver.runs.observers import Observer
    from solver.runs.solve import run_density, run_particles

    class Stop(Observer):
        def output(self, snapshot) -> None:
            raise Reached

    for side in possible_sides(problem):
        cost = density_cost(problem) if side == "density" else token_cost(problem)
        if cost is None or cost.unknowns > 20_000 or cost.dense > 50.0 * max(cost.steps, 1.0) or problem.manifold.dimension > 50:
            continue
        try:
            (run_density if side == "density" else run_particles)(problem, MPI.COMM_SELF, [Stop()])
        except Reached:
            pass
        except ProblemError as error:
            raise AssertionError(f"accepted, and then refused: {error}") from None


def main() -> None:
    """Run as many as the first argument says, with the seed of the second."""
    from solver.commands.admission import admit, possible_sides
    from tests.commands import mutated_folders

    os.environ["COLDFLOW_THREADS"] = "1"
    resource.setrlimit(resource.RLIMIT_DATA, (BYTES, BYTES))
    started = time.perf_counter()
    count, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    folder = Path(tempfile.mkdtemp())

    def accept(problem) -> None:
        admit(problem, possible_sides(problem))
        first_output(problem)

    found = run(count - count // 8, seed, folder, accept)
    print(f"{count - count // 8} files: {found}", flush=True)
    place = Path(tempfile.mkdtemp())
    mutated_folders.make(place)
    said = Said()
    codes = mutated_folders.run(count // 8, seed, place, mutated_bytes, said.new)
    said.close()
    print(f"{count // 8} run folders: exit codes {codes}", flush=True)
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{count} mutations in {time.perf_counter() - started:.0f} s, at most {size:.2f} GiB: {found}")


class Said:
    """Standard error of this process, libraries included, piece by piece."""

    def __init__(self) -> None:
        self.kept, self.file = os.dup(2), tempfile.TemporaryFile()  # noqa: SIM115  (open for as long as the process lives)
        os.dup2(self.file.fileno(), 2)

    def new(self) -> str:
        """What was said since the last call."""
        sys.stderr.flush()
        self.file.seek(0)
        words = self.file.read().decode(errors="replace")
        self.file.seek(0)
        self.file.truncate()
        return words

    def close(self) -> None:
        """Standard error is itself again."""
        os.dup2(self.kept, 2)


if __name__ == "__main__":
    main()
