"""The figure of learning curves: written in three formats, the same each time, refusing what it cannot do."""

import itertools
from dataclasses import replace

import pytest

from relubench.errors import ComputeError, UsageError
from relubench.experiments.rows import Tuning
from relubench.reports.plots import figure, learning_curves
from relubench.reports.plots.learning_curves import plot_curves

STARTS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.mark.parametrize("suffix", STARTS)
def test_written_by_suffix_and_reproducible(lab, tmp_path, suffix):
    lab.train("relu").train("tanh", epochs=1, seeds=1).train("selu").spoil("selu", "diverged", seeds=(1,))
    run = lab.results[5]
    points = [*run.curve[:3], replace(run.curve[3], valid_error_pct=None, train_loss=None)]
    lab.results[5] = replace(run, curve=points)
    lab.timings[lab.results[0].id] = None
    files = [tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"]
    for file in files:
        plot_curves(lab.results, lab.timings, file)
    assert files[0].read_bytes().startswith(STARTS[suffix])
    assert files[0].read_bytes() == files[1].read_bytes()


def test_learning_rates_are_a_panel_of_their_own(lab):
    tuned = [
        Tuning(activation="relu", errors={0.1: 3.0, 0.01: 2.0, 0.001: None}, seeds=2, epochs=8, lr=0.01),
        Tuning(activation="tanh", errors={0.1: 2.5, 0.01: 4.0, 0.001: 9.0}, seeds=2, epochs=8, lr=0.1),
    ]
    lab.train("relu").train("tanh")
    panels = drawn(lab, tuned)
    assert len(panels) == 3 and len(drawn(lab, [])) == 2
    rates = panels[2]
    assert rates.get_xscale() == "log"
    low, high = rates.get_xlim()
    assert low < 0.001 and high > 0.1  # the rate at which nothing trained keeps its place
    rings = [line for line in rates.lines if line.get_linestyle() == "None"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in rings] == [(0.01, 2.0), (0.1, 2.5)]
    assert [line.get_color() for line in rates.lines if line not in rings] == list(figure.COLOURS[:2])


def test_a_learning_rate_line_looks_like_the_curve_of_its_own_variant(lab):
    lab.train("relu", variant="few", seeds=1).train("relu", variant="all", seeds=1)
    tuning = {"activation": "relu", "errors": {0.1: 3.0, 0.01: 2.0}, "seeds": 1, "epochs": 8, "lr": 0.01}
    left, _, rates = drawn(lab, [Tuning(**tuning, variant="all"), Tuning(**tuning, variant="few")])
    by_label = {line.get_label(): line.get_color() for line in left.lines if line.get_label().startswith("relu")}
    lines = [line.get_color() for line in rates.lines if line.get_linestyle() != "None"]
    assert lines == [by_label["relu, all"], by_label["relu, few"]] and lines[0] != lines[1]


def test_many_lines_are_named_where_they_end_and_apart(lab):
    for number in range(12):
        lab.train(f"act{number}", seeds=1, scale=1 + number / 100)
    names = drawn(lab, [])[0].texts
    assert sorted(name.get_text() for name in names) == sorted(f"act{number}" for number in range(12))
    heights = sorted(name.get_position()[1] for name in names)
    assert all(after - before >= learning_curves.LABEL_GAP - 1e-9 for before, after in itertools.pairwise(heights))
    assert heights[0] >= 0 and heights[-1] <= 1
    assert len({(line.get_color(), line.get_linestyle()) for line in drawn(lab, [])[0].lines[::2]}) == 12


def drawn(lab, tuned):
    """The panels of the figure."""
    return learning_curves._draw(*learning_curves._curves(lab.results, lab.timings), tuned).axes


def test_unknown_suffix_is_refused(lab, tmp_path):
    with pytest.raises(UsageError, match="suffix") as caught:
        plot_curves(lab.train("relu").results, lab.timings, tmp_path / "a.jpeg")
    assert ".png, .svg, .pdf" in caught.value.hint


def test_nothing_to_plot_is_an_error(lab, tmp_path):
    lab.train("relu", seeds=1)
    with pytest.raises(ComputeError, match="no run has a learning curve"):
        plot_curves([replace(lab.results[0], curve=[])], lab.timings, tmp_path / "a.png")


def test_unwritable_file_is_an_error(lab, tmp_path):
    with pytest.raises(ComputeError, match="cannot write"):
        plot_curves(lab.train("relu").results, lab.timings, tmp_path / "missing" / "a.png")
