"""The measured quantities: named functions of a run.

Each takes a `Run` and the options of its quantity, and returns a number, one number per output (T,), or a `Value` with an
error of its own. Discretisation errors are not theirs to know: they come from a second, coarser run.
"""

from collections.abc import Callable

from solver.claims.case import Measured
from solver.claims.measurements import approach, curves, fields, profiles, rates, stages, transport

MEASUREMENTS: dict[str, Callable[..., Measured]] = {
    function.__name__: function
    for module in (approach, curves, fields, profiles, rates, stages, transport) for function in module.TABLE}
