"""Epochs and seconds to an error, ratios, the Pareto front, from made-up runs; the race of steps from real networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from relubench.experiments.config import experiment
from relubench.experiments.plan import Variant
from relubench.experiments.variants import lay_out, make_ready
from relubench.reports.speed.networks import article_speed, duration, leaders, network_report, sentence
from relubench.runs.result import RunResult
from relubench.statistics import timings
from relubench.system.device import resolve
from relubench.timing.measurement import AgainstItself, Measurement
from relubench.timing.networks import common_target, epochs_to, network_rows
from relubench.timing.score_times import Point, front, points
from relubench.timing.step_times import StepTime, step_records, step_times
from relubench.timing.steps import Network, StepBenchmark, prepare_step_benchmark
from relubench.training.images import Images
from relubench.training.population import Population
from tests.cli.fakes import result, timing

HALF = timings.Estimate(0.25, 0.24, 0.26, 9)
PACES = {
    "sigmoid": StepTime(us_per_image=40.0, stages={}),
    "relu": StepTime(
        us_per_image=10.0, stages={"data": 1.0, "forward": 2.0, "backward": 3.0, "update": 4.0}, ratio=HALF
    ),
}
IMAGES = 100_000
PUBLISHED = {"dataset": "mnist", "model": "mlp-3x1000"}


def runs() -> list[RunResult]:
    slow = result("sigmoid", run_id="a")
    curve = [replace(slow.curve[0], valid_error_pct=9.0), replace(slow.curve[1], valid_error_pct=6.0)]
    return [replace(slow, curve=curve, valid_error_pct=6.0), result("relu", run_id="b")]


def test_the_first_epoch_that_is_good_enough() -> None:
    one = result("relu")
    assert [epochs_to(one, target) for target in (7.0, 5.0, 1.0)] == [1, 2, None]


def test_the_common_target_is_one_that_all_reach() -> None:
    assert common_target(runs()) == 6.0
    assert common_target([result("relu", outcome="diverged")]) is None


def test_rows_are_ratios_to_sigmoid_beside_the_articles() -> None:
    sigmoid, relu = network_rows(runs(), PACES, IMAGES, 6.0, article_speed(PUBLISHED), {})
    assert (sigmoid.seconds_per_epoch, sigmoid.seconds_to_target, sigmoid.epochs_to_target) == (4.0, 8.0, 2)
    assert (relu.seconds_per_epoch, relu.epochs_to_target, relu.seconds_to_target) == (1.0, 2, 2.0)
    assert (relu.epoch_ratio_to_sigmoid, relu.epoch_ratio_ci_low, relu.seconds_ratio_to_sigmoid) == (0.25, 0.24, 0.25)
    assert (relu.article_epoch_ratio, relu.article_epochs_ratio) == (0.25, 0.375)
    assert relu.article_hours_ratio == pytest.approx(1.5 / 16)
    assert (sigmoid.pareto, relu.pareto) == (False, True)
    assert (sigmoid.data_us_per_image, relu.update_us_per_image, relu.images_per_second) == (None, 4.0, 1e5)


def test_a_pretrained_row_stands_beside_the_articles_own_and_counts_its_pretraining() -> None:
    rbm = replace(runs()[0], id="c", spec={**runs()[0].spec, "pretraining": "rbm"})
    clocks = {"c": replace(timing(9.0), pretraining_seconds=5.0)}
    rows = network_rows([*runs(), rbm], PACES, IMAGES, 6.0, article_speed(PUBLISHED), clocks)
    keys = [("sigmoid", "none"), ("relu", "none"), ("sigmoid", "rbm")]
    assert [(row.activation, row.pretraining) for row in rows] == keys
    assert (rows[2].article_epochs_ratio, rows[2].epochs_ratio_to_sigmoid) == (0.5, 1.0)
    assert [row.pretraining_seconds for row in rows] == [None, None, 5.0]
    assert (rows[2].seconds_to_target, rows[0].seconds_to_target) == (13.0, 8.0)
    assert points([rbm], PACES, IMAGES, clocks)[0].seconds == 9.0
    assert points([rbm], PACES, IMAGES, {}) == []
    report = network_report([row.to_json() for row in rows], [], [], None, device="cpu")
    assert "pretraining" in [column.header for column in report.columns]


def test_a_target_that_is_not_reached_is_missing() -> None:
    row = network_rows(runs(), PACES, IMAGES, 5.5, article_speed(PUBLISHED), {})[0]
    assert (row.epochs_to_target, row.seconds_to_target, row.epochs_ratio_to_sigmoid) == (None, None, None)


def test_what_could_not_be_timed_has_no_time_and_says_why() -> None:
    untimed = {**PACES, "relu": StepTime(stages={}, failure="ValueError: no luck")}
    row = network_rows(runs(), untimed, IMAGES, 6.0, article_speed(PUBLISHED), {})[1]
    assert (row.outcome, row.message, row.seconds_per_epoch, row.pareto) == (
        "failed",
        "ValueError: no luck",
        None,
        None,
    )
    assert row.best_valid_error_pct == 5.0


def test_the_front_is_what_nobody_beats() -> None:
    known = [
        Point(activation=name, epoch=1, seconds=seconds, valid_error_pct=error, valid_metric=error)
        for name, seconds, error in [
            ("a", 1.0, 9.0),
            ("b", 2.0, 9.0),
            ("b", 3.0, 4.0),
            ("a", 3.0, 5.0),
            ("a", 9.0, 3.0),
        ]
    ]
    assert [(one.activation, one.seconds) for one in front(known)] == [("a", 1.0), ("b", 3.0), ("a", 9.0)]
    assert front([]) == []


def test_points_never_rise_and_end_with_the_shortest_seed() -> None:
    first = runs()[1]
    worse = replace(first, curve=[first.curve[0], replace(first.curve[1], valid_error_pct=8.0)])
    assert [one.valid_error_pct for one in points([worse], PACES, IMAGES, {})] == [7.0, 7.0]
    short = replace(first, curve=first.curve[:1])
    made = points([first, short], PACES, IMAGES, {})
    assert [(one.epoch, one.seconds, one.valid_error_pct) for one in made] == [(1, 1.0, 7.0)]


def test_the_report_names_its_sources_and_shows_the_front() -> None:
    rows = [row.to_json() for row in network_rows(runs(), PACES, IMAGES, 6.0, article_speed(PUBLISHED), {})]
    known = [one.to_json() for one in front(points(runs(), PACES, IMAGES, {}))]
    race = Measurement(
        clock="fake",
        base="sigmoid",
        threads=1,
        rounds=9,
        seconds=3.0,
        ended="budget",
        budget_s=3.0,
        rel_ci=0.02,
        against_itself=AgainstItself(1, 0, 0.01, 0.99, 1.01),
        images=IMAGES,
        warnings=["warning: busy"],
    )
    report = network_report(rows, [], known, race, device="cpu")
    assert any("most of its numbers are not in the published paper" in one for one in report.note_texts)
    assert any("0.990 to 1.010, which includes 1, as it should" in one for one in report.note_texts)
    assert sentence(rows).startswith("On this machine an epoch with relu takes 0.25 of sigmoid's time (article: 0.25)")
    first, second = report.tables
    assert (first.sentence, second.sentence) == ("", report.sentence)
    assert [row["activation"] for row in second.display_rows] == ["relu", "relu"]
    assert leaders(known) == known


@pytest.mark.parametrize(
    ("change", "beside"),
    [
        ({"model": "mlp-1000-1000-1000", "train_size": None}, True),
        ({"dataset": "digits"}, False),
        ({"dataset": "./mnist.npz"}, False),
        ({"model": "mlp-2x1000"}, False),
        ({"model": "./nets.py:Net"}, False),
        ({"train_size": 5000}, False),
        ({"labels": 1000}, False),
    ],
)
def test_the_article_stands_beside_its_own_network_and_data_only(change: dict[str, object], beside: bool) -> None:
    article = article_speed({**PUBLISHED, **change})
    rows = [row.to_json() for row in network_rows(runs(), PACES, IMAGES, 6.0, article, {})]
    assert [row["article_epoch_ratio"] for row in rows] == ([1.0, 0.25] if beside else [None, None])
    report = network_report(rows, [], [], None, device="cpu")
    cells = ["".join(column.cell(row)) for column in report.columns for row in rows]
    everything = " ".join([report.caption, report.sentence, *report.note_texts, *cells])
    assert ("article" in everything, "(0.25)" in everything) == (beside, beside)


def test_the_ratios_and_times_of_a_row_agree_on_an_unsteady_machine() -> None:
    """Each network was slowed down in other rounds: the quotient of the medians is 4.4, every round's ratio 2."""
    machine = [1.0, 1.0, 1.0, 1.0, 9.0, 9.0, 9.0, 9.0, 9.0]
    base = [10.0 * one for one in machine]
    mine = [2 * one for one in base]
    mine[4:7] = [one / 4 for one in mine[4:7]]
    networks = [
        Network("sigmoid", "network", None, samples=base),
        Network("relu", "network", None, samples=mine),
        Network("sigmoid again", "twin", None, samples=list(base)),
    ]
    made = step_times(StepBenchmark(networks, "sigmoid", 1.0, 0.02))
    rbm = replace(runs()[1], id="c", spec={**runs()[1].spec, "pretraining": "rbm"})
    clocks = {"c": replace(timing(900.0), pretraining_seconds=500.0)}
    sigmoid, relu, pretrained = network_rows([*runs(), rbm], made, IMAGES, 7.0, {}, clocks)
    assert relu.epoch_ratio == 2.0
    assert sigmoid.seconds_per_epoch and relu.seconds_per_epoch and sigmoid.seconds_to_target
    assert relu.seconds_per_epoch / sigmoid.seconds_per_epoch == pytest.approx(relu.epoch_ratio)
    assert relu.epochs_ratio == 0.5
    assert relu.seconds_ratio == pytest.approx(2.0 * 0.5)
    assert pretrained.seconds_ratio == pytest.approx(2.0 * 0.5 + 500 / sigmoid.seconds_to_target)


