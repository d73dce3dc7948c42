"""[attention]: inverse temperature and weight matrices, for several heads and several layers.

    [attention]
    beta = 100.0                  # or "inf"
    query = [[1.0, 0.0], [0.0, 1.0]]
    key, value = ...              # likewise; the identity if not given
    normalization = "softmax"     # or "none"
    score = "mine"                # a registered function of queries and keys in the place of <Qx, Ky>
    support = 0.0                 # density, in units of the uniform law's, that counts as empty; 0: none
    accuracy = 1e-10              # largest relative error of the fast kernels
    [[attention.heads]]           # several heads, each with its own query, key, value; not given: the section's own
    [[attention.layers]]          # weights for depths up to `until`; not given: the section's own

Queries and keys may have any number of rows (the head's width), the same for both; values are d x d.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from problems.checks import MATRIX, Check, choice, joined, matrix, number, refuse_unknown, tables
from problems.errors import MISSING, Mistakes, ProblemError
from problems.fields import Field, object_schema, read_fields
from problems.registered import SCORES, Named, named

NORMALIZATIONS = {"softmax": "SA, divided by the partition function", "none": "USA, not divided"}
MATRICES = ("query", "key", "value")
WEIGHT_KEYS = ("beta", *MATRICES, "normalization", "score", "heads")
# exp overflows beyond this exponent (docs/theory.md §8.1).
LARGEST_EXPONENT = 700.0
LARGEST_WRITTEN = 64
# Beyond this size of a matrix one singular value is found without the others.
LARGEST_DENSE = 256
# Beyond this beta |B| the exponents, known to 16 digits, no longer tell one maximiser from the next.
LARGEST_SHARPNESS = 1e14


def _as_given(field: str, value: object) -> object:
    """What is checked once the space, the section and the layer are known."""
    return value


BETA = Field("beta", number(0.0, infinite=True), "inverse temperature", MISSING)
QUERY = Field("query", Check(_as_given, MATRIX), "matrix of d columns, default the identity")
KEY = Field("key", Check(_as_given, MATRIX), "matrix of d columns and as many rows as query, default the identity")
VALUE = Field("value", Check(_as_given, MATRIX), "d x d matrix, default the identity")
NORMALIZATION = Field("normalization", choice(*NORMALIZATIONS), "divided by the partition function, or not", "softmax")
SCORE = Field("score", named(SCORES), "name of a registered function of queries and keys that replaces <Qx, Ky>, or a table of "
              "name and its arguments")
HEADS = Field("heads", Check(_as_given, {"type": "array", "minItems": 1, "items": object_schema((QUERY, KEY, VALUE))}),
              "one table for each head, with its own query, key, value; outputs add up")
UNTIL = Field("until", number(0.0, open_low=True, infinite=True), "last depth of the layer; only the last layer may go without")
WEIGHTS = (BETA, QUERY, KEY, VALUE, NORMALIZATION, SCORE, HEADS)
LAYERS = Field("layers", Check(_as_given, {
    "type": "array", "minItems": 1, "items": object_schema((UNTIL, *(field._replace(default=None) for field in WEIGHTS)))}),
    "one table for each stretch of depth, with until and any of the keys of weights")
ACCURACY = Field("accuracy", number(1e-16, 0.1), "largest relative error of the fast kernels", 1e-10)
SUPPORT = Field("support", number(0.0, 1.0), "density, in units of the uniform law's, that counts as empty", 0.0)
FIELDS = (*WEIGHTS, LAYERS, ACCURACY, SUPPORT)


def spectral_norm(matrix: np.ndarray) -> float:
    """Largest singular value of a square matrix (d, d), >= 0, to rounding.

    Of large matrices by the Lanczos iteration of ARPACK, from a fixed start: all singular values take minutes at d = 10^4.
    """
    diagonal = np.diagonal(matrix)
    if np.count_nonzero(matrix) == np.count_nonzero(diagonal):
        return float(np.abs(diagonal).max(initial=0.0))
    if len(matrix) <= LARGEST_DENSE or not np.isfinite(matrix).all():
        return float(np.linalg.norm(matrix, 2))
    from scipy.sparse.linalg import svds

    start = np.random.default_rng(0).standard_normal(len(matrix))
    return float(svds(matrix, k=1, v0=start, return_singular_vectors=False)[0])


@dataclass(frozen=True, eq=False)
class Head:
    """One attention head: query and key (k, d), value (d, d)."""

    query: np.ndarray
    key: np.ndarray
    value: np.ndarray

    @property
    def score(self) -> np.ndarray:
        """B = Q^T K, shape (d, d): <Qx, Ky> = <x, By> (docs/theory.md §1.1)."""
        if self.query is self.key and np.array_equal(self.query, np.eye(len(self.query))):
            return self.query  # shared, and at d = 10^4 a matrix product of a minute
        return self.query.T @ self.key


@dataclass(frozen=True, eq=False)
class Weights:
    """The weights of one layer.

    Attributes:
        beta: inverse temperature >= 0, infinity for zero temperature (hardmax).
        heads: at least one; their outputs add up.
        normalization: "softmax" or "none".
        own_score: a registered function f(Qx, Ky) that replaces <Qx, Ky>; None for the papers' score.
    """

    beta: float
    heads: tuple[Head, ...]
    normalization: str = "softmax"
    own_score: Named | None = None


@dataclass(frozen=True, eq=False)
class Layer:
    """Weights valid for depths t < until (and after the previous layer)."""

    until: float
    weights: Weights


@dataclass(frozen=True, eq=False)
class Attention:
    """Attention over all depths, piecewise constant by layer.

    Attributes:
        layers: at least one, with increasing `until`; the last one's is infinite or at least `end`.
        accuracy: largest relative error allowed to fast kernels.
        support: the density, in units of the uniform law's, below which the density counts as empty in its own attention,
            >= 0. The mean field has 0; N tokens have nothing thinner than 1/N to attend to. Tokens ignore it.
        rescaled_time: unnormalised attention in the depth s with dt = e^{-beta} ds; the same as
            `Time.rescaled`.
    """

    layers: tuple[Layer, ...]
    accuracy: float = 1e-10
    support: float = 0.0
    rescaled_time: bool = False

    def at(self, t: float) -> Weights:
        """The weights at depth t; at a switch time those of the deeper layer."""
        for layer in self.layers:
            if t < layer.until:
                return layer.weights
        return self.layers[-1].weights

    @property
    def has_own_score(self) -> bool:
        """Whether a registered function stands in the place of <Qx, Ky> in some layer."""
        return any(layer.weights.own_score is not None for layer in self.layers)

    @property
    def switch_times(self) -> tuple[float, ...]:
        """Depths at which the weights jump, increasing."""
        return tuple(layer.until for layer in self.layers[:-1])


def read_attention(table: Mapping[str, object], dimension: int | None, end: float | str | None,
                   rescaled: bool = False) -> Attention:
    """[attention] from its TOML table, for tokens in R^d, d = `dimension`, and a run to depth `end`.

    Where `dimension` or `end` are None, not known because of mistakes elsewhere, only the rest is checked.

    Raises:
        ProblemError: with every mistake of the section.
    """
    wrong = Mistakes()
    wrong.check(refuse_unknown, "attention", table, [field.key for field in FIELDS])
    own = read_fields("attention", {key: table[key] for key in ("support", "accuracy") if key in table},
                      (SUPPORT, ACCURACY), wrong)
    base = {key: table[key] for key in WEIGHT_KEYS if key in table}
    identity = np.eye(dimension) if dimension is not None else np.eye(1)
    if "layers" in table:
        layers = wrong.check(_layers, base, table["layers"], dimension, end, identity)
    else:
        weights = wrong.check(_weights, "attention", base, dimension, identity)
        layers = (Layer(math.inf, weights),) if weights is not None else None
    if layers is not None and dimension is not None:
        wrong.check(_check_normalization, layers, rescaled)
        wrong.check(_check_sharpness, layers, "layers" in table)
    wrong.stop()
    return Attention(layers, own["accuracy"], own["support"], rescaled)


def tabulate_attention(attention: Attention) -> dict[str, object]:
    """The TOML table of [attention]; a single layer or head stands in the section itself."""
    result: dict[str, object] = {"accuracy": attention.accuracy, "support": attention.support}
    first = attention.layers[0]
    if len(attention.layers) == 1 and math.isinf(first.until):
        return _tabulate_weights(first.weights) | result
    sections = [_tabulate_weights(layer.weights) for layer in attention.layers]
    # What all layers share stands in the section, where an override reaches it.
    shared = {key: sections[0][key] for key in ("beta", "normalization") if all(t[key] == sections[0][key] for t in sections)}
    layers = []
    for layer, own in zip(attention.layers, sections, strict=True):
        until = {"until": layer.until} if math.isfinite(layer.until) else {}
        layers.append(until | {key: value for key, value in own.items() if key not in shared})
    return shared | result | {"layers": layers}


def _layers(base: Mapping[str, object], entries: object, dimension: int | None, end: float | str | None,
            identity: np.ndarray) -> tuple[Layer, ...]:
    wrong, layers = Mistakes(), []
    rows = tables("attention.layers", entries)
    previous = 0.0
    for i, entry in enumerate(rows):
        prefix = f"attention.layers[{i}]"
        wrong.check(refuse_unknown, prefix, entry, ("until", *WEIGHT_KEYS))
        given = entry.get("until", math.inf if i == len(rows) - 1 else MISSING)
        if given is MISSING:
            wrong.note(f"{prefix}.until", given, "only the last layer may go without")
            until = None
        else:
            until = wrong.check(UNTIL.check, f"{prefix}.until", given)
        if until is not None:
            if not until > previous:
                wrong.note(f"{prefix}.until", until, f"must increase from layer to layer, here beyond {previous:g}")
            previous = until
        own = {key: value for key, value in entry.items() if key != "until"}
        # Matrices a layer gives for itself replace the heads of the section, which would hide them.
        inherited = {k: v for k, v in base.items() if not (k == "heads" and any(m in own for m in MATRICES))}
        weights = wrong.check(_weights, prefix, inherited | own, dimension, identity)
        layers.append(Layer(math.nan if until is None else until, weights))
    last = layers[-1].until
    ordered = not any(error.field.endswith(".until") for error in wrong.errors)
    if ordered and end is not None and (isinstance(end, str) or last < end) and math.isfinite(last):
        allowed = f"the last layer must reach time.end = {end}, or go without until"
        wrong.note(f"attention.layers[{len(layers) - 1}].until", last, allowed)
    wrong.stop()
    return tuple(layers)


def _weights(prefix: str, table: Mapping[str, object], dimension: int | None, identity: np.ndarray) -> Weights:
    wrong = Mistakes()
    beta = wrong.check(BETA.check, joined(prefix, "beta"), table.get("beta", MISSING))
    normalization = wrong.check(NORMALIZATION.check, f"{prefix}.normalization", table.get("normalization", "softmax"))
    score = wrong.check(SCORE.check, f"{prefix}.score", table["score"]) if "score" in table else None
    own = {key: table[key] for key in MATRICES if key in table}
    if "heads" not in table:
        heads = [wrong.check(_head, prefix, own, dimension, identity)]
    else:
        heads = []
        for i, entry in enumerate(wrong.check(tables, f"{prefix}.heads", table["heads"], 1000) or ()):
            name = f"{prefix}.heads[{i}]"
            wrong.check(refuse_unknown, name, entry, MATRICES)
            heads.append(wrong.check(_head, name, own | {k: v for k, v in entry.items() if k in MATRICES}, dimension, identity))
    wrong.stop()
    if score is not None:
        for head in heads:
            queries, keys = (np.linspace(0.2, 0.8, rows * head.query.shape[1]).reshape(rows, -1) for rows in (2, 3))
            score.try_out((2, 3), queries @ head.query.T, keys @ head.key.T)
    return Weights(beta, tuple(heads), normalization, score)


def _head(prefix: str, table: Mapping[str, object], dimension: int | None, identity: np.ndarray) -> Head:
    rows, wrong = {"query": None, "key": None, "value": dimension}, Mistakes()
    given = {name: wrong.check(matrix, f"{prefix}.{name}", table[name], rows[name], dimension) if name in table else identity
             for name in MATRICES}
    wrong.stop()
    if dimension is not None and given["query"].shape != given["key"].shape:
        name = "key" if "key" in table else "query"
        other = "query" if name == "key" else "key"
        allowed = f"must have as many rows as {prefix}.{other}, {len(given[other])}, not {len(given[name])}"
        raise ProblemError(f"{prefix}.{name}", table[name], allowed)
    return Head(given["query"], given["key"], given["value"])


def _check_sharpness(layers: tuple[Layer, ...], layered: bool) -> None:
    wrong = Mistakes()
    for i, layer in enumerate(layers):
        beta = layer.weights.beta
        if not math.isfinite(beta) or layer.weights.own_score is not None:
            continue
        largest = beta * max(float(np.linalg.norm(head.query) * np.linalg.norm(head.key) / math.sqrt(head.query.shape[1]))
                             for head in layer.weights.heads if head.query.shape == head.key.shape)
        if largest > LARGEST_SHARPNESS:
            name = f"attention.layers[{i}].beta" if layered else "attention.beta"
            allowed = (f"times |query| |key| is {largest:.3g}, must be at most {LARGEST_SHARPNESS:g}: beyond, rounding decides; "
                       'take "inf"')
            wrong.note(name, beta, allowed)
    wrong.stop()


def _check_normalization(layers: tuple[Layer, ...], rescaled: bool) -> None:
    unnormalised = [layer.weights for layer in layers if layer.weights.normalization == "none"]
    if rescaled and (len(unnormalised) < len(layers) or len({w.beta for w in unnormalised}) != 1):
        allowed = 'only for attention.normalization = "none" with the same beta in every layer'
        raise ProblemError("time.rescaled", True, allowed)
    for weights in unnormalised:
        if math.isinf(weights.beta):
            raise ProblemError("attention.beta", weights.beta, 'must be finite where normalization = "none"')


def _goes_without_saying(matrix: np.ndarray) -> bool:
    """Whether a matrix is the default, and so large that nobody wants to read it: 10^4 x 10^4 numbers are a gigabyte of text."""
    return (len(matrix) > LARGEST_WRITTEN and matrix.shape[0] == matrix.shape[1] and bool(np.all(np.diagonal(matrix) == 1.0))
            and np.count_nonzero(matrix) == len(matrix))


def _tabulate_weights(weights: Weights) -> dict[str, object]:
    beta = "inf" if math.isinf(weights.beta) else weights.beta
    heads = [{name: getattr(head, name).tolist() for name in MATRICES if not _goes_without_saying(getattr(head, name))}
             for head in weights.heads]
    matrices = heads[0] if len(heads) == 1 else {"heads": heads}
    score = {"score": weights.own_score.table()} if weights.own_score is not None else {}
    return {"beta": beta, "normalization": weights.normalization} | score | matrices
