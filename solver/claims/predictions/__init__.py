"""The predictions: named functions of a case, that is of its parameters alone.

Each takes a `Case` and the options of its quantity, and returns a number, one number per output (T,), or a `Value` with an
error where the formula is asymptotic.
"""

from collections.abc import Callable

from solver.claims.case import Measured
from solver.claims.predictions import approach, asymptotes, clusters, cold, continuum, defective, exact, linear, profiles

PREDICTIONS: dict[str, Callable[..., Measured]] = {
    function.__name__: function
    for module in (approach, asymptotes, clusters, cold, continuum, defective, exact, linear, profiles)
    for function in module.TABLE}
