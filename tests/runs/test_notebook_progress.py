"""Progress below the cell of a notebook: seldom enough, and gone at the end."""

import time
from pathlib import Path

from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from solver.runs import progress

ROOT = Path(__file__).resolve().parents[2]
CODE = """
import sys
sys.path.insert(0, {root!r})
from solver import simulate
from solver.runs import progress
progress.NOTEBOOK_SECONDS = 0.0
history = simulate({{"space": {{"manifold": "circle"}}, "attention": {{"beta": 2.0}}, "initial": {{"law": "uniform"}},
                    "time": {{"end": 1.0, "outputs": 3}}, "particles": {{"count": 16}}}}, quiet={quiet})
"""


def shown(quiet):
    notebook = new_notebook(cells=[new_code_cell(CODE.format(root=str(ROOT), quiet=quiet))])
    # Replacements of what a cell shows come as messages of their own, which the client applies as a notebook does.
    NotebookClient(notebook, timeout=100, kernel_name="python3").execute()
    return [output for output in notebook.cells[0].outputs if output.output_type == "display_data"]


def test_a_notebook_shows_progress_and_takes_it_away():
    outputs = shown(None)
    assert len(outputs) == 1  # one place, replaced again and again
    assert outputs[0].data["text/html"] == ""
    assert shown(True) == []


def test_the_line_says_how_far_a_run_is(monkeypatch):
    lines = []
    found = progress.NotebookTicker(lines.append, "density", 4.0)
    found.update(1.0, mass=1.0)
    assert lines == []  # a short run shows nothing
    later = time.monotonic() + 10.0
    monkeypatch.setattr(time, "monotonic", lambda: later)
    found.update(1.0, mass=1.0, dt=0.25)
    assert 'value="0.2500"' in lines[0]
    assert "t = 1 of 4" in lines[0]
    assert "dt 0.25" in lines[0]
    found.close()
    assert lines[-1] == ""


def test_outside_of_a_notebook_nothing_is_shown():
    assert progress.notebook_display() is None
