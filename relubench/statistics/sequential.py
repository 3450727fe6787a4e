"""Which of several activations can still be the best, looked at again and again while more seeds are trained.

Every activation is trained with the same seeds. At planned numbers of seeds (looks) each pair that is left is compared,
and an activation that another one beats beyond noise is out. One error rate covers all pairs and all looks together:

- each pair has an equal part of it (Bonferroni);
- the looks at a pair share that part as the spending function says (Lan & DeMets 1983, Biometrika 70; the power family
  of Kim & DeMets 1987, Biometrika 74). Their critical values follow from the joint distribution of a mean that grows by
  independent parts (Armitage, McPherson & Rowe 1969, JRSS A 132). What the test examples add to every look alike makes
  looks depend on each other more than is assumed here, and errors rarer;
- as the variance is estimated, a look uses Student's quantile at its nominal level (Jennison & Turnbull 2000, section
  4.4), through `variance.half_width`.

So an answer holds whenever one stops, for whatever reason. `benchmarks.choose_simulation` counts how often it is wrong.

Shapes: A activations, S seeds; any dimensions before them are studies of their own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from relubench.statistics.variance import Values, half_width, quantiles

LEAST_SEEDS = 3
"""With fewer seeds Student's quantile is so large that hardly anything is decided."""

SPENDING_POWER = 1.0
"""The error rate that is spent by look t of the last look T is its (t / T)^this part: the same for every seed."""

GROWTH = 1.3
"""A look has so many times the seeds of the look before it: later looks change little with one seed more."""

HOPE = 1.0
"""Standard errors by which a difference is taken to be larger than observed before it is called out of reach."""

GRID = 401
"""Points of the density between two critical values; odd, for Simpson's rule."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Looks:
    """The looks at comparisons: the numbers of seeds at which they are made, and the error rate of all together."""

    seeds: tuple[int, ...]
    """Rising; the last one is the most that is ever trained."""
    error_rate: float

    def level(self, seeds: int, comparisons: int) -> float:
        """The two-sided level of each of so many comparisons at the look with so many seeds; 0 without such a look."""
        if seeds not in self.seeds or comparisons < 1:
            return 0.0
        return nominal_levels(self.seeds, self.error_rate / comparisons)[self.seeds.index(seeds)]


def looks_between(least: int, most: int) -> tuple[int, ...]:
    """The looks from `least` to `most` seeds, each with about GROWTH times the seeds of the one before."""
    seeds = [least]
    while seeds[-1] < most:
        following = max(seeds[-1] + 1, round(seeds[-1] * GROWTH))
        seeds.append(most if following * GROWTH > most + 1 and following + 1 >= most else min(following, most))
    return tuple(seeds)


def all_pairs(activations: int) -> int:
    """How many pairs so many activations have."""
    return activations * (activations - 1) // 2


@lru_cache(maxsize=256)
def nominal_levels(looks: tuple[int, ...], error_rate: float) -> tuple[float, ...]:
    """The two-sided level of each look at one comparison, so that all looks together err at most at `error_rate`."""
    spent = [error_rate * (seeds / looks[-1]) ** SPENDING_POWER for seeds in looks]
    critical = NormalDist().inv_cdf(1 - spent[0] / 2)
    levels, edge = [spent[0]], critical * math.sqrt(looks[0])
    sums = np.linspace(-edge, edge, GRID)
    density = np.exp(-(sums**2) / (2 * looks[0])) / math.sqrt(2 * math.pi * looks[0])
    for position in range(1, len(looks)):
        step, seeds = looks[position] - looks[position - 1], looks[position]
        mass = density * _simpson(sums)
        critical = _critical_value(sums, mass, step, seeds, spent[position] - spent[position - 1])
        levels.append(math.erfc(critical / math.sqrt(2)))
        edge = critical * math.sqrt(seeds)
        next_sums = np.linspace(-edge, edge, GRID)
        kernel = np.exp(-((next_sums[:, None] - sums) ** 2) / (2 * step)) / math.sqrt(2 * math.pi * step)
        sums, density = next_sums, kernel @ mass
    return tuple(levels)


def _simpson(points: Values) -> Values:
    """The weights of Simpson's rule on evenly spaced points."""
    weights = np.full(points.size, 2.0)
    weights[1::2], weights[0], weights[-1] = 4.0, 1.0, 1.0
    return weights * (points[1] - points[0]) / 3


def _critical_value(sums: Values, mass: Values, step: int, seeds: int, spent: float) -> float:
    """The z beyond which the sum of `seeds` parts ends with probability `spent`, given where the last look left it."""
    low, high = 0.0, 12.0
    for _ in range(48):
        middle = (low + high) / 2
        edge = middle * math.sqrt(seeds)
        tails = [
            math.erfc((edge - value) / math.sqrt(2 * step)) + math.erfc((edge + value) / math.sqrt(2 * step))
            for value in sums.tolist()
        ]
        low, high = (middle, high) if float(np.dot(mass, tails)) / 2 > spent else (low, middle)
    return (low + high) / 2


