"""HDF5 files on disks without room: what was there stays, and HDF5 itself never notices."""

import contextlib
import resource
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from meshes.room import SLACK, new_file, take_room

ROOT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def largest_file(size):
    """No file may grow beyond this: the system refuses as it would on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_new_file_is_there_as_a_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.h5"
    new_file(path, lambda file: file.create_dataset("x", data=np.arange(5.0)))
    with largest_file(20_000), pytest.raises(OSError, match=r"a\.h5"):
        new_file(path, lambda file: file.create_dataset("x", data=np.arange(5000.0)))
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]
    with h5py.File(path) as file:
        assert np.array_equal(file["x"][()], np.arange(5.0))


def test_room_that_was_not_needed_is_given_back(tmp_path):
    path = tmp_path / "a.h5"
    new_file(path, lambda file: file.create_dataset("x", (0,), maxshape=(None,), dtype="f8", chunks=(10,)))
    before = path.stat().st_size
    take_room(path, 800)
    assert path.stat().st_size == before + 800 + SLACK
    with h5py.File(path, "r+") as file:
        file["x"].resize(100, axis=0)
        file["x"][:] = 1.0
    assert before + 800 <= path.stat().st_size < before + SLACK
    with largest_file(before + 1000), pytest.raises(OSError, match=r"a\.h5"):
        take_room(path, 800)
    with h5py.File(path) as file:
        assert file["x"][()].sum() == 100.0


WRITE = """
import resource, sys
import numpy as np
from pathlib import Path
from solver.runs.token_file import append_tokens, read_tokens
path, adaptive = Path(sys.argv[1]), sys.argv[2] == "adaptive"
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
rng = np.random.default_rng(0)
done = 0
try:
    for step in range(200):
        carried = {"log_density": np.ones(1000)}
        if adaptive:
            carried |= {"cells": np.zeros((999, 2), int), "cell_masses": np.ones(999)}
        append_tokens(path, float(step), rng.normal(size=(1000, 2)), np.full(1000, 1e-3), carried, "title")
        done += 1
except OSError as error:
    assert error.strerror == "File too large" and error.filename == str(path), error
found = read_tokens(path)
assert len(found) == done and 10 < done < 200, (len(found), done)
assert found[-1].points.shape == (1000, 2) and np.isfinite(found[-1].points).all()
print("sound")
"""


@pytest.mark.parametrize("kind", ["plain", "adaptive"])
def test_tokens_up_to_the_last_output_that_had_room(kind, tmp_path):
    done = subprocess.run([sys.executable, "-c", WRITE, str(tmp_path / "particles.h5"), kind], capture_output=True, text=True,
                          cwd=ROOT, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "sound\n", "")
