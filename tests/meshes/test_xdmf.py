"""XDMF files grow by one output at a time, whoever wrote what is there."""

import xml.etree.ElementTree as ElementTree

import h5py
import numpy as np
import pytest

from meshes.spaces import circle
from meshes.xdmf import XdmfFile


def times_of(path):
    return [float(time.get("Value")) for time in ElementTree.parse(path).iter("Time")]


def test_an_output_costs_the_same_however_many_there_are(tmp_path, monkeypatch):
    """Only the first output writes the whole file, and each opens no dataset but its own."""
    written, opened = [], []
    whole, get = XdmfFile._write, h5py.Group.__getitem__
    monkeypatch.setattr(XdmfFile, "_write", lambda self, *a, **k: (written.append(1), whole(self, *a, **k)))
    monkeypatch.setattr(h5py.Group, "__getitem__", lambda self, name: (opened.append(name), get(self, name))[1])
    file = XdmfFile(tmp_path / "f.xdmf", circle(8, 1))
    counts = []
    for i in range(30):
        opened.clear()
        file.write(0.1 * i, "density", np.full(8, float(i)))
        counts.append(len(opened))
    assert len(written) == 2 and len(set(counts[1:])) == 1
    assert times_of(tmp_path / "f.xdmf") == [0.1 * i for i in range(30)]


@pytest.mark.parametrize("again", [0.3, 0.25, 0.0, 0.5])
def test_a_resumed_file_is_that_of_an_uninterrupted_run(tmp_path, again):
    """Outputs 0, .1, .. .4 are there; a run that goes on at `again` replaces what is not before it."""
    cells = circle(8, 2)
    first = XdmfFile(tmp_path / "a.xdmf", cells)
    for i in range(5):
        first.write(0.1 * i, "density", np.full(8, float(i)))
    second = XdmfFile(tmp_path / "a.xdmf", cells, append=True)
    later = [again, again + 0.05]
    for t in later:
        second.write(t, "density", np.full(8, 9.0))
    kept = [0.1 * i for i in range(5) if 0.1 * i < again]
    assert times_of(tmp_path / "a.xdmf") == kept + later
    with h5py.File(tmp_path / "a.h5") as data:
        values = [field[0] for _, field in sorted(data["fields/density"].items())]
    assert values == [float(i) for i in range(len(kept))] + [9.0, 9.0]
