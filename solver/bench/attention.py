"""Throughput of attention: the dense kernel beside the alternatives that are installed, and the fast methods beside it."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypedDict

import numpy as np
from mpi4py import MPI

from problems.attention import Head, Weights
from solver.attention import Attention
from solver.attention.kernels import library
from solver.runs.console import TerminalTable, make_console

Array = np.ndarray
KERNEL_COLUMNS = ("dimension", "kernel", "tokens", "ns/pair", "Mpairs/s", "dense is faster by")
GROWTH_COLUMNS = ("space", "beta", "tokens", "method", "order", "seconds", "dense seconds", "faster by", "error", "refined",
                  "pairs/cap", "exponent")
GATHERED_COLUMNS = ("space", "beta", "clusters", "width", "tokens", "method", "seconds", "spread seconds", "slower than spread",
                    "dense seconds", "faster than dense", "error")
SPACES = {2: "circle", 3: "sphere"}
# Name, dimension, and whether tokens lie on the sphere of that space.
GATHERED_SPACES = (("circle", 2, True), ("sphere", 3, True), ("R^3", 3, False), ("d = 8", 8, True))
GATHERED_BETAS, CLUSTERS, NARROW = (10.0, 100.0, 1e3, 1e4), (1, 2, 8), 1e-3
BETAS = (1.0, 10.0, 100.0, 1e3, 1e4)
# Dense times and errors are measured on as many targets, and the times scaled up.
SAMPLE = 512


# One line of a table.
Line = dict[str, float | str]


class Measured(TypedDict):
    """The lines of the three tables, and the curves of the figure: name -> (tokens, seconds)."""

    kernels: list[Line]
    growth: list[Line]
    gathered: list[Line]
    curves: dict[str, tuple[Array, Array]]


def run(out: Path, quick: bool = False, *, sizes: Sequence[int] | None = None, betas: Sequence[float] = BETAS) -> Measured:
    """Measure on one core, in double precision; rank 0 works, the others wait. Tables on the terminal.

    Kernels: nanoseconds per pair (one score, one exponential, one weighted sum in R^d) of the compiled dense kernel, of
    NumPy in tiles, and of PyTorch's scaled_dot_product_attention and KeOps where they can be imported. Growth: one
    evaluation of all tokens by all tokens with K^T Q = diag(1, .8, .6) and a smooth density of full support, everything
    included (trees, coefficients).

    Gathered: the same for 10^5 tokens in 1, 2 and 8 normal clusters whose width is a tenth of the kernel's, beta^{-1/2}/10, or
    1e-3, beside the same number spread evenly and the dense kernel.

    Args:
        out: folder for attention_kernels.csv, attention_growth.csv, attention_gathered.csv and attention.png (written by rank 0).
        quick: up to 10^4 tokens instead of 10^6, and of 10^5 gathered ones.
        sizes, betas: of the second part; the third takes 10^5 tokens, or the last of the sizes if that is smaller.

    Returns:
        "kernels", "growth" and "gathered": one mapping per line of the tables; "curves": name -> (tokens, seconds) of the figure.
        Empty on other ranks than 0.
    """
    if MPI.COMM_WORLD.rank:
        return {"kernels": [], "growth": [], "gathered": [], "curves": {}}
    sizes = sizes or ((1000, 10_000) if quick else (1000, 10_000, 100_000, 1_000_000))
    library()   # not to be timed: compiled on first use
    kernels = [row for d in SPACES for row in compare_kernels(d, 2000 if quick else 20_000)]
    show("Dense attention, one core", KERNEL_COLUMNS, kernels)
    write(Path(out) / "attention_kernels.csv", KERNEL_COLUMNS, kernels)
    growth = [row for d in SPACES for beta in betas for row in measure_growth(d, beta, sizes)]
    show("Fast attention, one core", GROWTH_COLUMNS, growth)
    write(Path(out) / "attention_growth.csv", GROWTH_COLUMNS, growth)
    gathered = [row for space in GATHERED_SPACES for beta in GATHERED_BETAS
                for row in measure_gathered(*space, beta, min(100_000, sizes[-1]))]
    show("Laws that have gathered, one core", GATHERED_COLUMNS, gathered)
    write(Path(out) / "attention_gathered.csv", GATHERED_COLUMNS, gathered)
    curves = figure_curves(growth)
    plot(Path(out) / "attention.png", curves)
    return {"kernels": kernels, "growth": growth, "gathered": gathered, "curves": curves}


def compare_kernels(d: int, n: int, beta: float = 10.0) -> list[Line]:
    """The first table: n tokens of equal mass on the sphere of R^d."""
    points, weights = tokens(d, n)[0], one_head(d, beta, np.eye(d))
    masses = np.full(n, 1.0 / n)
    works: dict[str, Callable[[], object] | None] = {
        "dense": lambda: Attention(weights, method="dense", workers=1).field(points, points, masses),
        "NumPy tiles": lambda: Attention(weights, method="numpy").field(points, points, masses),
        "PyTorch": torch_attention(points, beta), "KeOps": keops_attention(points, beta)}
    seconds = {name: best_time(work) for name, work in works.items() if work is not None}
    return [{"dimension": d, "kernel": name, "tokens": n, "ns/pair": t / n ** 2 * 1e9, "Mpairs/s": n ** 2 / t / 1e6,
             "dense is faster by": t / seconds["dense"]} for name, t in seconds.items()]


def torch_attention(points: Array, beta: float) -> Callable[[], object] | None:
    """PyTorch's kernel on one thread; None if it cannot be imported."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(1)
    x = torch.from_numpy(points)[None, None]
    return lambda: torch.nn.functional.scaled_dot_product_attention(x, x, x, scale=beta)


