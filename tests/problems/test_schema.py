"""The schema of problem files: one table of keys for the loader, for editors, for new files and for the documentation."""

import json
import re
import tomllib
from pathlib import Path

import jsonschema
import pytest

from problems import ProblemError, bundled, loads
from problems.loader import FOLDER
from problems.overrides import toml_value
from problems.schema import SECTIONS, SHIPPED, problem_schema, schema_text
from problems.template import STARTS, template

PLAIN = {"space": {"manifold": "circle"}, "attention": {"beta": 1.0}, "initial": {"law": "uniform"}}
PAGE = (Path(__file__).resolve().parents[2] / "docs/problem-file.md").read_text()
VALIDATOR = jsonschema.Draft202012Validator(problem_schema())
# Wrong settings that the schema itself refuses.
REFUSED = """
attention.beta=-1.0; attention.beta=cold; attention.beta=true; attention.bta=1; attention.value=2.0; attention.value=[1.0]
attention.value=[]; attention.value=[["a"]]; attention.normalization=softmx; attention.heads=[]
attention.heads=[{valu=[[1.0]]}]; attention.layers=[{until=-1.0}]; attention.accuracy=0.0; attention.support=2.0
attention.value=[[1e200,0.0],[0.0,1.0]]; space.manifold=cirle; space.bounds=[[0.0,1.0]]; space.manifold=interval
space.manifold=file; space.manifold=euclidean; space.dimension=3; space.grading={half_width=0.1}; space.grading=lw; space=circle
space.grading={half_width=0.1,ratio=0.5}; noise.diffusivity=-1.0; noise.diffusion=1.0; time.end=-1.0; time.end=forever
time.outputs=1; time.outputs=[]; time.outputs=2.5; time.rescaled=1; time.stop=1.0; density.cells=0; density.degree=4
density.degree=1.5; density.cfl=1.5; density.integrator=ssprk3; density.limiter=1; density.step=0.0; particles.count=0
particles.sampling=grid; particles.seed=-1; particles.integrator=dopri; particles.rtol=1.0; compare.metric=geodesc
compare.tolerance=0.0; initial.law=unifrom; initial.cos=[0.1]; initial={law="von-mises-fisher"}
initial={law="wrapped-normal",components=[{mean=0.0}]}; title=""; titel="a"; attention.score=1.0; attention.score={width=1.0}
drift.velocity=[1.0,0.0]; drift.speed=1.0; diagnostics.columns=energy; diagnostics.columns=[{column="mine"}]; diagnostics.rows=[]
""".replace("\n", ";").split(";")
# Wrong settings that only `check` can tell, and why.
ONLY_CHECK = {
    'attention.value=[[1.0,2.0],[3.0]]': "rows of unequal length",
    "attention.query=[[1.0,2.0]]": "as many rows as attention.key",
    "time.outputs=[1.0,0.5]": "an increasing list",
    "time.outputs=[0.0,9.0]": "beyond time.end",
    "attention.layers=[{until=2.0},{until=1.0}]": "increasing layers",
    "noise={diffusivity=0.1};density.integrator=ssprk33": "two sections together",
    'initial={law="harmonics",cos=[3.0]}': "a negative density",
    'initial={law="table",path="nowhere.csv"}': "the file is not there",
    "attention.score=nobody": "what is registered depends on the process",
    "drift.velocity=nobody": "likewise",
    'diagnostics.columns=["nobody"]': "likewise",
}


def settings(text):
    return dict(item.strip().split("=", 1) for item in text.split(";"))


def values_with(text):
    values = json.loads(json.dumps(PLAIN))
    for key, value in settings(text).items():
        place, *_, last = (values, *key.split("."))
        for part in key.split(".")[:-1]:
            place = place.setdefault(part, {})
        place[last] = toml_value(value)
    return values


def test_the_shipped_schema_is_the_one_of_the_table():
    assert SHIPPED.read_text() == schema_text()
    jsonschema.Draft202012Validator.check_schema(problem_schema())


@pytest.mark.parametrize("name", [name for name, _ in bundled()])
def test_bundled_files_validate(name):
    VALIDATOR.validate(tomllib.loads((FOLDER / f"{name}.toml").read_text()))


@pytest.mark.parametrize("setting", [item.strip() for item in REFUSED if item.strip()])
def test_schema_and_check_refuse_alike(setting):
    assert not VALIDATOR.is_valid(values_with(setting))
    with pytest.raises(ProblemError):
        loads('[space]\nmanifold = "circle"\n[attention]\nbeta = 1.0\n[initial]\nlaw = "uniform"\n', settings(setting))


@pytest.mark.parametrize("setting", ONLY_CHECK)
def test_what_only_check_can_tell(setting):
    assert VALIDATOR.is_valid(values_with(setting)), ONLY_CHECK[setting]
    with pytest.raises(ProblemError):
        loads('[space]\nmanifold = "circle"\n[attention]\nbeta = 1.0\n[initial]\nlaw = "uniform"\n', settings(setting))


@pytest.mark.parametrize("space", STARTS)
def test_new_files_validate_and_load(space, tmp_path):
    text = template("my_problem", space)
    VALIDATOR.validate(tomllib.loads(text))
    if space != "file":
        assert loads(text).title == "my problem"


def test_every_key_is_documented_with_its_default():
    for section, (_, fields) in SECTIONS.items():
        part = PAGE.partition(f"## `[{section}]`")[2].partition("\n## ")[0]
        for field in fields:
            assert re.search(rf"`{field.key}\b", part), f"{section}.{field.key}"
            row = re.search(rf"^\| [^|]*`{field.key}`[^|]*\| ([^|]*) \|", part, re.MULTILINE)
            told = not field.required and field.default not in (None, False, True)
            if row and told and section in ("attention", "time", "particles", "compare"):
                default = str(field.default).replace("1e-08", "1e-8").replace("()", "[]")
                assert default in row[1].replace('"', ""), f"{section}.{field.key}: {row[1]}"
