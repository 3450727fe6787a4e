"""Figures as values: what each draws of runs that are known, and one colour an activation in all of them."""

import itertools
import math
import re
from dataclasses import replace

import pytest

from relubench.errors import ComputeError, UsageError
from relubench.experiments.presets.catalogue import open_preset
from relubench.experiments.presets.schema import FigureName
from relubench.experiments.rows import Tuning
from relubench.reports.figures.curves import curves_figure
from relubench.reports.figures.dead_units import dead_units_figure
from relubench.reports.figures.declaration import Figure, Panel, Series
from relubench.reports.figures.draw import canvas_of, write_figure
from relubench.reports.figures.experts import experts_figure
from relubench.reports.figures.looks import looks_of
from relubench.reports.figures.names import apart
from relubench.reports.figures.overlap import overlap_figure
from relubench.reports.figures.scores import scores_figure
from relubench.reports.figures.table import FIGURES, figure_of, figures_of
from relubench.reports.figures.vector import drawing_of
from relubench.reports.figures.zeros import zeros_figure
from relubench.reports.figures.zeros_and_scores import zeros_and_scores_figure
from relubench.reports.listings import list_presets
from relubench.reports.training.study import tuning_row
from relubench.runs.result import LayerProbe, MeasuredValue

STARTS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.mark.parametrize("suffix", STARTS)
def test_written_by_suffix_and_reproducible(lab, tmp_path, suffix):
    lab.train("relu").train("tanh", epochs=1, seeds=1).train("selu").spoil("selu", "diverged", seeds=(1,))
    files = [tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"]
    for file in files:
        write_figure(curves_figure(lab.source()), file)
    assert files[0].read_bytes().startswith(STARTS[suffix])
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_curves_of_one_network_are_one_line_with_a_band(lab):
    lab.train("relu", seeds=3).train("tanh", seeds=1)
    figure = curves_figure(lab.source())
    epochs, times = figure.panels
    relu, tanh = epochs.series
    first = [run.curve[0].valid_error_pct for run in lab.results[:3]]
    assert (relu.y[0], relu.low[0], relu.high[0]) == (pytest.approx(sum(first) / 3), min(first), max(first))
    assert relu.band and not tanh.low
    assert times.series[0].x == [5.0 * epoch for epoch in range(1, 9)]


def test_a_line_ends_where_the_first_of_its_seeds_ended_and_the_figure_says_who_diverged(lab):
    lab.train("relu", seeds=2).spoil("relu", "diverged", seeds=(1,))
    short = replace(lab.results[1].curve[3], valid_error_pct=None)
    lab.results[1] = replace(lab.results[1], curve=[*lab.results[1].curve[:3], short])
    figure = curves_figure(lab.source())
    assert len(figure.panels[0].series[0].x) == 3
    assert "diverged: relu seed 1" in figure.subject


def test_variants_are_panels_and_of_one_activation_lines(lab):
    lab.train("relu", variant="few", seeds=1).train("relu", variant="all", seeds=1)
    assert [line.label for line in curves_figure(lab.source()).panels[0].series] == ["few", "all"]
    lab.train("tanh", variant="few", seeds=1)
    assert [panel.title for panel in curves_figure(lab.source()).panels] == ["few", "all"]


def test_ways_of_pre_training_are_never_averaged_into_one_line(lab):
    for labels, method in itertools.product(("few", "all"), ("none", "rbm")):
        for activation in ("relu", "tanh"):
            lab.train(activation, variant=labels, pretraining=method, seeds=1)
    panels = curves_figure(lab.source()).panels
    assert [panel.title for panel in panels][:2] == ["few, without pre-training", "few, pre-training rbm"]
    for place in range(len(lab.results)):
        lab.results[place] = replace(
            lab.results[place], dead_units_pct=9.0, probes=[probe(epoch, 1, dead=place) for epoch in (0, 1)]
        )
    epochs = dead_units_figure(lab.source()).panels[-1]
    assert all(len(set(line.y)) == 1 for line in epochs.series if "rbm" in line.label)
    assert "relu, few, pre-training rbm" in [line.label for line in epochs.series]


def test_a_network_that_learned_nothing_does_not_press_the_scores_together(lab):
    lab.train("relu").train("tanh", scale=1.1)
    assert scores_figure(lab.source()).panels[0].x_scale == "linear"
    lab.train("sigmoid", scale=40)
    assert scores_figure(lab.source()).panels[0].x_scale == "log"


def test_a_figure_that_is_named_twice_is_drawn_once(lab):
    names = [figure.name for figure in figures_of(lab.train("relu").train("tanh").source(), ["curves", "curves"])]
    assert names[0] == "curves" and len(names) == len(set(names))


def test_numbers_at_an_axis_keep_their_digits():
    panel = Panel(
        x_label="x", y_label="y", x_ticks=[0.001, 0.25], series=[Series(label="a", key="a", x=[0.001, 0.25], y=[1, 2])]
    )
    assert "0.001" in re.findall(r">\s*([\d.]+)\s*</text>", drawing_of(panel, ["a"], "p").svg)


def test_one_epoch_has_one_tick_and_a_long_name_of_an_axis_is_broken(lab):
    (panel, _) = curves_figure(lab.train("relu", epochs=1).train("tanh", epochs=1).source()).panels
    canvas = canvas_of(replace(curves_figure(lab.source()), panels=[replace(panel, y_label="word " * 12)]))
    canvas.draw_without_rendering()
    (axes,) = canvas.axes
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1.0]
    assert "\n" in axes.get_ylabel()


