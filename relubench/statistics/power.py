"""What a comparison could have seen, and how many seeds it would take to see it: the power of the tests of `stats`.

The truth behind a table is known only through its own few seeds: with S of them the variance between trainings is
S - 1 degrees of freedom times its estimate over a chi-squared number. Power is the mean over what that leaves open, and
over the variances that the test itself would estimate; with a known variance it would be the noncentral t's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from relubench.statistics.distributions import student_quantile
from relubench.statistics.variance import Spread, Values, blend

POWER = 0.80
MOST_SEEDS = 1000
"""Where the search for a resolving number of seeds gives up: nobody trains more."""
RANGE = (0.1, 0.9)
"""Between which quantiles of the variance between trainings a range of seeds lies: 80 %."""
STEADY = 0.35
"""Of the noise that a larger difference brings, the part that is the same for every seed; from simulated networks."""
NODES = 25
"""Points at which a chi-squared distribution is taken."""

NORMAL = np.linspace(-8.0, 8.0, 1601)
NORMAL_CDF = np.array([NormalDist().cdf(z) for z in NORMAL])


@dataclass(frozen=True, slots=True)
class Sight:
    """What a table saw of two networks, as fractions."""

    seeds: int
    examples: int
    difference: float
    error: float
    """The lower of both."""

    @property
    def most(self) -> float:
        """The largest difference that is possible to a network with this error."""
        return max(self.error, 1 - self.error)

    def growth(self, more: float) -> float:
        """How many times the variance between trainings is, where one of the two errs by so much more."""
        least = max(self.error, 0.5 / self.examples)
        worse = min(least + more, max(least, 0.5))
        return (1 + worse * (1 - worse) / (least * (1 - least))) / 2


@dataclass(frozen=True, slots=True)
class SeedsNeeded:
    """How many seeds, in all, it takes; None where no number up to MOST_SEEDS does."""

    likely: int | None
    low: int | None
    """If trainings vary as little as the seeds leave open."""
    high: int | None
    """If they vary as much."""


def detectable(spread: Spread, seen: Sight, quantile: float) -> float | None:
    """The true difference, as a fraction, at which |difference| exceeds half_width(quantile) with 80 % probability.

    What is larger than the difference in the table brings noise of its own: it turns more examples, some with every
    seed and others with some, and trainings differ in proportion to error (1 - error), as they do on the scale of
    logits. None if not even the largest possible difference would do.
    """
    variances, chances = variances_left_open(spread)
    trainings = variances - spread.interaction
    estimates, weights = chi_squared(spread.degrees)
    factors = student_quantile(quantile, spread.degrees), NormalDist().inv_cdf(quantile)

    def power(size: float) -> float:
        more = max(size - abs(seen.difference), 0.0)
        examples = spread.examples + STEADY * more * (1 - size) / seen.examples
        interaction = spread.interaction + (1 - STEADY) * more / seen.examples / seen.seeds
        between = trainings * seen.growth(more) + interaction
        return float(chances @ _reached(size, between[:, None], estimates, examples, interaction, factors) @ weights)

    return _least(power, seen.most)


def detectable_by_one_seed(disagreements: int, seen: Sight, quantile: float) -> float | None:
    """The true difference that one seed's test, McNemar's at z, calls real with 80 % probability; as `detectable`.

    `disagreements`: examples that one of the two networks got wrong. It is about the test set's noise alone.
    """
    z = NormalDist().inv_cdf(quantile)
    shares, weights = chi_squared(2.0 * (disagreements + 1))
    shares = shares * (disagreements + 1) / seen.examples

    def power(size: float) -> float:
        either = np.minimum(shares + max(size - abs(seen.difference), 0.0), 1.0)
        noise = np.maximum(either - size * size, 1 / seen.examples**2)
        ahead = size - z * np.sqrt(either / seen.examples)
        return float(weights @ _normal(ahead / np.sqrt(noise / seen.examples)))

    return _least(power, seen.most)


def seeds_needed(spread: Spread, seeds: int, size: float, quantile: float) -> SeedsNeeded:
    """The seeds with which a true difference of `size` is called real with 80 % probability, `seeds` or more.

    `low` and `high` are for the variances between trainings in the middle 80 % of what `seeds` seeds leave open.
    """
    low, likely, high = range_of_variances(spread)

    def needed(between: float) -> int | None:
        truth = Spread(spread.degrees, between, spread.examples, spread.interaction)
        return fewest_seeds(seeds, lambda more: power_of_seeds(truth.of_seeds(seeds, more), size, quantile) >= POWER)

    return SeedsNeeded(needed(likely), needed(low), needed(high))


def range_of_variances(spread: Spread) -> tuple[float, float, float]:
    """The variance between seeds at the lower end, the middle and the upper end of the 80 % that seeds leave open."""
    variances, chances = variances_left_open(spread)
    order = np.argsort(variances)
    upto = np.cumsum(chances[order]) - chances[order] / 2
    low, likely, high = np.interp([RANGE[0], 0.5, RANGE[1]], upto, variances[order])
    return float(low), float(likely), float(high)


def power_of_seeds(truth: Spread, size: float, quantile: float) -> float:
    """The probability that a difference of `size` is called real where `truth` holds the true variances."""
    estimates, weights = chi_squared(truth.degrees)
    factors = student_quantile(quantile, truth.degrees), NormalDist().inv_cdf(quantile)
    reached = _reached(size, truth.between_seeds, estimates, truth.examples, truth.interaction, factors)
    return float(reached @ weights)


def fewest_seeds(seeds: int, enough: Callable[[int], bool]) -> int | None:
    """The least number, from `seeds` on, for which `enough(number)` is true once and for all; None above MOST_SEEDS."""
    low, high = seeds, MOST_SEEDS
    if not enough(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low


def variances_left_open(spread: Spread) -> tuple[Values, Values]:
    """True variances between seeds that agree with the estimated one, and their chances; at least the interaction's."""
    shares, chances = chi_squared(spread.degrees)
    return np.maximum(spread.between_seeds / shares, spread.interaction), chances