def test_short_times_are_milliseconds() -> None:
    assert [duration(one) for one in (0.0214, 0.9996, 75.0, None)] == ["21.4 ms", "1.0 s", "1m15s", ""]


@pytest.fixture
def race(tmp_path: Path) -> StepBenchmark:
    asked = experiment(
        {"act": ("sigmoid", "relu", "maxout"), "data": {"name": "digits"}, "model": {"name": "mlp-2x16"}}
    )
    (part,) = make_ready([Variant(config=asked)], tmp_path, lambda text: None)
    specs = [spec for _, spec in lay_out([part], resolve("cpu"))]
    return prepare_step_benchmark(specs, part.choices, part.prepared, 0.01, 0.02)


def test_networks_take_turns_and_the_base_runs_twice(race: StepBenchmark) -> None:
    for _ in race.run():
        pass
    assert [one.label for one in race.networks] == ["sigmoid", "relu", "maxout", "sigmoid again"]
    assert (race.ended, race.rounds) == ("budget", timings.LEAST_ROUNDS)
    for one in race.networks:
        assert len(one.samples) == race.rounds
        assert all(len(values) == race.rounds and min(values) > 0 for values in one.stages.values())
    made = step_times(race)
    assert list(made) == ["sigmoid", "relu", "maxout"]
    assert made["relu"].ratio is not None
    assert made["sigmoid"].ratio is None
    stages = made["relu"].stages
    us_per_image = made["relu"].us_per_image
    assert us_per_image is not None
    assert sum(stages.values()) < 3 * us_per_image
    assert [one["role"] for one in step_records(race)] == ["network"] * 3 + ["twin"]