def test_bars_of_two_lines_at_one_place_stand_beside_each_other():
    lines = [Series(label=key, key=key, x=[1, 2], y=[1, 2], low=[0, 1], high=[2, 3]) for key in "ab"]
    panel = Panel(x_label="x", y_label="y", series=lines)
    canvas = canvas_of(Figure(name="n", title="", subject="", reading="", panels=[panel], keys=["a", "b"]))
    canvas.draw_without_rendering()
    (axes,) = canvas.axes
    starts = [line.get_transform().transform(line.get_xydata())[0, 0] for line in axes.get_lines()]
    # Two bars and a line of each series: those of one series stand together.
    assert starts[0] == pytest.approx(starts[2]) and starts[3] == pytest.approx(starts[5])
    assert starts[3] - starts[0] == pytest.approx(2.5 / 72 * canvas.dpi)
    assert axes.get_xlim()[0] < 1 and axes.get_xlim()[1] > 2


def test_decibels_have_no_logarithmic_axis(lab):
    lab.train("relu").train("tanh", scale=0.05)
    assert curves_figure(lab.source()).panels[0].y_scale == "log"
    for place, run in enumerate(lab.results):
        spec = {**run.spec, "task": "picture"}
        lab.results[place] = replace(run, spec=spec, test_metric=run.test_error_pct, test_error_pct=None)
        lab.masks[run.id] = lab.masks[run.id].astype("float32")
    assert curves_figure(lab.source()).panels[0].y_scale == "linear"


def test_a_search_for_learning_rates_is_a_panel_with_a_ring_at_the_rate_that_was_chosen(lab):
    found = Tuning(activation="relu", errors={0.1: 3.0, 0.01: 2.0, 0.001: None}, seeds=2, epochs=8, lr=0.01)
    *_, rates = curves_figure(lab.train("relu").source(tunings=[tuning_row(found)])).panels
    line, ring = rates.series
    assert list(rates.x_ticks) == [0.001, 0.01, 0.1] and math.isnan(line.y[0]) and line.y[1:] == [2.0, 3.0]
    assert (ring.x, ring.y, ring.hollow) == ((0.01,), (2.0,), True)


