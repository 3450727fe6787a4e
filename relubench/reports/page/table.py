"""A report's table for a page: sortable, its intervals as bars, its further keys behind a list of columns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from relubench.reports.page.markup import CLASSES, bullets, data_island, element, text_of
from relubench.reports.render import finite
from relubench.reports.report import Column, Report, Row

NUMBER = r"[+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?"
WITH_INTERVAL = re.compile(rf"({NUMBER}) \[({NUMBER}), ({NUMBER})\]")
DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:([\d.]+) ?(ms|s))?")
SHORT = 26
"""Characters of a name that stays in one line."""
FIRST_NUMBER = re.compile(NUMBER)


@dataclass(frozen=True, slots=True)
class Span:
    """The range of a column's intervals."""

    low: float
    high: float

    def share(self, value: float) -> float:
        """Where the value lies in the range, in percent."""
        share = 100 * (value - self.low) / (self.high - self.low) if self.high > self.low else 50.0
        return round(min(max(share, 0.0), 100.0), 2)

    def mark(self, value: float) -> str:
        """The dot of a value, or an arrow at the end beyond which it lies."""
        if self.low <= value <= self.high:
            return f'<b style="--m:{self.share(value)}%"></b>'
        return '<em class="over">▸</em>' if value > self.high else '<em class="under">◂</em>'


def table_html(report: Report, name: str, *, script_data: bool = True) -> str:
    """The table with its tools; `name` is that of its element."""
    rows, columns = report.display_rows, report.columns
    if not rows or not columns:
        return "<p>Nothing to show.</p>"
    spans = [_span(rows, column) for column in columns]
    heads = "".join(
        f'<th scope="col" aria-sort="none" data-name="{text_of(column.header)}"{_side(column)}>'
        f'<button type="button">{text_of(column.header)}</button></th>'
        for column in columns
    )
    lines = "".join(_line(place, row, columns, spans, report.names) for place, row in enumerate(rows))
    table = element(
        "table",
        f'<caption class="hidden">{text_of(report.title or "The result")}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{lines}</tbody>",
        id=name,
        data_rows=f"{name}-rows",
    )
    label = f"Table: {report.title or 'the result'}"
    scroll = element("div", table, class_="scroll", tabindex="0", role="region", aria_label=label)
    status = '<p class="hidden" role="status"></p>'
    island = data_island(f"{name}-rows", finite(rows)) if script_data else ""
    return _tools(name) + scroll + status + _column_list(report, name) + island


def _side(column: Column) -> str:
    return ' class="r"' if column.right else ""


def _tools(name: str) -> str:
    return (
        f'<div class="tools"><label>Find rows <input type="search" data-table="{name}" autocomplete="off"></label>'
        "<span class='soft'>A header sorts the table.</span></div>"
    )


def _column_list(report: Report, name: str) -> str:
    """Checkboxes for the columns that are shown, and for every key of the rows that is not."""
    shown = [column.header for column in report.columns]
    keys = dict.fromkeys(key for row in report.display_rows for key, value in row.items() if value is not None)
    further = [key for key in keys if key not in shown]

    def box(label: str, checked: str) -> str:
        return (
            f'<label><input type="checkbox" data-table="{name}" value="{text_of(label)}"{checked}> '
            f"{text_of(label)}</label>"
        )

    boxes = "".join(box(header, " checked") for header in shown)
    more = "".join(box(key, "") for key in further)
    content = f"<fieldset><legend>Columns of the table</legend>{boxes}</fieldset>"
    content += f"<fieldset><legend>Further keys of the result</legend>{more}</fieldset>" if more else ""
    return f'<details class="columns"><summary>Columns to show</summary>{content}</details>'


def _line(
    place: int,
    row: Row,
    columns: Sequence[Column],
    spans: Sequence[Span | None],
    names: Mapping[str, str],
) -> str:
    cells = []
    for number, (column, span) in enumerate(zip(columns, spans, strict=True)):
        tag, scope = ("th", ' scope="row"') if number == 0 else ("td", "")
        cells.append(f"<{tag}{scope}{_attributes(column, row)}>{_cell(column, row, span)}</{tag}>")
    activation = row.get("activation")
    key = f' data-key="{text_of(names.get(activation, activation))}"' if activation else ""
    return f'<tr data-i="{place}"{key}>{"".join(cells)}</tr>'


def _attributes(column: Column, row: Row) -> str:
    text = cell_text(column, row)
    value = sort_value(text) if column.right else None
    number = "" if value is None else f' data-v="{value:g}"'
    return (_side(column) or (' class="n"' if len(text) <= SHORT else "")) + number


def cell_text(column: Column, row: Row) -> str:
    """The cell in one line."""
    return " ".join(" ".join(column.cell(row)).split())


def sort_value(text: str) -> float | None:
    """The number that a cell begins with, seconds where it is a time; None for words and for an empty cell."""
    duration = DURATION.fullmatch(text.strip())
    if text.strip() and duration:
        hours, minutes, seconds, unit = duration.groups()
        return (
            3600 * float(hours or 0) + 60 * float(minutes or 0) + float(seconds or 0) * (1e-3 if unit == "ms" else 1.0)
        )
    match = FIRST_NUMBER.match(text)
    return float(match[0].replace(",", "")) if match else None


def _interval(text: str) -> tuple[float, float, float] | None:
    match = WITH_INTERVAL.match(text)
    if match is None:
        return None
    middle, low, high = (float(part.replace(",", "")) for part in match.groups())
    return middle, low, high


def _span(rows: Sequence[Row], column: Column) -> Span | None:
    """The range of the column's intervals; that of signed ones, differences, holds 0. None for a column without any.

    Networks that did not learn are left out, where others did: the others' dots would lie on one another. Scores of
    several tasks have no range in common.
    """
    if len({row.get("task") for row in rows}) > 1:
        return None
    learned = [row for row in rows if row.get("outcome", "ok") == "ok"]
    texts = [cell_text(column, row) for row in learned or rows]
    intervals = [interval for text in texts if (interval := _interval(text)) is not None]
    if not intervals:
        return None
    low, high = min(low for _, low, _ in intervals), max(high for _, _, high in intervals)
    signed = any(text.startswith(("+", "-")) for text in texts)
    return Span(min(low, 0.0), max(high, 0.0)) if signed else Span(low, high)


def _cell(column: Column, row: Row, span: Span | None) -> str:
    text = cell_text(column, row)
    style = CLASSES.get(column.style(row).split(" ")[-1], "")
    match = WITH_INTERVAL.match(text)
    if match is None or span is None:
        return f'<span class="{style}">{text_of(text)}</span>' if style else text_of(text)
    middle, *ends = (float(part.replace(",", "")) for part in match.groups())
    low, high = (span.share(end) for end in ends)
    zero = f'<u style="--z:{span.share(0.0)}%"></u>' if span.low <= 0 <= span.high else ""
    bar = (
        f'<span class="iv" aria-hidden="true">{zero}<i style="--l:{low}%;--w:{round(high - low, 2)}%"></i>'
        f"{span.mark(middle)}</span>"
    )
    number, interval, word = match[1], f"[{match[2]}, {match[3]}]", text[match.end() :].strip()
    word_html = f' <span class="word {style}">{text_of(word)}</span>' if word else ""
    return f'<span class="nb">{number} <span class="ci">{interval}</span></span>{word_html}{bar}'


def notes_html(report: Report) -> str:
    """What stands under the table."""
    return bullets(report.note_texts, "notes")
