"""[drift]: a velocity of the user's own beside attention.

    [drift]
    velocity = "rotation"                          # a registered function of points
    velocity = { name = "rotation", speed = 2.0 }  # with its arguments
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from meshes.manifold import Manifold
from problems.errors import Mistakes, ProblemError
from problems.fields import Field, read_fields
from problems.registered import VELOCITIES, Named, named, probe_points

FIELDS: tuple[Field[object], ...] = (
    Field("velocity", named(VELOCITIES), "name of a registered velocity that is added to the field of attention, or a table "
          "of name and its arguments"),)


@dataclass(frozen=True)
class Drift:
    """[drift]: what moves tokens besides attention.

    Attributes:
        velocity: a registered function v of points (n, d), so that tokens follow P_x (sum_h V_h m_h(x) + v(x)); None: nothing.
    """

    velocity: Named | None = None

    @property
    def divergence(self) -> Named | None:
        """The divergence of P_x v along the space, (n,) at points (n, d); None where it is not known."""
        if self.velocity is None:
            return None
        function = getattr(self.velocity.function, "divergence", None)
        if function is None:
            return None
        return Named(self.velocity.field, f"{self.velocity.name}, its divergence", self.velocity.options, function)

    def speed(self, manifold: Manifold) -> float:
        """The largest length of v at a few points, for the cost of a run; 0 without."""
        if self.velocity is None:
            return 0.0
        points = probe_points(manifold)
        return float(np.linalg.norm(self.velocity.try_out(points.shape, points), axis=1).max())

    def try_out(self, manifold: Manifold) -> None:
        """Evaluate it at a few points.

        Raises:
            ProblemError: it does not return velocities.
        """
        points = probe_points(manifold)
        if self.velocity is not None and not np.isfinite(self.velocity.try_out(points.shape, points)).all():
            raise ProblemError("drift.velocity", self.velocity.name, "must return finite velocities")
        if self.divergence is not None:
            self.divergence.try_out((len(points),), points)


def read_drift(table: Mapping[str, object]) -> Drift:
    """[drift] from its TOML table.

    Raises:
        ProblemError: with every mistake of the section.
    """
    wrong = Mistakes()
    values = read_fields("drift", table, FIELDS, wrong)
    wrong.stop()
    return Drift(values["velocity"])


def tabulate_drift(drift: Drift) -> dict[str, object]:
    """The TOML table of [drift]; empty without a velocity."""
    return {} if drift.velocity is None else {"velocity": drift.velocity.table()}
