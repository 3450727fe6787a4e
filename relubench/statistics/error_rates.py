"""Means with intervals and differences with their intervals and words, from what each seed made of each test example.

The data are wrong[s, i] in {0, 1}: the network of seed s was wrong on test example i; or numbers of any size, such as
squared errors, where they are floats. All seeds share the examples, so seeds and examples are two crossed random
factors (`variance`): another training would differ, and so would another test set. Of bits results are in percent of
the examples; intervals are 95 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from relubench.statistics.distributions import ALPHA, Z, share_interval, student_cdf, student_quantile, tango_interval
from relubench.statistics.example_scores import Scores
from relubench.statistics.power import (
    POWER,
    ObservedDifference,
    SeedsNeeded,
    detectable,
    detectable_by_one_seed,
    seeds_needed,
)
from relubench.statistics.skewness import skewed, third_moment_of_mean
from relubench.statistics.variance import Spread, crossed_spread, paired_spread, unpaired_spread

BOTH = "seeds x test set"
TEST_SET = "test set only"
ON_THIS_TEST_SET = " on this test set"
"""Follows the 'lower' or 'higher' of a single seed: another training may reverse it."""
IN_A_SMOKE_TEST = " in a smoke test"
"""Follows every 'lower' or 'higher' of a smoke test, which proves nothing however many seeds it has."""
DIFFERENT = ("lower", f"lower{ON_THIS_TEST_SET}", "higher", f"higher{ON_THIS_TEST_SET}")
"""The words for a difference, in the order in which they are counted; any other is 'noise'."""

SEVERAL_SEEDS = 0.5
"""Examples that `share_interval` adds to a mean over seeds: with 1 the interval covers more than it has to, with 0.25
less than 94 % of small shares."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its 95 % interval, of bits in percent; `basis` says which noise the interval covers."""

    mean: float
    low: float
    high: float
    basis: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference a - b with its interval, of bits in percent, and the p-value of 'no difference'."""

    difference: float
    low: float
    high: float
    p: float
    basis: str
    seeds: int
    """The number of seeds, of the smaller side."""
    effect: float | None
    """The difference over the standard deviation of the seeds' own differences (Cohen's d_z); of the pooled standard
    deviation of the seeds' errors where seeds are not paired. None with one seed, or where seeds do not differ."""
    detectable: float | None
    """The true difference that is detected with 80 % probability; None if none would be."""

    @property
    def verdict(self) -> str:
        return word(self.difference, self.low, self.high, self.seeds)


def mean_score(scores: Sequence[Scores]) -> Interval:
    """The mean score over S networks and N examples with its 95 % interval.

    Of bits that is `mean_error`. Of numbers it is Student's for one seed, and for several that of the crossed spread,
    both moved by how skew the examples are: losses are mostly small, and a few are large. Where no score is negative it
    does not reach below 0. What it covers is recorded by `benchmarks.number_scores`. Raises ValueError on an empty or
    unequal set.
    """
    if are_bits(scores):
        return mean_error(scores)
    values = stack_masks(scores)
    quantile = 1 - ALPHA / 2
    mean, several = float(values.mean()), len(values) > 1
    if several:
        spread = crossed_spread(values)
        half, error = spread.half_width(quantile), math.sqrt(max(spread.variance, spread.floor))
    else:
        half, error = _one_seed_half_width(values[0], quantile), _standard_error(values[0])
    down, up = skewed(half, error, third_moment_of_mean(values))
    low = mean - down if values.min() < 0 else max(mean - down, 0.0)
    return Interval(mean, low, mean + up, BOTH if several else TEST_SET)


def mean_error(wrong: Sequence[Scores]) -> Interval:
    """The mean error over S networks and N examples with its 95 % interval.

    S = 1: Clopper & Pearson's interval, the test set's noise alone. S >= 2: its like with the variance that the crossed
    spread implies, so that it stays within 0 to 100 and is not empty at zero errors. `wrong`: S masks [N]. Raises
    ValueError on an empty or unequal set. What it covers is recorded by `benchmarks.statistics_simulation`.
    """
    errors = stack_masks(wrong)
    seeds, examples = errors.shape
    mean = float(errors.mean())
    variance = mean * (1 - mean) / examples
    if seeds > 1 and 0 < mean < 1:
        variance = (crossed_spread(errors).half_width(1 - ALPHA / 2) / Z) ** 2
    low, high = share_interval(mean, variance, examples, SEVERAL_SEEDS if seeds > 1 else 1.0)
    return Interval(100 * mean, 100 * low, 100 * high, BOTH if seeds > 1 else TEST_SET)


