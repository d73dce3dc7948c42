"""[attention]: inverse temperature and weight matrices, for several heads and several layers.

    [attention]
    beta = 100.0                  # or "inf"
    query = [[1.0, 0.0], [0.0, 1.0]]
    key, value = ...              # likewise; the identity if not given
    normalization = "softmax"     # or "none"
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
from typing import Any

import numpy as np

from problems.checks import choice, joined, matrix, number, refuse_unknown, tables
from problems.errors import MISSING, ProblemError

NORMALIZATIONS = {"softmax": "SA, divided by the partition function", "none": "USA, not divided"}
MATRICES = ("query", "key", "value")
WEIGHT_KEYS = ("beta", *MATRICES, "normalization", "heads")
# exp overflows beyond this exponent (docs/theory.md §8.1).
LARGEST_EXPONENT = 700.0


@dataclass(frozen=True, eq=False)
class Head:
    """One attention head: query and key (k, d), value (d, d)."""

    query: np.ndarray
    key: np.ndarray
    value: np.ndarray

    @property
    def score(self) -> np.ndarray:
        """B = Q^T K, shape (d, d): <Qx, Ky> = <x, By> (docs/theory.md §1.1)."""
        return self.query.T @ self.key


@dataclass(frozen=True, eq=False)
class Weights:
    """The weights of one layer.

    Attributes:
        beta: inverse temperature >= 0, infinity for zero temperature (hardmax).
        heads: at least one; their outputs add up.
        normalization: "softmax" or "none".
    """

    beta: float
    heads: tuple[Head, ...]
    normalization: str = "softmax"


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
    def switch_times(self) -> tuple[float, ...]:
        """Depths at which the weights jump, increasing."""
        return tuple(layer.until for layer in self.layers[:-1])


def read_attention(table: Mapping[str, Any], dimension: int, end: float | str, rescaled: bool = False) -> Attention:
    """[attention] from its TOML table, for tokens in R^d, d = `dimension`, and a run to depth `end`."""
    refuse_unknown("attention", table, (*WEIGHT_KEYS, "layers", "accuracy", "support"))
    support = number(0.0, 1.0)("attention.support", table.get("support", 0.0))
    accuracy = number(0.0, 0.1, open_low=True)("attention.accuracy", table.get("accuracy", 1e-10))
    base = {key: table[key] for key in WEIGHT_KEYS if key in table}
    if "layers" in table:
        layers = _layers(base, table["layers"], dimension, end)
    else:
        layers = (Layer(math.inf, _weights("attention", base, dimension)),)
    _check_normalization(layers, rescaled)
    return Attention(layers, accuracy, support, rescaled)


def tabulate_attention(attention: Attention) -> dict[str, Any]:
    """The TOML table of [attention]; a single layer or head stands in the section itself."""
    result: dict[str, Any] = {"accuracy": attention.accuracy, "support": attention.support}
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


def _layers(base: Mapping[str, Any], entries: Any, dimension: int, end: float | str) -> tuple[Layer, ...]:
    layers: list[Layer] = []
    rows = tables("attention.layers", entries)
    for i, entry in enumerate(rows):
        prefix = f"attention.layers[{i}]"
        refuse_unknown(prefix, entry, ("until", *WEIGHT_KEYS))
        until = entry.get("until", math.inf if i == len(rows) - 1 else MISSING)
        if until is MISSING:
            raise ProblemError(f"{prefix}.until", until, "only the last layer may go without")
        until = number(0.0, open_low=True, infinite=True)(f"{prefix}.until", until)
        if layers and not until > layers[-1].until:
            allowed = f"must increase from layer to layer, here beyond {layers[-1].until:g}"
            raise ProblemError(f"{prefix}.until", until, allowed)
        own = {key: value for key, value in entry.items() if key != "until"}
        # Matrices a layer gives for itself replace the heads of the section, which would hide them.
        inherited = {k: v for k, v in base.items() if not (k == "heads" and any(m in own for m in MATRICES))}
        layers.append(Layer(until, _weights(prefix, inherited | own, dimension)))
    last = layers[-1].until
    if (isinstance(end, str) or last < end) and math.isfinite(last):
        allowed = f"the last layer must reach time.end = {end}, or go without until"
        raise ProblemError(f"attention.layers[{len(layers) - 1}].until", last, allowed)
    return tuple(layers)


def _weights(prefix: str, table: Mapping[str, Any], dimension: int) -> Weights:
    beta = number(0.0, infinite=True)(joined(prefix, "beta"), table.get("beta", MISSING))
    normalization = choice(*NORMALIZATIONS)(f"{prefix}.normalization", table.get("normalization", "softmax"))
    own = {key: table[key] for key in MATRICES if key in table}
    if "heads" not in table:
        return Weights(beta, (_head(prefix, own, dimension),), normalization)
    heads = []
    for i, entry in enumerate(tables(f"{prefix}.heads", table["heads"])):
        name = f"{prefix}.heads[{i}]"
        refuse_unknown(name, entry, MATRICES)
        heads.append(_head(name, own | entry, dimension))
    return Weights(beta, tuple(heads), normalization)


def _head(prefix: str, table: Mapping[str, Any], dimension: int) -> Head:
    identity = np.eye(dimension)
    rows = {"query": None, "key": None, "value": dimension}
    given = {
        name: matrix(f"{prefix}.{name}", table[name], rows[name], dimension) if name in table else identity for name in MATRICES
    }
    if given["query"].shape != given["key"].shape:
        name = "key" if "key" in table else "query"
        other = "query" if name == "key" else "key"
        allowed = f"must have as many rows as {prefix}.{other}, {len(given[other])}, not {len(given[name])}"
        raise ProblemError(f"{prefix}.{name}", table[name], allowed)
    return Head(given["query"], given["key"], given["value"])


def _check_normalization(layers: tuple[Layer, ...], rescaled: bool) -> None:
    unnormalised = [layer.weights for layer in layers if layer.weights.normalization == "none"]
    if rescaled and (len(unnormalised) < len(layers) or len({w.beta for w in unnormalised}) != 1):
        allowed = 'only for attention.normalization = "none" with the same beta in every layer'
        raise ProblemError("time.rescaled", True, allowed)
    for weights in unnormalised:
        if math.isinf(weights.beta):
            raise ProblemError("attention.beta", weights.beta, 'must be finite where normalization = "none"')


def _tabulate_weights(weights: Weights) -> dict[str, Any]:
    beta: Any = "inf" if math.isinf(weights.beta) else weights.beta
    heads = [{name: getattr(head, name).tolist() for name in MATRICES} for head in weights.heads]
    matrices = heads[0] if len(heads) == 1 else {"heads": heads}
    return {"beta": beta, "normalization": weights.normalization} | matrices