def test_an_activation_has_one_colour_whatever_stands_beside_it():
    some, others = looks_of(["sigmoid", "relu", "mish"]), looks_of(["mish", "relu", "tanh", "celu"])
    assert some["relu"] == others["relu"]
    many = looks_of([f"act{number}" for number in range(25)])
    assert len({(look.colour, look.dash) for look in many.values()}) == 25


def test_error_against_depth_has_a_line_for_each_activation(lab):
    for act, depth in itertools.product(("relu", "sigmoid"), (2, 10)):
        lab.train(act, seeds=1, scale=depth / 2, model=f"mlp-{depth}x64")
    figure = figure_of(lab.source(), ["depth"])
    assert [line.key for line in figure.panels[0].series] == ["relu", "sigmoid"]
    assert all(line.x == [2.0, 10.0] for line in figure.panels[0].series)
    errors = [run.test_error_pct for run in lab.results[:2]]
    assert figure.panels[0].series[0].y == pytest.approx(errors)


def probe(epoch, layer, dead):
    nothing = ("zeros_pct", "near_zeros_pct", "mean", "variance", "saturated_pct", "died", "revived", "cut_off")
    return LayerProbe(
        epoch=epoch, layer=layer, units=10, quantiles=[], dead=dead, idle_columns=None, **dict.fromkeys(nothing)
    )


def test_dead_units_by_row_by_rate_and_by_epoch(lab):
    for rate, share in ((0.1, 5.0), (0.5, 40.0)):
        lab.train("relu", seeds=2, lr=rate, variant=f"lr {rate:g}")
        for place in (-2, -1):
            probes = [probe(epoch, layer, dead=epoch * layer) for epoch in (0, 1, 2) for layer in (1, 2)]
            lab.results[place] = replace(lab.results[place], dead_units_pct=share + place, probes=probes)
    rows, rates, epochs = dead_units_figure(lab.source()).panels
    assert list(rows.categories) == ["lr 0.5", "lr 0.1"]
    assert (rates.series[0].x, rates.series[0].y) == ([0.1, 0.5], [3.5, 38.5])
    assert epochs.series[0].y == [0.0, 15.0, 30.0]  # 1 + 2 of 20 units, then 2 + 4


@pytest.mark.parametrize(("scales", "rises"), [((1, 1, 1, 1, 1), False), ((1, 1, 1.5, 3, 6), True)])
def test_zeros_have_points_and_no_fit_where_nothing_rises(lab, scales, rises):
    for place, scale in enumerate(scales):
        start = len(lab.results)
        lab.train("relu", seeds=5, scale=scale, epochs=2, l1=0.01 * place, l1_asked=0.01 * place, dataset="digits")
        for number in range(start, len(lab.results)):
            lab.results[number] = replace(lab.results[number], sparsity_pct=70.0 + 4 * place + 0.1 * number)
    strengths, errors = zeros_figure(lab.source()).panels
    assert strengths.x_tick_texts[:2] == ["0", "0.01"]
    assert bool(errors.rules) == rises
    assert all(series.mark == "points" for series in errors.series)


def test_the_gain_of_pre_training_is_the_difference_turned_round(lab):
    lab.train("relu").train("relu", scale=0.5, pretraining="rbm")
    report = lab.report()
    figure = figure_of(lab.source(), ["gain"])
    (series,) = figure.panels[0].series
    assert series.x == [-report.rows[1]["difference_pct"]]
    assert series.low[0] == -report.rows[1]["difference_ci_high_pct"] < series.x[0] < series.high[0]


def test_names_at_the_ends_of_lines_are_apart():
    heights = apart([0.1, 0.11, 0.12, 0.9])
    assert all(after - before >= 0.055 - 1e-9 for before, after in itertools.pairwise(heights))
    assert min(heights) >= 0 and max(heights) <= 1