def paired_difference(wrong_a: Sequence[Scores], wrong_b: Sequence[Scores], comparisons: float = 1) -> Difference:
    """The mean of wrong_a - wrong_b over common seeds and examples, with its interval, p-value and word.

    S = 1: Tango's score interval (1998), with the p-value of the same score at zero, which is McNemar's test: the two
    agree on whether zero is excluded; of numbers the paired t test over examples (Student 1908). S >= 2: the crossed
    analysis of d = a - b; p is the level at which its interval touches zero. `wrong_a`, `wrong_b`: S masks [N] or
    scores [N], the same seeds in the same order. Raises ValueError.

    Of a table with several `comparisons` every interval holds 1 - 0.05 / comparisons, so that all of them together hold
    95 %, and p is multiplied by their number (Bonferroni).
    """
    gaps = _gaps(wrong_a, wrong_b)
    if gaps.shape[0] == 1:
        return _one_seed_difference(gaps[0], _observed(wrong_a, wrong_b), comparisons)
    between = float(gaps.mean(axis=1).std(ddof=1))
    spread = paired_spread(gaps, bits=are_bits(wrong_a))
    return _crossed_difference(_observed(wrong_a, wrong_b), spread, between, comparisons)


def unpaired_difference(wrong_a: Sequence[Scores], wrong_b: Sequence[Scores], comparisons: float = 1) -> Difference:
    """The difference of two mean scores on the same examples whose seeds have nothing in common.

    Each side has its own variance between seeds, with Welch's degrees of freedom; the examples stay paired. `wrong_a`,
    `wrong_b`: masks [N], at least two a side, or one on each. `comparisons`: as in `paired_difference`. Raises
    ValueError.
    """
    a, b = stack_masks(wrong_a), stack_masks(wrong_b)
    if a.shape[1] != b.shape[1] or min(len(a), len(b)) == 1 < max(len(a), len(b)):
        raise ValueError(f"need the same examples, and two seeds a side or one on each, not {a.shape} and {b.shape}")
    if len(a) == 1:
        return _one_seed_difference(a[0] - b[0], _observed(wrong_a, wrong_b), comparisons)
    pooled = math.sqrt(sum(side.var(axis=0, ddof=1) * (side.size - 1) for side in (a.mean(axis=1), b.mean(axis=1))))
    pooled /= math.sqrt(len(a) + len(b) - 2)
    spread = unpaired_spread(a, b, bits=are_bits(wrong_a))
    return _crossed_difference(_observed(wrong_a, wrong_b), spread, pooled, comparisons)


def critical(comparisons: float) -> float:
    """The quantile for the half-width of each of so many intervals, which together hold 95 % (Bonferroni)."""
    return 1 - ALPHA / comparisons / 2


def word(difference: float, low: float, high: float, seeds: int) -> str:
    """'noise' where the interval holds zero, else 'lower' or 'higher'; of one seed with ON_THIS_TEST_SET appended."""
    if low <= 0 <= high:
        return "noise"
    return ("higher" if difference > 0 else "lower") + (ON_THIS_TEST_SET if seeds == 1 else "")


def seeds_to_resolve(wrong_a: Sequence[Scores], wrong_b: Sequence[Scores], comparisons: float = 1) -> SeedsNeeded:
    """The number of seeds with which a true difference as large as the observed one is detected with 80 % probability.

    Needs two seeds or more to estimate the spread (ValueError). More seeds do not reduce the noise of the test set, so
    None is a common answer. It holds if the true difference is the observed one, which is itself uncertain.
    """
    gaps = _gaps(wrong_a, wrong_b)
    seeds = gaps.shape[0]
    if seeds < 2:
        raise ValueError("one seed does not tell how much seeds differ")
    spread = paired_spread(gaps, bits=are_bits(wrong_a))
    return seeds_needed(spread, seeds, abs(float(gaps.mean())), critical(comparisons))


