"""Plans of claims with settings, for tests: nothing is run."""

from __future__ import annotations

import numpy as np
import pytest

from problems import ProblemError
from solver.claims.assumed import check_assumptions
from solver.claims.claim import Claim, read_claim
from solver.claims.work import applies, request


def plan(name: str, quick: bool = True, **settings: str) -> Claim:
    """A claim with KEY=VALUE settings, a double underscore standing for the dot."""
    return read_claim(name, quick=quick, settings={key.replace("__", "."): text for key, text in settings.items()})


def options(claim: Claim, part: str, kind: str = "predicted") -> list[dict[str, object]]:
    """The options of each quantity whose name has a part, in each run it is asked of."""
    return [request(kind, quantity, cell)[1][2] for quantity in claim.quantities if part in quantity.name
            for cell in claim.cells if applies(quantity, cell)]


def ends(claim: Claim) -> np.ndarray:
    """Last depth of each run."""
    return np.array([cell.case().times[-1] for cell in claim.cells])


def refused(name: str, **settings: str) -> str:
    """The line with which settings of a claim are refused."""
    with pytest.raises(ProblemError) as error:
        check_assumptions([plan(name, **settings)])
    assert "\n" not in str(error.value)
    return str(error.value)
