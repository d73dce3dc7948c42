"""Which files of a folder are a run's own: only those are ever replaced, moved or removed."""

from __future__ import annotations

import contextlib
import fnmatch
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict

from problems.errors import ProblemError
from solver.runs.disk import write_text

# Everything a run may leave in its folder, at its top; whoever writes another file adds it here.
NAMES = ("problem.toml", "run.json", "diagnostics.csv", "particles.csv", "comparison.csv", "verdict.csv", "convergence.csv",
         "accuracy.csv", "also.csv", "particles.xdmf",
         "distances.csv", "target.csv", "clusters.csv", "events.csv", "particles.h5", "density.xdmf", "density.h5", "density.bp",
         "density-*.bp", "figures", "checkpoint", "report.html")
MARK = ".coldflow-replaced"


class Phase(TypedDict, total=False):
    """A stretch of depth in run.json, see `solver.runs.phases`."""

    name: str
    start: float
    end: float
    why: str
    share: float


class Verdict(TypedDict, total=False):
    """The verdict in run.json."""

    agree: bool
    outcome: str
    reason: str
    unresolved: list[str]


class Facts(TypedDict, total=False):
    """What run.json may hold; docs/run-folder.md says what each is."""

    title: str
    command: str
    arguments: list[str]
    exit_reason: str
    begun: bool
    problem_sha256: str
    files: list[str]
    earlier: list[dict[str, object]]
    started: str
    wall_seconds: float
    ranks: int
    seed: int
    versions: dict[str, str]
    host: dict[str, str]
    git: dict[str, str]
    petsc_options: dict[str, str]
    phases: list[Phase]
    summary: dict[str, float | dict[str, float]]
    verdict: Verdict


def read_facts(folder: Path) -> Facts | None:
    """What run.json says; None where there is none of ours."""
    path = folder / "run.json"
    if path.is_symlink() or not path.is_file():
        return None
    try:
        facts: Facts = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) and "exit_reason" in facts else None


def present(folder: Path) -> list[str]:
    """Names at the top of the folder that a run would write, links among them."""
    found = sorted(entry.name for entry in os.scandir(folder)) if folder.is_dir() else []
    return [name for name in found if any(fnmatch.fnmatchcase(name, pattern) for pattern in NAMES)]


def files_of(folder: Path) -> list[str]:
    """All files under those names, as relative paths; links are left out and not followed."""
    found = []
    for name in present(folder):
        top = folder / name
        if top.is_symlink():
            continue
        if not top.is_dir():
            found.append(name)
            continue
        for place, _, names in os.walk(top, followlinks=False):
            found += [str((Path(place) / n).relative_to(folder)) for n in names if not (Path(place) / n).is_symlink()]
    return sorted(found)


def own_files(folder: Path, facts: Facts) -> list[str]:
    """The files of the run whose run.json says `facts`: those it lists; of a run that was cut off, all with its names."""
    listed = facts.get("files")
    if not isinstance(listed, list):
        return files_of(folder)
    here = set(files_of(folder))
    return sorted(name for name in {*map(str, listed), "run.json", "problem.toml"} if name in here)


def add_file(folder: Path, name: str) -> None:
    """Let run.json list what a later command, such as `report`, wrote into the folder of a run; nothing where there is no
    run, or one is under way, which lists its files when it ends; local."""
    facts = read_facts(folder)
    listed = facts.get("files") if facts is not None else None
    if facts is None or not isinstance(listed, list) or name in listed or facts["exit_reason"] == "running":
        return
    facts["files"] = sorted([*map(str, listed), name])
    write_text(folder / "run.json", json.dumps(facts, indent=2) + "\n")


def foreign_names(folder: Path, facts: Facts | None) -> list[str]:
    """Names a run would write that stand for something no run wrote: links, and files run.json does not list."""
    ours = {Path(name).parts[0] for name in own_files(folder, facts)} if facts is not None else set()
    found = [name for name in present(folder) if (folder / name).is_symlink() or not of_its_kind(folder / name)
             or (name not in ours and not (facts is not None and only_folders(folder / name)))]
    checkpoints = folder / "checkpoint"
    if "checkpoint" not in found and checkpoints.is_dir():
        found += [f"checkpoint/{entry.name}" for entry in os.scandir(checkpoints) if not entry.is_file(follow_symlinks=False)]
    return found


def of_its_kind(path: Path) -> bool:
    """Whether a name of ours stands for a folder where a run makes one, and else for a plain file."""
    return path.is_dir() if path.name in ("figures", "checkpoint") or path.suffix == ".bp" else path.is_file()


def refuse_links(folder: Path, names: Iterable[str]) -> None:
    """Refuse to write to names that stand for a symbolic link: what it leads to is not ours; local.

    Raises:
        ProblemError: naming the first one.
    """
    for name in names:
        if (folder / name).is_symlink():
            raise ProblemError("--out", str(folder / name), "no symbolic link, whose target nothing of coldflow wrote")


def only_folders(path: Path) -> bool:
    """Whether there is nothing in a folder but folders."""
    return path.is_dir() and not any(names for _, _, names in os.walk(path))


def move(names: Iterable[str], source: Path, target: Path) -> None:
    """Move files from one folder to another on the same file system, and remove what folders that leaves empty."""
    names = list(names)
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(source / name, target / name)
    prune(source, names)


def remove(names: Iterable[str], folder: Path) -> None:
    """Remove files, and the folders that leaves empty."""
    names = list(names)
    for name in names:
        (folder / name).unlink(missing_ok=True)
    prune(folder, [*names, "figures/x", "checkpoint/x"])


def prune(folder: Path, names: Iterable[str]) -> None:
    """Remove the folders of these files that are empty now, those within them first."""
    places = {parent for name in names for parent in Path(name).parents if parent != Path(".")}
    for place in sorted(places, key=lambda p: -len(p.parts)):
        for below, _, _ in sorted(os.walk(folder / place), key=lambda found: -len(found[0])):
            with contextlib.suppress(OSError):
                os.rmdir(below)


class Replaced:
    """The files of an earlier run, set aside until the run that replaces it has begun; local.

    They wait in NAME.replaced beside the folder, or inside of it where nothing can be made beside.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        whole = Path(os.path.abspath(folder))
        self.places = [whole.with_name(whole.name + ".replaced"), whole / ".replaced"]

    def put_aside(self, names: list[str]) -> None:
        """Move these files out of the way."""
        for place in self.places:
            try:
                place.mkdir()
                (place / MARK).touch()
            except OSError:
                continue
            move(names, self.folder, place)
            return
        raise OSError(17, "a folder for the earlier run is in the way", str(self.places[0]))

    def waiting(self) -> Path | None:
        """Where an earlier run waits, if there is one."""
        return next((place for place in self.places if (place / MARK).is_file() and not place.is_symlink()), None)

    def bring_back(self) -> bool:
        """Put the earlier run back; whether there was one."""
        place = self.waiting()
        if place is None:
            return False
        names = [str((Path(at) / name).relative_to(place)) for at, _, found in os.walk(place) for name in found if name != MARK]
        move(names, place, self.folder)
        self.forget()
        return True

    def forget(self) -> None:
        """The new run has begun: the earlier one goes."""
        place = self.waiting()
        if place is not None:
            shutil.rmtree(place, ignore_errors=True)
