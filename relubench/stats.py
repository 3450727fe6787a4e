"""Means with intervals, paired differences and their corrections, from which test examples each seed got wrong.

The data are wrong[s, i] in {0, 1}: the network of seed s was wrong on test example i. All seeds share the examples, so
seeds and examples are two crossed random factors: another training would differ, and so would another test set. With
S seeds and N examples the variance of the mean is seeds / S + examples / N + interaction / (S N), estimated from mean
squares (Searle, Casella & McCulloch 1992, chapter 4). Results are in percent of the examples; intervals are 95 %.

Nothing is imported from SciPy: the degrees of freedom are whole numbers here, for which Student's distribution has a
finite sum, and a table from stored runs appears a third of a second sooner.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

BOTH = "seeds x test set"
TEST_SET = "test set only"
ALPHA = 0.05
POWER = 0.80
MOST_SEEDS = 1000
"""Where the search for a resolving number of seeds gives up: nobody trains more."""

Mask = NDArray[Any]
"""Boolean [N]: True where one network was wrong on that test example."""

Z = NormalDist().inv_cdf(1 - ALPHA / 2)


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its 95 % interval, in percent; `basis` says which noise the interval covers."""

    mean: float
    low: float
    high: float
    basis: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired difference a - b with its 95 % interval, in percent, and the p-value of 'no difference'."""

    difference: float
    low: float
    high: float
    p: float
    basis: str
    seeds: int


@dataclass(frozen=True, slots=True)
class Spread:
    """The variance of a crossed mean, as fractions squared, split by how well each part is known."""

    seeds: int
    between_seeds: float
    """Of the seeds' own means, over S: trainings and their interaction with the examples; known to S - 1 degrees."""
    examples: float
    """Of the examples' difficulty alone, over N: more seeds do not reduce it."""
    interaction: float
    """Of example by seed, over S N."""

    def half_width(self, quantile: float) -> float:
        """sqrt(t^2 between_seeds + z^2 examples), at least z sqrt(examples + interaction).

        Each part takes the quantile of its own degrees of freedom. A Satterthwaite mixture covered as little as 85 to
        90 % at two and three seeds: where they happen to agree, their part leaves the degrees of freedom as well. The
        floor is the test set's noise, below which agreeing seeds must not push the interval.
        """
        t, z = student_quantile(quantile, self.seeds - 1), NormalDist().inv_cdf(quantile)
        return math.sqrt(
            max(t * t * self.between_seeds + z * z * self.examples, z * z * (self.examples + self.interaction))
        )

    def with_seeds(self, seeds: int) -> Spread:
        """The same variances met with another number of seeds."""
        share = self.seeds / seeds
        return Spread(seeds, self.between_seeds * share, self.examples, self.interaction * share)


def mean_error(wrong: Sequence[Mask]) -> Interval:
    """The mean error over S networks and N examples with its 95 % interval.

    S = 1: Wilson's interval, the test set's noise alone. S >= 2: Wilson's with the effective sample size that the
    crossed spread implies, so that it stays within 0 to 100 and is not empty at zero errors (Korn & Graubard 1998).
    `wrong`: S masks [N]. Raises ValueError on an empty or unequal set.
    """
    errors = _stack(wrong)
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
    seeds, examples = gaps.shape
    mean = float(gaps.mean())
    if seeds == 1:
        more, fewer = int((gaps > 0).sum()), int((gaps < 0).sum())
        low, high = tango(more, fewer, examples)
        p = math.erfc(abs(more - fewer) / math.sqrt(2 * (more + fewer))) if more + fewer else 1.0
        return Difference(100 * mean, 100 * low, 100 * high, p, TEST_SET, 1)
    spread = _gap_spread(gaps)
    half = spread.half_width(1 - ALPHA / 2)
    p = _level_at(spread, abs(mean))
    return Difference(100 * mean, 100 * max(mean - half, -1.0), 100 * min(mean + half, 1.0), p, BOTH, seeds)


def holm(p: Sequence[float]) -> list[float]:
    """p-values adjusted for their number: the running maximum of (m - rank) p, in the order given (Holm 1979)."""
    adjusted = [0.0] * len(p)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=lambda one: p[one])):
        highest = max(highest, min(1.0, (len(p) - rank) * p[place]))
        adjusted[place] = highest
    return adjusted


def minimum_detectable_difference(wrong_a: Sequence[Mask], wrong_b: Sequence[Mask]) -> float:
    """The true difference, in percentage points, that this many seeds and examples call real with 80 % probability.

    It uses the spread of the paired difference and not the difference itself: a property of the experiment. S = 1: for
    the test set's noise alone.
    """
    gaps = _gaps(wrong_a, wrong_b)
    if gaps.shape[0] == 1:
        standard_error = math.sqrt(float(np.abs(gaps).sum()) + 1) / gaps.shape[1]
        return 100 * (Z + NormalDist().inv_cdf(POWER)) * standard_error
    spread = _gap_spread(gaps)
    return 100 * (spread.half_width(1 - ALPHA / 2) + spread.half_width(POWER))


