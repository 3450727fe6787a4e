"""Scores that are numbers, such as losses: their intervals, differences and words, and how often these are right."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from relubench.statistics.error_rates import mean_score, paired_difference, seeds_to_resolve, unpaired_difference
from relubench.statistics.example_scores import Scores, from_bytes, pack, to_bytes, unpack
from relubench.statistics.skewness import is_skew, skewness_of_mean

BETWEEN, OWN = 0.05, 0.3
"""Standard deviations, on the scale of logarithms, of a training's level and of its own noise on each example."""


def losses(
    rng: np.random.Generator, networks: int, seeds: int, examples: int, sigma: float = 1.0
) -> list[list[Scores]]:
    """Lognormal losses of networks that are equally good, on examples whose difficulty they share."""
    difficulty = sigma * rng.standard_normal(examples)
    noise = BETWEEN * rng.standard_normal((networks, seeds, 1)) + OWN * rng.standard_normal((networks, seeds, examples))
    return [list(np.exp(difficulty + of_network).astype(np.float32)) for of_network in noise]


def test_one_seed_of_symmetric_numbers_has_students_interval() -> None:
    half = np.random.default_rng(1).standard_normal(150).astype(np.float32)
    values = np.concatenate([half, -half]) + np.float32(3)
    interval = mean_score([values])
    low, high = stats.t.interval(0.95, values.size - 1, values.mean(dtype=float), stats.sem(values.astype(float)))
    assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-5)


def test_of_skew_numbers_the_interval_reaches_further_up_than_down() -> None:
    (values,) = losses(np.random.default_rng(2), 1, 1, 200, sigma=1.5)
    interval = mean_score(values)
    assert 0 < interval.low < interval.mean < interval.high
    assert interval.high - interval.mean > 1.2 * (interval.mean - interval.low)


def test_equal_numbers_have_an_interval_without_width() -> None:
    interval = mean_score([np.full(10, 0.5, np.float32)] * 2)
    assert (interval.low, interval.mean, interval.high) == (0.5, 0.5, 0.5)
    same = paired_difference([np.full(10, 0.5, np.float32)], [np.full(10, 0.5, np.float32)])
    assert (same.difference, same.p, same.verdict) == (0.0, 1.0, "noise")


@pytest.mark.parametrize("shift", [0.0, 0.02, 0.05])
def test_one_seeds_difference_is_the_paired_t_test(shift: float) -> None:
    a, b = (sides[0] for sides in losses(np.random.default_rng(3), 2, 1, 300))
    result = paired_difference([a + np.float32(shift)], [b])
    expected = stats.ttest_rel((a + np.float32(shift)).astype(float), b.astype(float))
    assert result.p == pytest.approx(expected.pvalue, rel=1e-6)
    assert (result.p < 0.05) == (result.verdict != "noise") == (not result.low <= 0 <= result.high)


def test_numbers_are_not_bounded_and_have_the_datas_unit() -> None:
    a, b = losses(np.random.default_rng(4), 2, 3, 100)
    a = [values * np.float32(1.5) for values in a]
    small, large = (
        paired_difference([values * np.float32(scale) for values in a], [values * np.float32(scale) for values in b])
        for scale in (1, 1024)
    )
    fields = ("difference", "low", "high", "detectable")
    assert [getattr(large, name) for name in fields] == pytest.approx(
        [1024 * getattr(small, name) for name in fields], rel=5e-3
    )
    assert large.p == pytest.approx(small.p) and large.high > 100 and large.verdict == "higher"


def test_more_seeds_are_asked_for_where_a_difference_is_within_noise() -> None:
    a, b = losses(np.random.default_rng(5), 2, 3, 400)
    assert paired_difference(a, b).verdict == "noise"
    needed = seeds_to_resolve(a, b)
    assert needed.low is None or needed.low >= 3
    size = paired_difference(a, b).detectable
    assert size is not None and size > abs(paired_difference(a, b).difference)
    assert unpaired_difference(a, b[:2]).seeds == 2


def test_bits_and_numbers_make_no_pair() -> None:
    with pytest.raises(ValueError, match="bits and numbers make no pair"):
        paired_difference([np.ones(4, bool)], [np.ones(4, np.float32)])


@pytest.mark.parametrize(("seeds", "sigma"), [(1, 1.0), (3, 1.0), (5, 1.5)])
def test_intervals_of_skew_losses_cover_the_truth(seeds: int, sigma: float) -> None:
    """400 lognormal losses; the bounds leave room for the noise of 250 tables, and for what skewness still costs.

    The difference of two single trainings is not zero: of one seed only the mean is looked at.
    """
    rng = np.random.default_rng(6)
    truth = np.exp((sigma**2 + OWN**2 + BETWEEN**2) / 2)
    covered = np.zeros(2)
    for _ in range(250):
        a, b = losses(rng, 2, seeds, 400, sigma)
        mean, difference = mean_score(a), paired_difference(a, b)
        covered += [mean.low <= truth <= mean.high, difference.low <= 0 <= difference.high or seeds == 1]
    assert 0.88 <= covered[0] / 250 <= 0.99 and 0.92 <= covered[1] / 250 <= 1.0, covered / 250


def test_numbers_and_bits_survive_their_bytes_and_their_text() -> None:
    numbers, bits = np.linspace(0, 3, 13).astype(np.float32), np.arange(13) % 3 == 0
    for scores in (numbers, bits):
        for back in (from_bytes(to_bytes(scores), 13), unpack(pack(scores), 13)):
            assert back.dtype == scores.dtype and np.array_equal(back, scores)
    with pytest.raises(ValueError, match="52 bytes do not hold 12 examples"):
        from_bytes(to_bytes(numbers), 12)
    with pytest.raises(ValueError, match="not finite"):
        from_bytes(to_bytes(np.full(13, np.inf, np.float32)), 13)


def test_a_mean_of_few_large_losses_is_skew_and_its_interval_stays_above_zero() -> None:
    rng = np.random.default_rng(0)
    plain, heavy = rng.normal(5, 1, (3, 500)).astype(np.float32), rng.lognormal(0, 2, (3, 500)).astype(np.float32)
    assert not is_skew([*plain]) and is_skew([*heavy]) and not is_skew([*(heavy > 50)])
    assert skewness_of_mean([np.ones(9, np.float32)]) == 0
    values = np.array([0.0, 0.0, 0.0, 4.0], np.float32)
    # By hand: mean 1, variance 3, third central moment 6; the mean of four has the skewness 6 / 3^1.5 / 2.
    assert skewness_of_mean([values]) == pytest.approx(6 / 3**1.5 / 2)
    assert mean_score([values, 9 * values]).low == 0.0
    assert mean_score([values - 2, 9 * values - 2]).low < 0.0
