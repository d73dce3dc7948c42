"""One run at a time in a folder: a lock that names its holder and goes when that process does."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from pathlib import Path

LOCK = ".coldflow.lock"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class HeldError(RuntimeError):
    """Another run has the folder; the message says which one."""


def process_start(pid: int) -> str:
    """When a process of this machine began, in ticks since it was started; empty where it is not there or cannot be asked."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


class Lock:
    """An exclusive lock on a folder, for as long as this process lives; local to the rank that takes it.

    The system's own file lock decides, which ends with the process however that ends. Where the file system has none, what is
    written in the file decides: host, process id and start. A process that is no longer there has lost its lock; of another
    host that cannot be known.

    Args:
        folder: existing.

    Raises:
        HeldError: somebody else has it. OSError.
    """

    def __init__(self, folder: Path):
        self.path = folder / LOCK
        self.descriptor = -1
        while self.descriptor < 0:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                holder = self._holder(descriptor)
                os.close(descriptor)
                if error.errno not in NO_LOCKS or self._lives(holder):
                    raise HeldError(describe(holder)) from None
                descriptor = os.open(self.path, os.O_RDWR)
            # Somebody may have removed the file between the two calls: then the lock is on a file nobody sees.
            with contextlib.suppress(FileNotFoundError):
                if os.fstat(descriptor).st_ino == os.stat(self.path).st_ino:
                    self.descriptor = descriptor
                    break
            os.close(descriptor)
        mine = {"host": socket.gethostname(), "pid": os.getpid(), "start": process_start(os.getpid()),
                "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        with contextlib.suppress(OSError):  # on a full disk the lock holds, only without a name
            os.ftruncate(self.descriptor, 0)
            os.pwrite(self.descriptor, json.dumps(mine).encode(), 0)

    def release(self) -> None:
        """Give the folder free; a second call does nothing."""
        if self.descriptor < 0:
            return
        with contextlib.suppress(OSError):
            self.path.unlink()
        os.close(self.descriptor)
        self.descriptor = -1

    def _holder(self, descriptor: int) -> dict[str, object]:
        for _ in range(20):  # the holder may just be writing its name
            with contextlib.suppress(OSError, ValueError):
                found = json.loads(os.pread(descriptor, 4096, 0))
                if isinstance(found, dict):
                    return found
            time.sleep(0.01)
        return {}

    def _lives(self, holder: dict[str, object]) -> bool:
        if holder.get("host") != socket.gethostname():
            return bool(holder)
        pid = holder.get("pid")
        return isinstance(pid, int) and process_start(pid) == holder.get("start") != ""


def describe(holder: dict[str, object]) -> str:
    """Who has the lock, in words."""
    if not holder:
        return "another process"
    return f"process {holder.get('pid')} on {holder.get('host')}, since {holder.get('since')}"
