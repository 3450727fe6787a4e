"""A report in each output format. A new format is one function and one row of FORMATS.

tsv, csv, json, jsonl and parquet carry every key of the rows; table, markdown and latex carry the columns for people,
with the title, notes and closing sentence. Only `table` knows a width or a colour. Missing is null in JSON, else empty.
"""

from __future__ import annotations

import csv
import html
import io
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from relubench.reports.latex import latex_table
from relubench.reports.parquet import as_parquet
from relubench.reports.report import Column, Report, Row
from relubench.reports.terminal import draw
from relubench.system.lookup import find


@dataclass(frozen=True, slots=True)
class Screen:
    """The width and colour of a table; where they are None, COLUMNS, NO_COLOR and stdout decide."""

    width: int | None = None
    colour: bool | None = None


def render(report: Report, format: str, *, width: int | None = None, colour: bool | None = None) -> str:
    """The report as text that ends in a newline; raises UsageError for an unknown format."""
    writer = find(format, FORMATS, kind="format", see=f"formats are {', '.join(FORMATS)}")
    tables = report.tables if writer.human_readable and report.tables else [report]
    texts = [writer.write(table, Screen(width, colour)) for table in tables]
    return "\n".join(text if text.endswith("\n") or not text else text + "\n" for text in texts)


def as_json(report: Report, screen: Screen) -> str:
    about = {key: getattr(report, key) for key in ("command", "version", "device")} | report.about
    document = {**about, "rows": report.rows, "runs": report.runs}
    if report.question:
        document["words"] = words_of(report)
    return json.dumps(finite(document), allow_nan=False, ensure_ascii=False, indent=2)


def words_of(report: Report) -> Row:
    """What people read of the report beside its rows: with it a page can be made from the file alone."""
    return {
        "question": report.question,
        "title": report.title,
        "caption": report.caption,
        "notes": [asdict(note) for note in report.notes],
        "sentence": report.sentence,
        "against": report.against,
        "names": dict(report.names),
        "figures": list(report.figures),
        "tunings": list(report.tunings),
        "command_line": report.command_line,
    }


def as_jsonl(report: Report, screen: Screen) -> str:
    lines = [json.dumps(finite(row), allow_nan=False, ensure_ascii=False) for row in report.rows]
    return "".join(line + "\n" for line in lines)


def as_tsv(report: Report, screen: Screen) -> str:
    return "".join("\t".join(line) + "\n" for line in _flat_lines(report))


def as_csv(report: Report, screen: Screen) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(_flat_lines(report))
    return file.getvalue()


def as_markdown(report: Report, screen: Screen) -> str:
    from tabulate import tabulate

    cells = [[markdown_text(cell) for cell in line] for line in _display_cells(report)]
    headers = [markdown_text(column.header) for column in report.columns]
    sides = ["right" if column.right else "left" for column in report.columns]
    grid = tabulate(cells, headers, tablefmt="pipe", colalign=sides, disable_numparse=True) if headers else ""
    head = [f"**{markdown_text(report.title)}**"] if report.title else []
    notes = "\n".join(f"- {markdown_text(note)}" for note in report.note_texts)
    parts = [*head, markdown_text(report.caption), grid, notes, markdown_text(report.sentence)]
    return "\n\n".join(part for part in parts if part)


def as_latex(report: Report, screen: Screen) -> str:
    return latex_table(report, _display_cells(report))


def as_html(report: Report) -> str:
    """The report as a notebook shows it."""
    from tabulate import tabulate

    cells = [["\n".join(column.cell(row)) for column in report.columns] for row in report.display_rows]
    table = tabulate(cells, [column.header for column in report.columns], tablefmt="html")
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in [report.sentence, *report.note_texts] if line)
    return f"<p><b>{html.escape(report.title)}</b><br>{html.escape(report.caption)}</p>{table}{lines}"


@dataclass(frozen=True, slots=True)
class Format:
    """An output format: the function that writes it, and whether it is for people or for programs."""

    write: Callable[[Report, Screen], str]
    suffix: str
    """The suffix of a file that --output writes in it."""
    human_readable: bool = False
    """Whether it carries the columns for people, the title, the notes and the closing sentence."""
    binary: Callable[[Report], bytes] | None = None
    """What gives the bytes of a file that is no text; `write` is then what a screen gets in its place."""


FORMATS: dict[str, Format] = {
    "table": Format(lambda report, screen: draw(report, screen.width, screen.colour), ".txt", human_readable=True),
    "tsv": Format(as_tsv, ".tsv"),
    "csv": Format(as_csv, ".csv"),
    "json": Format(as_json, ".json"),
    "jsonl": Format(as_jsonl, ".jsonl"),
    "parquet": Format(as_jsonl, ".parquet", binary=as_parquet),
    "markdown": Format(as_markdown, ".md", human_readable=True),
    "latex": Format(as_latex, ".tex", human_readable=True),
}
"""Name of a format -> how it is written."""


def _display_cells(report: Report) -> list[list[str]]:
    """The cells for people, each in one line."""
    return [[_cell(column, row) for column in report.columns] for row in report.display_rows]


def _cell(column: Column, row: Row) -> str:
    return " ".join(" ".join(column.cell(row)).split())


def _flat_lines(report: Report) -> list[list[str]]:
    """The keys of the rows, then each row's cells; nothing where there is no key."""
    keys = list(dict.fromkeys(key for row in report.rows for key in row))
    return [keys, *([_flat(row.get(key)) for key in keys] for row in report.rows)] if keys else []


def _flat(value: Any) -> str:
    """One cell of a line-based format: no tab, no line break, nothing for missing."""
    value = finite(value)
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, allow_nan=False, ensure_ascii=False)
    return text.replace("\t", "\\t").replace("\r", "\\r").replace("\n", "\\n")


def finite(value: Any) -> Any:
    """The value with every number that JSON does not have as None, and NumPy's scalars as Python's."""
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return finite(value.item()) if hasattr(value, "item") else str(value)


def markdown_text(text: str) -> str:
    """The text in one line, with the signs of Markdown escaped."""
    flat = " ".join(text.split())
    return "".join("\\" + letter if letter in "\\`*_|<>[]" else letter for letter in flat)
