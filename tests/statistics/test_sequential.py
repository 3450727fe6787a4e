"""Elimination at repeated looks: its levels against drawn random walks, its intervals against `Spread`, its error."""

from __future__ import annotations

import importlib
import itertools
import math
import sys
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from scipy import stats

from relubench.statistics.sequential import (
    Looks,
    all_pairs,
    can_change,
    eliminate,
    gaps_of,
    looks_between,
    nominal_levels,
)
from relubench.statistics.variance import Spread


def test_looks_rise_from_the_least_to_the_most_and_grow() -> None:
    for least, most in ((2, 2), (3, 4), (3, 20), (5, 50), (3, 1000)):
        looks = looks_between(least, most)
        assert (looks[0], looks[-1]) == (least, most)
        assert all(later > earlier for earlier, later in itertools.pairwise(looks))
    assert len(looks_between(3, 1000)) < 30


def test_a_single_look_spends_the_whole_rate() -> None:
    assert nominal_levels((7,), 0.05) == pytest.approx([0.05])


def test_two_looks_are_a_bivariate_normal_distribution() -> None:
    levels = nominal_levels((4, 8), 0.05)
    edges = [NormalDist().inv_cdf(1 - level / 2) for level in levels]
    correlation = math.sqrt(4 / 8)
    both = stats.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]])
    box = both.cdf(edges, lower_limit=[-edge for edge in edges])
    assert levels[0] == pytest.approx(0.025)
    assert 1 - box == pytest.approx(0.05, abs=1e-5)


def test_all_looks_together_err_at_the_rate_in_random_walks() -> None:
    looks = looks_between(3, 30)
    walks = np.random.default_rng(0).standard_normal((100_000, 30)).cumsum(axis=1)
    crossed = np.zeros(len(walks), dtype=bool)
    for seeds, level in zip(looks, nominal_levels(looks, 0.05), strict=True):
        crossed |= np.abs(walks[:, seeds - 1]) > math.sqrt(seeds) * NormalDist().inv_cdf(1 - level / 2)
    assert crossed.mean() == pytest.approx(0.05, abs=0.003)


def test_a_half_width_is_that_of_a_spread() -> None:
    scores = np.random.default_rng(1).normal(5, 1, (4, 6))
    gaps = gaps_of(scores, 0.02, 0.01)
    single = scores[1] - scores[3]
    spread = Spread(5, single.var(ddof=1) / 6, 0.02, 0.01)
    assert gaps.mean[1, 3] == pytest.approx(single.mean())
    assert gaps.half_width(0.01)[1, 3] == pytest.approx(spread.half_width(1 - 0.005))


def test_one_look_without_noise_of_examples_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(2)
    looks = Looks(seeds=(5,), error_rate=0.05)
    for _ in range(50):
        scores = rng.normal([[0.0], [1.0]], 1, (2, 5))
        left = eliminate(np.ones(2, dtype=bool), gaps_of(scores, 0.0, 0.0), looks)
        p = stats.ttest_rel(scores[0], scores[1]).pvalue
        assert left.all() == (p >= 0.05)
        assert left[int(scores.mean(axis=1).argmin())]


def test_equal_scores_are_never_told_apart() -> None:
    scores = np.tile(np.random.default_rng(3).normal(2, 0.3, 8), (3, 1))
    for noise in (0.0, 0.1):
        assert eliminate(
            np.ones(3, dtype=bool), gaps_of(scores, noise, noise), Looks(seeds=(8,), error_rate=0.05)
        ).all()


def test_nothing_is_eliminated_between_looks() -> None:
    scores = np.array([[0.0, 0.1, 0.0], [9.0, 9.1, 9.0]])
    assert eliminate(np.ones(2, dtype=bool), gaps_of(scores, 0.0, 0.0), Looks(seeds=(2, 4), error_rate=0.05)).all()


def test_who_is_out_already_takes_nobody_out() -> None:
    scores = np.array([[0.0, 0.01, 0.0, 0.02], [5.0, 5.1, 5.2, 5.0], [5.1, 5.0, 5.1, 5.2]])
    remaining = np.array([False, True, True])
    left = eliminate(remaining, gaps_of(scores, 0.0, 0.0), Looks(seeds=(4,), error_rate=0.05))
    assert left.tolist() == [False, True, True]


def test_what_the_last_look_could_not_tell_is_out_of_reach() -> None:
    looks = Looks(seeds=(4, 8), error_rate=0.05)
    rng = np.random.default_rng(5)
    both = np.ones(2, dtype=bool)
    same = gaps_of(np.tile(rng.normal(2, 0.3, 4), (2, 1)), 0.01, 0.01)
    assert not can_change(both, same, looks)
    # Equal ones can be shown to be equal within a margin, and different ones to be different.
    assert can_change(both, same, looks, within=1.0)
    apart = gaps_of(np.array([[0.0, 0.1, 0.3, 0.2], [1.0, 0.4, 0.9, 1.3]]), 0.0, 0.0)
    assert can_change(both, apart, looks) and can_change(both, apart, looks, within=5.0)
    # Neither beyond a margin as large as the difference, nor within it.
    assert not can_change(both, apart, looks, within=0.75)
    # With one left, or at the last look, nothing changes any more.
    assert not can_change(np.array([True, False]), apart, looks)
    assert not can_change(both, apart, Looks(seeds=(2, 4), error_rate=0.05))


def test_many_studies_are_looked_at_as_each_alone() -> None:
    looks = Looks(seeds=(4, 6, 9), error_rate=0.2)
    rng = np.random.default_rng(6)
    scores = rng.normal(np.arange(5)[:, None] * 0.7, 1, (40, 5, 6))
    remaining = rng.random((40, 5)) < 0.8
    together = gaps_of(scores, 0.02, 0.01)
    alone = [gaps_of(scores[study], 0.02, 0.01) for study in range(40)]
    left = eliminate(remaining, together, looks)
    assert (left != remaining).any()
    assert (left == [eliminate(remaining[study], alone[study], looks) for study in range(40)]).all()
    changes = can_change(left, together, looks)
    assert set(changes.tolist()) == {True, False}
    assert changes.tolist() == [bool(can_change(left[study], alone[study], looks)) for study in range(40)]


def test_levels_of_pairs_together_are_at_most_the_rate() -> None:
    looks = Looks(seeds=looks_between(3, 20), error_rate=0.05)
    for seeds in looks.seeds:
        assert all_pairs(10) * looks.level(seeds, all_pairs(10)) < 0.05
    assert looks.level(4, 45) < looks.level(4, 1)


@pytest.mark.parametrize(("better", "points"), [(0, 0.0), (1, 0.3), (3, 0.1)])
def test_simulated_answers_hold_the_best(better: int, points: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """300 studies: with a true rate of 5 %, more than 25 false ones are a matter of one in a thousand."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parents[2])])
    simulation = importlib.import_module("benchmarks.choose_simulation")
    world, generator = simulation.WORLDS[0], np.random.default_rng(better)
    counted = simulation.count(generator, world, better, points, 300, with_design=False)
    assert counted.best_kept_pct >= 95
    assert counted.false_eliminations_pct <= 100 * 25 / 300
    assert counted.runs <= counted.full_runs
