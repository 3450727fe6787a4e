"""Intervals cover what they say, a null pair is rarely called different, and the formulas agree with SciPy."""

import math

import numpy as np
import pytest

from relubench.statistics import distributions, error_rates


def world(rng, seeds, examples, *, error=0.06, concentration=1.0, between=0.1):
    """Two networks' chances [S, N] of being wrong: shared difficulty, seeds that multiply it; the mean is `error`."""
    difficulty = rng.beta(error * concentration, (1 - error) * concentration, examples)

    def network():
        factor = np.exp(between * rng.standard_normal((seeds, 1)) - between**2 / 2)
        return np.minimum(difficulty * factor, 1)

    return network(), network()


def drawn(rng, chances):
    return list(rng.random(chances.shape) < chances)


@pytest.mark.parametrize("examples", [360, 2000])
@pytest.mark.parametrize("seeds", [1, 3, 5])
def test_mean_interval_covers_the_true_error(seeds, examples):
    rng = np.random.default_rng(11)
    between = 0.1 if seeds > 1 else 0.0  # with one seed the interval is about the test set alone
    covered = 0
    for _ in range(400):
        one = error_rates.mean_error(drawn(rng, world(rng, seeds, examples, between=between)[0]))
        covered += one.low <= 6.0 <= one.high
    assert 0.93 <= covered / 400 <= 0.99


@pytest.mark.parametrize("between", [0.0, 0.15])
@pytest.mark.parametrize("examples", [360, 2000])
@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
def test_null_pair_is_rarely_called_different(seeds, examples, between):
    if seeds == 1 and between:
        pytest.skip("one seed cannot know the noise between trainings")
    rng = np.random.default_rng(12)
    called = 0
    for _ in range(300):
        a, b = world(rng, seeds, examples, between=between)
        one = error_rates.paired_difference(drawn(rng, a), drawn(rng, b))
        called += one.p < 0.05
        assert (one.p < 0.05) == (one.low > 0 or one.high < 0)
    assert called / 300 <= 0.065


@pytest.mark.parametrize("seeds", [1, 3, 5])
def test_difference_interval_covers_a_true_difference(seeds):
    rng = np.random.default_rng(13)
    between = 0.1 if seeds > 1 else 0.0
    covered = 0
    for _ in range(300):
        a, b = world(rng, seeds, 1000, between=between)
        one = error_rates.paired_difference(drawn(rng, 0.7 * a), drawn(rng, b))
        covered += one.low <= -1.8 <= one.high
    assert 0.93 <= covered / 300 <= 0.995


def test_interval_without_an_error_is_not_empty():
    for seeds in (1, 4):
        one = error_rates.mean_error([np.zeros(360, bool)] * seeds)
        assert (one.mean, one.low) == (0, 0) and 0.5 < one.high < 2
        same = error_rates.paired_difference([np.zeros(360, bool)] * seeds, [np.zeros(360, bool)] * seeds)
        assert same.low < 0 < same.high and same.p == 1


def test_basis_says_which_noise():
    masks = drawn(np.random.default_rng(0), np.full((2, 100), 0.3))
    assert error_rates.mean_error(masks[:1]).basis == "test set only"
    assert error_rates.mean_error(masks).basis == "seeds x test set"
    assert error_rates.paired_difference(masks, masks[::-1]).seeds == 2


def test_beta_agrees_with_scipy():
    from scipy.stats import beta

    for a, b in ((1, 100), (15, 986), (0.3, 0.4), (30_001, 70_000), (3, 0.5)):
        for quantile in (0.025, 0.5, 0.975):
            assert distributions.beta_quantile(quantile, a, b) == pytest.approx(beta.ppf(quantile, a, b), rel=1e-8)


def test_the_share_of_independent_examples_has_clopper_and_pearsons_interval():
    from scipy.stats import beta

    for wrong, examples in ((1, 100), (143, 10_000), (300, 1000), (99, 100), (1, 2)):
        share = wrong / examples
        found = distributions.share_interval(share, share * (1 - share) / examples, examples)
        ends = beta.ppf(0.025, wrong, examples - wrong + 1), beta.ppf(0.975, wrong + 1, examples - wrong)
        assert found == pytest.approx(ends, rel=1e-6)
    assert distributions.share_interval(0.0, 0.0, 100) == (0.0, pytest.approx(0.03621669))


def test_tango_limits_solve_the_score_equation():
    """At a limit d the constrained maximum of the likelihood, found here on a grid, gives a score of z."""
    more, fewer, examples = 12, 2, 50
    grid = np.linspace(1e-6, 0.5, 400_001)
    for limit in distributions.tango_interval(more, fewer, examples):
        q = grid[(grid + limit > 0) & (2 * grid + limit < 1)]
        likelihood = more * np.log(q + limit) + fewer * np.log(q) + (examples - more - fewer) * np.log1p(-2 * q - limit)
        best = q[np.argmax(likelihood)]
        score = (more - fewer - examples * limit) / math.sqrt(examples * (2 * best + limit - limit**2))
        assert abs(score) == pytest.approx(1.95996, abs=2e-4)


