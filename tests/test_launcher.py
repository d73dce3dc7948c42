"""docker/run: what passes through it, and what it does with each engine.

The engines are scripts that write down how they are called; the current Python, which the tests run in, is real.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAUNCHER = ROOT / "docker" / "run"

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the launcher is a bash script")


@pytest.fixture
def surroundings(tmp_path):
    """The environment of a caller who has chosen nothing, with a cache of its own."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("COLDFLOW_", "SUDO_"))}
    return {**env, "XDG_CACHE_HOME": str(tmp_path / "the cache")}


@pytest.fixture
def launch(surroundings):
    """Run the launcher from a folder; the current Python is its environment unless `env` says otherwise."""

    def run(*command, launcher=LAUNCHER, cwd=ROOT, env=None, **options):
        return subprocess.run([str(launcher), *command], cwd=cwd, env={**surroundings, **(env or {})}, text=True,
                              capture_output=True, timeout=60, **options)

    return run


# ------------------------------------------------------------------ the current Python


def test_current_python_is_found(launch):
    done = launch("python3", "-c", "import dolfinx, solver; print(solver.__file__)")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(ROOT / "solver" / "__init__.py")
    assert done.stderr == ""


@pytest.mark.parametrize("code", [0, 1, 2, 7, 130])
def test_exit_code_passes_through(launch, code):
    assert launch("sh", "-c", f"exit {code}", env={"COLDFLOW_ENGINE": "python"}).returncode == code


def test_arguments_pass_intact(launch):
    arguments = ["two words", "it's", '"quoted"', "", "$HOME", "*", "a\\b", "line\nbreak", "--flag=x y", "-"]
    done = launch("python3", "-c", "import sys; print(sys.argv[1:])", *arguments)
    assert done.stdout.strip() == repr(arguments)


def test_input_and_folder_pass(launch, tmp_path):
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    done = launch("sh", "-c", "pwd; cat > written; cat written", cwd=folder, input="from outside\n")
    assert done.stdout.splitlines() == [str(folder.resolve()), "from outside"]
    assert (folder / "written").stat().st_uid == os.geteuid()


