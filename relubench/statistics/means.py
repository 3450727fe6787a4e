"""Differences of means of which only mean, standard deviation and n are known, as published tables give them.

Unpaired, with Welch's degrees of freedom (Welch 1947, Biometrika 34); several intervals hold together (Bonferroni).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from relubench.statistics.distributions import ALPHA, student_cdf, student_quantile
from relubench.statistics.error_rates import critical, word

POWER = 0.8


@dataclass(frozen=True, kw_only=True, slots=True)
class Mean:
    """A mean over n runs, and the standard deviation of one run."""

    name: str
    mean: float
    deviation: float
    n: int

    @property
    def squared_error(self) -> float:
        """The squared standard error of the mean."""
        return self.deviation**2 / self.n

    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the mean; None for a single run."""
        if self.n < 2:
            return None
        half = student_quantile(1 - ALPHA / 2, self.n - 1) * math.sqrt(self.squared_error)
        return self.mean - half, self.mean + half


@dataclass(frozen=True, kw_only=True, slots=True)
class MeanDifference:
    """A difference of two means, later less first, in the table's unit."""

    difference: float
    low: float
    high: float
    p: float
    """Two-sided, times the number of comparisons, at most 1."""
    detectable: float
    """The true difference that such a comparison finds with 80 % probability (the two quantiles' sum of errors)."""

    @property
    def verdict(self) -> str:
        return word(self.difference, self.low, self.high, seeds=2)


def difference_of_means(later: Mean, first: Mean, comparisons: int) -> MeanDifference | None:
    """The difference, one of `comparisons`; None where a side has one run, or neither has any spread."""
    variance = later.squared_error + first.squared_error
    if min(later.n, first.n) < 2 or variance == 0:
        return None
    parts = [side.squared_error**2 / (side.n - 1) for side in (later, first)]
    degrees, error = variance**2 / sum(parts), math.sqrt(variance)
    difference = later.mean - first.mean
    quantile = student_quantile(critical(comparisons), degrees)
    return MeanDifference(
        difference=difference,
        low=difference - quantile * error,
        high=difference + quantile * error,
        p=min(1.0, comparisons * 2 * student_cdf(-abs(difference) / error, degrees)),
        detectable=(quantile + student_quantile(POWER, degrees)) * error,
    )
