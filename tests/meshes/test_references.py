"""Mesh files that lead elsewhere, or promise more than they hold, are refused before anything is opened or allocated."""

import resource

import h5py
import meshio
import numpy as np
import pytest

from meshes.errors import ProblemError
from meshes.file import read

ANGLE = 2 * np.pi * np.arange(12) / 12
POINTS = np.column_stack([np.cos(ANGLE), np.sin(ANGLE)])
CELLS = np.column_stack([np.arange(12), np.roll(np.arange(12), -1)])


@pytest.fixture
def sound(tmp_path):
    """An XDMF file of a circle with its HDF5 file beside it."""
    folder = tmp_path / "mesh"
    folder.mkdir()
    meshio.Mesh(POINTS, [("line", CELLS)]).write(folder / "a.xdmf", data_format="HDF")
    assert read(folder / "a.xdmf").closed
    return folder / "a.xdmf"


def refused(path, words):
    with pytest.raises(ProblemError, match=words) as caught:
        read(path)
    assert "\n" not in str(caught.value) and caught.value.field == "space.path"


@pytest.mark.parametrize("kind", ["relative", "absolute", "symbolic link"])
def test_references_stay_in_the_folder(sound, tmp_path, kind):
    secret = tmp_path / "secret.h5"
    (sound.parent / "a.h5").rename(secret)
    name = {"relative": "../secret.h5", "absolute": str(secret), "symbolic link": "a.h5"}[kind]
    if kind == "symbolic link":
        (sound.parent / "a.h5").symlink_to(secret)
    sound.write_text(sound.read_text().replace("a.h5:", f"{name}:"))
    refused(sound, "outside of its folder")


@pytest.mark.parametrize("kind", ["external link", "soft link", "external data", "virtual data"])
def test_hdf5_has_its_data_itself(sound, tmp_path, kind):
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["data0"] = POINTS
    with h5py.File(sound.parent / "a.h5", "r+") as file:
        del file["data0"]
        if kind == "external link":
            file["data0"] = h5py.ExternalLink(str(other), "data0")
        elif kind == "soft link":
            file["x"] = POINTS
            file["data0"] = h5py.SoftLink("/x")
        elif kind == "external data":
            raw = tmp_path / "raw"
            raw.write_bytes(POINTS.tobytes())
            file.create_dataset("data0", POINTS.shape, dtype="f8", external=[(str(raw), 0, POINTS.nbytes)])
        else:
            layout = h5py.VirtualLayout(POINTS.shape, "f8")
            layout[:] = h5py.VirtualSource(str(other), "data0", POINTS.shape)
            file.create_virtual_dataset("data0", layout)
    refused(sound, "link to another place|in other files")


def test_data_that_was_never_written_takes_no_memory(sound):
    with h5py.File(sound.parent / "a.h5", "r+") as file:
        del file["data0"]
        file.create_dataset("data0", (10**10, 2), dtype="f8", chunks=(1024, 2))
    refused(sound, "more than the file can hold")


MSH = ("$MeshFormat\n2.2 0 8\n$EndMeshFormat\n$Nodes\n{nodes}\n1 1 0 0\n2 0 1 0\n3 -1 0 0\n$EndNodes\n$Elements\n{cells}\n"
       "1 1 2 0 0 1 2\n2 1 2 0 0 2 3\n3 1 2 0 0 3 1\n$EndElements\n")


@pytest.mark.parametrize(("name", "content", "words"), [
    ("a.msh", MSH.format(nodes=10**9, cells=3), "more than"),
    ("a.msh", MSH.format(nodes=3, cells=10**9), "more than"),
    ("a.msh", MSH.replace("2.2", "4.1").format(nodes=f"1 {10**10} 1 3", cells=3), "more than"),
    ("a.vtu", '<VTKFile type="UnstructuredGrid"><UnstructuredGrid><Piece NumberOfPoints="99999999999" NumberOfCells="1"/>'
              "</UnstructuredGrid></VTKFile>", "NumberOfPoints"),
    ("a.xdmf", '<Xdmf><Domain><Grid><Geometry><DataItem Dimensions="999999999 2" Format="XML">0 0</DataItem></Geometry></Grid>'
               "</Domain></Xdmf>", "Dimensions"),
    ("a.xdmf", '<Xdmf><Domain><Grid><Geometry><DataItem Dimensions="9 2" Format="Binary">/dev/zero</DataItem></Geometry></Grid>'
               "</Domain></Xdmf>", "/dev/zero"),
    ("a.xdmf", '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;">]><Xdmf>&c;</Xdmf>', "entities"),
    ("a.xdmf", '<Xdmf xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="/etc/passwd"/></Xdmf>', "includes"),
])
def test_declared_sizes_are_looked_at_first(tmp_path, name, content, words):
    (tmp_path / name).write_text(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(tmp_path / name, words)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB
