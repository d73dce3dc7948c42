"""Executes the notebooks of docs/notebooks in place, so that they hold what they print and draw.

    docker/run python3 docs/tools/notebooks.py [NAME..]

The site shows them as pages (docs/tools/site.py); tests/test_notebooks.py runs them again.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
ROOT = FOLDER.parents[1]
SECONDS = 240


def execute(path: Path, work: Path) -> nbformat.NotebookNode:
    """The notebook at `path` with new outputs, run in the folder `work` by the present code."""
    notebook = nbformat.read(path, as_version=4)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    client = NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": str(work)}})
    client.execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of day
        if "outputs" in cell:
            # Progress of a run that took its time, which took itself away at the end.
            cell.outputs = [output for output in cell.outputs if output.get("data", {}).get("text/html") != ""]
    return notebook


def main(names: list[str]) -> None:
    for path in sorted(FOLDER.glob("*.ipynb")):
        if names and path.stem not in names:
            continue
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as work:
            nbformat.write(execute(path, Path(work)), path)
        print(f"{path.name}: {time.monotonic() - began:.0f} s, {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main(sys.argv[1:])
