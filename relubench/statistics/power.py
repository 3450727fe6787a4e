"""The power of the tests of `error_rates`: which difference a comparison can detect, and how many seeds it needs.

The true variances are known only through a table's own few seeds: with S of them the variance between trainings is
S - 1 degrees of freedom times its estimate over a chi-squared number. Power is the mean over all variances that agree
with the estimate, and over the variances that the test itself would estimate; with a known variance it would be that of
the noncentral t distribution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from relubench.statistics.variance import TINY, Spread, Values, half_width, quantiles

POWER = 0.80
MOST_SEEDS = 1000
"""The largest number of seeds that is searched: nobody trains more."""
RANGE = (0.1, 0.9)
"""Quantiles of the variance between trainings that give the range of a number of seeds: the middle 80 %."""
STEADY = 0.35
"""The part of the noise of a larger difference that is the same for every seed; from simulated networks."""
MANY_WIDTHS = 1000.0
"""Half-widths of its interval beyond which no difference of two numbers is searched."""
NODES = 25
"""Points at which a chi-squared distribution is evaluated."""

NORMAL = np.linspace(-8.0, 8.0, 1601)
NORMAL_CDF = np.array([NormalDist().cdf(z) for z in NORMAL])


@dataclass(frozen=True, slots=True)
class ObservedDifference:
    """The observed scores of two networks: errors as fractions, or means of numbers."""

    seeds: int
    examples: int
    difference: float
    error: float | None
    """The lower of two errors; None for numbers, whose noise does not depend on how far their means are apart."""

    @property
    def most(self) -> float:
        """The largest difference that is possible to a network with this error."""
        assert self.error is not None
        return max(self.error, 1 - self.error)

    def extra(self, size: float) -> float:
        """By how much a difference of `size` exceeds the observed one, as far as that adds noise."""
        return 0.0 if self.error is None else max(size - abs(self.difference), 0.0)

    def growth(self, extra: float) -> float:
        """The factor by which the variance between trainings grows if one of the two errors is larger by `extra`.

        Trainings that differ by as much on the scale of logits differ in proportion to error (1 - error) in points.
        """
        if self.error is None:
            return 1.0
        error = max(self.error, 0.5 / self.examples)
        larger_error = min(error + extra, max(error, 0.5))
        return (1 + (larger_error * (1 - larger_error) / (error * (1 - error))) ** 2) / 2


@dataclass(frozen=True, slots=True)
class SeedsNeeded:
    """The total number of seeds that a decision takes; None where no number up to MOST_SEEDS is enough."""

    likely: int | None
    low: int | None
    """If trainings vary as little as the seeds allow (10 % quantile)."""
    high: int | None
    """If trainings vary as much as the seeds allow (90 % quantile)."""


def detectable(spread: Spread, observed: ObservedDifference, quantile: float) -> float | None:
    """The true difference, as a fraction, at which |difference| exceeds half_width(quantile) with 80 % probability.

    A difference larger than the observed one adds noise of its own: it changes the answer to more examples, some with
    every seed and others with some seeds, and trainings differ in proportion to error (1 - error), as they do on the
    scale of logits. None if even the largest possible difference is not detected.
    """
    variances, chances = variances_left_open(spread)
    trainings = variances - spread.interaction
    estimates, weights = chi_squared(spread.degrees)
    factors = quantiles(quantile, spread.degrees)

    def power(size: float) -> float:
        extra = observed.extra(size)
        examples = spread.examples + STEADY * extra * (1 - size) / observed.examples
        interaction = spread.interaction + (1 - STEADY) * extra / observed.examples / observed.seeds
        between = trainings * observed.growth(extra) + interaction
        powers = _power_by_variance(size, between[:, None], estimates, examples, interaction, factors)
        return float(chances @ powers @ weights)

    largest = MANY_WIDTHS * spread.half_width(quantile) if observed.error is None else observed.most
    return _smallest_detectable(power, largest) if largest else 0.0


def detectable_by_one_seed(disagreements: int, observed: ObservedDifference, quantile: float) -> float | None:
    """The true difference that McNemar's test of one seed detects with 80 % probability; see `detectable`.

    `disagreements`: examples that exactly one of the two networks got wrong. Only the test set's noise counts here.
    """
    z = NormalDist().inv_cdf(quantile)
    shares, weights = chi_squared(2.0 * (disagreements + 1))
    shares = shares * (disagreements + 1) / observed.examples

    def power(size: float) -> float:
        disagreement = np.minimum(shares + observed.extra(size), 1.0)
        noise = np.maximum(disagreement - size * size, 1 / observed.examples**2)
        excess = size - z * np.sqrt(disagreement / observed.examples)
        return float(weights @ _normal(excess / np.sqrt(noise / observed.examples)))

    return _smallest_detectable(power, observed.most)


def seeds_needed(spread: Spread, seeds: int, size: float, quantile: float) -> SeedsNeeded:
    """The number of seeds, at least `seeds`, with which a true difference of `size` is detected with 80 % probability.

    `low` and `high` are for the ends of the middle 80 % of the variances between trainings that `seeds` seeds allow.
    """
    low, likely, high = range_of_variances(spread)

    def needed(between: float) -> int | None:
        truth = Spread(spread.degrees, between, spread.examples, spread.interaction)
        return fewest_seeds(seeds, lambda total: power_of_seeds(truth.of_seeds(seeds, total), size, quantile) >= POWER)

    return SeedsNeeded(needed(likely), needed(low), needed(high))


def range_of_variances(spread: Spread) -> tuple[float, float, float]:
    """The variances between seeds at the ends and in the middle of the 80 % range that the seeds allow."""
    variances, chances = variances_left_open(spread)
    order = np.argsort(variances)
    cumulative = np.cumsum(chances[order]) - chances[order] / 2
    low, likely, high = np.interp([RANGE[0], 0.5, RANGE[1]], cumulative, variances[order])
    return float(low), float(likely), float(high)


def power_of_seeds(truth: Spread, size: float, quantile: float) -> float:
    """The probability that a difference of `size` is detected if `truth` holds the true variances."""
    estimates, weights = chi_squared(truth.degrees)
    factors = quantiles(quantile, truth.degrees)
    power = _power_by_variance(size, truth.between_seeds, estimates, truth.examples, truth.interaction, factors)
    return float(power @ weights)


def fewest_seeds(seeds: int, enough: Callable[[int], bool]) -> int | None:
    """The smallest number from `seeds` on from which `enough(number)` stays true; None above MOST_SEEDS."""
    low, high = seeds, MOST_SEEDS
    if not enough(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low


def variances_left_open(spread: Spread) -> tuple[Values, Values]:
    """True variances between seeds that agree with the estimate, and their probabilities; at least the interaction."""
    shares, chances = chi_squared(spread.degrees)
    return np.maximum(spread.between_seeds / shares, spread.interaction), chances


@lru_cache(maxsize=256)
def chi_squared(degrees: float) -> tuple[Values, Values]:
    """Values of chi-squared over its degrees of freedom, evenly spaced in the logarithm, and their probabilities."""
    grid = np.linspace(-24.0, 5.0, 8001)
    heights = degrees / 2 * (grid - np.exp(grid) + 1)
    likely = grid[heights > -10.0]
    nodes = np.linspace(likely[0], likely[-1], NODES)
    chances = np.exp(degrees / 2 * (nodes - np.exp(nodes) + 1))
    return np.exp(nodes), chances / chances.sum()


def _power_by_variance(
    size: float,
    between: Values | float,
    estimates: Values,
    examples: float,
    interaction: float,
    factors: tuple[float, float],
) -> Values:
    """The probability that a difference of `size` passes its test, for each true variance and each estimate of it."""
    half = half_width(between * estimates, examples, interaction, factors)
    return _normal((size - half) / np.sqrt(np.maximum(between + examples, TINY)))


def _normal(z: Values) -> Values:
    return np.interp(z, NORMAL, NORMAL_CDF)


def _smallest_detectable(power: Callable[[float], float], largest: float) -> float | None:
    """The size at which a rising power reaches 80 %, to 0.3 % of itself; None if that is more than `largest`."""
    if power(largest) < POWER:
        return None
    low, high = 0.0, largest
    while high - low > 0.003 * high:
        # The sizes of interest span orders of magnitude.
        middle = (low + high) / 2 if low else high / 4
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
        if high < 1e-9:
            break
    return high
