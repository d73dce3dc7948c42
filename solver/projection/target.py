"""The push-forward target: the projection map of V K^T Q, the law T_#mu_0 it makes of the start, and what to expect of a run.

    from solver.projection.target import target
    goal = target(load("problems/misaligned_circle.toml"))
    goal.words                   # eigen-analysis, limit, rates and terminal state in words
    points, masses = goal.measure(4096)
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from problems import Problem
from problems.attention import Weights
from problems.laws.nodes import LARGEST_DIMENSION, sphere_nodes
from problems.loader import ProblemLike, as_problem
from solver.projection.notation import number
from solver.projection.pushforward import fibre_density, halfspace_mass
from solver.projection.rates import Predictions, predict
from solver.projection.spectrum import MOST_DIMENSIONS, Analysis, analyse
from solver.projection.words import prediction_words, spectrum_words

Array = NDArray[np.float64]

__all__ = ["Analysis", "Predictions", "Target", "analyse", "combined_matrix", "target"]


@dataclass(frozen=True)
class Target:
    """T_#mu_0 under the projection map of docs/theory.md §3.2. Everything is local and the same on every rank.

    Attributes:
        problem: the problem it belongs to.
        analyses: the eigen-analysis of A for each layer; empty where tokens have no layer normalisation.
        reason: why there is no target, in words; empty if there is one.
        predictions: rates and terminal state; None without a target.
    """

    problem: Problem
    analyses: tuple[Analysis, ...]
    reason: str
    predictions: Predictions | None

    def __repr__(self) -> str:
        if not self.exists:
            return f"<Target of {self.problem.name}: none. {self.reason}>"
        return f"<Target of {self.problem.name}: {self.words[0]}>"

    def _repr_html_(self) -> str:
        lines = "".join(f"<li>{html.escape(line)}</li>" for line in self.words)
        return f"<p>Target of {html.escape(self.problem.name)}</p><ul>{lines}</ul>"

    @property
    def exists(self) -> bool:
        return not self.reason

    @property
    def unmeasured(self) -> str:
        """Why no distance to the target is worth measuring, in words; empty where it is."""
        if self.exists and self.analysis is not None and self.analysis.dimension == len(self.analysis.matrix):
            return ("V K^T Q is a multiple of the identity, so that the target is the start itself: the distance to it would "
                    "only say how far tokens have moved, and is left out.")
        return self.reason

    @property
    def analysis(self) -> Analysis | None:
        """The eigen-analysis that rules the whole run; None where layers differ or in flat space."""
        return self.analyses[0] if len(self.analyses) == 1 else None

    @property
    def words(self) -> list[str]:
        """All findings, one sentence per line, for the terminal and run.json."""
        lines: list[str] = []
        for i, analysis in enumerate(self.analyses):
            prefix = f"Layer {i + 1}: " if len(self.analyses) > 1 else ""
            lines += [prefix + line for line in spectrum_words(analysis)]
        if self.reason:
            return lines if self.reason in lines else [*lines, self.reason]
        if self.analysis and self.analysis.dimension == 1:
            _, masses = self.atoms()  # type: ignore[misc]
            lines.append(f"Push-forward of the start: mass {number(masses[0])} and {number(masses[1])} at the two points"
                         + (f" (known to {self.atom_error:.1g})." if self.atom_error > 1e-9 else "."))
        if self.unmeasured:
            lines.append(self.unmeasured)
        return lines + (prediction_words(self.predictions) if self.predictions else [])

    def summary(self) -> dict:
        """Plain numbers and words for run.json."""
        found: dict = {"exists": self.exists, "reason": self.reason, "words": self.words,
                       "layers": [{**a.summary(), "words": spectrum_words(a)} for a in self.analyses]}
        if self.exists:
            atoms = self.atoms()
            found["atoms"] = None if atoms is None else {"points": atoms[0].tolist(), "masses": atoms[1].tolist()}
            if self.predictions is not None:
                found["predictions"] = {**self.predictions.summary(), "words": prediction_words(self.predictions)}
        return found

    def map(self, points: Array) -> Array:
        """T(x) = Mx/|Mx| for points (n, d); rows of NaN where Mx = 0, a set of measure zero."""
        analysis = self._required()
        image = np.asarray(points, float) @ analysis.limit.T  # type: ignore[union-attr]
        norm = np.linalg.norm(image, axis=1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(norm > 0, image / norm, np.nan)

    def atoms(self) -> tuple[Array, Array] | None:
        """Points (2, d) and masses (2,) when E is one-dimensional, else None.

        The masses are those of the half-spaces {<l, x> > 0} and {<l, x> < 0}, l the left eigenvector, integrated to
        `atom_error`.
        """
        analysis = self._required()
        if analysis.dimension != 1:
            return None
        e = analysis.basis[:, 0]
        mass = self._half_mass[0]
        return np.stack((e, -e)), np.array([mass, 1.0 - mass])

    @property
    def atom_error(self) -> float:
        """Bound of the error of the two masses of `atoms`; 0 when they are exact."""
        return self._half_mass[1]

    def density(self, coordinates: Array) -> Array | None:
        """Density of T_#mu_0 on the unit sphere of E with respect to length or area, dim E = k >= 2.

        Args:
            coordinates: (n, k) unit vectors in the basis `analysis.basis` of E.

        Returns:
            (n,), or None if the law has no density there (atoms, or too many dimensions to integrate over).
        """
        density = self._fibre
        return None if density is None else density(coordinates)

    def measure(self, n: int = 4096) -> tuple[Array, Array]:
        """Weighted points (m, d), (m,) that stand for T_#mu_0, m about n; masses sum to one.

        The two atoms where E is a line; quadrature nodes of E's circle or sphere weighted with the density where it can be
        integrated, so that integrals of smooth functions are spectrally accurate; otherwise the image under T of the
        initial law's quadrature nodes or Sobol points.
        """
        analysis = self._required()
        atoms = self.atoms()
        if atoms is not None:
            return atoms
        law, k = self.problem.initial, analysis.dimension
        if self._fibre is not None and k - 1 <= LARGEST_DIMENSION:
            nodes, volumes = sphere_nodes(k, n)
            masses = volumes * self._fibre(nodes)
            if abs(masses.sum() - 1.0) < 1e-3:
                return nodes @ analysis.basis.T, masses / masses.sum()
        if law.is_atomic:
            points, masses = law.atoms()  # type: ignore[attr-defined]
        else:
            points, masses = law.sobol(n, 0), np.full(n, 1.0 / n)
        image = self.map(points)
        kept = np.all(np.isfinite(image), axis=1)
        return image[kept], masses[kept] / masses[kept].sum()

    def _required(self) -> Analysis:
        if not self.exists or self.analysis is None:
            raise ValueError(f"there is no target: {self.reason}")
        return self.analysis

    @cached_property
    def _half_mass(self) -> tuple[float, float]:
        analysis = self._required()
        return halfspace_mass(self.problem.initial, analysis.limit.T @ analysis.basis[:, 0])  # type: ignore[union-attr]

    @cached_property
    def _fibre(self):
        analysis = self._required()
        if analysis.dimension < 2:
            return None
        return fibre_density(self.problem.initial, analysis.limit, analysis.basis, analysis.kernel)  # type: ignore[arg-type]


def target(problem: ProblemLike) -> Target:
    """The target of a problem, or why it has none (docs/theory.md §3.2). Cheap: integrals are done when asked for.

    `problem`: a Problem, a bundled name, the path of a file, or its tables.
    """
    problem = as_problem(problem)
    if not problem.manifold.normalised:
        return Target(problem, (), "Without layer normalisation tokens are not confined to a sphere: T(x) = Pi x/|Pi x| means "
                      "nothing to them and there is no push-forward target.", None)
    if problem.attention.has_own_score:
        return Target(problem, (), "With a registered score nothing is known of the zero-temperature limit: there is no "
                      "projection map and no target.", None)
    if problem.drift.velocity is not None:
        return Target(problem, (), "The projection map is that of attention alone: with an external drift there is no target.",
                      None)
    if problem.manifold.dimension > MOST_DIMENSIONS:
        return Target(problem, (), f"In {problem.manifold.dimension} dimensions, more than {MOST_DIMENSIONS}, the eigenspaces of "
                      "V K^T Q are not computed, and there is no target.", None)
    layers = problem.attention.layers
    matrices, reasons = [], []
    for layer in layers:
        matrix, reason = combined_matrix(layer.weights)
        if matrix is not None:
            matrices.append(matrix)
        reasons.append(reason)
    if any(reasons):
        return Target(problem, (), next(r for r in reasons if r), None)
    analyses = [analyse(m) for m in matrices]
    if all(np.array_equal(m, matrices[0]) for m in matrices):  # layers that differ in beta alone share their target
        analyses = analyses[:1]
    if len(analyses) > 1:
        return Target(problem, tuple(analyses), "The weights change with depth: each layer pulls towards its own limit and "
                      "there is no single target.", None)
    if not analyses[0].exists:
        return Target(problem, tuple(analyses), spectrum_words(analyses[0])[0], None)
    last = layers[-1].weights
    # Speeds are set by |B_1^T x|, to which the other heads are proportional; a Dirac moves by x' = P_x sum_h V_h x.
    value, score = np.sum([head.value for head in last.heads], axis=0), last.heads[0].score
    predictions = predict(analyses[0], value, score, last.beta, softmax=last.normalization == "softmax",
                          diffusivity=problem.noise.diffusivity)
    return Target(problem, tuple(analyses), "", predictions)


def combined_matrix(weights: Weights) -> tuple[Array | None, str]:
    """The matrix A (d, d) of the zero-temperature flow, or None and why there is none.

    One head: A = V B^T. Several heads add up to X_0(x) = P_x sum_h V_h B_h^T x/|B_h^T x|, which is the flow of a linear map
    only if all |B_h^T x| are proportional, B_h B_h^T = c_h^2 B_1 B_1^T; then A = sum_h V_h B_h^T/c_h.
    """
    first = weights.heads[0].score
    gram = first @ first.T
    size = float(np.linalg.norm(gram, 2))
    total = np.zeros_like(first)
    for head in weights.heads:
        b = head.score
        c = 1.0 if b is first or size == 0 else float(np.sqrt(np.linalg.norm(b @ b.T, 2) / size))
        if len(weights.heads) > 1 and (c == 0 or np.linalg.norm(b @ b.T - c * c * gram, 2) > 1e-12 * c * c * size):
            return None, ("Several heads with different |K^T Q x| do not add up to one linear flow at zero temperature: there is "
                          "no projection map and no target.")
        total += head.value @ b.T / c
    return total, ""
