"""Where error starts to rise: a known broken line, noise alone, and the paper's own points."""

from __future__ import annotations

import numpy as np
import pytest

from relubench.reports.figures.zeros import paper_points
from relubench.reports.training.onset import onset


def test_a_known_rise_lies_in_the_interval():
    random = np.random.default_rng(1)
    x = random.uniform(70, 99, 120)
    y = 1.4 + 0.08 * np.maximum(0, x - 86) + random.normal(0, 0.08, 120)
    fit = onset(list(x), list(y))
    assert fit is not None
    assert fit.rises
    assert fit.low < 86 < fit.high
    assert fit.high - fit.low < 6


def test_a_fall_before_the_rise_does_not_move_it():
    random = np.random.default_rng(3)
    x = np.concatenate([random.uniform(38, 42, 10), random.uniform(80, 97, 60)])
    y = 1.6 - 0.006 * np.minimum(0, x - 85) + 0.06 * np.maximum(0, x - 85) + random.normal(0, 0.06, 70)
    fit = onset(list(x), list(y))
    assert fit is not None
    assert fit.rises
    assert fit.low < 85 < fit.high
    assert fit.slope == pytest.approx(0.06, rel=0.2)


def test_the_order_of_the_runs_is_of_no_account_and_two_networks_make_no_rise():
    random = np.random.default_rng(4)
    x = np.append(random.uniform(70, 90, 40), [95.0, 96.0])
    y = np.append(random.normal(1.5, 0.1, 40), [9.0, 12.0])
    mixed = random.permutation(len(x))
    fit = onset(list(x), list(y))
    assert fit == onset(list(x[mixed]), list(y[mixed]))
    assert fit is not None
    assert np.count_nonzero(x >= fit.high) >= 5


def test_noise_alone_does_not_rise():
    random = np.random.default_rng(2)
    fit = onset(list(random.uniform(70, 99, 60)), list(random.normal(1.4, 0.1, 60)))
    assert fit is not None
    assert not fit.rises


def test_too_few_points_say_nothing():
    assert onset([70.0, 80.0, 90.0], [1.4, 1.4, 1.8]) is None
    assert onset([50.0] * 30, [1.4] * 30) is None


def test_the_papers_own_points_rise_from_about_85_percent():
    fit = onset(*(list(paper_point) for paper_point in paper_points()))
    assert fit is not None
    assert fit.points == 170
    assert fit.rises
    assert 84 < fit.low < fit.at < fit.high < 92


def test_a_rise_is_rarely_seen_in_a_flat_cloud():
    """The onset is put where a rise fits best: the slope's interval alone is fooled 5 to 9 times in 100."""
    random = np.random.default_rng(12)
    clouds = [(random.uniform(60, 99, 20), 2 + random.normal(0, 0.1, 20)) for _ in range(40)]
    rises = sum(onset(list(x), list(y)).rises for x, y in clouds)
    assert rises <= 4