def test_student_agrees_with_scipy():
    from scipy.special import stdtr, stdtrit

    for degrees in (0.7, 1, 1.5, 2, 3, 4.4, 7, 30, 5000):
        assert [distributions.student_cdf(t, degrees) for t in (-2, 0, 0.7, 9)] == pytest.approx(
            stdtr(degrees, [-2, 0, 0.7, 9])
        )
        assert distributions.student_quantile(0.975, degrees) == pytest.approx(stdtrit(degrees, 0.975))


def test_crossed_spread_is_the_paired_t_test_where_examples_do_not_differ():
    """Without difficulty of its own, the noise is between the seeds' means: t with S - 1 degrees."""
    rng = np.random.default_rng(5)
    gaps = rng.standard_normal((4, 1)) * 3 + rng.standard_normal((4, 5000))
    spread = error_rates.crossed_spread(gaps)
    assert spread.between_seeds == pytest.approx(gaps.mean(axis=1).var(ddof=1) / 4)
    assert spread.half_width(0.975) == pytest.approx(3.1824 * math.sqrt(spread.between_seeds), rel=1e-3)


def test_effect_size_is_the_difference_over_the_spread_of_the_seeds_differences():
    rng = np.random.default_rng(8)
    a, b = (drawn(rng, chances) for chances in world(rng, 5, 2000))
    gaps = np.stack(a).mean(axis=1) - np.stack(b).mean(axis=1)
    assert error_rates.paired_difference(a, b).effect == pytest.approx(gaps.mean() / gaps.std(ddof=1))
    assert error_rates.paired_difference(a[:1], b[:1]).effect is None
    assert error_rates.paired_difference(a, a).effect is None


def test_unpaired_seeds_agree_with_welch_where_examples_do_not_differ():
    """The masks of one network are as many wrong examples, drawn afresh: the noise is between the seeds' means."""
    from scipy.stats import ttest_ind

    rng = np.random.default_rng(9)
    a, b = ([rng.random(4000) < rate for rate in rng.uniform(0.1, 0.5, number)] for number in (4, 6))
    one = error_rates.unpaired_difference(a, b)
    welch = ttest_ind([100 * mask.mean() for mask in a], [100 * mask.mean() for mask in b], equal_var=False)
    assert one.p == pytest.approx(welch.pvalue, rel=0.02)
    interval = welch.confidence_interval()
    assert (one.low, one.high) == pytest.approx((interval.low, interval.high), abs=0.2)
    with pytest.raises(ValueError, match="two seeds a side or one on each"):
        error_rates.unpaired_difference(a[:1], b)


def test_more_comparisons_need_a_larger_difference():
    rng = np.random.default_rng(10)
    a, b = (drawn(rng, chances) for chances in world(rng, 4, 2000))
    one, ten = (error_rates.paired_difference(a, b, number).detectable for number in (1, 10))
    assert ten > 1.1 * one


@pytest.mark.parametrize(("seeds", "examples"), [(2, 1000), (3, 300), (5, 2000)])
@pytest.mark.parametrize("comparisons", [1, 4])
def test_what_a_table_could_have_seen_is_seen_four_times_in_five(seeds, examples, comparisons):
    """Tables of equal networks print a difference; networks that differ by just that are called different so often."""
    rng = np.random.default_rng(6)
    seen = tried = 0
    for _ in range(120):
        a, b = (drawn(rng, chances) for chances in world(rng, seeds, examples))
        size = error_rates.paired_difference(a, b, comparisons).detectable
        if size is None or size > 60:
            continue
        a, b = world(rng, seeds, examples)
        # The worse one errs more by `size` points, half of them on any example.
        worse = a + (1 - a) * (size / 100 / (1 - a.mean()))
        tried += 1
        seen += error_rates.paired_difference(drawn(rng, worse), drawn(rng, b), comparisons).verdict == "higher"
    least = 80 if seeds > 2 else 40 if comparisons == 1 else 0
    assert tried >= least and seen >= 0.72 * tried, (seen, tried)


@pytest.mark.parametrize("examples", [300, 3000])
def test_one_seed_sees_what_it_says(examples):
    rng = np.random.default_rng(16)
    seen = 0
    for _ in range(200):
        a, b = (drawn(rng, chances) for chances in world(rng, 1, examples, between=0.0))
        size = error_rates.paired_difference(a, b).detectable
        a, b = world(rng, 1, examples, between=0.0)
        worse = a + (1 - a) * (size / 100 / (1 - a.mean()))
        seen += error_rates.paired_difference(drawn(rng, worse), drawn(rng, b)).verdict == "higher on this test set"
    assert 0.75 <= seen / 200 <= 0.97


