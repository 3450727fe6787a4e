"""Names that a user gives to rows: everywhere for people, nowhere in the keys that programs read."""

from dataclasses import replace

import pytest

from relubench.activations import select
from relubench.activations.row_names import row_names
from relubench.errors import UsageError
from relubench.reports.figures.source import source_of
from relubench.reports.figures.table import figure_of
from relubench.reports.names import renamed
from relubench.reports.page.page import as_page
from relubench.reports.page.saved_result import read_report
from relubench.reports.render import render

FORMULA = "x*tanh(exp(x))"


def test_a_name_before_an_equals_sign_is_that_of_the_row():
    assert row_names(["relu", f"texp={FORMULA}", "My ReLU = relu,LR=leaky_relu:negative_slope=0.2"]) == {
        FORMULA: "texp",
        "relu": "My ReLU",
        "leaky_relu:negative_slope=0.2": "LR",
    }
    assert row_names(["y = x*tanh(x)", "x*sigmoid(b*x), b=1.7", "elu:alpha=0.5", "x.clamp(min=0)", "x>=0"]) == {}


def test_a_name_changes_nothing_of_the_activation():
    assert select([f"texp={FORMULA}", "ReLU=relu"]) == select([FORMULA, "relu"])


@pytest.mark.parametrize("text", ["both=relu*", "same=relu,same=tanh"])
def test_a_name_is_of_one_activation(text):
    with pytest.raises(
        UsageError, match=r"names \d+ activations|two activations are called|no activation called|parameter"
    ):
        row_names([text])


def test_people_read_the_name_and_programs_the_label(lab, tmp_path):
    report = lab.train("relu").train(FORMULA, scale=3).report(figures=("curves",))
    named = renamed(report, {FORMULA: "texp"})
    for format in ("table", "markdown", "latex"):
        text = render(named, format, width=200, colour=False)
        assert "texp is higher" in text or format == "latex"
        assert f"texp: {FORMULA.split('*')[0]}" in text.replace("\\", "")
    assert [row["activation"] for row in named.rows] == ["relu", FORMULA]
    assert [line.label for line in figure_of(source_of(named), ["curves"]).panels[0].series] == ["relu", "texp"]
    page = as_page([named])
    assert 'data-key="texp"' in page and f'data-key="{FORMULA}"' not in page
    path = tmp_path / "result.json"
    path.write_text(render(named, "json"))
    assert as_page([read_report(path)]) == page


def test_a_label_inside_a_longer_formula_is_left_alone(lab):
    report = replace(lab.train("relu").report(), sentence="x is less than 2*x, and max(x,0) is not x.")
    assert renamed(report, {"x": "identity"}).sentence == "identity is less than 2*x, and max(x,0) is not identity."
