"""Every format on a table with gaps, unicode, a diverged row and cells that try to break it."""

import csv
import io
import json
import math
import re
import shutil
import subprocess
from dataclasses import replace

import polars
import pytest

from relubench.errors import UsageError
from relubench.experiments.rows import SummaryRow
from relubench.reports.render import FORMATS, render
from relubench.reports.report import Report, listing_columns
from relubench.reports.training.table import training_report

FORMULA = "x*where(x>0,1,α)|[b]_2 & 5%"


@pytest.fixture
def report(lab):
    lab.train("relu").train("sigmoid", scale=2).train(FORMULA).spoil("sigmoid", "diverged", seeds=(0, 1, 2))
    runs = [{"id": "a", "loss": math.nan, "curve": [1.0, math.inf]}]
    return training_report(lab.summary(), device="cpu, 2 threads", runs=runs)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_every_row(report, name):
    text = render(report, name, width=100, colour=False)
    assert text.endswith("\n") and "relu" in text and "sigmoid" in text and "diverged" in text
    assert "nan" not in text.lower().replace("training", "") and "None" not in text


def test_unknown_format_is_refused(report):
    with pytest.raises(UsageError, match="no format called 'tabel'"):
        render(report, "tabel")


def test_json_is_one_object_of_the_contract(report):
    value = json.loads(render(report, "json"), parse_constant=pytest.fail)
    assert list(value) == ["command", "version", "device", "rows", "runs", "words"]
    assert list(value["rows"][0]) == SummaryRow.columns()
    assert value["rows"][1]["test_error_pct"] is None and value["rows"][1]["outcome"] == "diverged"
    assert value["runs"] == [{"id": "a", "loss": None, "curve": [1.0, None]}]
    assert [json.loads(line) for line in render(report, "jsonl").splitlines()] == value["rows"]


def test_tsv_and_csv_carry_all_columns_uncut(report, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    lines = render(report, "tsv", colour=True).splitlines()
    assert lines[0].split("\t") == SummaryRow.columns() and len(lines) == 4
    assert all(len(line.split("\t")) == len(SummaryRow.columns()) for line in lines)
    assert "\x1b" not in "".join(lines) and lines[3].startswith(FORMULA + "\t")
    table = list(csv.DictReader(io.StringIO(render(report, "csv"))))
    assert table[2]["activation"] == FORMULA and table[1]["test_error_pct"] == ""


def listing(rows):
    return Report(command="list", device=None, rows=rows, columns=listing_columns(rows))


def test_tabs_and_line_breaks_stay_inside_their_cell():
    rows = [{"name": "a\tb\nc", "value": math.nan}]
    assert render(listing(rows), "tsv") == "name\tvalue\na\\tb\\nc\t\n"
    assert render(listing(rows), "csv").count("\n") == 2
    assert render(listing(rows), "markdown").count("\n") == 3


@pytest.mark.parametrize("width", [60, 80, 120])
def test_table_fits_and_says_what_it_leaves_out(report, width):
    text = render(report, "table", width=width, colour=False)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width and "…" not in text
    assert "mnist · mlp-3x1000 · paper protocol · 3 seeds" in text and "init xavier" in text
    header = text.split("─")[0]
    assert ("not shown at this width" in text) == ("article" not in header)


def test_table_fits_80_columns_whole(lab):
    lab.train("relu", seeds=5).train("sigmoid", seeds=5, scale=2).train("tanh", seeds=5)
    text = render(training_report(lab.summary(), device="cpu"), "table", width=80, colour=False)
    assert "not shown" not in text and max(map(len, text.splitlines())) <= 80
    for word in ("error %", "zeros %", "time", "published", "article", "higher", "noise"):
        assert word in text


def test_colour_and_width_come_from_the_environment(report, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" in render(report, "table")
    monkeypatch.setenv("NO_COLOR", "1")
    plain = render(report, "table")
    assert "\x1b" not in plain and max(map(len, plain.splitlines())) <= 70


def test_a_piped_table_is_not_wrapped(report, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: False, raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)
    text = render(report, "table")
    assert "\x1b" not in text and FORMULA in text and report.sentence in text.splitlines()


def test_markdown_keeps_a_formula_as_text(report):
    text = render(report, "markdown")
    assert r"x\*where(x\>0,1,α)\|\[b\]\_2 & 5%" in text
    assert all(note[:30] in text.replace("\\", "") for note in report.note_texts)
    grid = [line for line in text.splitlines() if line.startswith("|")]
    assert len(grid) == 5 and len({line.replace(r"\|", "").count("|") for line in grid}) == 1


def test_latex_is_safe_to_compile(report):
    text = render(report, "latex")
    assert text.isascii() and r"{[}U+03B1]" in text and r"\_2 \& 5\%" in text
    for command in (r"\toprule", r"\midrule", r"\bottomrule", r"\end{tabular}", r"\end{table}"):
        assert text.count(command) == 1
    body = text.split("\n", 1)[1]
    assert body.count("{") == body.count("}") and "``Deep Sparse Rectifier" in body


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(report, tmp_path):
    table = render(replace(report, title="100 % of {Fashion}_MNIST & more"), "latex")
    head = "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n"
    (tmp_path / "t.tex").write_text(head + table + "Table~\\ref{tab:train}.\n\\end{document}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout[-2000:]
    assert (tmp_path / "t.pdf").read_bytes().startswith(b"%PDF")


def test_latex_marks_what_differs_and_leaves_the_command_line_out(lab):
    text = render(lab.train("relu").train("tanh", scale=3).train("gelu", scale=1.001).report(), "latex")
    tanh, gelu = (next(line for line in text.splitlines() if name in line) for name in (" tanh ", " gelu "))
    assert r"\textsuperscript{*}" in tanh and r"\textsuperscript{*}" not in gelu and "noise" not in gelu
    assert r"\label{tab:train}" in text and not re.search(r" --[a-z]", text)


def test_one_row_with_a_penalty_names_it(lab):
    report = training_report(lab.train("relu", l1=0.001).summary(), device=None)
    assert report.caption.startswith("lr 0.1, init xavier, L1 0.001, 2,797,010 parameters, 8 epochs")


@pytest.mark.parametrize("name", FORMATS)
def test_listing_in_every_format(name):
    rows = [{"name": "relu", "formula": "max(0, x)", "zeros": True}, {"name": "β", "formula": None, "note": "x" * 200}]
    text = render(listing(rows), name, width=60, colour=False)
    assert "relu" in text
    if name == "json":
        assert json.loads(text)["rows"][1]["note"] == "x" * 200
    if name == "table":
        assert max(map(len, text.splitlines())) <= 60 and text.count("x") >= 200
    assert render(listing([]), name) is not None


@pytest.mark.parametrize("name", FORMATS)
def test_a_report_without_rows_is_no_error(lab, name):
    assert isinstance(render(training_report(lab.summary(), device="cpu"), name), str)


def test_parquet_has_every_key_with_its_type_and_missing_as_null(report):
    frame = polars.read_parquet(io.BytesIO(FORMATS["parquet"].binary(report)))
    records = json.loads(render(report, "json"))["rows"]
    assert frame.to_dicts() == records
    assert frame.schema["test_error_pct"] == polars.Float64 and frame.schema["n"] == polars.Int64
    nested = replace(report, rows=[{"lr": 1, "layers": [1, 2]}, {"lr": 0.5, "layers": None}])
    frame = polars.read_parquet(io.BytesIO(FORMATS["parquet"].binary(nested)))
    assert frame.to_dicts() == [{"lr": 1.0, "layers": "[1, 2]"}, {"lr": 0.5, "layers": None}]
