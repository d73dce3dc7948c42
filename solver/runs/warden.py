"""Last words of a rank that cannot speak any more: killed, out of memory, crashed, or ended by the watchdog.

Each rank of a run that is recorded has a small process beside it, which does nothing but wait. The rank tells it through a pipe
where the run is, and says goodbye when it leaves. If the pipe closes without a goodbye, the process says what it knows, once
for all ranks, and puts it into run.json. It is in a session of its own: what ends the job does not end it, and it ends itself.

This file is also the program of that process, which imports nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

WORDS_ONCE = ".coldflow.last-words"


class Warden:
    """The process that waits beside this rank; local.

    Args:
        folder: of the run.
        rank: of this process.
        pids: process ids of the ranks on this machine, by rank.
        watchdog: seconds of silence after which the watchdog ends the rank, None: never.
        listen: pass on signals at once, even while this process is busy in a library.
    """

    def __init__(self, folder: Path, rank: int, pids: dict[int, int], watchdog: float | None, *, listen: bool):
        facts = {"folder": os.path.abspath(folder), "rank": rank, "pids": pids, "watchdog": watchdog}
        self._pipe, self._earlier = -1, -1
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        try:
            self._process = subprocess.Popen([sys.executable, "-I", "-S", __file__, json.dumps(facts)], stdin=reading,
                                             stdout=subprocess.DEVNULL, start_new_session=True, cwd="/")
        except OSError:  # no memory for it, or no more processes: the run goes on without
            os.close(writing)
            return
        finally:
            os.close(reading)
        self._pipe = writing
        if listen:
            with contextlib.suppress(ValueError):
                self._earlier = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def note(self, step: int | None, depth: float | None) -> None:
        """The run is in this step, at this depth."""
        if step is not None and depth is not None:
            self._tell(f"{step} {depth!r}\n")

    def goodbye(self) -> None:
        """This rank leaves in order; a second call does nothing."""
        if self._pipe < 0:
            return
        self._tell("bye\n")
        with contextlib.suppress(ValueError):
            if signal.set_wakeup_fd(self._earlier) not in (self._pipe, -1):
                signal.set_wakeup_fd(-1)
        os.close(self._pipe)
        self._pipe = -1
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)

    def _tell(self, words: str) -> None:
        if self._pipe >= 0:
            with contextlib.suppress(OSError):
                os.write(self._pipe, words.encode())


def state(pid: int) -> str:
    """The letter by which the system describes what a process does; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def suspect(states: dict[int, str]) -> str:
    """Which rank does not answer, as far as that can be seen: one that is stopped, or the only one that is not busy waiting."""
    for letters in ("T", "D", "S"):
        found = [rank for rank, letter in states.items() if letter == letters]
        if found and len(found) < len(states):
            return f"rank{'s' * (len(found) > 1)} {', '.join(map(str, found))}"
    return ""


def wait(descriptor: int) -> tuple[str, int, float]:
    """Listen until the pipe closes: the last line, the signal that came (0: none), when the last line came."""
    rest, line, came, heard = b"", "", 0, time.monotonic()
    while data := os.read(descriptor, 65536):
        for number in (signal.SIGINT, signal.SIGTERM):
            if bytes([number]) in data:
                came = number
                data = data.replace(bytes([number]), b"")
        *lines, rest = (rest + data).split(b"\n")
        if lines:
            line, heard = lines[-1].decode(), time.monotonic()
            if "bye" in line:
                break
    return line, came, heard


def speak(facts: dict[str, object], line: str, came: int, silent: float, states: dict[int, str]) -> None:
    """Say why the rank has gone, unless somebody has, and write it into run.json."""
    folder = Path(str(facts["folder"]))
    path, once, ranks = folder / "run.json", folder / WORDS_ONCE, len(states)
    try:
        os.close(os.open(once, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except OSError:
        return
    try:
        found = json.loads(path.read_text())
        if found.get("exit_reason") != "running":
            return
        step, _, depth = line.partition(" ")
        where = [f"step {step}", f"t = {float(depth):.6g}"] if depth else ["before the first step"]
        place = f"rank {facts['rank']}" if ranks > 1 else ""
        watchdog = facts["watchdog"]
        if came:
            reason = "interrupted"
            print("coldflow: interrupted; the run folder holds what was reached (--resume goes on)", file=sys.stderr, flush=True)
        else:
            words = "the process was killed (SIGKILL, or no memory left) or crashed"
            if isinstance(watchdog, int | float) and silent >= 0.9 * watchdog:
                place = suspect(states)
                words = f"nothing was finished for {watchdog:g} s, a rank does not answer (watchdog)"
            reason = f"{', '.join([*where, *([place] if place else [])])}: {words}"
            print(f"coldflow: the run failed: {reason}", file=sys.stderr, flush=True)
        draft = folder / ".run.json.last"
        draft.write_text(json.dumps({**found, "exit_reason": reason}, indent=2) + "\n")
        os.replace(draft, path)
    except (OSError, ValueError):
        return
    finally:
        with contextlib.suppress(OSError):
            once.unlink()


def main(arguments: Sequence[str]) -> None:
    """The program: wait, and speak if there was no goodbye."""
    facts = json.loads(arguments[0])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    line, came, heard = wait(0)
    if "bye" in line:
        return
    states = {int(rank): state(pid) for rank, pid in facts["pids"].items()}
    speak(facts, line, came, time.monotonic() - heard, states)


if __name__ == "__main__":
    main(sys.argv[1:])
