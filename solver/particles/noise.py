"""Gaussian increments drawn by counter: token i at step n gets the same numbers on any number of ranks, in any order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Array = NDArray[np.float64]


def standard_normal(seed: int, step: int, start: int, stop: int, dimension: int) -> Array:
    """Standard normal numbers (stop - start, dimension) for tokens start .. stop - 1 at one step; local.

    Philox 4x64 (Salmon et al. 2011) keyed by the seed, with (token, step) as its counter; every number costs one 64-bit
    word, which the inverse normal distribution turns into a Gaussian, so that tokens never shift each other's numbers.
    """
    words = -(-dimension // 4)
    generator = np.random.Philox(key=seed, counter=[start * words, step, 0, 0])
    raw = generator.random_raw((stop - start) * words * 4).reshape(stop - start, words * 4)[:, :dimension]
    return ndtri(((raw >> np.uint64(11)).astype(float) + 0.5) * 2.0**-53)
