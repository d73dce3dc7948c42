"""Compiling, caching and loading C kernels."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from solver import compiled

SOURCE = "void twice(double *x, long n) {\n#pragma omp parallel for\n  for (long i = 0; i < n; ++i) x[i] *= 2.0;\n}\n"
CDEF = "void twice(double *x, long n);"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiled.cache_folder.cache_clear()
    compiled.private_cache.cache_clear()
    compiled._load.cache_clear()
    yield tmp_path / "coldflow"
    compiled.cache_folder.cache_clear()
    compiled.private_cache.cache_clear()
    compiled._load.cache_clear()


@pytest.mark.parametrize("openmp", [False, True])
def test_library_runs_and_is_built_once(cache, openmp):
    ffi, library = compiled.load_library("twice", CDEF, SOURCE, openmp=openmp)
    x = np.arange(4.0)
    library.twice(ffi.from_buffer("double[]", x), 4)
    assert x.tolist() == [0.0, 2.0, 4.0, 6.0]
    built = {path: path.stat().st_mtime_ns for path in cache.glob("*.so")}
    compiled._load.cache_clear()
    compiled.load_library("twice", CDEF, SOURCE, openmp=openmp)
    assert {path: path.stat().st_mtime_ns for path in cache.glob("*.so")} == built


def test_processes_that_start_together_share_one_object(cache):
    code = f"from solver import compiled; compiled.load_library('twice', {CDEF!r}, {SOURCE!r})"
    root = Path(__file__).parents[2]
    running = [subprocess.Popen([sys.executable, "-c", code], cwd=root) for _ in range(3)]
    assert [process.wait(timeout=60) for process in running] == [0, 0, 0]
    assert len(list(cache.glob("*.so"))) == 1
    assert not list(cache.glob(".twice-*"))


def test_missing_compiler_and_refused_source_are_named(cache, monkeypatch):
    with pytest.raises(compiled.CompilerError, match="error"):
        compiled.load_library("broken", "void f(void);", "void f(void) { undeclared(; }")
    monkeypatch.setenv("CC", "no-such-compiler")
    compiled._compiler_version.cache_clear()
    try:
        with pytest.raises(compiled.CompilerError, match="no-such-compiler"):
            compiled.load_library("twice", CDEF, SOURCE)
    finally:
        compiled._compiler_version.cache_clear()


def test_threads_follow_the_environment(monkeypatch):
    for variable in ("COLDFLOW_THREADS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_SIZE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert compiled.threads() == 3
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    assert compiled.threads() == 1
    monkeypatch.setenv("COLDFLOW_THREADS", "5")
    assert compiled.threads() == 5


def test_a_library_somebody_else_could_have_planted_is_not_loaded(tmp_path, monkeypatch):
    """In a folder that others can write to, a file of the right name would run with our rights."""
    shared = tmp_path / "shared"
    (shared / "coldflow").mkdir(parents=True)
    shared.chmod(0o777)
    (shared / "coldflow").chmod(0o777)
    for function in (compiled.cache_folder, compiled.private_cache, compiled._load):
        function.cache_clear()
    try:
        monkeypatch.setenv("XDG_CACHE_HOME", str(shared))
        folder = compiled.cache_folder()
        assert shared not in folder.parents and compiled.is_private(folder)
        assert compiled.os.environ["XDG_CACHE_HOME"] == str(folder.parent), "dolfinx follows"
    finally:
        for function in (compiled.cache_folder, compiled.private_cache, compiled._load):
            function.cache_clear()


def test_a_cached_object_that_others_can_write_is_built_again(cache):
    compiled.load_library("twice", CDEF, SOURCE)
    target = next(cache.glob("twice-*.so"))
    target.chmod(0o666)
    assert not compiled.is_own_file(target)
    compiled._load.cache_clear()
    compiled.load_library("twice", CDEF, SOURCE)
    assert compiled.is_own_file(target)
    link = cache / "link.so"
    link.symlink_to(target)
    assert not compiled.is_own_file(link)


def test_cores_are_counted_where_the_system_has_no_affinity(monkeypatch):
    """macOS has none."""
    monkeypatch.delattr(os, "sched_getaffinity")
    assert compiled.usable_cores() == (os.cpu_count() or 1)
