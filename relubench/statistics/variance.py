"""The variance of a mean over seeds and examples, two crossed random factors, and how wide an interval it makes.

With S seeds and N examples the variance of the mean is seeds / S + examples / N + interaction / (S N), estimated from
mean squares (Searle, Casella & McCulloch 1992, chapter 4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from relubench.statistics.distributions import rising_root, student_quantile

LEAST_LEVEL = 1e-9
"""Smaller p-values are given as this: no decision depends on their digits."""

TINY = 1e-300
"""What a variance of zero is divided by."""

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Spread:
    """The variance of a crossed mean, as fractions squared, in parts that are known more or less well."""

    degrees: float
    """Degrees of freedom of between_seeds."""
    between_seeds: float
    """Variance of the seeds' own means, over S: trainings and their interaction with the examples."""
    examples: float
    """Variance of the examples' difficulty alone, over N: more seeds do not reduce it, and N is large enough to know
    it."""
    interaction: float
    """Variance of example by seed, over S N: the part of between_seeds that is known from the examples."""

    @property
    def variance(self) -> float:
        return self.between_seeds + self.examples

    @property
    def floor(self) -> float:
        """The variance known from the examples alone: seeds that agree must not make an interval narrower than it."""
        return self.examples + self.interaction

    def half_width(self, quantile: float) -> float:
        """blend(t, z) sqrt(between_seeds + examples), at least z sqrt(examples + interaction)."""
        factors = quantiles(quantile, self.degrees)
        return float(half_width(self.between_seeds, self.examples, self.interaction, factors))

    def level(self, size: float) -> float:
        """The two-sided level at which an interval around a mean of `size` touches zero: the p-value."""
        if size == 0 or self.variance + self.floor == 0:
            return float(size == 0)
        highest = -NormalDist().inv_cdf(LEAST_LEVEL / 2)
        z = rising_root(lambda z: self.half_width(NormalDist().cdf(z)) - size, 0.0, highest)
        return 2 * NormalDist().cdf(-z)

    def of_seeds(self, seeds: int, new_seeds: int) -> Spread:
        """The variances estimated from `seeds` seeds, for a mean over `new_seeds`."""
        shrinkage = seeds / new_seeds
        return Spread(new_seeds - 1, self.between_seeds * shrinkage, self.examples, self.interaction * shrinkage)


def quantiles(quantile: float, degrees: float) -> tuple[float, float]:
    """Student's quantile with these degrees of freedom, and the normal one."""
    return student_quantile(quantile, degrees), NormalDist().inv_cdf(quantile)


def half_width(
    between: Values | float, examples: Values | float, interaction: Values | float, factors: tuple[float, float]
) -> Values:
    """blend(t, z) sqrt(between + examples), at least z sqrt(examples + interaction); `factors` are t and z.

    The test of a difference is whether it is larger: in tables, at looks, and where their power is computed.
    """
    t, z = factors
    variance = between + examples
    factor = blend(t, z, between / np.maximum(variance, TINY))
    return np.maximum(factor * np.sqrt(variance), z * np.sqrt(examples + interaction))


def blend(t: float, z: float, share: Values | float) -> Values | float:
    """The quantile where `share` of a variance was estimated and the rest is known: t for 1, z for 0.

    (share^1.5 t^p + (1 - share^1.5) z^p)^(1/p) with p = 1 + 0.7 log2(t / z), found by simulation. Satterthwaite's
    degrees of freedom (1946) cover 87 to 95 % where a part with a few degrees is added to a known one, and their share
    is estimated too; t and z weighted by their variances (Cochran & Cox 1957) are too short at the levels that a
    correction for many comparisons needs. This covers 94.7 to 96.3 % from two degrees on, 95 to 98 % with one, and at
    the level of 28 comparisons errs at most 1.25 times as often as it may.
    """
    power = 1 + 0.7 * math.log2(max(t / z, 1.0)) if z > 0 else 1.0
    part = share * share**0.5
    return (part * t**power + (1 - part) * z**power) ** (1 / power)


def crossed_spread(values: Values) -> Spread:
    """The parts of Var(mean of values [S, N]), S >= 2, from the mean squares of seeds, examples and interaction."""
    seeds, examples = values.shape
    by_seed, by_example, mean = values.mean(axis=1), values.mean(axis=0), values.mean()
    between = float(((by_seed - mean) ** 2).sum())
    over_examples = float(((by_example - mean) ** 2).sum())
    total = float(((values - mean) ** 2).sum())
    rest = max(total - examples * between - seeds * over_examples, 0.0)
    interaction = rest / ((seeds - 1) * (examples - 1)) / (seeds * examples)
    example_part = over_examples / (examples - 1) / examples
    return Spread(seeds - 1, between / (seeds - 1) / seeds, max(example_part - interaction, 0.0), interaction)


def paired_spread(gaps: Values, *, bits: bool) -> Spread:
    """The spread of d = a - b [S, N]; of bits with half a count added to each kind of disagreement.

    Without it the interval of two networks that agree on every example would have no width (Agresti & Min 2005).
    """
    spread = crossed_spread(gaps)
    examples = spread.examples + bits / gaps.shape[1] ** 2
    return Spread(spread.degrees, spread.between_seeds, examples, spread.interaction)


def unpaired_spread(a: Values, b: Values, *, bits: bool) -> Spread:
    """The spread of mean(a) - mean(b) of values [S, N] each, on the same examples and with seeds of their own.

    Each side has its own variance between seeds, with Welch's degrees of freedom; the examples stay paired.
    """
    sides = crossed_spread(a), crossed_spread(b)
    between = sum(side.between_seeds for side in sides)
    squares = sum(side.between_seeds**2 / side.degrees for side in sides)
    degrees = between**2 / squares if squares else float(len(a) + len(b) - 2)
    interaction = sum(side.interaction for side in sides)
    gap = a.mean(axis=0) - b.mean(axis=0)
    examples = max(float(gap.var(ddof=1)) / gap.size - interaction, 0.0) + bits / gap.size**2
    return Spread(degrees, between, examples, interaction)
