"""Gradient norms in a table and by layer in a figure, from probes that are known."""

import math
from dataclasses import replace

import pytest

from relubench.errors import ComputeError
from relubench.reports.figures.gradients import gradients_figure
from relubench.reports.figures.table import figure_of
from relubench.reports.training.gradients import gradient_facts, has_gradients
from relubench.reports.training.table import training_report
from relubench.runs.result import LayerProbe

EMPTY = dict.fromkeys(
    ("zeros_pct", "near_zeros_pct", "mean", "variance", "saturated_pct", "dead", "died", "revived", "cut_off")
)


def look(epoch, layer, norm):
    return LayerProbe(
        epoch=epoch, layer=layer, units=8, quantiles=[], idle_columns=None, activation_gradient=norm, **EMPTY
    )


def probed(lab, activation, start, end):
    """Train an activation in the lab, with gradient norms by layer before training and after its eight epochs."""
    lab.train(activation, seeds=2)
    for place, run in enumerate(lab.results):
        if run.spec["activation"] == activation:
            looks = [
                look(epoch, at + 1, norm) for epoch, norms in ((0, start), (8, end)) for at, norm in enumerate(norms)
            ]
            lab.results[place] = replace(run, probes=looks)
    return lab


def test_rows_say_what_is_left_of_the_gradient_and_what_the_article_bounds(lab):
    probed(lab, "relu", [0.5, 0.8, 1.0], [3.0, 2.0, 1.5])
    probed(lab, "sigmoid", [0.06, 0.25, 1.0], [0.0, 0.1, 1.0])
    rows = {row["activation"]: row for row in lab.summary().json_rows()}
    keys = ("gradient_first", "gradient_last", "gradient_ratio", "gradient_ratio_trained", "article_gradient_bound")
    assert [rows["relu"][key] for key in keys] == [0.5, 1.0, 0.5, 2.0, None]
    assert [rows["sigmoid"][key] for key in keys] == pytest.approx([0.06, 1.0, 0.06, 0.0, 0.0625])
    report = training_report(lab.summary(), device=None)
    cells = {column.header: [" ".join(column.cell(row)) for row in report.rows] for column in report.columns}
    assert cells["gradient 1st/last"] == ["0.5", "0.06"]
    assert cells["trained"] == ["2", "0"]
    assert cells["article's bound"] == ["", "0.0625"]
    assert sum("the article's bound for sigmoid" in note for note in report.note_texts) == 1


def test_tables_without_gradients_have_no_such_keys(lab):
    summary = lab.train("relu").summary()
    assert not has_gradients(lab.results)
    assert "gradient_ratio" not in summary.json_rows()[0]
    assert not any("gradient" in note for note in summary.footnotes)


def test_a_run_that_diverged_has_the_norms_from_before_training_only(lab):
    probed(lab, "relu", [0.5, 1.0], [None, None])
    facts = gradient_facts(lab.results)
    assert (facts["gradient_ratio"], facts["gradient_ratio_trained"]) == (0.5, None)


def test_the_figure_has_a_panel_for_each_network(lab):
    probed(lab, "sigmoid", [0.06, 0.25, 1.0], [0.0, 0.1, 1.0])
    probed(lab, "relu", [0.5, 0.8, 1.0], [3.0, 2.0, 1.5])
    for result in lab.results:
        result.spec["variant"] = "shallow" if result.spec["activation"] == "relu" else "deep"
    figure = gradients_figure(lab.source())
    assert [panel.title for panel in figure.panels] == ["deep", "shallow"]
    before, after, bound = figure.panels[0].series
    assert before.y == pytest.approx([0.06, 0.25, 1.0])  # the geometric mean over two equal seeds
    assert bound.key == "" and bound.y == pytest.approx([0.0625, 0.25, 1.0])  # 0.25 a layer from the last one down
    assert after.dashed and math.isnan(after.y[0]) and after.y[1:] == pytest.approx([0.1, 1.0])


def test_a_figure_without_norms_is_refused(lab):
    with pytest.raises(ComputeError, match="nothing to plot: no run has what gradients shows"):
        figure_of(lab.train("relu").source(), ["gradients"])
