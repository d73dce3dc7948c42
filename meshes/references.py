"""What a mesh file refers to and how much it says it holds, examined before a library opens or allocates anything.

References stay inside the folder of the mesh; HDF5's links to other files and its virtual and external data are refused, and so
are sizes that the file is too short for.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import NoReturn

import h5py

from meshes.errors import ProblemError

# Compressed data is at most about so many times shorter than what it stands for (deflate's limit is 1032).
MOST_COMPRESSED = 1100
COUNTS = re.compile(rb"\$(?:Nodes|Elements|Entities)\s+(-?\d+(?:[ \t]+-?\d+){0,3})")
SIZES = ("NumberOfPoints", "NumberOfCells", "NumberOfVerts", "NumberOfLines", "NumberOfStrips", "NumberOfPolys",
         "NumberOfComponents", "NumberOfElements")


def examine(path: Path) -> None:
    """Refuse a mesh file that leads elsewhere or promises more than it can hold; local.

    Args:
        path: of an existing .msh, .xdmf or .vtu file.

    Raises:
        ProblemError: naming the file and what it refers to.
    """
    size = path.stat().st_size
    if path.suffix.lower() == ".msh":
        _counts(path, size)
        return
    content = path.read_bytes()
    head = content[: 2**16].lower()
    if b"<!doctype" in head or b"<!entity" in content.lower():
        refuse(path, "it defines entities of its own, which a mesh has no use for")
    try:
        # The binary appendix of a .vtu file is no XML; what comes before it is all that declares anything.
        root = ElementTree.fromstring(re.sub(rb"<AppendedData.*", b"</VTKFile>", content, flags=re.DOTALL))
    except ElementTree.ParseError as error:
        refuse(path, f"it is no sound XML: {error}")
    for item in root.iter():
        for name in SIZES:
            if name in item.attrib and _number(path, item.attrib[name]) > MOST_COMPRESSED * size:
                refuse(path, f'{name}="{item.attrib[name][:40]}" is more than a file of {size} bytes can hold')
        if item.tag.rpartition("}")[2] == "include" or item.attrib.get("href"):
            refuse(path, "it includes other files")
        if path.suffix.lower() == ".xdmf" and item.tag == "DataItem":
            _item(path, item)


def _counts(path: Path, size: int) -> None:
    """Numbers of nodes and elements of a Gmsh file in text; each takes at least two bytes, in binary form more."""
    with path.open("rb") as file:
        for found in COUNTS.finditer(file.read()):
            if any(abs(int(word)) > size for word in found[1].split()[:2]):
                words = " ".join(found[1].decode().split())[:40]
                refuse(path, f"it says that it holds {words} entries, more than {size} bytes can")


def _item(path: Path, item: ElementTree.Element) -> None:
    kind, text = item.attrib.get("Format", "XML"), (item.text or "").strip()
    count = math.prod(_number(path, word) for word in item.attrib.get("Dimensions", "0").split())
    if kind == "Binary":
        refuse(path, f"its data is in another file, {text[:60]}, without a description of its own: use HDF5 or text")
    if kind == "XML" and count > len(text) + 1:
        refuse(path, f'Dimensions="{item.attrib["Dimensions"][:40]}" is more than its {len(text)} letters can hold')
    if kind != "HDF":
        return
    name, colon, place = text.partition(":")
    if not colon:
        refuse(path, f"{text[:60]} is no reference to HDF5 data, file.h5:/place")
    target = path.parent / name
    if not target.resolve().is_relative_to(path.parent.resolve()):
        refuse(path, f"it refers to {name[:80]}, outside of its folder")
    if not target.is_file():
        refuse(path, f"it refers to {name[:80]}, which is not there")
    _dataset(path, target, place)


def _dataset(path: Path, target: Path, place: str) -> None:
    """Follow a place inside an HDF5 file link by link: every step and the data itself have to be in this file."""
    try:
        with h5py.File(target, "r") as file:
            group: h5py.Group | h5py.Dataset = file
            for key in place.strip("/").split("/"):
                link = group.get(key, getlink=True) if isinstance(group, h5py.Group) else None
                if not isinstance(link, h5py.HardLink):
                    refuse(path, f"{target.name}:{place[:80]} is a link to another place, or not there")
                group = group[key]
            if not isinstance(group, h5py.Dataset):
                refuse(path, f"{target.name}:{place[:80]} holds no data")
            if group.external or group.is_virtual:
                refuse(path, f"{target.name}:{place[:80]} has its data in other files")
            if group.nbytes > MOST_COMPRESSED * target.stat().st_size:
                refuse(path, f"{target.name}:{place[:80]} would take {group.nbytes} bytes, more than the file can hold")
    except (OSError, RuntimeError, KeyError) as error:
        refuse(path, f"{target.name} cannot be read: {' '.join(str(error).split())[:80]}")


def _number(path: Path, text: str) -> int:
    try:
        return abs(int(text))
    except ValueError:
        refuse(path, f'"{text[:40]}" is no number of things')


def refuse(path: Path, complaint: str) -> NoReturn:
    """Raise the ProblemError about a mesh file."""
    raise ProblemError("space.path", str(path), complaint)
