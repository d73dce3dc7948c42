"""The compiled kernels: one library for all C files of this package, and what is needed to hand it arrays."""

from __future__ import annotations

import functools
import logging
import math
from pathlib import Path

import cffi
import numpy as np

from solver.compiled import CompilerError, Foreign, Library, load_library

FILES = ("vector.h", "dense.c", "circle.c", "sphere.c", "tree.c", "pruned.c", "divergence.c", "cells.c",
         "cell_degrees.c", "cell_plan.c", "cell_moments.c", "cell_sums.c", "gathered.c", "relay.c", "legendre.c", "nufft.c")
# Dimensions up to which a loop over points is faster than a product of matrices.
FEW = 3
LOG2E = math.log2(math.e)
LN2 = math.log(2.0)


@functools.cache
def library() -> tuple[Foreign, Library] | None:
    """`(ffi, lib)`, or None where no C compiler works: the NumPy twin then takes over, some ten times slower."""
    folder = Path(__file__).parent
    interface = (folder / "interface.h").read_text()
    source = "\n".join([interface, *((folder / name).read_text() for name in FILES)])
    try:
        return load_library("attention", interface, source, openmp=True)
    except (CompilerError, OSError) as error:
        logging.getLogger("coldflow").warning("attention runs in NumPy, slowly: %s", str(error).splitlines()[0])
        return None


@functools.cache
def lanes() -> int:
    """How many doubles are in a pack: those of one register of this processor."""
    _, lib = library()  # type: ignore[misc]
    return lib.coldflow_lanes()


def aligned(*shape: int) -> np.ndarray:
    """An uninitialised double array on a 64-byte boundary, as whole vectors want it."""
    size = math.prod(shape)
    raw = np.empty(size + 7)
    start = -(raw.ctypes.data // 8) % 8
    return raw[start:start + size].reshape(shape)


def pointer(array: np.ndarray) -> cffi.FFI.CData:
    """The address of a C-ordered array of doubles or longs, for cffi. The array must outlive the call."""
    ffi, _ = library()  # type: ignore[misc]
    return ffi.from_buffer("double[]" if array.dtype.kind == "f" else "long[]", array)


def turn(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """points (n, d) times matrix (d, d); of many points in few dimensions by a tenth of the time of BLAS."""
    if points.shape[1] > FEW or (found := library()) is None:
        return points @ matrix
    points, matrix = np.ascontiguousarray(points, dtype=float), np.ascontiguousarray(matrix, dtype=float)
    result = np.empty(points.shape)
    found[1].coldflow_turn(points.shape[1], len(points), pointer(points), pointer(matrix), pointer(result))
    return result