def test_relative_path_and_symlink(launch, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(LAUNCHER)
    for launcher, cwd in [(link, tmp_path), ("./run", ROOT / "docker"), (os.path.relpath(LAUNCHER, tmp_path), tmp_path)]:
        done = launch("printenv", "PYTHONPATH", launcher=launcher, cwd=cwd)
        assert done.stdout.split(":")[0].strip() == str(ROOT)


def test_command_is_this_checkout(launch, tmp_path):
    (tmp_path / "solver").mkdir()
    (tmp_path / "solver" / "__init__.py").write_text("raise SystemExit('the wrong solver')")
    done = launch("coldflow", "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "compare" in done.stdout


@pytest.mark.parametrize("whole_group", [True, False])
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_signals_reach_the_program(surroundings, sent, whole_group):
    program = ("import signal, sys, time\n"
               f"signal.signal({int(sent)}, lambda number, frame: sys.exit(40 + number))\n"
               "print('ready', flush=True)\nfor _ in range(300): time.sleep(0.1)")
    with subprocess.Popen([LAUNCHER, sys.executable, "-c", program], env=surroundings, cwd=ROOT, text=True,
                          stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout.readline() == "ready\n"
        (os.killpg if whole_group else os.kill)(process.pid, sent)
        assert process.wait(timeout=20) == 40 + sent


def test_usage(launch):
    assert launch().returncode == 2
    assert launch("--wrong").returncode == 2
    done = launch("--help")
    assert done.returncode == 0
    assert "docker/run coldflow compare" in done.stderr
    done = launch("true", env={"COLDFLOW_ENGINE": "dokcer"})
    assert done.returncode == 2
    assert "dokcer" in done.stderr
    done = launch("no-such-command", env={"COLDFLOW_ENGINE": "python"})
    assert done.returncode == 127


# ------------------------------------------------------------------ engines that are not there


FAKE = """#!/bin/sh
# {name}: writes down its arguments, separated by |, and ends each call with a record separator
printf '{name}' >> "$RECORD"; for a in "$@"; do printf '|%s' "$a" >> "$RECORD"; done; printf '\\036' >> "$RECORD"
{body}
"""

ENGINE = """
case $1 in
    ps) exit ${ANSWER:-0} ;;
    info) echo '[name=seccomp]' ;;
    image) [ -e "$STORE/built" ] ;;
    build) sleep 0.5; [ -z "$BROKEN" ] || { echo "E: no such package" ; exit 100; }; touch "$STORE/built" ;;
    run) exit 42 ;;
esac
"""

BUILDAH = """
case $1 in
    inspect) case $* in
        *format*) echo A=1 ;;
        *container*) [ -e "$STORE/container" ] ;;
        *coldflow*) [ -e "$STORE/built" ] ;;
        *) [ -e "$STORE/base" ] ;; esac ;;
    mount) [ -e "$STORE/container" ] && echo /the/root ;;
    from) case $* in *scratch*) echo scratch-1 ;; *) touch "$STORE/container" ;; esac ;;
    commit) touch "$STORE/base" ;;
    build) touch "$STORE/built" ;;
esac
"""


@pytest.fixture
def engines(launch, tmp_path):
    """Put scripts before everything on the PATH; `python3` there knows no dolfinx. Calls are kept in `record`."""
    folder, record = tmp_path / "bin", tmp_path / "record"
    folder.mkdir()
    bodies = {"python3": "exit 1", "docker": ENGINE, "podman": ENGINE, "buildah": BUILDAH, "mmdebstrap": "exit 0",
              "unshare": "exit 43"}
    for name, body in bodies.items():
        (folder / name).write_text(FAKE.format(name=name, body=body))
        (folder / name).chmod(0o755)
    env = {"PATH": f"{folder}:/usr/sbin:/usr/bin:/sbin:/bin", "RECORD": str(record), "STORE": str(tmp_path)}

    def run(*command, cwd=tmp_path, extra=None, **options):
        done = launch(*command, cwd=cwd, env={**env, **(extra or {})}, **options)
        calls = [line.split("|") for line in record.read_text().split("\x1e")[:-1]]
        record.unlink()
        return done, calls

    run.environment = env
    run.record = record
    return run


def verbs(calls, engine):
    return [call[1] for call in calls if call[0] == engine]


def test_docker_builds_once_and_runs(engines, tmp_path):
    done, calls = engines("coldflow", "check", "it's mine.toml")
    assert done.returncode == 42
    assert done.stderr.count("building the environment") == 1
    assert verbs(calls, "docker").count("build") == 1
    ran = calls[-1]
    assert ran[-3:] == ["coldflow", "check", "it's mine.toml"]
    assert "--rm" in ran
    for folder in (tmp_path.resolve(), ROOT):
        assert any(item == f"type=bind,source={folder},target={folder}" or ("source=/tmp,target=/tmp" in item
                   and str(folder).startswith("/tmp/")) for item in ran)
    assert ran[ran.index("-w") + 1] == str(tmp_path.resolve())
    assert ran[ran.index("--user") + 1] == f"{os.geteuid()}:{os.getegid()}"
    assert f"PYTHONPATH={ROOT}" in ran
    again, calls = engines("true")
    assert again.returncode == 42
    assert again.stderr == ""
    assert "build" not in verbs(calls, "docker")


def test_chosen_variables_pass(engines):
    chosen = {"OMP_NUM_THREADS": "3", "COLDFLOW_SOMETHING": "x y", "PETSC_OPTIONS": "-ts_view", "UNRELATED": "1"}
    _, calls = engines("true", extra=chosen)
    assert {"OMP_NUM_THREADS=3", "COLDFLOW_SOMETHING=x y", "PETSC_OPTIONS=-ts_view"} <= set(calls[-1])
    assert "UNRELATED=1" not in calls[-1]


def test_folders_of_arguments_are_mounted(engines, surroundings):
    _, calls = engines("coldflow", "solve", "/home", "--out=/srv/runs/1", 'initial.path="/opt/x.csv"', "/etc/passwd")
    mounted = {item.split("source=")[1].split(",")[0] for item in calls[-1] if "source=" in item}
    assert {"/home", "/srv", "/opt"} <= mounted
    assert not {"/", "/etc", "/usr"} & mounted


def test_podman_when_docker_does_not_answer(engines, tmp_path):
    docker = tmp_path / "bin" / "docker"
    docker.write_text(docker.read_text().replace("${ANSWER:-0}", "1"))
    done, calls = engines("true")
    assert done.returncode == 42
    assert verbs(calls, "docker") == ["ps"]
    assert verbs(calls, "podman")[-1] == "run"
    assert ("--userns=keep-id" in calls[-1]) == (os.geteuid() != 0)


def test_failed_build_shows_its_end_and_its_log(engines):
    done, _ = engines("true", extra={"BROKEN": "1"})
    assert done.returncode == 125
    assert "E: no such package" in done.stderr
    log = next(line for line in done.stderr.splitlines() if "build.log" in line).rpartition("the end of ")[2]
    assert Path(log.rstrip(":")).is_file()


def test_release_is_built_and_kept_apart(engines):
    _, calls = engines("true", extra={"COLDFLOW_DEBIAN": "sid"})
    build = next(call for call in calls if call[1] == "build")
    assert "DEBIAN=sid" in build
    assert build[build.index("-t") + 1].startswith("coldflow:sid-")


@pytest.mark.skipif(shutil.which("flock") is None, reason="without flock the engine itself keeps two builds apart")
def test_two_first_launches_build_once(engines, surroundings, tmp_path):
    env = {**surroundings, **engines.environment}
    both = [subprocess.Popen([LAUNCHER, "true"], cwd=tmp_path, env=env, stderr=subprocess.PIPE) for _ in range(2)]
    for process in both:
        process.communicate(timeout=60)
        assert process.returncode == 42
    assert engines.record.read_text().count("docker|build") == 1


def test_environment_depends_on_the_dockerfile_only(engines, launch, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(ROOT / "docker", project / "docker")
    tags = []
    for edited in (None, project / "solver.py", project / "docker" / "Dockerfile"):
        if edited is not None:
            with edited.open("a") as file:
                file.write("\n# edited\n")
        _, calls = engines("true", launcher=project / "docker" / "run")
        tags.append(next(item for item in calls[-1] if item.startswith("coldflow:")))
    assert tags[0] == tags[1] != tags[2]


@pytest.mark.skipif(os.geteuid() != 0, reason="as another user buildah needs a user namespace")
def test_buildah_makes_its_own_base_image(engines, tmp_path):
    done, calls = engines("coldflow", "doctor", extra={"COLDFLOW_ENGINE": "buildah"})
    assert done.returncode == 43, done.stderr
    assert [call[0] for call in calls].count("mmdebstrap") == 1
    order = verbs(calls, "buildah")
    assert order.index("commit") < order.index("build") < len(order) - 1 - order[::-1].index("mount")
    assert calls[-1][0] == "unshare"
    assert calls[-1][-2:] == ["coldflow", "doctor"]
    _, calls = engines("true", extra={"COLDFLOW_ENGINE": "buildah"})
    assert verbs(calls, "buildah") == ["mount", "inspect"]


def test_interrupted_preparation_ends_at_once(engines, surroundings, tmp_path):
    docker = tmp_path / "bin" / "docker"
    docker.write_text(docker.read_text().replace("sleep 0.5", "sleep 30"))
    env = {**surroundings, **engines.environment}
    with subprocess.Popen([LAUNCHER, "true"], cwd=tmp_path, env=env, text=True, stderr=subprocess.PIPE,
                          start_new_session=True) as process:
        assert "building" in process.stderr.readline()
        time.sleep(0.3)
        began = time.monotonic()
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(timeout=20) == 128 + signal.SIGTERM
        assert time.monotonic() - began < 5


def test_script_is_sound():
    assert subprocess.run(["bash", "-n", LAUNCHER], check=False).returncode == 0
    assert os.access(LAUNCHER, os.X_OK)
    text = LAUNCHER.read_text()
    assert "\r" not in text
    assert max(map(len, text.splitlines())) <= 120
