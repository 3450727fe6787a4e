"""Means with intervals, differences and their corrections, from which test examples each seed got wrong.

The data are wrong[s, i] in {0, 1}: the network of seed s was wrong on test example i. All seeds share the examples, so
seeds and examples are two crossed random factors: another training would differ, and so would another test set. With
S seeds and N examples the variance of the mean is seeds / S + examples / N + interaction / (S N), estimated from mean
squares (Searle, Casella & McCulloch 1992, chapter 4). Results are in percent of the examples; intervals are 95 %.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relubench.distributions import ALPHA, Z, crossing, student_cdf, student_quantile, tango, wilson

BOTH = "seeds x test set"
TEST_SET = "test set only"
POWER = 0.80
MOST_SEEDS = 1000
"""Where the search for a resolving number of seeds gives up: nobody trains more."""

Mask = NDArray[Any]
"""Boolean [N]: True where one network was wrong on that test example."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its 95 % interval, in percent; `basis` says which noise the interval covers."""

    mean: float
    low: float
    high: float
    basis: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference a - b with its 95 % interval, in percent, and the p-value of 'no difference'."""

    difference: float
    low: float
    high: float
    p: float
    basis: str
    seeds: int
    """Of the smaller side."""
    effect: float | None
    """The difference over the standard deviation of the seeds' own differences (Cohen's d_z); of the pooled standard
    deviation of the seeds' errors where seeds are not paired. None with one seed, or where seeds do not differ."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The variance of a crossed mean, as fractions squared, split by how well each part is known."""

    degrees: float
    """Of freedom of between_seeds."""
    between_seeds: float
    """Of the seeds' own means, over S: trainings and their interaction with the examples."""
    examples: float
    """Of the examples' difficulty alone, over N: more seeds do not reduce it, and N is large enough to know it."""
    interaction: float
    """Of example by seed, over S N: the part of between_seeds that the examples tell."""

    @property
    def variance(self) -> float:
        return self.between_seeds + self.examples

    @property
    def floor(self) -> float:
        """The variance that the examples alone tell: agreeing seeds must not push an interval below it."""
        return self.examples + self.interaction

    def half_width(self, quantile: float) -> float:
        """t sqrt(between_seeds + examples), at least z sqrt(examples + interaction).

        t has Satterthwaite's degrees of freedom (1946), degrees / share^2 with the share of between_seeds in the
        variance. That covers too little (87 % at worst) where a single degree stands beside a known part: there t is
        the mean of t and z weighted by their variances (Cochran & Cox 1957), which covers 94 to 99 %.
        """
        z = NormalDist().inv_cdf(quantile)
        if self.variance == 0:
            return 0.0
        share = self.between_seeds / self.variance
        if self.degrees < 2:
            t = share * student_quantile(quantile, self.degrees) + (1 - share) * z
        else:
            t = student_quantile(quantile, self._satterthwaite(share))
        return max(t * math.sqrt(self.variance), z * math.sqrt(self.floor))

    def level(self, size: float) -> float:
        """The two-sided level at which an interval around a mean of `size` touches zero: the p-value."""
        if size == 0 or self.variance == 0:
            return float(size == 0)
        if self.degrees < 2:
            # Below 1e-9 no decision depends on the digits.
            return max(1e-9, crossing(lambda level: self.half_width(1 - level / 2) - size, 1e-9, 1.0))
        share = self.between_seeds / self.variance
        t = -size / math.sqrt(self.variance)
        of_seeds = student_cdf(t, self._satterthwaite(share)) if share else NormalDist().cdf(t)
        of_examples = NormalDist().cdf(-size / math.sqrt(self.floor)) if self.floor > 0 else 0.0
        return 2 * max(of_seeds, of_examples)

    def _satterthwaite(self, share: float) -> float:
        return self.degrees / (share * share) if share > 1e-3 else math.inf


