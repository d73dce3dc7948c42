"""Some hundreds of mistakes, one after the other: exit code 2, one line each that names what is wrong, nothing written."""

import importlib.util
import itertools
import shlex
import shutil
import time
from pathlib import Path

import pytest
from mpi4py import MPI

from solver.cli import dispatch, split_petsc
from solver.ranks import run_together
from tests.commands import bad_inputs, mutated_folders

SECONDS = 20


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """A folder with what the cases name, and a small finished run."""
    place = tmp_path_factory.mktemp("inputs")
    (place / "FILE.toml").write_text(bad_inputs.CIRCLE)
    (place / "TEXT").write_text("some text\n")
    (place / "DIR").mkdir()
    tiny = "--set particles.count=8 --set time.end=0.1 --set time.outputs=2 --quiet"
    assert dispatch(shlex.split(f"particles {place}/FILE.toml --out {place}/RUN {tiny}")) == 0
    return place


def contents(folder):
    """Every file below a folder with its size and time."""
    return sorted((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*") if not p.is_dir())


@pytest.fixture
def refused(stage, tmp_path, monkeypatch, capfd):
    """Runs commands in an empty folder, and returns the lines of their refusals."""
    monkeypatch.chdir(tmp_path)

    def run(arguments):
        before, began = contents(stage), time.monotonic()
        own, petsc = split_petsc(arguments)
        if petsc:
            from petsc4py import PETSc
            PETSc.Options().setValue(petsc[0].lstrip("-"), petsc[1])
        code = run_together(lambda: dispatch(own), MPI.COMM_SELF)
        if petsc:
            PETSc.Options().delValue(petsc[0].lstrip("-"))
        out, err = capfd.readouterr()
        shown = shlex.join(arguments)[:300]
        assert code == 2, (shown, code, out[-500:], err[-2000:])
        assert time.monotonic() - began < SECONDS, shown
        lines = err.strip().splitlines()
        assert 1 <= len(lines) <= 3 and all(line.startswith("coldflow") and len(line) < 1500 for line in lines), (shown, err)
        assert not any(Path().iterdir()) and contents(stage) == before, (shown, "something was written")
        return err

    return run


def named(text, place):
    """A command with its names made paths."""
    words = []
    for word in shlex.split(text):
        name, slash, rest = word.partition("/")
        known = {"FILE": "FILE.toml", "TEXT": "TEXT", "DIR": "DIR", "RUN": "RUN", "NONE": "NONE"}.get(name)
        words.append(str(place / known) + slash + rest if known else word)
    return words


@pytest.mark.parametrize("key", bad_inputs.KEYS, ids=lambda key: key[:40])
def test_values(key, refused, stage):
    for value in bad_inputs.KEYS[key]:
        line = refused(["check", str(stage / "FILE.toml"), "--set", f"{key}={value}"])
        assert key.partition("[")[0][:90] in line or key in ("a..b", "spase.manifold") or len(key) > 100, (value[:100], line)


def test_laws_and_spaces(refused, stage, tmp_path_factory):
    for i, (space, law, name) in enumerate(bad_inputs.LAWS):
        file = tmp_path_factory.mktemp("law") / f"case-{i}.toml"
        file.write_text(f"[space]\n{space}\n[attention]\nbeta = 1.0\n[initial]\n{law}\n")
        assert name in refused(["check", str(file)]), (space, law)


def test_tables(refused, tmp_path_factory):
    place = tmp_path_factory.mktemp("table")
    (place / "case.toml").write_text(bad_inputs.CIRCLE.replace('"uniform"', '"table"\npath = "table.csv"'))
    for content in bad_inputs.TABLES:
        (place / "table.csv").write_bytes(content)
        assert "initial.path" in refused(["check", str(place / "case.toml")]), content


def test_meshes(refused, tmp_path_factory):
    place = tmp_path_factory.mktemp("mesh")
    for name, content in bad_inputs.MESHES:
        (place / name).write_text(content)
        (place / "case.toml").write_text(bad_inputs.CIRCLE.replace('"circle"', f'"file"\npath = "{name}"'))
        assert "space.path" in refused(["check", str(place / "case.toml")]), content[:100]


@pytest.mark.parametrize("command", sorted({text.split(" ")[0] for text, _ in bad_inputs.OPTIONS}))
def test_options(command, refused, stage):
    for text, name in bad_inputs.OPTIONS:
        if text.split(" ")[0] == command:
            assert name in refused(named(text, stage)), text


SPOILT = [(name, how) for name, how in itertools.product(
    ("problem.toml", "run.json", "particles.csv", "particles.h5", "checkpoint/particles.journal", "checkpoint/particles.ckpt"),
    ("gone", "cut", "rubbish", "folder"))]


@pytest.mark.parametrize(("name", "how"), SPOILT)
def test_run_folders(name, how, stage, tmp_path, capfd):
    """Every command that reads a run folder: it does its work, or says in one line that it cannot."""
    for command in ("distance RUN RUN", "report RUN", "animate RUN --as gif --seconds 0.1", "repeat RUN --quiet",
                    "particles FILE --out RUN --resume --quiet --set particles.count=8 --set time.end=0.1 --set time.outputs=2"):
        run = tmp_path / "RUN"
        shutil.copytree(stage / "RUN", run)
        file, content = run / name, (run / name).read_bytes()
        file.unlink()
        if how == "folder":
            file.mkdir()
        elif how != "gone":
            file.write_bytes({"cut": content[: len(content) // 2], "rubbish": b"\0\xffrubbish\n" * 9}[how])
        words = [str(run) if word == "RUN" else word for word in shlex.split(command)]
        words = [str(stage / "FILE.toml") if word == "FILE" else word for word in words]
        code = run_together(lambda words=words: dispatch(words), MPI.COMM_SELF)
        _, err = capfd.readouterr()
        assert code in (0, 2) or (code == 1 and command.startswith("repeat")), (command, code, err)
        lines = err.strip().splitlines()
        assert code == 0 or (lines and all(line.startswith("coldflow: ") for line in lines)), (command, code, err)
        shutil.rmtree(run)


def test_mutated_run_folders(tmp_path, capfd):
    spec = importlib.util.spec_from_file_location("mutations", Path(__file__).parents[1] / "problems" / "mutations.py")
    mutations = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(mutations)
    mutated_folders.make(tmp_path / "runs")
    capfd.readouterr()
    found = mutated_folders.run(30, 5, tmp_path / "runs", mutations.mutated_bytes, lambda: capfd.readouterr().err)
    assert sum(found.values()) == 30 and found[0] and found[2]


def test_there_are_enough():
    keys = sum(map(len, bad_inputs.KEYS.values()))
    single = len(bad_inputs.LAWS) + len(bad_inputs.TABLES) + len(bad_inputs.MESHES) + len(bad_inputs.OPTIONS)
    assert keys + single + 5 * len(SPOILT) >= 300
