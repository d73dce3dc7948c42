"""The transport operator on one rank's cells: velocities at nodes in, time derivative of the density out."""

from __future__ import annotations

from functools import cached_property
from importlib.resources import files

import numpy as np

from solver.compiled import load_library
from solver.density.geometry import Geometry
from solver.density.reference import Reference

LANES = 8

CDEF = """
void cell_velocity(int64_t, const int32_t *, const double *, const double *, const double *, const double *, double *);
void facet_speed(int64_t, const int32_t *, const double *, const double *, const double *, const double *, double *);
void traces(int64_t, const double *, const double *, double *);
void transport(int64_t, const double *, const double *, const double *, const double *, const int32_t *, const int32_t *,
               const double *, const double *, const double *, const double *, const double *, double *);
void outflow(int64_t, const double *, const int32_t *, const double *, const double *, const double *, double *);
void limit(int64_t, double *, const double *, const double *, double, double, int, double *);
"""


def blocked(array: np.ndarray, lanes: int = LANES) -> np.ndarray:
    """(n, ...) -> (blocks, ..., lanes): the cell becomes the fastest index, the last cell fills the last block."""
    n = len(array)
    blocks = -(-n // lanes)
    padded = array[np.minimum(np.arange(blocks * lanes), max(n - 1, 0))] if n else array[:0]
    return aligned(np.moveaxis(padded.reshape(blocks, lanes, *array.shape[1:]), 1, -1))


def unblocked(array: np.ndarray, n: int) -> np.ndarray:
    """The inverse of `blocked`: (blocks, ..., lanes) -> (n, ...)."""
    return np.moveaxis(array, -1, 1).reshape(-1, *array.shape[1:-1])[:n]


def aligned(array: np.ndarray) -> np.ndarray:
    """A C-ordered copy at an address divisible by 64, as vector loads need."""
    raw = np.empty(array.nbytes + 64, dtype=np.uint8)
    start = -raw.ctypes.data % 64
    copy = raw[start:start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def aligned_zeros(*shape: int) -> np.ndarray:
    return aligned(np.zeros(shape))


class Kernel:
    """The C functions of transport.c, compiled for one reference cell and geometric dimension."""

    def __init__(self, r: Reference, gdim: int):
        macros = {
            "TDIM": r.tdim, "GDIM": gdim, "NDOF": r.size, "NQ": len(r.weights), "NF": r.facets, "NFQ": len(r.facet_weights),
            "NN": len(r.nodes), "NFN": r.facet_nodes.shape[1], "NP": len(r.check_basis), "AFFINE": int(r.affine)}
        head = "".join(f"#define {name} {value}\n" for name, value in macros.items())
        source = files("solver.density").joinpath("transport.c").read_text(encoding="utf-8")
        self.ffi, self.lib = load_library("transport", CDEF, head + source)

    def pointer(self, array: np.ndarray):
        """C pointer to a contiguous array of doubles or 32-bit integers; keeps the array alive."""
        return self.ffi.from_buffer("double[]" if array.dtype == np.float64 else "int32_t[]", array)  # type: ignore[call-overload]


class Transport:
    """d rho/dt = -div(rho X) in weak form, with upwind fluxes and the inverse mass applied. Local to the rank.

    A state is (total * n,) in the order of dolfinx's cells, n unknowns per cell, ghost cells last and up to date.

    Args:
        geometry: of the cells of this rank.
        cell_nodes: (owned, k) velocity node of each owned cell; facet_nodes: (f, j) of each facet of `geometry.facets`, in the
            order of its minus side.
    """

    def __init__(self, geometry: Geometry, cell_nodes: np.ndarray, facet_nodes: np.ndarray):
        g, r, facets = geometry, geometry.reference, geometry.facets
        self.geometry, gdim = geometry, geometry.mesh.gdim
        self.kernel = Kernel(r, gdim)
        self.traces_per_cell = r.facets * len(r.facet_weights)
        owned_blocks, all_blocks, facet_blocks = (-(-n // LANES) for n in (g.owned, g.total, len(facets.cells)))
        weights = 1.0 if r.affine else r.weights[:, None, None]
        metric = g.measure[..., None, None] * g.inverse * weights  # (owned, q, tdim, gdim)
        normal = facets.normal * facets.measure[..., None] * (1.0 if r.affine else r.facet_weights[:, None])
        inverse = 1.0 / g.measure[:, 0] if r.affine else self._packed(np.linalg.inv(g.mass))
        self._constant = {name: aligned(np.ascontiguousarray(a)) for name, a in {
            "phi": r.velocity, "weights": r.weights, "facet_phi": r.facet_velocity, "facet_weights": r.facet_weights,
            "basis": r.basis, "gradient": r.gradient, "facet_basis": r.facet_basis, "check_basis": r.check_basis}.items()}
        across, speed, sign = self._connections()
        self._cells = {
            "cell_nodes": blocked((cell_nodes * gdim).astype(np.int32)), "metric": blocked(metric[:, 0] if r.affine else metric),
            "facet_nodes": blocked((facet_nodes * gdim).astype(np.int32)),
            "normal": blocked(normal[:, 0] if r.affine else normal),
            "across": across, "speed": speed, "sign": sign, "inverse_mass": blocked(inverse),
            "inverse_measure": blocked(1.0 / g.measure.min(axis=1)), "mean": blocked(g.mean)}
        self.U = aligned_zeros(owned_blocks, len(r.weights), r.tdim, LANES)
        self.F = aligned_zeros((facet_blocks * len(r.facet_weights) + 1) * LANES)  # the last block stays zero, for walls
        self.T = aligned_zeros(all_blocks, self.traces_per_cell, LANES)
        self._rates, self._extremes = np.zeros(2), np.zeros(4)
        self._blocks = owned_blocks, facet_blocks
        point = self.kernel.pointer
        self._p = {name: point(a) for name, a in {**self._constant, **self._cells, "U": self.U, "F": self.F, "T": self.T,
                                                  "rates": self._rates, "extremes": self._extremes}.items()}

    def set_velocity(self, X: np.ndarray) -> None:
        """Take the velocity from its values X (nodes, gdim) at the nodes; it stays until the next call."""
        p, lib, pointer = self._p, self.kernel.lib, self.kernel.pointer(X)
        if self.geometry.degree:
            lib.cell_velocity(self._blocks[0], p["cell_nodes"], pointer, p["metric"], p["phi"], p["weights"], p["U"])
        lib.facet_speed(self._blocks[1], p["facet_nodes"], pointer, p["normal"], p["facet_phi"], p["facet_weights"], p["F"])

    def apply(self, state: np.ndarray, out: np.ndarray) -> None:
        """out (owned * n,) = d rho/dt for the present velocity."""
        p, lib, point = self._p, self.kernel.lib, self.kernel.pointer
        pointer = point(state)
        lib.traces(self.geometry.total, pointer, p["facet_basis"], p["T"])
        lib.transport(self.geometry.owned, pointer, p["U"], p["F"], p["T"], p["across"], p["speed"], p["sign"], p["inverse_mass"],
                      p["basis"], p["gradient"], p["facet_basis"], point(out))

    def rates(self) -> tuple[float, float]:
        """Local maxima of the outflow of a cell per its (least) measure: at one facet point, and over the whole cell.

        With the present velocity a forward Euler step dt keeps the averages non-negative if dt * first <= reference.positivity
        (degree 0: dt * second <= volume of the reference cell).
        """
        p = self._p
        self.kernel.lib.outflow(self.geometry.owned, p["F"], p["speed"], p["sign"], p["facet_weights"], p["inverse_measure"],
                                p["rates"])
        return float(self._rates[0]), float(self._rates[1])

    def limit(self, state: np.ndarray, *, tiny: float = 0.0, scale: bool = True) -> tuple[float, float, float, int]:
        """Zhang-Shu scaling of the owned cells of `state` in place (Zhang & Shu 2010); keeps every cell's mass.

        Args:
            tiny: averages in [-tiny, 0] count as rounding and become 0. scale: False to measure only.

        Returns:
            Local least average before, least and largest value at the check points after, number of cells scaled.
        """
        if not self.geometry.owned:
            return np.inf, np.inf, -np.inf, 0
        p, r = self._p, self.geometry.reference
        self.kernel.lib.limit(self.geometry.owned, self.kernel.pointer(state), p["mean"], p["check_basis"], r.constant, tiny,
                              int(scale), p["extremes"])
        e = self._extremes
        return float(e[0]), float(e[1]), float(e[2]), int(e[3])

    @cached_property
    def bytes_moved(self) -> int:
        """Bytes one `set_velocity` and `apply` read and write at least, each array counted once."""
        names = ("cell_nodes", "metric", "facet_nodes", "normal", "across", "speed", "sign", "inverse_mass")
        state = (2 * self.geometry.owned + 2 * self.geometry.total) * self.geometry.reference.size * 8
        return sum(self._cells[n].nbytes for n in names) + 2 * (self.U.nbytes + self.F.nbytes + self.T.nbytes) + state

    @staticmethod
    def _packed(matrices: np.ndarray) -> np.ndarray:
        """Lower triangles (c, n (n + 1)/2) of symmetric matrices (c, n, n), row by row."""
        rows, columns = np.tril_indices(matrices.shape[1])
        return matrices[:, rows, columns]

    def _connections(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each facet point of each owned cell: where the neighbour's trace and the facet's speed are, and the sign."""
        g, facets, r = self.geometry, self.geometry.facets, self.geometry.reference
        per, each = len(r.facet_weights), self.traces_per_cell
        q = np.arange(per)

        def trace(cell, local, point):
            return ((cell // LANES) * each + local * per + point) * LANES + cell % LANES

        cell = np.arange(g.owned)[:, None, None]
        across = trace(cell, np.arange(r.facets)[:, None], q)  # at a wall: itself
        speed = np.full((g.owned, r.facets, per), -(-len(facets.cells) // LANES) * per * LANES)  # at a wall: zero
        sign = np.zeros((g.owned, r.facets))
        f = np.arange(len(facets.cells))[:, None]
        place = ((f // LANES) * per + q) * LANES + f % LANES
        back = np.argsort(facets.partner, axis=1)  # minus point of each plus point
        for side, points, other in ((0, q, facets.partner), (1, back, back)):
            own = facets.cells[:, side] < g.owned
            c, k = facets.cells[own, side], facets.local[own, side]
            across[c, k] = trace(facets.cells[own, 1 - side, None], facets.local[own, 1 - side, None], other[own])
            speed[c, k] = np.take_along_axis(place, np.broadcast_to(points, place.shape), axis=1)[own]
            sign[c, k] = 1.0 - 2.0 * side
        flat = (g.owned, each)
        return (blocked(across.reshape(flat).astype(np.int32)), blocked(speed.reshape(flat).astype(np.int32)), blocked(sign))
