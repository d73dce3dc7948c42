"""Random damage to the files of a run folder: every command that reads it does its work, or says in one line that it cannot.

`tests/problems/mutations.py` runs many of these after its files; the suite runs a few.
"""

from __future__ import annotations

import random
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

from mpi4py import MPI

from solver.cli import dispatch
from solver.ranks import run_together

TINY = "--set particles.count=8 --set density.cells=8 --set time.end=0.1 --set time.outputs=3 --quiet"
PLAIN = '[space]\nmanifold = "circle"\n[attention]\nbeta = 1.0\n[initial]\nlaw = "uniform"\n'
READERS = ("distance {run} {run}", "report {run}", "repeat {run} --quiet", "{command} {file} --out {run} --resume " + TINY,
           "{command} {file} --out {run} " + TINY, "{command} {file} --out {run} --force " + TINY)


def make(place: Path) -> None:
    """A problem file and a finished run of each solver."""
    place.mkdir(exist_ok=True)
    (place / "plain.toml").write_text(PLAIN)
    for command in ("particles", "solve"):
        code = run_together(lambda command=command: dispatch(shlex.split(  # type: ignore[misc]
            f"{command} {place}/plain.toml --out {place}/{command} {TINY}")), MPI.COMM_SELF)
        if code:
            raise RuntimeError(f"{command}: exit code {code}")


def run(count: int, seed: int, place: Path, mutate: Callable[[random.Random, bytes], bytes],
        output: Callable[[], str]) -> dict[int, int]:
    """How often each exit code was seen.

    Args:
        place: folder of `make`. mutate: alters the bytes of a file.
        output: what was written to standard error since the last call.

    Raises:
        AssertionError: another code, a traceback, several lines.
    """
    rng, found = random.Random(seed), {0: 0, 1: 0, 2: 0}
    for i in range(count):
        command, reader = rng.choice(("particles", "solve")), rng.choice(READERS)
        folder = place / "mutated"
        shutil.copytree(place / command, folder)
        files = sorted(p for p in folder.rglob("*") if p.is_file() and p.parent.name != "figures")
        changed = rng.sample(files, rng.randint(1, 2))
        for file in changed:
            action = rng.random()
            if action < 0.15:
                file.unlink()
            elif action < 0.2:
                file.unlink()
                file.mkdir()
            else:
                file.write_bytes(mutate(rng, file.read_bytes() or b"\0"))
        words = reader.format(run=folder, file=place / "plain.toml", command=command)
        code = run_together(lambda words=words: dispatch(shlex.split(words)), MPI.COMM_SELF)  # type: ignore[misc]
        said = output()
        what = f"mutation {i} of seed {seed}: {words}, {[str(p.relative_to(folder)) for p in changed]}: exit {code}: {said}"
        assert code in found, what
        # A number that was altered is another number: only repeat may then say that it differs.
        assert code != 1 or reader.startswith("repeat"), what
        lines = said.strip().splitlines()
        assert all(line.startswith("coldflow: ") and len(line) < 1500 for line in lines) and (code != 2 or lines), what
        found[code] += 1
        shutil.rmtree(folder)
    return found
