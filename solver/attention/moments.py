"""What a kernel returns for one head, and how such results add up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray


@dataclass
class Moments:
    """The integrals of attention, each row with its own scale against overflow.

    With s = shift_i:  int e^{<z_i,y>} dmu(y) = e^s den_i,  int e^{<z_i,y>} y dmu(y) = e^s num_i. Local to the rank.

    Attributes:
        num: (n, d).
        den: (n,), positive for a positive law.
        shift: (n,), natural logarithms; at zero temperature the largest <z_i,y>.
    """

    num: Array
    den: Array
    shift: Array

    def means(self) -> Array:
        """(n, d): the attended means m(x_i)."""
        return self.num / self.den[:, None]

    def log(self) -> Array:
        """(n,): log int e^{<z_i,y>} dmu(y)."""
        return self.shift + np.log(self.den)

    def add(self, other: Moments, factor: float = 1.0) -> Moments:
        """Moments of mu + factor nu, from those of mu and nu at the same z, whatever their scales."""
        shift = np.maximum(self.shift, other.shift)
        own, its = np.exp(self.shift - shift), factor * np.exp(other.shift - shift)
        return Moments(own[:, None] * self.num + its[:, None] * other.num, own * self.den + its * other.den, shift)

    def replace(self, rows: Array, other: Moments) -> None:
        """Put the rows of `other` in the places `rows` (indices)."""
        self.num[rows], self.den[rows], self.shift[rows] = other.num, other.den, other.shift


def unpacked(packed: Array, d: int) -> Array:
    """Symmetric matrices (n, d, d) from their entries 11, 12, .., 22, .. (n, d (d + 1)/2)."""
    second = np.empty((len(packed), d, d))
    rows, columns = np.triu_indices(d)
    second[:, rows, columns] = second[:, columns, rows] = packed
    return second
