"""An installed package's functions drive the command line, on one and two ranks and after a stop."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from solver.runs.tables import read_columns

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = """
import numpy as np
from problems import register_diagnostic, register_score, register_velocity

@register_score("cauchy")
def cauchy(queries, keys, width=1.0):
    return -np.log1p((np.linalg.norm(queries[:, None] - keys, axis=2) / width) ** 2)

@register_velocity("turn")
def turn(points, speed=1.0):
    return speed * points[:, ::-1] * [-1.0, 1.0]

@register_diagnostic("upper")
def upper(points, masses):
    return masses[points[:, 1] > 0].sum()
"""
ENTRIES = """
[coldflow.scores]
cauchy = mine:cauchy
[coldflow.velocities]
turn = mine:turn
[coldflow.diagnostics]
upper = mine:upper
"""
PROBLEM = """
[space]
manifold = "circle"
[attention]
beta = 3.0
score = { name = "cauchy", width = 0.7 }
[drift]
velocity = { name = "turn", speed = 0.5 }
[diagnostics]
columns = ["upper"]
[initial]
law = "harmonics"
cos = [0.4]
[time]
end = 0.5
outputs = 3
[density]
cells = 32
[particles]
count = 64
"""


@pytest.fixture
def run(tmp_path):
    """Runs `coldflow` in a folder, with a package installed beside it."""
    installed = tmp_path / "installed"
    (installed / "mine-1.0.dist-info").mkdir(parents=True)
    (installed / "mine.py").write_text(PACKAGE)
    (installed / "mine-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (installed / "mine-1.0.dist-info/entry_points.txt").write_text(ENTRIES)
    (tmp_path / "own.toml").write_text(PROBLEM)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMPI_COMM", "PMIX_", "PRTE_"))}

    def coldflow(*words, ranks=1, known=True):
        paths = [str(ROOT), *([str(installed)] if known else [])]
        launcher = ["mpirun", "-n", str(ranks)] if ranks > 1 else []
        return subprocess.run([*launcher, sys.executable, "-P", "-m", "solver", *words], cwd=tmp_path, text=True,
                              capture_output=True, timeout=200,
                              env={**kept, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"})

    return coldflow


@pytest.mark.timeout(240)
def test_entry_points_on_one_and_two_ranks(run, tmp_path):
    for ranks in (1, 2):
        done = run("compare", "own.toml", "--no-verdict", "--quiet", "--out", f"ranks{ranks}", ranks=ranks)
        assert done.returncode == 0, done.stderr
    for table in ("diagnostics.csv", "particles.csv"):
        one, two = (read_columns(tmp_path / f"ranks{ranks}" / table) for ranks in (1, 2))
        assert "upper" in one
        for name, column in one.items():
            assert two[name] == pytest.approx(column, rel=1e-10, abs=1e-10, nan_ok=True), name
    assert run("compare", "own.toml", "--no-verdict", "--quiet", "--out", "ranks1", "--resume").returncode == 0
    refused = run("check", "own.toml", known=False)
    assert refused.returncode == 2
    assert [line.split(" = ")[0] for line in refused.stderr.splitlines()] == [
        "coldflow: attention.score", "coldflow: drift.velocity", "coldflow: diagnostics.columns[0]"]
    shown = run("check", "own.toml").stdout
    assert 'score "cauchy" (width = 0.7)' in shown
    assert '"turn" (speed = 0.5) beside attention' in shown
