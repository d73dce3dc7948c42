"""Leading terms at low temperature as curves in beta, drawn beside measurements: without a bar, and so not judged."""

from __future__ import annotations

import numpy as np

from solver.claims.case import Case
from solver.claims.predictions.approach import arrival, closest_delay_limit, closest_limit


def closest_asymptote(case: Case, p: int = 1) -> float:
    """`closest_limit` over beta: leading term of the least W_p (docs/theory.md §4.9)."""
    return closest_limit(case, p) / case.beta


def closest_depth_asymptote(case: Case, p: int = 1) -> float:
    """log(beta)/c + `closest_delay_limit`: leading terms of the depth of the least W_p (docs/theory.md §4.9)."""
    return float(np.log(case.beta)) / arrival(case).rate + closest_delay_limit(case, p)


TABLE = (closest_asymptote, closest_depth_asymptote)
