"""Every bundled problem to its end at its full setting, against the cost that its file states.

    docker/run python3 tests/paths/bundled.py OUT              all of them, one after the other, 1 rank
    docker/run python3 tests/paths/bundled.py OUT heat_circle  some

Prints one line for each: exit code, seconds, those of them that processors worked (all cores, which on a loaded machine are less
than what passes), seconds stated. The exit code is 1 if one did not end with 0 or took longer.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def stated_cost(file: Path) -> float:
    """Seconds of `coldflow compare` on two cores, from the line `# Cost: N s` of a problem file."""
    found = re.search(r"^# Cost: ([\d.]+) s", file.read_text(), re.MULTILINE)
    if found is None:
        raise ValueError(f"{file} does not state its cost")
    return float(found.group(1))


def main() -> int:
    out, names = Path(sys.argv[1]), sys.argv[2:]
    files = [file for file in sorted((ROOT / "problems").glob("*.toml")) if not names or file.stem in names]
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    bad = 0
    for file in files:
        began, worked = time.perf_counter(), sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
        done = subprocess.run([sys.executable, "-m", "solver", "compare", file.stem, "--out", str(out / file.stem), "--force"],
                              capture_output=True, text=True, env=environment)
        seconds, stated = time.perf_counter() - began, stated_cost(file)
        worked = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - worked
        well = done.returncode == 0 and seconds <= stated
        bad += not well
        mark, work = "" if well else "  <--", f"({worked:.1f} s of work)"
        print(f"{file.stem:24s} exit {done.returncode}  {seconds:6.1f} s {work} of {stated:g} s{mark}", flush=True)
        if done.returncode:
            print(done.stdout[-1500:], done.stderr[-1500:])
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