def keops_attention(points: Array, beta: float) -> Callable[[], object] | None:
    """KeOps' symbolic softmax reduction; None if it cannot be imported."""
    try:
        from pykeops.numpy import LazyTensor
    except ImportError:
        return None
    x = LazyTensor(np.ascontiguousarray(beta * points[:, None, :]))
    y = LazyTensor(np.ascontiguousarray(points[None, :, :]))
    return lambda: (x | y).sumsoftmaxweight(y, axis=1)


def measure_growth(d: int, beta: float, sizes: Sequence[int]) -> list[Line]:
    """The second table for one space and temperature; `exponent` is that of the time between this and the previous size."""
    score, rows = np.diag([1.0, 0.8, 0.6][:d]), list[Line]()
    before: tuple[int, float] | None = None
    weights = one_head(d, beta, score)
    for n in sizes:
        points, masses = tokens(d, n)
        fast, dense = Attention(weights, workers=1), Attention(weights, method="dense", workers=1)
        some = points[::max(1, n // SAMPLE)][:SAMPLE]
        seconds = best_time(partial(fast.field, points, points, masses))
        slow = best_time(partial(dense.field, some, points, masses))
        slow *= n / len(some)
        values = fast.field(points, points, masses)[0][::max(1, n // SAMPLE)][:SAMPLE]
        error = np.abs(values - dense.field(some, points, masses)[0]).max()
        report = fast.report
        rows.append({
            "space": SPACES[d], "beta": beta, "tokens": n, "method": report.method, "order": report.order, "seconds": seconds,
            "dense seconds": slow, "faster by": slow / seconds, "error": error, "refined": report.refined,
            "pairs/cap": report.pairs / n / cap_pairs(d, beta, points @ score, fast.accuracy),
            "exponent": np.log(seconds / before[1]) / np.log(n / before[0]) if before else float("nan")})
        before = n, seconds
    return rows


def measure_gathered(space: str, d: int, sphere: bool, beta: float, n: int) -> list[Line]:
    """The third table for one space and temperature: K^T Q = diag(1, .8, .6, ..), masses equal."""
    weights, rows = one_head(d, beta, np.diag(np.array([1.0, 0.8, 0.6, 0.9, 0.7, 0.95, 0.85, 0.75])[:d])), list[Line]()
    fast, dense = Attention(weights, workers=1), Attention(weights, method="dense", workers=1)
    masses, rng = np.full(n, 1.0 / n), np.random.default_rng(1)
    spread = tokens(d, n)[0]
    even = best_time(lambda: fast.field(spread, spread, masses)) if sphere and d < 4 else float("nan")
    for count in CLUSTERS:
        for width in sorted({0.1 * beta ** -0.5, NARROW}, reverse=True):
            points = tokens(d, count)[0][np.arange(n) % count] + width * rng.normal(size=(n, d))
            if sphere:
                points /= np.linalg.norm(points, axis=1, keepdims=True)
            some = points[::max(1, n // SAMPLE)][:SAMPLE]
            kept: dict[str, Array] = {}   # evaluations that take half a minute are not repeated for their values
            seconds = best_time(partial(keep, kept, "fast", fast, points, points, masses))
            slow = best_time(partial(keep, kept, "dense", dense, some, points, masses))
            slow *= n / len(some)
            values = kept["fast"][::max(1, n // SAMPLE)][:SAMPLE]
            rows.append({
                "space": space, "beta": beta, "clusters": count, "width": width, "tokens": n, "method": fast.report.method,
                "seconds": seconds, "spread seconds": even, "slower than spread": seconds / even, "dense seconds": slow,
                "faster than dense": slow / seconds, "error": np.abs(values - kept["dense"]).max()})
    return rows


def keep(kept: dict[str, Array], name: str, attention: Attention, targets: Array, points: Array, masses: Array) -> None:
    """Evaluate, and keep the values under a name."""
    kept[name] = attention.field(targets, points, masses)[0]


def cap_pairs(d: int, beta: float, z: Array, accuracy: float) -> float:
    """Sources per target within reach r of the attended point, r^2 = 2 log(1/accuracy)/(beta |B^T x|): the ideal of pruning."""
    reach = np.minimum(np.sqrt(2 * np.log(1 / accuracy) / (beta * np.linalg.norm(z, axis=1))), np.pi)
    return len(z) * float(np.mean(reach / np.pi if d == 2 else (1 - np.cos(reach)) / 2))


def tokens(d: int, n: int) -> tuple[Array, Array]:
    """Random points (n, d) on the sphere with the masses (n,) of a smooth density of full support."""
    points = np.random.default_rng(0).normal(size=(n, d))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points, (1.0 + 0.5 * points[:, 0] + 0.3 * points[:, 1] ** 2) / n


def one_head(d: int, beta: float, score: Array) -> Weights:
    return Weights(beta, (Head(np.eye(d), score, np.eye(d)),))


def best_time(work: Callable[[], object], least: float = 0.3) -> float:
    """Seconds per call: the best of at most five calls that take about `least` seconds in all."""
    best, spent = np.inf, 0.0
    for _ in range(5):
        started = time.perf_counter()
        work()
        once = time.perf_counter() - started
        best, spent = min(best, once), spent + once
        if spent > least:
            break
    return best


def figure_curves(growth: list[Line]) -> dict[str, tuple[Array, Array]]:
    """Time against tokens on the sphere, one curve per temperature, and the dense kernel's."""
    rows = [row for row in growth if row["space"] == "sphere"]
    curves = {}
    for beta in dict.fromkeys(row["beta"] for row in rows):
        mine = [row for row in rows if row["beta"] == beta]
        sizes = np.array([row["tokens"] for row in mine], dtype=float)
        curves[f"beta = {beta:g}"] = sizes, np.array([row["seconds"] for row in mine])
        curves["dense"] = sizes, np.array([row["dense seconds"] for row in mine])
    return curves


def plot(path: Path, curves: dict[str, tuple[Array, Array]]) -> None:
    from solver.report.figures import plot_convergence

    plot_convergence(path, curves, {"n": 1.0, "n²": 2.0}, xlabel="tokens", ylabel="seconds per evaluation, one core",
                     title="Attention of all tokens to all tokens on the sphere")


def show(title: str, columns: Sequence[str], rows: list[Line]) -> None:
    table = TerminalTable(title, columns, keys=3)
    for row in rows:
        table.add(*(f"{row[name]:.3g}" if isinstance(row[name], float) else str(row[name]) for name in columns))
    table.print(make_console())


def write(path: Path, columns: Sequence[str], rows: list[Line]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)