@pytest.mark.parametrize("examples", [2, 3, 8])
@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_a_difference_that_is_not_possible_is_never_printed(examples, seeds):
    rng = np.random.default_rng(3)
    for _ in range(20):
        a, b = (list(rng.random((seeds, examples)) < 0.4) for _ in range(2))
        size = error_rates.paired_difference(a, b).detectable
        least = 100 * min(np.mean(a), np.mean(b))
        assert size is None or 0 < size <= max(least, 100 - least)


def test_word_interval_and_p_agree_at_any_number_of_comparisons():
    rng = np.random.default_rng(17)
    words = set()
    for number in range(150):
        seeds = (1, 2, 3, 5)[number % 4]
        a, b = world(rng, seeds, 500)
        one = error_rates.paired_difference(drawn(rng, a), drawn(rng, 0.6 * b), comparisons := 1 + number % 7)
        assert (one.verdict == "noise") == (one.low <= 0 <= one.high) == (one.p >= 0.05), comparisons
        assert one.verdict.endswith("on this test set") == (seeds == 1 and one.verdict != "noise")
        words.add(one.verdict)
    assert words == {"noise", "higher", "higher on this test set"}


def test_all_intervals_of_a_table_cover_together():
    """Seven rows against a first one, of which every other is better: 95 % of tables have no interval that misses."""
    rng = np.random.default_rng(18)
    whole = 0
    for _ in range(100):
        difficulty = rng.beta(0.06, 0.94, 500)
        rates = [1.0, *(0.7 if row % 2 else 1.0 for row in range(7))]
        masks = [
            drawn(rng, np.minimum(rate * difficulty * np.exp(0.15 * rng.standard_normal((3, 1)) - 0.01), 1))
            for rate in rates
        ]
        found = [error_rates.paired_difference(mine, masks[0], 7) for mine in masks[1:]]
        truths = [600 * (rate - 1) / 100 for rate in rates[1:]]
        whole += all(one.low <= truth <= one.high for one, truth in zip(found, truths, strict=True))
    assert whole / 100 >= 0.9


@pytest.mark.parametrize(
    ("error", "seeds", "examples", "concentration"), [(0.015, 10, 100, 0.5), (0.3, 3, 1000, 3.0), (0.002, 2, 500, 1.0)]
)
def test_mean_error_covers_where_it_did_not(error, seeds, examples, concentration):
    rng = np.random.default_rng(19)
    covered = 0
    for _ in range(400):
        difficulty = rng.beta(error * concentration, (1 - error) * concentration, examples)
        factor = np.exp(0.05 * rng.standard_normal((seeds, 1)) - 0.05**2 / 2)
        one = error_rates.mean_error(drawn(rng, np.minimum(difficulty * factor, 1)))
        covered += one.low <= 100 * error <= one.high
    assert covered / 400 >= 0.93


def test_a_table_of_29_activations_and_10_seeds_takes_less_than_a_second():
    import time

    rng = np.random.default_rng(20)
    masks = [list(rng.random((10, 10_000)) < 0.015) for _ in range(29)]
    start = time.process_time()
    for mine in masks[1:]:
        error_rates.mean_error(mine)
        error_rates.paired_difference(mine, masks[0], 28)
        error_rates.seeds_to_resolve(mine, masks[0], 28)
    # Some 0.6 s; a bound that a slow machine holds too.
    assert time.process_time() - start < 5.0


def test_seeds_to_resolve():
    rng = np.random.default_rng(7)
    a, b = world(rng, 3, 5000, between=0.3)
    masks = drawn(rng, a), drawn(rng, 0.75 * b)
    needed = error_rates.seeds_to_resolve(*masks)
    numbers = [1e9 if number is None else number for number in (needed.low, needed.likely, needed.high)]
    assert numbers == sorted(numbers) and numbers[0] >= 3
    hard = np.zeros((3, 400), bool)
    hard[:, :3] = True  # the same few examples every time: no seed changes that
    assert error_rates.seeds_to_resolve(list(hard), list(np.zeros_like(hard))).likely is None
    with pytest.raises(ValueError, match="one seed"):
        error_rates.seeds_to_resolve(masks[0][:1], masks[1][:1])


def test_unequal_pairs_are_refused():
    with pytest.raises(ValueError, match="same seeds and examples"):
        error_rates.paired_difference([np.zeros(5, bool)], [np.zeros(6, bool)])
    with pytest.raises(ValueError, match="one length"):
        error_rates.mean_error([])


def test_seeds_of_equal_error_keep_an_interval():
    """Two trainings that are wrong on as many but other examples say nothing of how trainings differ."""
    wrong = np.zeros((2, 500), dtype=bool)
    wrong[0, :25], wrong[1, 25:50] = True, True
    one = error_rates.mean_error(wrong)
    assert one.high - one.low > 2.0
