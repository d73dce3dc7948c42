"""coldflow with plain Python: tokens, target and distances without PETSc, dolfinx or MPI; what a wheel and an archive hold."""

import email
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("dolfinx", "petsc4py", "mpi4py", "basix", "ufl", "ffcx")
BLOCKED = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ImportError(f"{{name}} is blocked")

sys.meta_path.insert(0, Blocker())
"""
TINY = ["--set", "particles.count=64", "--set", "time.end=0.2", "--set", "time.outputs=3"]


def python(code, folder, path=ROOT, **environment):
    """A Python of its own in a folder; the code of this project comes from `path`."""
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": str(path), **environment})


def coldflow(arguments, folder, path=ROOT, **environment):
    """The command without the heavy packages; ends with 9 if one was imported all the same."""
    return python(f"""{BLOCKED}
from solver.cli import main
try:
    main({arguments!r})
finally:
    if any(name.partition(".")[0] in {HEAVY!r} for name in sys.modules):
        import os
        os._exit(9)
""", folder, path, **environment)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Wheel and source archive, built from a copy without network."""
    place = tmp_path_factory.mktemp("build")
    source = place / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".git", "results", "dist", "build", "__pycache__", ".*_cache"))
    done = subprocess.run([sys.executable, "-c", "import setuptools.build_meta as b; b.build_wheel('..'); b.build_sdist('..')"],
                          cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(place.glob("*.whl")), next(place.glob("*.tar.gz"))


def test_tokens_and_target_from_the_wheel_alone(built, tmp_path):
    wheel, folder = tmp_path / "wheel", tmp_path / "work"
    folder.mkdir()
    zipfile.ZipFile(built[0]).extractall(wheel)
    for arguments in (["particles", "smooth_circle", *TINY, "--quiet"], ["target", "misaligned_circle"],
                      ["distance", "results/smooth_circle", "results/smooth_circle"], ["--version"]):
        done = coldflow(arguments, folder, wheel)
        assert done.returncode == 0, (arguments, done.stderr)
    assert (folder / "results/smooth_circle/particles.csv").is_file()
    assert (folder / "results/misaligned_circle/target.csv").is_file()


def test_a_density_says_how_to_get_dolfinx(tmp_path):
    for command in ("solve", "compare"):
        done = coldflow([command, "smooth_circle", *TINY], tmp_path)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert "conda-forge" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_sweep_of_tokens(tmp_path):
    done = coldflow(["sweep", "smooth_circle", "--over", "attention.beta=1,2", "--side", "particles", "--jobs", "1", *TINY],
                    tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results/smooth_circle-sweep/sweep.csv").is_file()


def test_without_a_compiler(tmp_path):
    done = coldflow(["particles", "smooth_circle", *TINY, "--quiet"], tmp_path, CC="/nonexistent/cc",
                    XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "NumPy" in done.stderr


def test_metadata_and_content(built):
    import solver

    with zipfile.ZipFile(built[0]) as wheel:
        names = wheel.namelist()
        about = email.message_from_bytes(wheel.read(next(name for name in names if name.endswith("METADATA"))))
    assert about["Version"] == solver.__version__
    plain = [needed for needed in about.get_all("Requires-Dist") if "extra ==" not in needed]
    assert not any(needed.startswith(("fenics", "petsc", "mpi")) for needed in plain)
    assert {"meshes/py.typed", "problems/py.typed", "solver/py.typed", "problems/smooth_circle.toml",
            "solver/attention/interface.h"} <= set(names)
    shipped = {str(path.relative_to(ROOT)) for room in ("meshes", "problems", "solver") for path in (ROOT / room).rglob("*")
               if path.is_file() and path.suffix not in (".pyc", ".so")}
    assert shipped <= set(names), shipped - set(names)
    with tarfile.open(built[1]) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert {"CITATION.cff", "LICENSE", "CHANGELOG.md", "docs/theory.md", "tests/conftest.py", "tests/runs/test_ends.py",
            "docker/Dockerfile"} <= held


@pytest.mark.parametrize(("name", "code"), [("problems", "import solver"), ("meshes", "import solver"),
                                            ("meshes", "import problems"), ("solver", "import problems")])
def test_a_module_of_the_users_own_in_the_way_is_named(name, code, tmp_path):
    own = tmp_path / f"{name}.py"
    own.touch()
    done = python(code, tmp_path)
    assert str(own) in done.stderr
    assert "rename" in done.stderr
    assert (done.returncode == 0) == (name == "solver")


def test_a_folder_of_problem_files_is_not_in_the_way(tmp_path):
    (tmp_path / "problems").mkdir()
    assert python("from solver import simulate; from problems import load", tmp_path).stderr == ""
