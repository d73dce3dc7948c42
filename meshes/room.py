"""HDF5 files on disks that may fill up: the room is taken before HDF5 writes.

HDF5 keeps what it could not write, fails to close the file, and then crashes as the process ends. So a new file is made in
memory and written in one piece, and before a file grows, it is made longer by what that takes at most; HDF5 cuts the rest off
when it closes the file.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import h5py

SLACK = 2**17  # bytes for tables of HDF5's own, beside the data


def new_file(path: Path, fill: Callable[[h5py.File], None]) -> None:
    """Make a HDF5 file in place of what is there; local.

    Args:
        path: of the file. fill: puts data into it.

    Raises:
        OSError: naming the file; what was there stays.
    """
    with h5py.File(path.name, "w", driver="core", backing_store=False) as file:
        fill(file)
        file.flush()
        image = file.id.get_file_image()
    draft = path.with_name(f".{path.name}.part")
    try:
        draft.unlink(missing_ok=True)
        with draft.open("xb") as out:
            out.write(image)
        os.replace(draft, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from None


def take_room(path: Path, growth: int) -> None:
    """Make an existing file longer, on the disk and not only in its length; local.

    Args:
        path: of the file. growth: bytes of data that are going to be added.

    Raises:
        OSError: naming the file, which is as long as it was.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
        try:
            end = os.fstat(descriptor).st_size
            try:
                allocate(descriptor, end, growth + SLACK)
            except OSError:
                os.ftruncate(descriptor, end)
                raise
        finally:
            os.close(descriptor)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def allocate(descriptor: int, start: int, length: int) -> None:
    """Give a file room on the disk; zeros are written where the system has no shorter way.

    Raises:
        OSError.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, start, length)
        return
    block = bytes(2**20)
    for place in range(start, start + length, len(block)):
        os.pwrite(descriptor, block[: start + length - place], place)