@lru_cache(maxsize=256)
def chi_squared(degrees: float) -> tuple[Values, Values]:
    """Values of a chi-squared number over its degrees of freedom, evenly apart in the logarithm, with their chances."""
    grid = np.linspace(-24.0, 5.0, 8001)
    heights = degrees / 2 * (grid - np.exp(grid) + 1)
    kept = grid[heights > -10.0]
    nodes = np.linspace(kept[0], kept[-1], NODES)
    chances = np.exp(degrees / 2 * (nodes - np.exp(nodes) + 1))
    return np.exp(nodes), chances / chances.sum()


def _reached(
    size: float,
    between: Values | float,
    estimates: Values,
    examples: float,
    interaction: float,
    factors: tuple[float, float],
) -> Values:
    """The probability that a difference of `size` passes its test, for each true variance and each estimate of it."""
    t, z = factors
    estimated = between * estimates
    variance = np.maximum(estimated + examples, 1e-300)
    half = np.maximum(blend(t, z, estimated / variance) * np.sqrt(variance), z * math.sqrt(examples + interaction))
    return _normal((size - half) / np.sqrt(np.maximum(between + examples, 1e-300)))


def _normal(z: Values) -> Values:
    return np.interp(z, NORMAL, NORMAL_CDF)


def _least(power: Callable[[float], float], most: float) -> float | None:
    """The size at which a rising power reaches 80 %, to a hundredth of itself; None if that is more than `most`."""
    if power(most) < POWER:
        return None
    low, high = 0.0, most
    while high - low > 0.003 * high:
        # The sizes of interest span orders of magnitude.
        middle = (low + high) / 2 if low else high / 4
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
        if high < 1e-9:
            break
    return high
