"""Bad input of every kind: one line for each mistake, all of them at once, and nothing but a `ProblemError`."""

import importlib.util
import itertools
import math
import os
from pathlib import Path

import pytest

from problems import ProblemError, load, loads
from problems.schema import SECTIONS

PLAIN = '[space]\nmanifold = "circle"\n[attention]\nbeta = 1.0\n[initial]\nlaw = "uniform"\n'
# What no key of a problem file allows.
NOWHERE = ["[[[1.0]]]", "{a = 1}", "nan", "1e200", '"\\u0000"', "1979-05-27"]
KEYS = [f"{section}.{field.key}" for section, (_, fields) in SECTIONS.items() for field in fields]


@pytest.mark.parametrize("key", [*KEYS, "title", *SECTIONS])
def test_every_key_refuses_what_it_cannot_mean(key):
    for value in NOWHERE:
        with pytest.raises(ProblemError) as caught:
            loads(PLAIN, {key: value})
        assert key.split(".")[0] in str(caught.value)
        assert all("\n" not in str(one) and len(str(one)) < 1500 for one in caught.value.errors)


def test_all_mistakes_are_told_at_once_and_each_once():
    content = ('title = 3\n[space]\nmanifold = "cirle"\n[attention]\nbeta = -1.0\nbt = 3\n[initial]\nlaw = "unifrom"\n'
               "[time]\nend = -1.0\noutputs = 1\n[density]\ncells = 0\ndegree = 9\n[noise]\ndiffusivity = -1.0\n")
    with pytest.raises(ProblemError) as caught:
        loads(content)
    fields = [error.field for error in caught.value.errors]
    assert sorted(fields) == sorted(["title", "space.manifold", "attention.beta", "attention.bt", "initial.law", "time.end",
                                     "time.outputs", "density.cells", "density.degree", "noise.diffusivity"])
    assert str(caught.value).count("\n") == len(fields) - 1


@pytest.mark.parametrize("content", [
    ".".join(["a"] * 20_000) + " = 1\n", "a = " + "[" * 20_000 + "]" * 20_000, "x = " + "9" * 20_000,
    'title = "' + "a" * 5000 + '"\n' + PLAIN,
    'title = "a\\u0000b"\n' + PLAIN, 'title = "a\\u001b[31m"\n' + PLAIN,
])
def test_long_and_odd_texts(content):
    with pytest.raises(ProblemError) as caught:
        loads(content)
    assert len(str(caught.value)) < 1500 and str(caught.value).isprintable()


def test_a_table_from_a_pipe_or_device_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    for path, known in itertools.product([tmp_path / "pipe.csv", Path("/dev/zero"), tmp_path], ["not a regular file"]):
        with pytest.raises(ProblemError, match=known):
            loads(PLAIN.replace('"uniform"', f'"table"\npath = "{path}"'))


@pytest.mark.parametrize("dimension", [2, 3, 343, 344, 700, 2000])
def test_spheres_of_many_dimensions(dimension):
    law = loads(PLAIN.replace('"circle"', f'"sphere"\ndimension = {dimension}')).initial
    points = law.sample(3, 0)
    assert points.shape == (3, dimension)
    area = math.log(2.0) + dimension / 2 * math.log(math.pi) - math.lgamma(dimension / 2)  # of the unit sphere
    assert law.log_density(points) == pytest.approx(-area, rel=1e-13)


def test_a_folder_with_the_name_of_a_bundled_problem_hides_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smooth_circle").mkdir()
    assert load("smooth_circle").name == "smooth_circle"


@pytest.mark.parametrize(("file", "name"), [(".toml", "toml"), ("..toml", "problem"), ("a.b.toml", "a.b"), ("...x.toml", "x")])
def test_run_folders_are_neither_hidden_nor_that_of_all_results(file, name, tmp_path):
    (tmp_path / file).write_text(PLAIN)
    assert load(tmp_path / file).name == name


def test_random_mutations(tmp_path):
    spec = importlib.util.spec_from_file_location("mutations", Path(__file__).with_name("mutations.py"))
    mutations = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(mutations)
    found = mutations.run(400, 7, tmp_path)
    assert sum(found.values()) == 400 and min(found.values()) > 0
