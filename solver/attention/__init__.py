"""Attention: softmax means at any temperature, dense and fast, with error bounds.

    attention = Attention(weights, accuracy=1e-10)                  # method="auto": the fastest that is accurate enough
    values, log_scale = attention.field(targets, sources, masses)   # sum_h V_h m_h(x) at targets (n, d)
    attention.report                                                # how it was done: method, pairs evaluated

    dense = Attention(weights, method="dense")                      # every pair, to round-off: the reference
    Attention(weights, method="numpy")                              # the same in NumPy: the oracle of the tests

    bound = attention.bind(targets, sources)                        # points that stay, masses that change
    values, log_scale = bound.field(masses)

A whole run with the dense kernel: `COLDFLOW_ATTENTION=dense coldflow compare ...`.
Where the bounds are proven: `solver.attention.pruned`, `solver.attention.expansion`.
Threads: `$COLDFLOW_THREADS`, else one per rank under `mpirun`, else the processors at hand (`solver.compiled.threads`).
"""

from solver.attention.energy import energy, energy_columns, log_energy
from solver.attention.field import Attention, BoundAttention
from solver.attention.head import Report
from solver.attention.parallel import gather_sources, ring_field

__all__ = ["Attention", "BoundAttention", "Report", "energy", "energy_columns", "gather_sources", "log_energy", "ring_field"]