def mean_error(wrong: Sequence[Mask]) -> Interval:
    """The mean error over S networks and N examples with its 95 % interval.

    S = 1: Wilson's interval, the test set's noise alone. S >= 2: Wilson's with the effective sample size that the
    crossed spread implies, so that it stays within 0 to 100 and is not empty at zero errors (Korn & Graubard 1998).
    `wrong`: S masks [N]. Raises ValueError on an empty or unequal set.
    """
    errors = stack(wrong)
    seeds, examples = errors.shape
    mean = float(errors.mean())
    size = float(examples)
    if seeds > 1 and 0 < mean < 1:
        half = crossed_spread(errors).half_width(1 - ALPHA / 2)
        size = min(Z * Z * mean * (1 - mean) / (half * half), float(seeds * examples)) if half > 0 else size
    low, high = wilson(mean, size)
    return Interval(100 * mean, 100 * low, 100 * high, BOTH if seeds > 1 else TEST_SET)


def paired_difference(wrong_a: Sequence[Mask], wrong_b: Sequence[Mask]) -> Difference:
    """The mean of wrong_a - wrong_b over common seeds and examples, with its 95 % interval and two-sided p-value.

    S = 1: Tango's score interval (1998), with the p-value of the same score at zero, which is McNemar's test: the two
    agree on whether zero is excluded. S >= 2: the crossed analysis of d = a - b in {-1, 0, 1}; p is the level at which
    its interval touches zero. `wrong_a`, `wrong_b`: S masks [N], the same seeds in the same order. Raises ValueError.
    """
    gaps = _gaps(wrong_a, wrong_b)
    if gaps.shape[0] == 1:
        return _of_one_seed(gaps[0])
    between = float(gaps.mean(axis=1).std(ddof=1))
    return _difference(float(gaps.mean()), _gap_spread(gaps), gaps.shape[0], between)


def unpaired_difference(wrong_a: Sequence[Mask], wrong_b: Sequence[Mask]) -> Difference:
    """The difference of two mean errors on the same examples whose seeds have nothing in common.

    Each side has its own variance between seeds, with Welch's degrees of freedom; the examples stay paired. `wrong_a`,
    `wrong_b`: masks [N], at least two a side, or one on each. Raises ValueError.
    """
    a, b = stack(wrong_a), stack(wrong_b)
    if a.shape[1] != b.shape[1] or min(len(a), len(b)) == 1 < max(len(a), len(b)):
        raise ValueError(f"need the same examples, and two seeds a side or one on each, not {a.shape} and {b.shape}")
    if len(a) == 1:
        return _of_one_seed(a[0] - b[0])
    sides = crossed_spread(a), crossed_spread(b)
    between = sum(one.between_seeds for one in sides)
    squares = sum(one.between_seeds**2 / one.degrees for one in sides)
    degrees = between**2 / squares if squares else float(len(a) + len(b) - 2)
    interaction = sum(one.interaction for one in sides)
    gap = a.mean(axis=0) - b.mean(axis=0)
    examples = max(float(gap.var(ddof=1)) / gap.size - interaction, 0.0) + 1 / gap.size**2
    spread = Spread(degrees, between, examples, interaction)
    pooled = math.sqrt(sum(one.var(axis=0, ddof=1) * (one.size - 1) for one in (a.mean(axis=1), b.mean(axis=1))))
    pooled /= math.sqrt(len(a) + len(b) - 2)
    return _difference(float(gap.mean()), spread, min(len(a), len(b)), pooled)


def holm(p: Sequence[float]) -> list[float]:
    """p-values adjusted for their number: the running maximum of (m - rank) p, in the order given (Holm 1979)."""
    adjusted = [0.0] * len(p)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=lambda one: p[one])):
        highest = max(highest, min(1.0, (len(p) - rank) * p[place]))
        adjusted[place] = highest
    return adjusted


def minimum_detectable_difference(wrong_a: Sequence[Mask], wrong_b: Sequence[Mask], comparisons: int = 1) -> float:
    """The true difference, in percentage points, that this many seeds and examples call real with 80 % probability.

    It uses the spread of the paired difference and not the difference itself: a property of the experiment. With more
    `comparisons` in the table it holds for the first of Holm's steps, the strictest. S = 1: for the test set's noise
    alone.
    """
    gaps = _gaps(wrong_a, wrong_b)
    quantile = 1 - ALPHA / comparisons / 2
    if gaps.shape[0] == 1:
        standard_error = math.sqrt(float(np.abs(gaps).sum()) + 1) / gaps.shape[1]
        return 100 * (NormalDist().inv_cdf(quantile) + NormalDist().inv_cdf(POWER)) * standard_error
    spread = _gap_spread(gaps)
    return min(100 * (spread.half_width(quantile) + spread.half_width(POWER)), 100.0)


