"""One ranking of methods over several data sets: mean ranks, probability of improvement, interquartile means.

- Mean ranks with Friedman's test in Iman & Davenport's form and the critical difference of Nemenyi's test, as Demsar
  (2006, JMLR 7, 1-30) recommends: two methods whose mean ranks differ by less are not told apart.
- The probability of improvement and the interquartile mean, with 95 % intervals from a bootstrap that draws the seeds
  of each data set and method anew (stratified), as rliable has them (Agarwal et al. 2021, NeurIPS 34).

Scores are such that lower is better. Shapes: D data sets, M methods, S seeds, R draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from relubench.statistics.distributions import ALPHA, crossing, incomplete_beta
from relubench.statistics.power import NORMAL, NORMAL_CDF

DRAWS = 2000
"""Of the bootstrap."""

Values = NDArray[np.float64]
Scores = Sequence[Sequence[Values]]
"""[D][M] -> the scores of the seeds [S]."""


@dataclass(frozen=True, slots=True)
class Draws:
    """The seeds of one method on one data set, drawn anew."""

    values: Values
    """Their scores, [R, S]."""
    weights: Values
    """How often each seed was drawn, as a share, [R, S]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A value with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class MethodRank:
    """How one method stands over all data sets."""

    mean_rank: Estimate
    """1 is the best; ranks are those of the means over seeds."""
    improvement: Estimate
    """The probability that a run of it is better than one of the first method, the mean over data sets."""
    interquartile_mean: Estimate | None
    """Of its scores over those of the average method of each set; None where a set's average is not positive."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranking:
    """The ranking of M methods over D data sets."""

    methods: list[MethodRank]
    sets: int
    critical_difference: float | None
    """Of mean ranks; None for one data set, which no test of ranks can be made of."""
    p: float | None
    """Of all methods being equal."""


def rank(scores: Scores, seed: int = 0) -> Ranking:
    """The ranking of methods by their scores on every data set; raises ValueError where one has none."""
    if not scores or any(len(methods) != len(scores[0]) or not all(map(len, methods)) for methods in scores):
        raise ValueError("every method needs a score on every data set")
    rng = np.random.default_rng(seed)
    draws = [[_draws(values, rng) for values in methods] for methods in scores]
    ranks = mean_ranks(np.array([[values.mean() for values in methods] for methods in scores]))
    drawn_means = np.array([[draw.values.mean(axis=1) for draw in methods] for methods in draws])
    drawn_ranks = mean_ranks(np.moveaxis(drawn_means, 2, 0))
    relative = _relative(scores)
    return Ranking(
        methods=[
            MethodRank(
                mean_rank=_estimate(float(ranks[method]), drawn_ranks[:, method]),
                improvement=_improvement(scores, draws, method),
                interquartile_mean=None if relative is None else _interquartile(relative, scores, draws, method),
            )
            for method in range(len(scores[0]))
        ],
        sets=len(scores),
        critical_difference=critical_difference(len(scores[0]), len(scores)) if len(scores) > 1 else None,
        p=friedman_p(np.array([[values.mean() for values in methods] for methods in scores])),
    )


def ranks_of(values: Values) -> Values:
    """The rank of each value in its row [..., D, M], 1 the lowest; equal ones share the mean of their ranks."""
    below = (values[..., None, :] < values[..., :, None]).sum(axis=-1)
    equal = (values[..., None, :] == values[..., :, None]).sum(axis=-1)
    return below + (equal + 1) / 2


def mean_ranks(means: Values) -> Values:
    """The mean rank of each method over data sets, from scores [..., D, M]."""
    return ranks_of(means).mean(axis=-2)


def friedman_p(means: Values) -> float | None:
    """The p-value of equal methods, from Friedman's statistic in Iman & Davenport's F; None for one set or method.

    Equal scores on a set make ranks vary less, which the statistic is divided by (Conover 1999, section 5.8).
    """
    sets, methods = means.shape
    if sets < 2 or methods < 2:
        return None
    ranks, middle = ranks_of(means), (methods + 1) / 2
    variance = float(((ranks - middle) ** 2).sum()) / (sets * (methods - 1))
    if variance == 0:
        return 1.0
    chi = sets * float(((ranks.mean(axis=0) - middle) ** 2).sum()) / variance
    most = sets * (methods - 1)
    if chi >= most - 1e-9:
        return 0.0
    f = (sets - 1) * chi / (most - chi)
    first, second = methods - 1, (methods - 1) * (sets - 1)
    return 1 - incomplete_beta(first / 2, second / 2, first * f / (first * f + second))


def critical_difference(methods: int, sets: int, level: float = ALPHA) -> float:
    """The difference of mean ranks beyond which Nemenyi's test tells two methods apart."""
    return studentized_range(methods, level) / math.sqrt(2) * math.sqrt(methods * (methods + 1) / (6 * sets))


