"""Epochs and seconds to an error, ratios and Pareto, from made-up runs; the stages from a real network."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relubench.network_timing import Stages, lowest_common_target, network_rows, reached
from relubench.reports.network_speed import article_speed, network_report, sentence
from relubench.results import RunResult
from tests.cli.fakes import result, timing

STAGES = Stages(data=1.0, forward=2.0, backward=3.0, update=4.0)


def runs() -> list[RunResult]:
    slow = result("sigmoid", run_id="a")
    points = [replace(slow.curve[0], valid_error_pct=9.0), replace(slow.curve[1], valid_error_pct=6.0)]
    return [replace(slow, curve=points, valid_error_pct=6.0), result("relu", run_id="b")]


def test_the_first_epoch_that_is_good_enough() -> None:
    one = result("relu")
    assert reached(one, timing(4.0), 7.0) == (1, 2.0)
    assert reached(one, timing(4.0), 5.0) == (2, 4.0)
    assert reached(one, None, 5.0) == (2, None)
    assert reached(one, timing(4.0), 1.0) == (None, None)


def test_the_common_target_is_one_that_all_reach() -> None:
    assert lowest_common_target(runs()) == 6.0
    assert lowest_common_target([result("relu", outcome="diverged")]) is None


def test_rows_are_ratios_to_sigmoid_beside_the_articles() -> None:
    made = network_rows(runs(), {"a": timing(8.0), "b": timing(2.0)}, {"relu": STAGES}, 6.0, article_speed())
    sigmoid, relu = made
    assert (relu.seconds_per_epoch, relu.epoch_ratio_to_sigmoid, relu.seconds_ratio_to_sigmoid) == (1.0, 0.25, 0.25)
    assert (relu.article_epoch_ratio, relu.article_epochs_ratio) == (0.25, 0.375)
    assert relu.article_hours_ratio == pytest.approx(1.5 / 16)
    assert (sigmoid.pareto, relu.pareto) == (False, True)
    assert (sigmoid.data_us_per_image, relu.update_us_per_image) == (None, 4.0)


def test_a_target_that_is_not_reached_is_missing() -> None:
    row = network_rows(runs(), {"a": timing(8.0), "b": timing(2.0)}, {}, 5.5, article_speed())[0]
    assert (row.epochs_to_target, row.seconds_to_target, row.epochs_ratio_to_sigmoid) == (None, None, None)


def test_the_report_names_its_sources() -> None:
    rows = [
        row.to_json() for row in network_rows(runs(), {"a": timing(8.0), "b": timing(2.0)}, {}, 6.0, article_speed())
    ]
    report = network_report(rows, [], device="cpu", warnings=[])
    assert any("most of its numbers are not in the published paper" in one for one in report.footnotes)
    assert sentence(rows).startswith("On this machine an epoch with relu takes 0.25 of sigmoid's time (article: 0.25)")
