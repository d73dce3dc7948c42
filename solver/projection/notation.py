"""Numbers, vectors and spaces as people write them."""

from __future__ import annotations

import numpy as np

LONGEST = 8


def number(value: float) -> str:
    """A number as people write it: six digits, no noise below rounding."""
    return f"{0.0 if abs(value) < 1e-13 else value:.6g}"


def vector(values: np.ndarray) -> str:
    """A vector (d,), of long ones the first three and the last coordinate."""
    shown = [number(v) for v in values]
    return "(" + ", ".join(shown if len(shown) <= LONGEST else [*shown[:3], "..", shown[-1]]) + ")"


def space(basis: np.ndarray) -> str:
    """A linear space by its orthonormal basis, (d, k)."""
    k = basis.shape[1]
    if k > 3:
        return f"a space of dimension {k}"
    return "span{" + ", ".join(vector(basis[:, j]) for j in range(k)) + "}"
