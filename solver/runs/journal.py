"""The journal of a solver: everything that was recorded at each output, in one file that only grows.

Tables, tokens on file and fields for ParaView can all be written again from it, so a run that is resumed does not have to
trust them. Each record is `length (8 bytes), SHA-256 (32 bytes), content`, and the sum covers the sum of the record before,
so that a record which is torn, altered or missing is noticed, and which records are sound.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from solver.runs.disk import append, replace_file

MAGIC = b"coldflow journal 1\n"
NOTHING = bytes(32)
Record = dict[str, np.ndarray]


def pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays as the content of an .npz file."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def unpack(content: bytes) -> Record:
    """The arrays of `pack`; nothing in them is executed."""
    with np.load(io.BytesIO(content), allow_pickle=False) as data:
        return dict(data)


class Journal:
    """One journal on disk; local to the rank that writes.

    Attributes:
        sums: running checksum after each record; its last one stands for all of them.
        size: bytes up to the end of the last record.
    """

    def __init__(self, path: Path):
        self.path = path
        self.sums: list[bytes] = []
        self.size = len(MAGIC)

    def begin(self) -> None:
        """Start an empty journal in place of an old one."""
        replace_file(self.path, MAGIC)
        self.sums, self.size = [], len(MAGIC)

    def append(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Add one record; either the whole of it is there or nothing.

        Raises:
            OSError: naming the file.
        """
        content = pack(arrays)
        checksum = hashlib.sha256((self.sums[-1] if self.sums else NOTHING) + content).digest()
        whole = len(content).to_bytes(8, "little") + checksum + content
        append(self.path, whole, sync=True)
        self.sums.append(checksum)
        self.size += len(whole)

    def read(self) -> list[Record]:
        """All sound records from the beginning; what follows the first that is not is left out. `sums` and `size` follow."""
        self.sums, self.size, records = [], len(MAGIC), []
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return []
        with file:
            if file.read(len(MAGIC)) != MAGIC:
                return []
            end = self.path.stat().st_size
            while len(head := file.read(40)) == 40:
                length = int.from_bytes(head[:8], "little")
                if length > end - file.tell():  # checked before memory is taken
                    break
                content = file.read(length)
                checksum = hashlib.sha256((self.sums[-1] if self.sums else NOTHING) + content).digest()
                if checksum != head[8:]:
                    break
                records.append(unpack(content))
                self.sums.append(checksum)
                self.size += 40 + length
        return records

    def keep(self, count: int, records: list[Record]) -> None:
        """Drop all but the first `count` records, those of `read`."""
        del records[count:]
        if len(self.sums) > count:
            self.read_ends(count)
        with self.path.open("r+b") as file:
            file.truncate(self.size)

    def read_ends(self, count: int) -> None:
        """Set `sums` and `size` to the first `count` records."""
        self.sums, self.size = self.sums[:count], len(MAGIC)
        with self.path.open("rb") as file:
            for _ in range(count):
                file.seek(self.size)
                self.size += 40 + int.from_bytes(file.read(8), "little")
