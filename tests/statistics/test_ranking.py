"""Rankings over data sets: ranks, tests and quantiles against SciPy, shares and means against plain counting."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from relubench.statistics.ranking import (
    critical_difference,
    friedman_p,
    interquartile_mean,
    mean_ranks,
    rank,
    ranks_of,
    studentized_range,
)


def test_ranks_are_scipys() -> None:
    values = np.round(np.random.default_rng(0).normal(0, 1, (20, 6)), 1)
    assert ranks_of(values) == pytest.approx(stats.rankdata(values, axis=1))
    assert mean_ranks(values) == pytest.approx(stats.rankdata(values, axis=1).mean(axis=0))


@pytest.mark.parametrize("methods", [2, 3, 5, 10])
def test_the_studentized_range_is_scipys(methods: int) -> None:
    for level in (0.01, 0.05, 0.1):
        assert studentized_range(methods, level) == pytest.approx(
            stats.studentized_range.ppf(1 - level, methods, 1e7), rel=2e-4
        )


def test_the_critical_difference_of_demsars_example() -> None:
    """Four methods over 14 data sets: q = 2.569, CD = 2.569 sqrt(4 * 5 / (6 * 14)) = 1.25 (Demsar 2006, page 13)."""
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)


def test_friedmans_test_in_iman_and_davenports_form() -> None:
    means = np.random.default_rng(1).normal([0, 0.3, 0.6, 0], 1, (12, 4))
    chi = stats.friedmanchisquare(*means.T).statistic
    f = 11 * chi / (12 * 3 - chi)
    assert friedman_p(means) == pytest.approx(stats.f.sf(f, 3, 33))
    assert friedman_p(np.tile([1.0, 2.0, 3.0], (5, 1))) == 0.0
    assert friedman_p(means[:1]) is None


def test_friedmans_test_with_equal_scores_is_scipys() -> None:
    means = np.random.default_rng(5).integers(0, 3, (9, 4)).astype(float)
    chi = stats.friedmanchisquare(*means.T).statistic
    assert friedman_p(means) == pytest.approx(stats.f.sf(8 * chi / (9 * 3 - chi), 3, 24))
    assert friedman_p(np.ones((5, 3))) == 1.0


def test_intervals_are_those_of_a_bootstrap_written_out() -> None:
    """Seeds drawn anew within each set and method; every number worked out draw by draw, as rliable does."""
    rng = np.random.default_rng(6)
    scores = [[rng.normal(10 + method * size, size, 6) for method in range(3)] for size in (0.5, 1.0, 2.0)]
    ranking = rank(scores)
    averages = [np.mean([values.mean() for values in methods]) for methods in scores]
    drawn: dict[str, list[list[float]]] = {"rank": [], "iqm": []}
    for _ in range(2000):
        anew = [[rng.choice(values, len(values)) for values in methods] for methods in scores]
        means = np.array([[values.mean() for values in methods] for methods in anew])
        drawn["rank"].append(list(stats.rankdata(means, axis=1).mean(axis=0)))
        relative = [
            np.concatenate([methods[place] / average for methods, average in zip(anew, averages, strict=True)])
            for place in range(3)
        ]
        drawn["iqm"].append([float(stats.trim_mean(values, 0.25)) for values in relative])
    for place, method in enumerate(ranking.methods):
        for kind, estimate in (("rank", method.mean_rank), ("iqm", method.interquartile_mean)):
            assert estimate is not None
            ends = np.quantile([draw[place] for draw in drawn[kind]], [0.025, 0.975])
            assert [estimate.low, estimate.high] == pytest.approx(ends, abs=0.34 if kind == "rank" else 0.01)


def test_the_interquartile_mean_is_a_trimmed_mean() -> None:
    values = np.random.default_rng(2).lognormal(0, 1, (3, 17))
    assert interquartile_mean(values) == pytest.approx(stats.trim_mean(values, 0.25, axis=1))


def test_shares_of_better_runs_are_counted() -> None:
    first, second = [3.0, 4.0, 5.0], [2.0, 4.0]
    ranking = rank([[np.array(first), np.array(second)]] * 2)
    wins = [(b < a) + 0.5 * (b == a) for b in second for a in first]
    assert ranking.methods[1].improvement.value == pytest.approx(sum(wins) / len(wins))
    assert ranking.methods[0].improvement.value == pytest.approx(0.5)


def test_intervals_hold_the_value_and_narrow_with_seeds() -> None:
    rng = np.random.default_rng(3)

    def widths(seeds: int) -> list[float]:
        scores = [[rng.normal(5 + method, 2, seeds) for method in range(3)] for _ in range(4)]
        ranking = rank(scores)
        estimates = [m.interquartile_mean for m in ranking.methods if m.interquartile_mean is not None]
        assert len(estimates) == 3
        assert all(entry.low <= entry.value <= entry.high for entry in estimates)
        return [entry.high - entry.low for entry in estimates]

    assert max(widths(200)) < min(widths(5))


def test_a_bootstrap_interval_has_the_width_of_the_normal_one() -> None:
    values = np.random.default_rng(4).normal(10, 1, 400)
    (method, _) = rank([[values, np.full(4, 12.0)]]).methods
    assert method.interquartile_mean is not None
    width = method.interquartile_mean.high - method.interquartile_mean.low
    average = (values.mean() + 12) / 2
    # The variance of a 25 % trimmed mean of normal numbers is 1.195 times that of the mean (Stigler 1973).
    assert width == pytest.approx(2 * 1.96 * math.sqrt(1.195 / 400) / average, rel=0.15)


def test_one_set_has_no_test_of_ranks() -> None:
    ranking = rank([[np.array([1.0, 2.0]), np.array([2.0, 3.0])]])
    assert ranking.critical_difference is None and ranking.p is None
    assert [entry.mean_rank.value for entry in ranking.methods] == [1.0, 2.0]


def test_scores_that_are_not_positive_have_no_relative_mean() -> None:
    assert rank([[np.array([-1.0, 1.0]), np.array([0.0, 0.0])]]).methods[0].interquartile_mean is None


@pytest.mark.parametrize("scores", [[], [[np.array([])]], [[np.array([1.0])], [np.array([1.0]), np.array([2.0])]]])
def test_a_missing_score_is_refused(scores: list) -> None:
    with pytest.raises(ValueError, match="every method needs a score"):
        rank(scores)
