"""The notebooks run from top to bottom, hold what they show, and run on several ranks."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))
sys.path.insert(0, str(ROOT / "docs/tools"))

from notebook_pages import page_of  # noqa: E402
from notebooks import execute  # noqa: E402


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(cell):
    """What a cell shows, without the numbers."""
    return [sorted(output.get("data", {})) for output in cell.outputs]


def test_there_are_those_that_the_site_lists():
    listed = (ROOT / "mkdocs.yml").read_text()
    assert len(NOTEBOOKS) >= 4
    for path in NOTEBOOKS:
        assert f"notebooks/{path.stem}.md" in listed


@pytest.mark.timeout(240)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_from_top_to_bottom_and_shows_as_much_as_it_holds(path, tmp_path):
    held, found = nbformat.read(path, as_version=4), execute(path, tmp_path)
    nbformat.validate(held)
    for old, new in zip(code(held), code(found), strict=True):
        assert not [output for output in new.outputs if output.output_type == "error" or output.get("name") == "stderr"]
        assert old.execution_count == new.execution_count
        assert kinds(old) == kinds(new)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_page_has_its_text_its_code_and_its_pictures(path):
    page, notebook = page_of(path), json.loads(path.read_text())
    assert page.startswith("# ")
    assert page.count("```python") == sum(cell["cell_type"] == "code" for cell in notebook["cells"])
    drawn = [output for cell in notebook["cells"] for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]
    assert page.count("data:image/png") >= len(drawn)


@pytest.mark.timeout(240)
def test_functions_of_a_cell_drive_solve_simulate_and_compare_on_one_and_two_ranks(tmp_path):
    shutil.copy(ROOT / "docs/notebooks/own_functions.ipynb", tmp_path)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMPI_COMM", "PMIX_", "PRTE_"))}
    environment |= {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(tmp_path / "ipython"), "OMP_NUM_THREADS": "1"}
    printed = {}
    for ranks in (1, 2):
        # Into a file for each rank: mpirun may join what two ranks print at the same time in one line.
        command = f'exec "{sys.executable}" -m IPython own_functions.ipynb > {ranks}.$OMPI_COMM_WORLD_RANK'
        done = subprocess.run(["mpirun", "-n", str(ranks), "sh", "-c", command], cwd=tmp_path, env=environment,
                              capture_output=True, text=True, timeout=200)
        found = [(tmp_path / f"{ranks}.{rank}").read_text().splitlines() for rank in range(ranks)]
        assert done.returncode == 0, f"{found} {done.stderr}"
        printed[ranks] = sorted(line for lines in found for line in lines if line.startswith("0."))
    # Four histories: `solve`, `simulate`, and both sides of `compare`; every rank prints them.
    assert len(printed[1]) == 4
    assert printed[2] == sorted(printed[1] * 2)
    assert len(set(printed[1])) == 2