@dataclass(frozen=True, slots=True)
class Gaps:
    """The mean differences of every two activations, [..., A, A] where [i, j] is i less j, and their variances."""

    mean: Values
    between: Values
    """Of the mean over seeds, as it varies between seeds."""
    examples: Values
    """Of the examples, for all seeds alike."""
    interaction: Values
    """Of the examples for each seed anew, over the seeds: a part of `between` that the examples tell."""
    seeds: int

    def half_width(self, level: float) -> Values:
        """The half-width of the interval of each difference at that two-sided level."""
        return half_width(self.between, self.examples, self.interaction, quantiles(1 - level / 2, self.seeds - 1))

    def of_seeds(self, seeds: int) -> Gaps:
        """The same differences with the variances that means over so many seeds would have."""
        shrinkage = self.seeds / seeds
        between, interaction = self.between * shrinkage, self.interaction * shrinkage
        return replace(self, between=between, interaction=interaction, seeds=seeds)

    def of_studies(self, chosen: NDArray[np.bool_]) -> Gaps:
        """Those of the chosen studies [...]."""
        examples, interaction = (
            np.broadcast_to(part, self.mean.shape)[chosen] for part in (self.examples, self.interaction)
        )
        return Gaps(self.mean[chosen], self.between[chosen], examples, interaction, self.seeds)

    def is_worse(self, level: float, within: float = 0.0) -> NDArray[np.bool_]:
        """Whether i is above j by more than `within`, beyond noise; a difference of zero is never one."""
        if level <= 0:
            return np.zeros(self.mean.shape, dtype=bool)
        return (self.mean - self.half_width(level) > within) & (self.mean > 0)


def gaps_of(scores: Values, examples: Values | float, interaction: Values | float) -> Gaps:
    """The differences of scores [..., A, S], S >= 2, of which the lower is the better.

    `examples`, `interaction`: variances as in Gaps, [..., A, A] or one for all.
    """
    seeds = scores.shape[-1]
    means = scores.mean(axis=-1)
    deviations = scores - means[..., None]
    products = deviations @ np.swapaxes(deviations, -1, -2)
    own = np.diagonal(products, axis1=-2, axis2=-1)
    between = np.maximum(own[..., :, None] + own[..., None, :] - 2 * products, 0.0) / (seeds - 1) / seeds
    gaps = means[..., :, None] - means[..., None, :]
    return Gaps(gaps, between, np.asarray(examples), np.asarray(interaction), seeds)


def can_change(remaining: NDArray[np.bool_], gaps: Gaps, looks: Looks, within: float = 0.0) -> NDArray[np.bool_]:
    """Whether the last look could still tell two of those that are left apart, or show them equal; bool [...].

    It could if their true difference was any within HOPE standard errors of the observed one. To stop where it could
    not adds no error: who stops only keeps more activations (Lan, Simon & Halperin 1982, Communications in Statistics C
    1, for the idea: a comparison ends once its end is foreseeable).
    """
    last = looks.seeds[-1]
    if gaps.seeds >= last:
        return np.zeros(remaining.shape[:-1], dtype=bool)
    sizes, is_open = remaining.sum(axis=-1), np.zeros(remaining.shape[:-1], dtype=bool)
    pairs = remaining[..., :, None] & remaining[..., None, :] & ~np.eye(remaining.shape[-1], dtype=bool)
    for size in np.unique(sizes[sizes > 1]).tolist():
        chosen = sizes == size
        part = gaps.of_studies(chosen)
        hope, observed = HOPE * np.sqrt(part.between), np.abs(part.mean)
        half = part.of_seeds(last).half_width(looks.level(last, all_pairs(size)))
        is_told = observed + hope > half + within
        is_equal = np.maximum(observed - hope, 0.0) + half <= within
        is_open[chosen] = ((is_told | is_equal) & pairs[chosen]).any(axis=(-1, -2))
    return is_open


def eliminate(remaining: NDArray[np.bool_], gaps: Gaps, looks: Looks, within: float = 0.0) -> NDArray[np.bool_]:
    """The activations that are left after a look, bool [..., A]: those that no other one that was left has beaten.

    With `within`, those that no other one has beaten by more than that.

    Fewer activations make fewer pairs, and each pair has a larger part of the error rate: so the look is repeated until
    it takes no one out (Holm 1979; Hansen, Lunde & Nason 2011, Econometrica 79, for sets of the best).
    """
    while True:
        sizes, still = remaining.sum(axis=-1), remaining.copy()
        for size in np.unique(sizes[sizes > 1]).tolist():
            chosen = sizes == size
            is_worse = gaps.of_studies(chosen).is_worse(looks.level(gaps.seeds, all_pairs(size)), within)
            still[chosen] &= ~(is_worse & remaining[chosen][..., None, :]).any(axis=-1)
        if (still == remaining).all():
            return remaining
        remaining = still
