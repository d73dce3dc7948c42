"""Throughput of the kernels and solvers on this machine."""
