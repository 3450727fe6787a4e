"""Each kind of change in the places that the plan gives it: a toy is added, outside the package, and the program runs.

One function for each toy; what it adds to a table is taken out again.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from relubench.__main__ import run
from relubench.reports.render import FORMATS, Format, Screen
from relubench.reports.report import Report
from relubench.reports.training.columns import COLUMNS, TableKey
from relubench.reports.training.display_columns import formatted_column
from relubench.reports.training.groups import mean

Program = Callable[..., str]
SMALL = ("--dataset", "digits", "--model", "mlp-1x8", "--epochs", "1", "--device", "cpu", "--quiet")


@pytest.fixture
def program(capfd: pytest.CaptureFixture[str]) -> Program:
    """`program("list", "columns")`: what this command line writes to stdout."""

    def call(*argv: str) -> str:
        code = run(list(argv))
        out, err = capfd.readouterr()
        assert code == 0, err
        return out

    return call


def test_a_column_is_one_row_of_columns(program: Program, request: pytest.FixtureRequest) -> None:
    toy = TableKey(
        "weights_of_best_epoch",
        "the epoch of the weights that are tested, the mean over seeds",
        unit="epochs",
        values=lambda runs: [mean([run.best_epoch for run in group.results]) for group in runs.groups],
        place=1,
        column=formatted_column(
            "weights_of_best_epoch", "best epoch", lambda row: f"<{row['weights_of_best_epoch']:g}>"
        ),
    )
    COLUMNS.append(toy)
    request.addfinalizer(lambda: COLUMNS.remove(toy))
    rows = json.loads(program("train", "--act", "relu", *SMALL, "--format", "json"))["rows"]
    assert [row["weights_of_best_epoch"] for row in rows] == [1.0]
    shown = program("train", "--act", "relu", *SMALL, "--format", "markdown")
    assert shown.splitlines()[4].startswith("| ") and "best epoch" in shown and "<1>" in shown.replace("\\", "")
    assert program("train", "--act", "relu", *SMALL, "--format", "tsv").splitlines()[0].endswith(toy.name)
    listed = json.loads(program("list", "columns", "--format", "json"))["rows"][-1]
    assert listed == {"name": toy.name, "in": toy.unit, "meaning": toy.meaning}


def test_an_output_format_is_a_function_and_a_row_of_formats(
    program: Program, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def as_outline(report: Report, screen: Screen) -> str:
        lines = [f"* {' '.join(report.columns[0].cell(row))}" for row in report.display_rows]
        return "\n".join([f"= {report.title}", *lines, *(f". {text}" for text in report.note_texts)])

    FORMATS["outline"] = Format(as_outline, ".outline", human_readable=True)
    request.addfinalizer(lambda: FORMATS.pop("outline"))
    shown = program("train", "--act", "relu,tanh", *SMALL, "--format", "outline").splitlines()
    assert shown[0].startswith("= digits · mlp-1x8") and shown[1:3] == ["* relu", "* tanh"]
    assert any(line.startswith(". 95 % intervals over test examples") for line in shown)
    file = tmp_path_factory.mktemp("formats") / "references.outline"
    assert program("list", "references", "--output", str(file)) == ""
    assert file.read_text().count("\n= ") > 3, "the suffix says the format, and people read a table for each source"
    formats = json.loads(program("list", "formats", "--format", "json"))["rows"]
    assert formats[-1] == {"name": "outline", "suffix": ".outline"}