def test_every_figure_that_a_result_has_can_be_drawn(lab):
    lab.train("relu").train("tanh").train("relu", pretraining="rbm", scale=0.7)
    figures = figures_of(lab.source(), first=["gain"])
    assert figures[0].name == "gain" and {figure.name for figure in figures} >= {"scores", "curves", "gain", "pareto"}
    for figure in figures:
        canvas_of(figure).draw_without_rendering()


def test_every_preset_names_a_figure_that_there_is():
    of_other_commands = {"choice", "ranking"}
    assert set(FigureName.__args__) == set(FIGURES) - of_other_commands
    for row in list_presets():
        assert open_preset(row["name"], "smoke").figure, row["name"]


def test_unknown_suffix_is_refused(lab, tmp_path):
    with pytest.raises(UsageError, match="suffix") as caught:
        write_figure(curves_figure(lab.train("relu").source()), tmp_path / "a.jpeg")
    assert ".png, .svg, .pdf" in caught.value.hint


def test_unwritable_file_is_an_error(lab, tmp_path):
    with pytest.raises(ComputeError, match="cannot write"):
        write_figure(curves_figure(lab.train("relu").source()), tmp_path / "missing" / "a.png")


def test_overlaps_are_two_points_a_network_with_the_interval_over_seeds(lab):
    """Students' t at 95 % and 2 degrees of freedom is 4.302653; an interval of shares ends at 100."""
    lab.train("relu", seeds=3).train("tanh", seeds=1)
    assert overlap_figure(lab.source()) is None
    measured = [(70.0, 40.0), (74.0, 41.0), (78.0, 42.0), (99.5, 99.0)]
    for place, (within, between) in enumerate(measured):
        best = lab.results[place].best_epoch
        values = [("overlap_within_pct", best, within), ("overlap_between_pct", best, between)]
        values.append(("overlap_within_pct", 0, 1.0))
        lab.results[place] = replace(
            lab.results[place],
            measured=[MeasuredValue(name=name, epoch=epoch, value=value) for name, epoch, value in values],
        )
    (panel,) = overlap_figure(lab.source()).panels
    within, between = panel.series
    assert panel.categories == ["relu", "tanh"] and (within.x, between.x) == ([74.0, 99.5], [41.0, 99.0])
    assert within.low[0] == pytest.approx(74 - 4.302653 * 4 / 3**0.5)
    assert within.high[0] == pytest.approx(74 + 4.302653 * 4 / 3**0.5)
    assert (within.low[1], within.high[1]) == (99.5, 99.5)


def test_experts_are_a_line_by_epoch_and_a_point_a_network(lab):
    lab.train("relu", seeds=2).train("tanh", seeds=1)
    assert experts_figure(lab.source()) is None
    for place, used in enumerate((80.0, 90.0)):
        run = lab.results[place]
        values = [(0, 40.0 + 10 * place), (run.best_epoch, used)]
        measured = [MeasuredValue(name="experts_used_pct", epoch=epoch, value=value) for epoch, value in values]
        lab.results[place] = replace(run, measured=measured)
    by_epoch, scores = experts_figure(lab.source()).panels
    (relu,) = by_epoch.series
    assert (relu.y[0], relu.low[0], relu.high[0]) == (45.0, 40.0, 50.0)
    mixture, plain = scores.series
    assert mixture.x == [80.0, 90.0] and mixture.y == [run.test_error_pct for run in lab.results[:2]]
    assert plain.dashed and plain.y == [lab.results[2].test_error_pct] * 2


def test_zeros_and_scores_has_a_point_a_network_and_none_where_nobody_differs(lab):
    lab.train("relu", seeds=2)
    assert zeros_and_scores_figure(lab.source()) is None
    lab.train("tanh", seeds=1)
    lab.results = [replace(run, sparsity_pct=10.0 * place) for place, run in enumerate(lab.results)]
    relu, tanh = zeros_and_scores_figure(lab.source()).panels[0].series
    assert (relu.x, tanh.x) == ([0.0, 10.0], [20.0])
    assert relu.y + tanh.y == [run.test_error_pct for run in lab.results]