def seeds_to_resolve(wrong_a: Sequence[Mask], wrong_b: Sequence[Mask]) -> int | None:
    """The number of seeds at which a difference as large as the one seen would be called real; None if no number is.

    Needs two seeds or more to know the spread (ValueError). More seeds do not reduce the noise of the test set, so None
    is a common answer. It holds if the true difference is the one seen, which is itself uncertain: an order of size.
    """
    gaps = _gaps(wrong_a, wrong_b)
    seeds = gaps.shape[0]
    if seeds < 2:
        raise ValueError("one seed does not tell how much seeds differ")
    size, spread = abs(float(gaps.mean())), _gap_spread(gaps)
    return fewest_seeds(seeds, lambda more: size > with_seeds(spread, seeds, more).half_width(1 - ALPHA / 2))


def fewest_seeds(seeds: int, enough: Callable[[int], bool]) -> int | None:
    """The least number, from `seeds` on, for which `enough(number)` is true once and for all; None above MOST_SEEDS."""
    low, high = seeds, MOST_SEEDS
    if not enough(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low


def with_seeds(spread: Spread, seeds: int, more: int) -> Spread:
    """The variances that `seeds` seeds showed, met with another number of them."""
    share = seeds / more
    return Spread(more - 1, spread.between_seeds * share, spread.examples, spread.interaction * share)


def crossed_spread(values: NDArray[np.float64]) -> Spread:
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


def stack(wrong: Sequence[Mask]) -> NDArray[np.float64]:
    """Masks of one length as [S, N] of 0 and 1; raises ValueError for any other."""
    if not len(wrong) or len({one.shape for one in wrong}) != 1 or wrong[0].ndim != 1 or wrong[0].size < 2:
        raise ValueError(f"need masks of one length, not {[one.shape for one in wrong]}")
    return np.stack(wrong).astype(np.float64)


def pack_mask(mask: Mask) -> str:
    """The mask as text: its bits, eight a byte, deflated, in base 64. 143 of 10,000 take some 300 characters."""
    return base64.b64encode(zlib.compress(np.packbits(mask).tobytes(), 9)).decode("ascii")


def unpack_mask(text: str, examples: int) -> Mask:
    """The mask of `examples` that `pack_mask` wrote; raises ValueError for any other text."""
    try:
        # No more than that: a few bytes may unpack to gigabytes.
        whole = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), (examples + 7) // 8 + 1)
        packed = np.frombuffer(whole, dtype=np.uint8)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if packed.size != (examples + 7) // 8:
        raise ValueError(f"{packed.size} bytes do not hold {examples} examples")
    return np.unpackbits(packed, count=examples).astype(bool)


def _difference(mean: float, spread: Spread, seeds: int, between: float) -> Difference:
    half = spread.half_width(1 - ALPHA / 2)
    low, high = max(mean - half, -1.0), min(mean + half, 1.0)
    effect = mean / between if between > 0 else None
    return Difference(100 * mean, 100 * low, 100 * high, spread.level(abs(mean)), BOTH, seeds, effect)


def _of_one_seed(gap: NDArray[np.float64]) -> Difference:
    more, fewer = int((gap > 0).sum()), int((gap < 0).sum())
    low, high = tango(more, fewer, gap.size)
    p = math.erfc(abs(more - fewer) / math.sqrt(2 * (more + fewer))) if more + fewer else 1.0
    return Difference(100 * float(gap.mean()), 100 * low, 100 * high, p, TEST_SET, 1, None)


def _gap_spread(gaps: NDArray[np.float64]) -> Spread:
    """The spread of d = a - b, with half a count added to each way of disagreeing (Agresti & Min 2005).

    Without it two networks that agree on every example would have an interval of no width.
    """
    seen = crossed_spread(gaps)
    return Spread(seen.degrees, seen.between_seeds, seen.examples + 1 / gaps.shape[1] ** 2, seen.interaction)


def _gaps(wrong_a: Sequence[Mask], wrong_b: Sequence[Mask]) -> NDArray[np.float64]:
    a, b = stack(wrong_a), stack(wrong_b)
    if a.shape != b.shape:
        raise ValueError(f"a pair needs the same seeds and examples, not {a.shape} and {b.shape}")
    return a - b
