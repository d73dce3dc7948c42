"""Writing to disk so that nothing which was there is lost: whole files replaced at once, logs cut back when the disk is full."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from meshes.room import allocate


def write_all(descriptor: int, content: bytes) -> None:
    """Write every byte, or raise OSError."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view):]


def sync_folder(folder: Path) -> None:
    """Make renames in a folder last; nothing where the file system cannot."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def replace_file(path: Path, content: bytes, *, sync: bool = False) -> None:
    """Give a file new content at once: readers and a crash see the old or the new one, never half of it.

    A symbolic link in the place of the file is replaced, never followed.

    Args:
        path: file, in an existing folder.
        content: all of it.
        sync: wait until it is on the disk.

    Raises:
        OSError: naming `path`; what was there stays, and no temporary file is left.
    """
    draft = path.with_name(f".{path.name}.part")
    try:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            write_all(descriptor, content)
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(draft, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from None
    if sync:
        sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """`replace_file` for text."""
    replace_file(path, text.encode())


def append(path: Path, content: bytes, *, sync: bool = False) -> None:
    """Add bytes at the end of an existing file; a write that fails is taken back, so that no half row stays.

    Raises:
        OSError: naming `path`.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0))
        try:
            end = os.fstat(descriptor).st_size
            try:
                write_all(descriptor, content)
                if sync:
                    os.fsync(descriptor)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, end)
                raise
        finally:
            os.close(descriptor)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def probe_room(folder: Path, size: int) -> None:
    """Whether so many bytes can be written into a folder just now; nothing is left there.

    Raises:
        OSError: naming the folder.
    """
    place = folder / ".coldflow.room"
    try:
        with contextlib.suppress(FileNotFoundError):
            place.unlink()
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            allocate(descriptor, 0, size)
        finally:
            os.close(descriptor)
            place.unlink()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from None
