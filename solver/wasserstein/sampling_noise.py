"""Noise floors: how far apart samples of one and the same law are expected to be.

Two finite samples of a law never coincide, so that a distance between particles and density means nothing
below the distance of one sample from another. The floor depends on the law, not only on the space: N^{-1/2}
for laws with a density on a line, near N^{-1/2} (times logarithms) on a surface, N^{-1/d} beyond, and as slow
as N^{-1/(2p)} for laws in separate clusters, whose masses fluctuate. Hence it is measured, by resampling, not
looked up.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from solver.wasserstein.distance import distance, one_dimensional
from solver.wasserstein.measure import Measure
from solver.wasserstein.metric import Space

DIRECT = 1_000  # sample size up to which distances off the line and circle are computed, not extrapolated


@dataclass(frozen=True)
class NoiseFloor:
    """The distance W_p that sampling alone makes.

    Attributes:
        mean: its expectation, estimated over pairs of samples.
        deviation: standard deviation of one distance about it.
        standard_error: of `mean`, the deviation over the root of the number of pairs.
        method: how it was found, in words.
    """

    mean: float
    deviation: float
    standard_error: float
    method: str

    def __post_init__(self) -> None:
        for name in ("mean", "deviation", "standard_error"):
            object.__setattr__(self, name, float(getattr(self, name)))

    def exceeded_by(self, value: float, sigmas: float = 3.0) -> bool:
        """Whether a distance is above what sampling explains, by that many deviations of one distance."""
        return value > self.mean + sigmas * float(np.hypot(self.deviation, self.standard_error))


def noise_floor(
    measure: Measure,
    count: int,
    *,
    p: float = 2,
    manifold: Space,
    metric: Literal["geodesic", "chordal"] = "geodesic",
    against: Literal["sample", "measure"] = "sample",
    pairs: int = 8,
    seed: int = 0,
) -> NoiseFloor:
    """The expected W_p between two independent samples of a law, or between a sample and the law.

    Samples are drawn with replacement from the atoms, which are either a fine discretisation of the law (a
    density),
    or a sample of it themselves: then this is the bootstrap estimate, sound while the atoms are many more
    than where the law varies. Samples are independent points; quadrature nodes and Sobol points lie closer to
    the law.

    Args:
        measure: the law. count: N, atoms of a sample, each of mass total / N.
        against: "sample" for two samples of N, "measure" for one sample against the atoms of `measure`.
        pairs: how many distances to average, at least 2. seed: of the samples; the same seed, the same floor.

    Returns:
        The floor. Off the line and circle and for N above `DIRECT` it is extrapolated, by the power of N that
        the distances at `DIRECT` and a quarter of it show, between 1/8 and 1/2; the method says so.

    Raises:
        ValueError: fewer than 2 pairs, fewer than 1 atom, another `against`, and the errors of `distance`.
    """
    if pairs < 2 or count < 1 or against not in ("sample", "measure"):
        raise ValueError(f'pairs >= 2, count >= 1, against "sample" or "measure", not {pairs}, {count}, {against!r}')
    rng = np.random.default_rng(seed)

    def distances(size: int) -> np.ndarray:
        found = []
        for _ in range(pairs):
            other = _sample(measure, size, rng) if against == "sample" else measure
            found.append(distance(_sample(measure, size, rng), other, p=p, manifold=manifold, metric=metric).value)
        return np.array(found)

    root = np.sqrt(pairs)
    if count <= DIRECT or one_dimensional(measure, manifold, metric):
        values = distances(count)
        method = f"{pairs} pairs of samples of {count}"
        return NoiseFloor(values.mean(), values.std(ddof=1), values.std(ddof=1) / root, method)
    small, large = distances(DIRECT // 4), distances(DIRECT)
    if large.mean() == 0.0 or small.mean() == 0.0:
        return NoiseFloor(0.0, 0.0, 0.0, "all atoms coincide")
    rate = np.clip(np.log(small.mean() / large.mean()) / np.log(4.0), 0.125, 0.5)
    scale = (DIRECT / count) ** rate
    mean, deviation = scale * large.mean(), scale * large.std(ddof=1)
    # The rate is known from few samples: its error grows with the distance extrapolated over.
    relative = np.hypot(large.std(ddof=1) / large.mean(), small.std(ddof=1) / small.mean()) / root
    doubt = relative * (1.0 + np.log(count / DIRECT) / np.log(4.0))
    method = f"{pairs} pairs of samples of {DIRECT}, times ({DIRECT}/{count})^{rate:.2f}"
    return NoiseFloor(mean, deviation, mean * doubt, method)


def _sample(measure: Measure, count: int, rng: np.random.Generator) -> Measure:
    """`count` independent draws as equal atoms of the same total mass; repeated draws are one heavier atom."""
    tallies = rng.multinomial(count, measure.masses / measure.total)
    drawn = tallies > 0
    return Measure(measure.points[drawn], tallies[drawn] * (measure.total / count))
