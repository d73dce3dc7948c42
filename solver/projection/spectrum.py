"""Eigen-analysis of A = V K^T Q: which eigenspace takes the tokens, how fast, and when there is none.

At zero temperature a token follows x = e^{tau A} x_0 / |e^{tau A} x_0| (docs/theory.md §3.1), so the limit is ruled by the
eigenvalues of largest real part. In floating point "equal" and "defective" need a meaning: two eigenvalues count
as one when a perturbation of A at rounding level can make them coalesce, that is when they lie in one component
of the pseudospectrum of that level (Alam & Bora 2005). The same test then separates a Jordan block, whose
computed eigenvalues scatter by a root of the rounding unit, from a small but honest spectral gap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr, schur, solve_sylvester

Array = NDArray[np.float64]

# Entries typed as decimals and one matrix product: a few hundred rounding units relative to |A|.
ROUNDING = 256 * np.finfo(float).eps
MOST_DIMENSIONS = 1000  # an eigen-analysis takes minutes beyond
# Below this relative gap the limit exists but needs more than a thousand turnover times.
NARROW_GAP = 1e-3


@dataclass(frozen=True)
class Analysis:
    """The leading part of the spectrum of A. All arrays are the same on every rank.

    Attributes:
        matrix: A, (d, d).
        eigenvalues: (d,) complex, by falling real part, before any grouping.
        kind: "simple" (one real eigenvalue leads), "multiple" (real, semisimple, of multiplicity k > 1), "defective"
            (real with Jordan blocks), "complex" (a complex pair leads or ties: no limit), "zero" (A = 0: no motion).
        leading: the real part of the leading eigenvalue (the mean over its group).
        frequency: the largest imaginary part among the leading eigenvalues; zero unless `kind` is "complex".
        index: size of the largest leading Jordan block; 1 when semisimple.
        gap: distance of `leading` to the next real part; inf if there is none.
        projector: (d, d) spectral projector Pi on the leading invariant subspace; orthogonal only if A is normal on it.
        limit: (d, d) matrix M with T(x) = Mx/|Mx|, Pi itself unless defective; None where no limit exists.
        basis: (d, k) orthonormal basis of the space E that the limit lies in (for "complex" of the invariant subspace).
        kernel: (d, d-k) orthonormal basis of ker M, the exceptional set where T is undefined.
        following: (d, j) orthonormal basis of ker Pi's own leading invariant subspace; points near ker Pi leave from there.
        conditioning: |Pi|_2, 1 for an orthogonal projector.
        normal: A commutes with its transpose.
        narrow: the gap is positive but below `NARROW_GAP` |A|.
        exists: a limit map T exists almost everywhere.
    """

    matrix: Array
    eigenvalues: NDArray[np.complex128]
    kind: str
    leading: float
    frequency: float
    index: int
    gap: float
    projector: Array
    limit: Array | None
    basis: Array
    kernel: Array
    following: Array
    conditioning: float
    normal: bool
    narrow: bool

    @property
    def exists(self) -> bool:
        return self.limit is not None

    @property
    def dimension(self) -> int:
        """k = dim E."""
        return self.basis.shape[1]

    def summary(self) -> dict:
        """Plain numbers for run.json."""
        return {
            "kind": self.kind, "exists": self.exists, "leading": self.leading, "frequency": self.frequency,
            "index": self.index, "gap": self.gap if np.isfinite(self.gap) else None, "dimension": self.dimension,
            "conditioning": self.conditioning, "normal": self.normal, "narrow": self.narrow,
            "eigenvalues": [[float(z.real), float(z.imag)] for z in self.eigenvalues],
            "basis": self.basis.tolist(),
        }


def analyse(matrix: Array) -> Analysis:
    """Eigen-analysis of A, (d, d), d >= 1 (docs/theory.md §3.2). Deterministic, local, the same on every rank.

    Raises ValueError if A is not a square matrix of finite numbers; every such matrix has an `Analysis`.
    """
    a = np.array(matrix, dtype=float)
    if a.ndim != 2 or a.shape[0] != a.shape[1] or not np.all(np.isfinite(a)):
        raise ValueError(f"analyse: a square matrix of finite numbers is needed, not one of shape {a.shape}")
    d = len(a)
    diagonal = np.diagonal(a)
    if d and diagonal[0] and np.count_nonzero(a) == d and np.all(diagonal == diagonal[0]):  # a multiple of the identity
        eye, none = np.eye(d), np.zeros((d, 0))
        return Analysis(a, diagonal.astype(complex), "multiple" if d > 1 else "simple", float(diagonal[0]), 0.0, 1, np.inf,
                        eye, eye, eye, none, none, 1.0, True, False)
    scale = float(np.linalg.norm(a, 2))
    if scale == 0.0:
        eye = np.eye(d)
        return Analysis(
            a, np.zeros(d, complex), "zero", 0.0, 0.0, 1, np.inf, eye, None, eye, np.zeros((d, 0)), np.zeros((d, 0)),
            1.0, True, False)
    unit = a / scale
    eigenvalues = np.linalg.eigvals(unit).astype(complex)
    eigenvalues = eigenvalues[np.lexsort((-eigenvalues.imag, -eigenvalues.real))]
    groups = _groups(unit, eigenvalues, ROUNDING * max(1, d))
    lead, rest, leading, spread = _leading(eigenvalues, groups)
    projector, restricted, q = _projector(unit, eigenvalues, lead, rest)
    k = len(lead)
    frequency = float(np.max(np.abs(eigenvalues[lead].imag)))
    gap = leading - float(np.mean(eigenvalues[rest[0]].real)) if rest else np.inf
    conditioning = float(np.linalg.norm(projector, 2))
    normal = bool(np.linalg.norm(unit @ unit.T - unit.T @ unit, 2) <= 1e-12)
    limit: Array | None = projector
    basis, index = q[:, :k], 1
    one_group = len(groups[0]) == k
    if not one_group or frequency > spread + ROUNDING * d:
        kind, limit = "complex", None
    else:
        frequency = 0.0
        nilpotent = restricted - leading * np.eye(k)
        if np.linalg.norm(nilpotent, 2) <= 16 * ROUNDING * d * conditioning:
            kind = "simple" if k == 1 else "multiple"
        else:
            kind = "defective"
            index, limit, basis = _defective(nilpotent, projector, q[:, :k], d)
    kernel = _null_space(projector if limit is None else limit, d - basis.shape[1])
    eigenvalues = np.asarray(scale * eigenvalues, np.complex128)
    return Analysis(
        a, eigenvalues, kind, scale * leading, scale * frequency, index, scale * gap, projector, limit,
        _tidy(basis), kernel, _following(unit, projector, k), conditioning, normal, bool(gap < NARROW_GAP))


# Where between two eigenvalues it is seen whether they can meet: nearly all that cannot show it at the first place.
HALFWAY_FIRST = np.array([4, 1, 2, 3, 5, 6, 7]) / 8


def _groups(a: Array, eigenvalues: NDArray, level: float) -> list[list[int]]:
    """Indices of the eigenvalues that one perturbation of size `level` can bring together, leading group first."""
    n = len(eigenvalues)
    parent = list(range(n))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    symmetric = np.array_equal(a, a.T)  # then eigenvalues move by no more than the matrix is perturbed (Weyl)
    # No block of size n scatters its eigenvalues further.
    reach = 2 * level if symmetric else max(level ** (1.0 / n) * 4, 4 * level)
    for i in range(n):
        for j in range(i + 1, n):
            if root(i) != root(j) and abs(eigenvalues[i] - eigenvalues[j]) <= reach:
                path = () if symmetric else eigenvalues[i] + HALFWAY_FIRST * (eigenvalues[j] - eigenvalues[i])
                if all(np.linalg.svd(a - point * np.eye(n), compute_uv=False)[-1] <= level for point in path):
                    parent[root(j)] = root(i)
    found: dict[int, list[int]] = {}
    for i in range(n):
        found.setdefault(root(i), []).append(i)
    return sorted(found.values(), key=lambda g: -np.mean(eigenvalues[g].real))


def _leading(eigenvalues: NDArray, groups: list[list[int]]) -> tuple[list[int], list[list[int]], float, float]:
    """Leading indices (all groups whose real part ties), the other groups, the leading real part and its uncertainty."""
    def spread(group: list[int]) -> float:
        return float(np.max(np.abs(eigenvalues[group] - np.mean(eigenvalues[group]))))

    top = float(np.mean(eigenvalues[groups[0]].real))
    slack = spread(groups[0])
    tied = [g for g in groups
            if np.mean(eigenvalues[g].real) >= top - 2 * (slack + spread(g)) - 4 * ROUNDING * len(eigenvalues)]
    lead = sorted(i for g in tied for i in g)
    return lead, [g for g in groups if g not in tied], float(np.mean(eigenvalues[lead].real)), slack


def _projector(a: Array, eigenvalues: NDArray, lead: list[int], rest: list[list[int]]) -> tuple[Array, Array, Array]:
    """Spectral projector of the leading group, A restricted to it, and the orthogonal Schur basis (leading first)."""
    d, k = len(a), len(lead)
    if not rest:
        return np.eye(d), a, np.eye(d)
    last = min(eigenvalues[lead].real)
    shift = (last + max(eigenvalues[i].real for g in rest for i in g)) / 2
    t, q, _ = schur(a - shift * np.eye(d), output="real", sort="rhp")
    t += shift * np.eye(d)
    coupling = solve_sylvester(t[:k, :k], -t[k:, k:], t[:k, k:])
    projector = q[:, :k] @ np.hstack((np.eye(k), coupling)) @ q.T
    return projector, t[:k, :k], q


def _defective(nilpotent: Array, projector: Array, q: Array, d: int) -> tuple[int, Array, Array]:
    """Index m of the nilpotent part, the limit map N^{m-1} Pi and an orthonormal basis of its range.

    e^{tau A} x ~ e^{tau lambda} tau^{m-1} N^{m-1} Pi x / (m-1)!: only the longest Jordan chains survive.
    """
    size = float(np.linalg.norm(nilpotent, 2))
    tolerance = 64 * ROUNDING * d * float(np.linalg.norm(projector, 2)) / size
    powers = [np.eye(len(nilpotent))]
    while len(powers) < len(nilpotent):
        power = powers[-1] @ (nilpotent / size)
        if np.linalg.norm(power, 2) <= tolerance:
            break
        powers.append(power)
    last = powers[-1]
    left, values, _ = np.linalg.svd(last)
    rank = int(np.sum(values > 1e-6 * values[0]))
    limit = q @ last @ q.T @ projector
    return len(powers), limit / np.linalg.norm(limit, 2), q @ left[:, :rank]


def _null_space(matrix: Array, dimension: int) -> Array:
    return np.linalg.svd(matrix)[2][len(matrix) - dimension:].T.copy() if dimension else np.zeros((len(matrix), 0))


def _following(a: Array, projector: Array, k: int) -> Array:
    """Leading invariant subspace of A inside ker Pi: the last place left by tokens that start near ker Pi."""
    d = len(a)
    if k == d:
        return np.zeros((d, 0))
    kernel = _null_space(projector, d - k)
    inner = kernel.T @ a @ kernel
    values = np.linalg.eigvals(inner)
    top = values.real.max()
    count = int(np.sum(values.real >= top - 1e-8))
    if count == d - k:
        return kernel
    shift = (top + values.real[values.real < top - 1e-8].max()) / 2
    q = schur(inner - shift * np.eye(d - k), output="real", sort="rhp")[1]
    return kernel @ q[:, :count]


def _tidy(basis: Array) -> Array:
    """The same space with a reproducible orientation: the first large entry of each vector is positive."""
    # Pivoting prefers coordinate directions inside the space, so that span(e_1, e_2) is not shown rotated.
    q = qr(basis @ basis.T, pivoting=True)[0][:, : basis.shape[1]]
    pivot = np.argmax(np.abs(q) > 0.5 * np.abs(q).max(axis=0), axis=0)
    return q * np.sign(q[pivot, np.arange(q.shape[1])]) + 0.0  # no minus zeros