def are_bits(scores: Sequence[Scores]) -> bool:
    """Whether these are masks, of which examples are wrong, and not numbers."""
    return all(values.dtype == bool for values in scores)


def stack_masks(wrong: Sequence[Scores]) -> NDArray[np.float64]:
    """Masks of one length as [S, N] of 0 and 1, or scores of one length as they are; ValueError for any other."""
    if not len(wrong) or len({mask.shape for mask in wrong}) != 1 or wrong[0].ndim != 1 or wrong[0].size < 2:
        raise ValueError(f"need masks of one length, not {[mask.shape for mask in wrong]}")
    return np.stack(wrong).astype(np.float64)


def _crossed_difference(sight: ObservedDifference, spread: Spread, between: float, comparisons: float) -> Difference:
    mean, scale, bound = sight.difference, *((1.0, math.inf) if sight.error is None else (100.0, 1.0))
    half = spread.half_width(critical(comparisons))
    low, high = max(mean - half, -bound), min(mean + half, bound)
    effect = mean / between if between > 0 else None
    p = min(1.0, comparisons * spread.level(abs(mean)))
    size = detectable(spread, sight, critical(comparisons))
    size = None if size is None else scale * size
    return Difference(scale * mean, scale * low, scale * high, p, BOTH, sight.seeds, effect, size)


def _observed(wrong_a: Sequence[Scores], wrong_b: Sequence[Scores]) -> ObservedDifference:
    a, b = float(stack_masks(wrong_a).mean()), float(stack_masks(wrong_b).mean())
    error = min(a, b) if are_bits(wrong_a) else None
    return ObservedDifference(min(len(wrong_a), len(wrong_b)), len(wrong_a[0]), a - b, error)


def _standard_error(values: NDArray[np.float64]) -> float:
    """The standard error of the mean over examples [N]."""
    return float(values.std(ddof=1)) / math.sqrt(values.size)


def _one_seed_half_width(values: NDArray[np.float64], quantile: float) -> float:
    """Half of Student's interval: t times the standard error of the mean over examples [N]."""
    return student_quantile(quantile, values.size - 1) * _standard_error(values)


def _paired_t(gap: NDArray[np.float64], comparisons: float) -> Difference:
    """The paired t test over the test examples of one seed: p and interval agree on whether zero is excluded.

    The detectable size is where an interval of this width leaves zero out with 80 % probability.
    """
    mean, error = float(gap.mean()), _standard_error(gap)
    half = _one_seed_half_width(gap, critical(comparisons))
    p = 2 * student_cdf(-abs(mean) / error, gap.size - 1) if error > 0 else float(mean == 0)
    size = half + NormalDist().inv_cdf(POWER) * error
    return Difference(mean, mean - half, mean + half, min(1.0, comparisons * p), TEST_SET, 1, None, size)


def _one_seed_difference(gap: NDArray[np.float64], sight: ObservedDifference, comparisons: float) -> Difference:
    if sight.error is None:
        return _paired_t(gap, comparisons)
    only_a, only_b = int((gap > 0).sum()), int((gap < 0).sum())
    z = NormalDist().inv_cdf(critical(comparisons))
    low, high = tango_interval(only_a, only_b, gap.size, z)
    p = math.erfc(abs(only_a - only_b) / math.sqrt(2 * (only_a + only_b))) if only_a + only_b else 1.0
    detectable_pct = detectable_by_one_seed(only_a + only_b, sight, critical(comparisons))
    detectable_pct = None if detectable_pct is None else 100 * detectable_pct
    p = min(1.0, comparisons * p)
    return Difference(100 * float(gap.mean()), 100 * low, 100 * high, p, TEST_SET, 1, None, detectable_pct)


def _gaps(wrong_a: Sequence[Scores], wrong_b: Sequence[Scores]) -> NDArray[np.float64]:
    a, b = stack_masks(wrong_a), stack_masks(wrong_b)
    if are_bits(wrong_a) != are_bits(wrong_b):
        raise ValueError("bits and numbers make no pair")
    if a.shape != b.shape:
        raise ValueError(f"a pair needs the same seeds and examples, not {a.shape} and {b.shape}")
    return a - b
