"""What the heads of one `Attention` share."""

from __future__ import annotations

from dataclasses import dataclass

METHODS = ("auto", "dense", "numpy", "pruned", "relayed", "gathered", "fourier", "harmonics", "nufft")
# Exponentials, about two milliseconds of them, from which a kernel is worth several threads.
SHARED = 3e6


@dataclass
class Settings:
    """What the heads of one `Attention` share: see there. hard: zero temperature."""

    accuracy: float
    method: str
    workers: int
    hard: bool

    def workers_for(self, exponentials: float) -> int:
        """Threads for a kernel of that much work: a short one is over before others have woken up."""
        return self.workers if exponentials >= SHARED else 1