def test_steps_by_kernels_are_timed_at_full_speed_and_update_within_backward(tmp_path: Path) -> None:
    from relubench.timing.stages import time_stages
    from relubench.timing.steps import next_batches, time_steps

    asked = experiment({"act": ("sigmoid", "relu"), "data": {"name": "digits"}, "model": {"name": "mlp-2x300"}})
    (part,) = make_ready([Variant(config=asked)], tmp_path, lambda text: None)
    specs = [replace(spec, device_name="AMD EPYC (AVX512)") for _, spec in lay_out([part], resolve("cpu"))]
    race = prepare_step_benchmark(specs, part.choices, part.prepared, 0.01, 0.02)
    for _ in race.run():
        pass
    for one in race.networks:
        assert (one.failure, len(one.samples)) == ("", race.rounds)
        assert {name for name, values in one.stages.items() if not values} == {"update"}
    images = Images.open(part.prepared, device="cpu", flat=True)
    first, second = (Network("relu", "network", Population([specs[-1]], part.choices[-1], images)) for _ in range(2))
    assert first.population is not None
    assert second.population is not None
    time_steps(first.population, first)
    time_stages(second.population, lambda: next_batches(second.population, second))
    weights = second.population.weights(0, best=False)
    assert all(torch.equal(one, weights[name]) for name, one in first.population.weights(0, best=False).items())


def test_what_raises_in_a_step_leaves_the_race_and_the_others_go_on(race: StepBenchmark) -> None:
    class Broken:
        def __getattr__(self, name: str) -> object:
            raise ValueError("no luck")

    race.of("relu").population = Broken()  # type: ignore[assignment]
    for _ in race.run():
        pass
    assert step_times(race)["relu"].failure == "ValueError: no luck"
    assert len(race.of("maxout").samples) == race.rounds


def test_instrumented_steps_train_as_the_engines_do(race: StepBenchmark) -> None:
    """The stages are those of the step that is timed: the same weights come of it."""
    from relubench.timing.stages import time_stages
    from relubench.timing.steps import next_batches, time_steps

    first, second = race.of("sigmoid"), race.of("sigmoid again")
    assert first.population is not None
    assert second.population is not None
    time_steps(first.population, first)
    time_stages(second.population, lambda: next_batches(second.population, second))
    pairs = zip(first.population.parameters, second.population.parameters, strict=True)
    assert all(torch.allclose(a.value, b.value, atol=1e-6) for a, b in pairs)


def test_verdicts_are_beyond_the_bases_own_band() -> None:
    same = [1.0, 1.01, 0.99, 1.0, 1.02, 0.98, 1.0]
    networks = [
        Network("sigmoid", "network", None, samples=list(same)),
        Network("relu", "network", None, samples=[0.5 * one for one in same]),
        Network("tanh", "network", None, samples=[1.005 * one for one in same]),
        Network("sigmoid again", "twin", None, samples=same[::-1]),
    ]
    made = step_times(StepBenchmark(networks, "sigmoid", 1.0, 0.02))
    assert (made["relu"].verdict, made["tanh"].verdict) == ("faster", "no difference")
