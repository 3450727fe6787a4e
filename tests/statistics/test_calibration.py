"""Simulated tables of known truth, as large and as noisy as MNIST's: how often is what is said of them right?

10,000 test examples, an error of 1.4 %, a standard deviation of 0.06 % between trainings; the spread of the examples'
difficulty is such that two trainings of one network disagree on about 50 examples, and two networks differ in
difficulty on a tenth of the examples. Bounds of 93 to 97 % leave room for 1,000 tables' own noise.
"""

import numpy as np
import pytest

from relubench.statistics import equivalence, error_rates

EXAMPLES, ERROR, CONCENTRATION, BETWEEN, OWN = 10_000, 0.014, 0.22, 0.0006, 0.1
TABLES = 1000


def difficulty(rng, number):
    return rng.beta(ERROR * CONCENTRATION, (1 - ERROR) * CONCENTRATION, number)


def networks(rng, number, seeds, *, own=OWN, examples=EXAMPLES):
    """Masks of `number` networks with the same mean error; `own`: the share of examples that are hard for one alone."""
    common = difficulty(rng, examples)
    found = []
    for _ in range(number):
        chance, other = common.copy(), rng.random(examples) < own
        chance[other] = difficulty(rng, int(other.sum()))
        possible = np.flatnonzero(chance > 1e-7)
        factor = np.exp(BETWEEN / ERROR * rng.standard_normal((seeds, 1)) - (BETWEEN / ERROR) ** 2 / 2)
        masks = np.zeros((seeds, examples), bool)
        masks[:, possible] = rng.random((seeds, possible.size)) < np.minimum(chance[possible] * factor, 1)
        found.append(list(masks))
    return found


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_intervals_cover_95_percent(seeds):
    rng = np.random.default_rng(21)
    covered = np.zeros(2)
    for _ in range(TABLES):
        a, b = networks(rng, 2, seeds)
        mean, paired = error_rates.mean_error(a), error_rates.paired_difference(a, b)
        covered += [mean.low <= 100 * ERROR <= mean.high, paired.low <= 0 <= paired.high]
    # With three seeds the interval of a difference is a little wider than it need be.
    assert np.all((covered / TABLES >= 0.935) & (covered / TABLES <= 0.98)), covered


def test_two_seeds_cover_at_least_95_percent():
    """With one degree of freedom the interval is wider than it need be, never narrower."""
    rng = np.random.default_rng(22)
    covered = np.zeros(2)
    for _ in range(300):
        a, b = networks(rng, 2, 2)
        mean, paired = error_rates.mean_error(a), error_rates.paired_difference(a, b)
        covered += [mean.low <= 100 * ERROR <= mean.high, paired.low <= 0 <= paired.high]
    assert np.all(covered / 300 >= 0.95), covered


def test_one_activation_three_times_is_rarely_called_different():
    """A/A/A: three rows of one activation, disjoint seeds, the same examples, the correction for two comparisons."""
    rng = np.random.default_rng(23)
    called = 0
    for _ in range(TABLES):
        first, *others = networks(rng, 3, 3, own=0.0)
        called += any(error_rates.unpaired_difference(other, first, 2).verdict != "noise" for other in others)
    assert called / TABLES <= 0.068, called


MARGIN = equivalence.margin_pct(100 * ERROR, EXAMPLES)


def published(rng, true):
    """The error of one network of another team, on test examples of their own."""
    return 100 * rng.binomial(EXAMPLES, true + BETWEEN * rng.standard_normal()) / EXAMPLES


@pytest.mark.parametrize("sign", [-1, 1])
def test_at_the_margin_reproduced_is_rarely_said(sign):
    """The published network's true error lies the margin away, the worst case of a false 'reproduced'."""
    rng = np.random.default_rng(24)
    said = 0
    for _ in range(TABLES):
        (mine,) = networks(rng, 1, 3)
        value = published(rng, ERROR + sign * MARGIN / 100)
        said += equivalence.compare_with_published(mine, value, EXAMPLES, MARGIN).verdict == "reproduced"
    assert said / TABLES <= 0.068, said


def test_of_one_truth_neither_better_nor_worse_is_said_and_mostly_reproduced():
    rng = np.random.default_rng(25)
    verdicts = []
    for _ in range(300):
        (mine,) = networks(rng, 1, 5)
        verdicts.append(equivalence.compare_with_published(mine, published(rng, ERROR), EXAMPLES, MARGIN).verdict)
    assert verdicts.count("reproduced") >= 0.6 * 300
    assert verdicts.count("better") + verdicts.count("worse") <= 0.03 * 300
