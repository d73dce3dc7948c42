"""Every path a user can take, by the command line: the table of `table.py` and the bundled problems, on 1, 2 and 3 ranks.

The whole table runs in a few processes, since each start of the command line costs a second. What is not in the table:
`docker/run python3 tests/paths/walk.py OUT --random 60 --seed 1 --judge`.
"""

import json
import sys
from pathlib import Path

import pytest

from tests.paths.judge import differences, findings
from tests.paths.table import FACTORS, has_density, name_of, pairs, path_table, possible

WALK = Path(__file__).with_name("walk.py")
PARTS = 16
SHORTER = ["--no-verdict", "--commands", "check,mesh,target,compare,report,stop,resume"]
IN_EVERY_RUN = 1  # parts that run without --all-paths


def test_the_table_covers_every_pair():
    table = path_table()
    assert all(possible(path) for path in table)
    covered = set().union(*map(pairs, table))
    for factor, values in FACTORS.items():
        for value in values:
            assert any((factor, value) in pair for pair in covered), (factor, value)
    assert len(table) < 160


@pytest.fixture(scope="module")
def walked(tmp_path_factory, mpirun):
    """`walked(ranks, part)` walks that part of the table once and returns what was found."""
    done = {}

    def walk(ranks, part):
        if (ranks, part) not in done:
            out = tmp_path_factory.mktemp(f"ranks{ranks}-{part}")
            out.mkdir(exist_ok=True)
            mpirun(ranks, WALK, out, "--part", f"{part}/{PARTS}", timeout=900)
            done[ranks, part] = json.loads((out / "walk.json").read_text())
        return done[ranks, part]

    return walk


@pytest.mark.timeout(600)
@pytest.mark.parametrize("ranks", [1, 2])
def test_every_bundled_problem_runs_every_command(ranks, mpirun, tmp_path):
    """On two ranks without the extra runs of a verdict, and each side inside its comparison alone: the table has those too."""
    mpirun(ranks, WALK, tmp_path, "--bundled", *(SHORTER if ranks > 1 else []), timeout=600)
    results = json.loads((tmp_path / "walk.json").read_text())
    told = [f"{result['name']}: {finding}" for result in results for finding in findings(result)]
    assert not told, "\n".join(told)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak can be forgotten on Linux alone")
def test_a_command_answers_for_no_memory_but_its_own(mpirun):
    """What an earlier path of the same process took is not counted."""
    code = """
import numpy as np
from solver.runs.provenance import peak_memory
from tests.paths.walk import forget_peak
np.ones(10**8)
before = peak_memory()
forget_peak()
print(before, peak_memory())
"""
    before, after = map(float, mpirun(1, "-c", code).stdout.split())
    assert before > 762 and after < before - 700


def gaps(one, two):
    """Where the tables of two walks differ, in words."""
    for a, b in zip(one, two, strict=True):
        sides = ["particles", "resumed"] + (["solve", "compare"] if has_density(a["path"]) else [])
        yield from (f"1 and 2 ranks, {name_of(a['path'])}, {side}: {finding}" for side in sides
                    for finding in differences(Path(a["folder"]) / side, Path(b["folder"]) / side, 1e-10))


@pytest.mark.timeout(600)
def test_further_paths_on_one_and_two_ranks(mpirun, tmp_path):
    """[[compare.also]], `compare --accuracy`, attention by transforms and cells that follow the law, stopped and resumed; the
    dear ones with --all-paths."""
    told, walks = [], []
    for ranks in (1, 2):
        out = tmp_path / str(ranks)
        out.mkdir()
        mpirun(ranks, WALK, out, "--further", "--no-verdict", "--only",
               "circle_harmonics,interval_normal_hot,layers_none_ssprk33_adaptive_dopri5_nothing_method-nufft", timeout=290)
        walks.append(json.loads((out / "walk.json").read_text()))
        told += [f"{ranks} rank(s), {result['name']}: {finding}" for result in walks[-1] for finding in findings(result)]
    told += gaps(*walks)
    assert len(walks[0]) == 4 and not told, "\n".join(told)


@pytest.mark.all_paths
@pytest.mark.timeout(1800)
def test_all_further_paths(mpirun, tmp_path):
    told, walks = [], []
    for ranks in (1, 2):
        out = tmp_path / str(ranks)
        out.mkdir()
        mpirun(ranks, WALK, out, "--further", timeout=900)
        walks.append(json.loads((out / "walk.json").read_text()))
        told += [f"{ranks} rank(s), {result['name']}: {finding}" for result in walks[-1] for finding in findings(result)]
    told += gaps(*walks)
    assert not told, "\n".join(told)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", [part if part < IN_EVERY_RUN else pytest.param(part, marks=pytest.mark.all_paths)
                                  for part in range(PARTS)])
def test_every_path_ends_well_on_any_number_of_ranks(part, walked):
    told = []
    one, two = walked(1, part), walked(2, part)
    for ranks, results in ((1, one), (2, two)):
        told += [f"{ranks} rank(s), {result['name']}: {finding}" for result in results for finding in findings(result)]
    told += gaps(one, two)
    assert not told, "\n".join(told)
