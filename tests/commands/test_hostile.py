"""What comes from files is shown as it is and nothing more; links and files of others are left alone."""

import csv
import json
import shlex

import pytest
from mpi4py import MPI

from solver.cli import dispatch
from solver.ranks import run_together
from solver.report.page import write_report

EVIL = '<script>alert("x")</script><img src=x onerror=alert(1)>{{7*7}}'
PLAIN = '[space]\nmanifold = "circle"\n[attention]\nbeta = 1.0\n[initial]\nlaw = "uniform"\n'
TINY = "--set particles.count=8 --set density.cells=8 --set time.end=0.1 --set time.outputs=3 --quiet"


def call(words):
    return run_together(lambda: dispatch(shlex.split(words)), MPI.COMM_SELF)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("hostile")
    (place / "plain.toml").write_text("title = " + json.dumps(EVIL + " [bold]$x^{2$ ") + "\n" + PLAIN)
    assert call(f"particles {place}/plain.toml --out {place}/run {TINY}") == 0
    return place / "run"


def hostile(folder, kind):
    """A results folder of one kind with markup wherever text can stand."""
    folder.mkdir()
    rows = [["claim", "quantity", "verdict", EVIL], [EVIL] * 4]
    with (folder / f"{kind}.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    cell = folder / "cell"
    cell.mkdir()
    (cell / "run.json").write_text(json.dumps({"title": EVIL, "exit_reason": EVIL, "command": EVIL}))
    return folder


@pytest.mark.parametrize("kind", ["run", "sweep", "claims"])
def test_pages_escape_everything(run, tmp_path, kind):
    if kind == "run":
        facts = json.loads((run / "run.json").read_text())
        facts |= {"exit_reason": EVIL, "command": EVIL, "summary": {EVIL: EVIL}, "versions": {EVIL: EVIL},
                  "verdict": {"agree": False, "outcome": EVIL, "reason": EVIL}, "git": {"commit": EVIL}, "host": {"cpu": EVIL},
                  "phases": [{"name": EVIL, "start": 0.0, "end": 1.0, "why": EVIL}]}
        folder = tmp_path / "run"
        folder.mkdir()
        (folder / "run.json").write_text(json.dumps(facts))
        (folder / "problem.toml").write_text(EVIL)
        (folder / "figures").mkdir()
        (folder / "figures" / "<b>.png").write_bytes(b"")
    else:
        folder = hostile(tmp_path / "<i>results", kind)
    page = write_report([folder, folder], tmp_path / "page.html").read_text()
    assert EVIL not in page and "<script>alert" not in page and "<img src=x" not in page and "<b>" not in page
    assert "&lt;script&gt;alert" in page and "{{7*7}}" in page
    assert "<i>results" not in page


def test_terminals_show_markup_as_it_is(run, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert call(f"target {run.parent}/plain.toml --out '{tmp_path}/[bold]t'") == 0
    words = capsys.readouterr().out
    assert "[bold]$x^{2$" in words and "\x1b" not in words
    assert call(f"sweep {run.parent}/plain.toml --over 'attention.value=[[1,0],[0,1]]' --side particles --out {tmp_path}/s "
                + TINY.replace("--quiet", "")) == 0
    assert "[[1,0],[0,1]]" in capsys.readouterr().out


@pytest.mark.parametrize(("command", "names"), [
    ("mesh {file} --out {out} --force --set density.cells=8", ["mesh.xdmf", "mesh.h5", "mesh.bp"]),
    ("animate {out} --as gif --seconds 0.2", ["figures"]),
    ("sweep {file} --over attention.beta=1 --side particles --out {out} --force",
     ["sweep.parquet", "history.parquet", "figures"]),
])
def test_links_are_not_followed(run, tmp_path, capsys, command, names):
    import shutil

    for name in names:
        out, theirs = tmp_path / f"out-{name}", tmp_path / f"theirs-{name}"
        if "animate" in command:
            shutil.copytree(run, out)
            shutil.rmtree(out / "figures")
        else:
            out.mkdir()
        if name == "figures" or name.endswith(".bp"):
            theirs.mkdir()
            (theirs / "keep").write_text("mine")
        else:
            theirs.write_text("mine")
        (out / name).symlink_to(theirs)
        assert call(command.format(file=run.parent / "plain.toml", out=out)) == 2
        assert "symbolic link" in capsys.readouterr().err
        assert (out / name).is_symlink()
        assert (theirs.read_text() if theirs.is_file() else (theirs / "keep").read_text()) == "mine"
        assert theirs.is_file() or [p.name for p in theirs.iterdir()] == ["keep"]


def test_a_picture_replaces_a_link(run, tmp_path):
    from matplotlib.figure import Figure

    from solver.report.style import save

    theirs, picture = tmp_path / "theirs", tmp_path / "a.png"
    theirs.write_text("mine")
    picture.symlink_to(theirs)
    save(Figure(), picture)
    assert theirs.read_text() == "mine" and not picture.is_symlink() and picture.stat().st_size > 100
