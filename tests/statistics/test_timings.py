"""Intervals and verdicts: their ranks, their coverage, and what they call a difference."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from relubench.statistics import timings


@pytest.mark.parametrize("samples", [1, 5, 6, 10, 25, 100])
def test_ranks_are_the_binomial_distributions(samples: int) -> None:
    rank = timings.interval_rank(samples)
    assert 2 * binom.cdf(rank - 1, samples, 0.5) <= 0.05 < 2 * binom.cdf(rank, samples, 0.5)
    assert (rank == 0) == (samples < timings.LEAST_ROUNDS)


def test_few_rounds_have_no_interval_and_no_verdict() -> None:
    one = timings.ratio([2.0] * 5, [1.0] * 5)
    assert (one.median, one.low, one.relative_width) == (2.0, None, math.inf)
    assert timings.verdict(one, (0.9, 1.1)) is None


def test_pairs_forgive_drift_that_both_share() -> None:
    drift = np.linspace(1, 3, 12)
    one = timings.ratio(list(2 * drift), list(drift))
    assert (one.median, one.low, one.high) == (2.0, 2.0, 2.0)
    assert timings.median(list(drift)).relative_width > 0.3


def test_unequal_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="3 and 2 rounds cannot be paired"):
        timings.ratio([1.0] * 3, [1.0] * 2)
    with pytest.raises(ValueError, match="no samples"):
        timings.median([])


@pytest.mark.parametrize("stops_early", [False, True])
def test_false_differences_are_as_rare_as_stated(stops_early: bool) -> None:
    """The same thing twice under heavy-tailed noise that both share: at most the stated share is called different."""
    generator = np.random.default_rng(7)
    trials, called = 600, 0
    for _ in range(trials):
        shared = generator.gamma(2.0, 1.0, size=30)
        a, b = (shared * (1 + generator.pareto(3.0, size=30) / 50) for _ in range(2))
        for rounds in range(6, 31) if stops_early else (30,):
            one = timings.ratio(list(a[:rounds]), list(b[:rounds]))
            if one.relative_width < 0.02:
                break
        called += timings.is_difference(one)
    _, high = timings.binomial_band(trials, timings.LEVEL)
    assert called <= high


def test_a_true_difference_is_found_beyond_the_band_only() -> None:
    generator = np.random.default_rng(1)
    base = generator.uniform(1, 1.2, size=20)
    slower = timings.ratio(list(base * 1.1), list(base))
    assert timings.verdict(slower, (1 / 1.05, 1.05)) == "slower"
    assert timings.verdict(slower, (1 / 1.2, 1.2)) == "no difference"
    assert timings.verdict(timings.ratio(list(base / 2), list(base)), (0.9, 1.1)) == "faster"


def test_own_band_is_mirrored() -> None:
    assert timings.aa_band(timings.Estimate(1.0, 0.8, 1.1, 9)) == pytest.approx((0.8, 1.25))
    assert timings.aa_band(timings.Estimate(1.0, None, None, 3)) == (0.0, math.inf)


@pytest.mark.parametrize("trials", [6, 60, 300])
def test_binomial_band(trials: int) -> None:
    low, high = timings.binomial_band(trials, 0.05)
    assert (low, high) == (binom.ppf(0.025, trials, 0.05), binom.ppf(0.975, trials, 0.05))


def test_drift() -> None:
    assert timings.drift([1.0] * 4 + [1.1] * 4 + [1.2] * 4) == pytest.approx(0.2)
    assert timings.drift([1.0, 9.0]) == 0.0


def test_over_processes_by_hand() -> None:
    found = timings.over_processes([1.0, 2.0, 9.0, 4.0, 8.0, 16.0], [3, 1, 1, 1])
    logs = np.log([2.0, 4.0, 8.0, 16.0])
    reach = 3.182446305284263 * np.std(logs, ddof=1) / 2
    assert found.median == 6.0
    assert found.low == 1.0 < np.exp(np.mean(logs) - reach), "that of the rounds reaches further"
    assert found.high == pytest.approx(np.exp(np.mean(logs) + reach))
    few = timings.over_processes([1.0, 2.0, 9.0, 4.0, 8.0], [3, 1, 1])
    assert (few.median, few.low, few.high) == (4.0, None, None)
    with pytest.raises(ValueError, match="processes"):
        timings.over_processes([1.0, 2.0], [1, 2])


def test_processes_that_agree_by_chance_do_not_hide_what_their_rounds_say() -> None:
    values = [0.8, 1.0, 1.2] * 6
    found, pooled = timings.over_processes(values, [3] * 6), timings.median(values)
    assert found.median == pytest.approx(1.0)
    assert (found.low, found.high) == (pooled.low, pooled.high) == (0.8, 1.2)


def test_an_interval_over_processes_holds_what_one_over_rounds_does_not() -> None:
    """Six processes of four rounds, each process off by some per cent of its own."""
    generator, held, missed = np.random.default_rng(0), 0, 0
    for _ in range(400):
        places = np.exp(0.05 * generator.standard_normal(6))
        values = (places[:, None] * np.exp(0.02 * generator.standard_normal((6, 4)))).ravel()
        over, pooled = timings.over_processes(values, [4] * 6), timings.median(list(values))
        held += not timings.is_difference(over)
        missed += timings.is_difference(pooled)
    assert held / 400 >= 0.94
    assert missed / 400 > 0.12
