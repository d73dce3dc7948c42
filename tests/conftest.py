"""Fixtures and options shared by all tests."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

# Tests compare results, not speed, and run beside each other: one thread each.
os.environ.setdefault("COLDFLOW_THREADS", "1")

ROOT = Path(__file__).resolve().parent.parent
MOST_WORKERS = 8  # each takes up to 1 GiB


def pytest_addoption(parser):
    parser.addoption("--all-paths", action="store_true", help="walk the whole table of paths, not a part of it")
    parser.addoption("--order-table", action="store_true",
                     help="print the observed orders of convergence as one table at the end")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """The whole suite runs on all cores, a file as a whole on one: tests of a file share runs. `-n 0` is one after the other."""
    if not config.pluginmanager.hasplugin("xdist") or hasattr(config, "workerinput"):
        return
    if config.option.usepdb or config.option.collectonly or config.option.order_table:  # the table is one process's
        return
    if config.option.numprocesses is None and config.args == config.getini("testpaths"):
        config.option.numprocesses = min(os.cpu_count() or 1, MOST_WORKERS)
    if config.option.numprocesses and config.option.dist == "no":
        config.option.dist = "loadfile"


def pytest_collection_modifyitems(config, items):
    """The whole table of paths takes ten minutes: without `--all-paths` a part of it runs."""
    if not config.getoption("--all-paths"):
        kept = [item for item in items if "all_paths" not in item.keywords]
        config.hook.pytest_deselected(items=[item for item in items if "all_paths" in item.keywords])
        items[:] = kept


class OrderTable:
    """Observed orders of convergence, collected over a session and printed on request."""

    def __init__(self):
        self.rows = []

    def add(self, case, degree, sizes, errors, orders):
        """One line: `sizes` are mesh widths h (or counts N), `errors` and `orders` as measured."""
        self.rows.append((case, degree, list(sizes), list(errors), list(orders)))

    def lines(self):
        yield f"{'case':42s} {'degree':>6s}  {'errors':44s} orders"
        for case, degree, _, errors, orders in sorted(self.rows, key=lambda row: (row[0], row[1])):
            shown = " ".join(f"{e:10.3e}" for e in errors)
            yield f"{case:42s} {degree:6d}  {shown:44s} {' '.join(f'{o:5.2f}' for o in orders)}"


def pytest_configure(config):
    config.order_table = OrderTable()


@pytest.fixture(scope="session")
def order_table(request):
    """Collects rows (case, degree, sizes, errors, orders) for `--order-table`."""
    return request.config.order_table


def pytest_terminal_summary(terminalreporter, config):
    if config.getoption("--order-table") and config.order_table.rows:
        terminalreporter.section("observed orders of convergence")
        for line in config.order_table.lines():
            terminalreporter.write_line(line)


def pytest_collection_finish(session):
    """What is imported by now stays: looking through it after each of two thousand tests would take minutes."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def collect_garbage():
    """PETSc and MPI objects are freed between tests, in the same order on every rank."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def mpirun():
    """Run Python code or a module under MPI: `mpirun(n, "-c", code)` or `mpirun(n, "-m", "solver", ...)`.

    Returns the finished process with its output as text; a failure shows that output.
    """

    def run(ranks, *arguments, check=True, timeout=240, cwd=None):
        environment = dict(os.environ, OMP_NUM_THREADS="1")
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
        command = ["mpirun", "-n", str(ranks), sys.executable, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=cwd or ROOT,
                              env=environment, stdin=subprocess.DEVNULL)
        if check and done.returncode != 0:
            pytest.fail(f"mpirun -n {ranks} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    return run