def studentized_range(methods: int, level: float) -> float:
    """The upper quantile of the range of so many standard normal numbers."""

    def excess(q: float) -> float:
        """P(range > q) - level: M integral of phi(z) (Phi(z) - Phi(z - q))^(M - 1) from the largest number z."""
        inside = NORMAL_CDF - np.interp(NORMAL - q, NORMAL, NORMAL_CDF)
        density = np.exp(-(NORMAL**2) / 2) / math.sqrt(2 * math.pi)
        return 1 - methods * float(np.trapezoid(density * inside ** (methods - 1), NORMAL)) - level

    return crossing(excess, 0.0, 12.0)


def _draws(values: Values, rng: np.random.Generator) -> Draws:
    """The scores of one method on one set [S], drawn anew."""
    seeds = rng.integers(0, len(values), (DRAWS, len(values)))
    weights = np.zeros(seeds.shape)
    np.add.at(weights, (np.arange(DRAWS)[:, None], seeds), 1 / len(values))
    return Draws(values[seeds], weights)


def _estimate(value: float, draws: Values) -> Estimate:
    low, high = np.quantile(draws, [ALPHA / 2, 1 - ALPHA / 2])
    return Estimate(value=value, low=float(low), high=float(high))


def _improvement(scores: Scores, draws: Sequence[Sequence[Draws]], method: int) -> Estimate:
    """The mean over sets of P(value < rival), ties as half: Mann & Whitney's statistic over S S'."""
    wins = []
    for methods in scores:
        gaps = methods[method][:, None] - methods[0]
        wins.append((gaps < 0) + 0.5 * (gaps == 0))
    wins_of_draws = [
        ((own[method].weights @ win) * own[0].weights).sum(axis=1) for win, own in zip(wins, draws, strict=True)
    ]
    return _estimate(float(np.mean([win.mean() for win in wins])), np.mean(wins_of_draws, axis=0))


def _relative(scores: Scores) -> list[float] | None:
    """The average score of each set over its methods; None where a relative score makes no sense."""
    averages = [float(np.mean([values.mean() for values in methods])) for methods in scores]
    return averages if min(averages) > 0 else None


def _interquartile(
    averages: Sequence[float], scores: Scores, draws: Sequence[Sequence[Draws]], method: int
) -> Estimate:
    def of(rows: Sequence[Values]) -> Values:
        relative = [values / average for values, average in zip(rows, averages, strict=True)]
        return interquartile_mean(np.concatenate(relative, axis=1))

    value = of([methods[method][None] for methods in scores])
    return _estimate(float(value[0]), of([methods[method].values for methods in draws]))


def interquartile_mean(values: Values) -> Values:
    """The mean of the middle half of each row [R, N]: a quarter is cut off at either end, rounded down."""
    ordered = np.sort(values, axis=1)
    cut = ordered.shape[1] // 4
    return ordered[:, cut : ordered.shape[1] - cut].mean(axis=1)
