"""The range of L1 strengths for many networks, found on short runs."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from relubench.experiments.l1_range import first_strengths, next_strengths, span
from relubench.runs.result import RunResult
from specs import runs
from tests.cli.fakes import result

Pilot = tuple[float, float, str]


def results(*pilots: Pilot) -> list[RunResult]:
    """What short runs at these strengths with these zeros and outcomes leave."""
    return [
        replace(result("relu", place, outcome=outcome, l1_asked=strength), sparsity_pct=share)
        for place, (strength, share, outcome) in enumerate(pilots)
    ]


def curve(strength: float) -> Pilot:
    """Zeros rise evenly from 40 % at 1e-4 by 20 points a decade; beyond 0.05 nothing is learned."""
    share = min(100.0, 40.0 + 20.0 * max(0.0, math.log10(strength / 1e-4)))
    return (strength, share, "ok" if strength < 0.05 else "stalled")


def test_first_strengths_span_no_effect_to_collapse_on_every_scale() -> None:
    _, by_sum = runs("relu", train={"l1_scale": "sum"})
    _, by_mean = runs("relu", train={"l1_scale": "mean"})
    assert first_strengths(by_sum[0])[0] == 1e-6
    assert first_strengths(by_sum[0])[-1] == 0.1
    assert first_strengths(by_mean[0])[-1] == pytest.approx(0.1 * 128, rel=1e-2)


def test_later_runs_close_in_on_both_ends() -> None:
    found = results(*[curve(one) for one in first_strengths(runs("relu", train={"l1_scale": "sum"})[1][0])])
    for _ in range(2):
        later = next_strengths(found)
        assert len(later) == 2
        found += results(*[curve(one) for one in later])
    low, high = span(found)
    assert low == pytest.approx(10**-2.5, rel=0.5)
    # The last strength that learns is within a factor of three of where learning ends.
    assert 0.05 / 3 < high < 0.05


def test_one_gap_with_both_ends_is_cut_in_three() -> None:
    found = results((0.001, 60.0, "ok"), (1.0, 99.5, "ok"))
    assert next_strengths(found) == pytest.approx((0.01, 0.1))


def test_sparse_without_a_penalty_the_range_begins_where_zeros_rise() -> None:
    found = results((1e-4, 76.0, "ok"), (1e-3, 76.4, "ok"), (1e-2, 80.0, "ok"), (0.1, 99.5, "ok"))
    low, high = span(found)
    assert 1e-3 < low < 2e-3
    assert 0.05 < high < 0.1


def test_no_end_within_what_was_tried_takes_all_of_it() -> None:
    found = results((1e-3, 20.0, "ok"), (1e-2, 30.0, "ok"))
    assert next_strengths(found) == ()
    assert span(found) == pytest.approx((1e-3, 1e-2))


def test_where_nothing_learns_the_range_is_still_finite() -> None:
    low, high = span(results((1e-3, 100.0, "stalled"), (1e-2, 100.0, "stalled")))
    assert 0 < low <= high