def seeds_to_resolve(wrong_a: Sequence[Mask], wrong_b: Sequence[Mask]) -> int | None:
    """The number of seeds at which a difference as large as the one seen would be called real; None if no number is.

    Needs two seeds or more to know the spread (ValueError). More seeds do not reduce the noise of the test set, so None
    is a common answer. It holds if the true difference is the one seen, which is itself uncertain: an order of size.
    """
    gaps = _gaps(wrong_a, wrong_b)
    if gaps.shape[0] < 2:
        raise ValueError("one seed does not tell how much seeds differ")
    size, spread = abs(float(gaps.mean())), _gap_spread(gaps)
    if size <= spread.with_seeds(MOST_SEEDS).half_width(1 - ALPHA / 2):
        return None
    return next(
        seeds
        for seeds in range(2, MOST_SEEDS + 1)
        if seeds >= spread.seeds and size > spread.with_seeds(seeds).half_width(1 - ALPHA / 2)
    )


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
    return Spread(seeds, between / (seeds - 1) / seeds, max(example_part - interaction, 0.0), interaction)


def wilson(share: float, size: float) -> tuple[float, float]:
    """Wilson's 95 % score interval of a share seen in `size` trials (Wilson 1927); both in 0 to 1."""
    centre = share + Z * Z / (2 * size)
    half = Z * math.sqrt(share * (1 - share) / size + Z * Z / (4 * size * size))
    scale = 1 + Z * Z / size
    low, high = (centre - half) / scale, (centre + half) / scale
    return low if share > 0 else 0.0, high if share < 1 else 1.0


def tango(more: int, fewer: int, examples: int) -> tuple[float, float]:
    """Tango's 95 % score interval of (more - fewer) / examples for paired yes-no data (Tango 1998, equation 9).

    `more`: examples that only a got wrong; `fewer`: that only b got wrong.
    """

    def score(delta: float) -> float:
        """The standardised distance of what was seen from a true difference of delta; it falls as delta rises."""
        linear = (2 * examples - more + fewer) * delta - more - fewer
        root = math.sqrt(max(linear * linear + 8 * examples * fewer * delta * (1 - delta), 0.0))
        nuisance = (root - linear) / (4 * examples)
        variance = examples * (2 * nuisance + delta * (1 - delta))
        gap = more - fewer - examples * delta
        return gap / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, gap)

    seen = (more - fewer) / examples
    return _crossing(lambda one: score(one) - Z, -1.0, seen), _crossing(lambda one: score(one) + Z, seen, 1.0)


def student_cdf(t: float, degrees: int) -> float:
    """P(T <= t) of Student's distribution with a whole number of degrees of freedom (Abramowitz & Stegun 26.7.3-4)."""
    angle = math.atan(t / math.sqrt(degrees))
    square = math.cos(angle) ** 2
    term, first = (1.0, 2) if degrees % 2 == 0 else (math.cos(angle), 3)
    total = term if degrees > 1 else 0.0
    for k in range(first, degrees - 1, 2):
        term *= square * (k - 1) / k
        total += term
    inner = math.sin(angle) * total
    return 0.5 + (inner if degrees % 2 == 0 else (2 / math.pi) * (angle + inner)) / 2


def student_quantile(quantile: float, degrees: int) -> float:
    """The t with P(T <= t) = quantile, for a quantile of 0.5 to 1 and whole degrees of freedom."""
    high = 1.0
    while student_cdf(high, degrees) < quantile and high < 1e12:
        high *= 2
    return _crossing(lambda t: quantile - student_cdf(t, degrees), 0.0, high)


def _level_at(spread: Spread, size: float) -> float:
    """The two-sided level at which an interval around a mean of `size` touches zero: 1 if size is 0."""
    if size == 0:
        return 1.0
    # Beyond 1e-9 the sum for Student's distribution has no digits left, and no decision depends on them.
    return max(1e-9, _crossing(lambda level: spread.half_width(1 - level / 2) - size, 1e-9, 1.0))


def _crossing(falling: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses zero between low and high, by 60 halvings."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2


def _gap_spread(gaps: NDArray[np.float64]) -> Spread:
    """The spread of d = a - b, with half a count added to each way of disagreeing (Agresti & Min 2005).

    Without it two networks that agree on every example would have an interval of no width.
    """
    seen = crossed_spread(gaps)
    return Spread(seen.seeds, seen.between_seeds, seen.examples + 1 / gaps.shape[1] ** 2, seen.interaction)


def _gaps(wrong_a: Sequence[Mask], wrong_b: Sequence[Mask]) -> NDArray[np.float64]:
    a, b = _stack(wrong_a), _stack(wrong_b)
    if a.shape != b.shape:
        raise ValueError(f"a pair needs the same seeds and examples, not {a.shape} and {b.shape}")
    return a - b


def _stack(wrong: Sequence[Mask]) -> NDArray[np.float64]:
    if not len(wrong) or len({one.shape for one in wrong}) != 1 or wrong[0].ndim != 1 or wrong[0].size < 2:
        raise ValueError(f"need masks of one length, not {[one.shape for one in wrong]}")
    return np.stack(wrong).astype(np.float64)
