"""The table for a terminal, drawn by rich in the width of its line: nothing is cut off, left-out columns are named.

Where the line is too narrow, first the word of a cell goes under its numbers, then each part under the one before, then
the columns of words at the left go under each other, then columns are left out in the order of `Column.drop_order`, and
a line below the table names them; what is still too wide is wrapped. In a list only columns of words are, while a third
of a line is left for each.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from relubench.reports.report import Column, Report
from relubench.reports.signs import shown_in

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

MIN_NAME, MIN_WORD = 12, 8
"""Characters that a name has before a number has to leave, and before one is wrapped."""
SIDE_BY_SIDE, WORD_BELOW, HEADERS_TOO, STACKED = range(4)
"""How the parts of a cell stand (a number, its interval, and a word), and the words of a header."""
MOST_STACKED = 4
"""Columns of words that go under each other in one."""
UNLIMITED = 10_000
"""Characters of a line for a pipe, which has no width: nothing is wrapped."""


def draw(report: Report, width: int | None = None, colour: bool | None = None) -> str:
    """The report as a table with its title above, and notes and closing sentence below.

    `width` in characters and `colour` are asked of COLUMNS, NO_COLOR and stdout where they are None.
    """
    if width is None:
        report = _for_stdout(report)
    from rich.text import Text

    console = _console(width, colour)
    layout = fit(report, console)
    if report.title:
        console.print(Text(report.title, style="bold"))
    if report.caption:
        console.print(Text(report.caption, style="dim"))
    if layout.columns and report.display_rows:
        console.print(_table(report, layout))
    elif not report.display_rows:
        console.print(Text("nothing to show"))
    width_note = [f"not shown at this width: {'; '.join(layout.left_out)}"] if layout.left_out else []
    for text in [*width_note, *report.note_texts]:
        console.print(Text(text, style="dim"))
    if report.sentence:
        console.print()
        console.print(Text(report.sentence))
    file = console.file
    assert isinstance(file, io.StringIO)
    return "".join(line.rstrip() + "\n" for line in file.getvalue().splitlines())


def _for_stdout(report: Report) -> Report:
    """The report in signs that stdout can show; they are replaced before the layout, since some are longer."""
    encoding = getattr(sys.stdout, "encoding", None)

    def in_encoding(text: str) -> str:
        return shown_in(text, encoding)

    def encoded(column: Column) -> Column:
        return replace(
            column,
            header=in_encoding(column.header),
            cell=lambda row: [in_encoding(part) for part in column.cell(row)],
        )

    return replace(
        report,
        columns=[encoded(column) for column in report.columns],
        title=in_encoding(report.title),
        caption=in_encoding(report.caption),
        notes=[replace(note, text=in_encoding(note.text)) for note in report.notes],
        sentence=in_encoding(report.sentence),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How a table stands in a line."""

    columns: Sequence[Column]
    level: int = SIDE_BY_SIDE
    """How the parts of a cell stand."""
    cap: int | None = None
    """The most characters of a line of words; None: as many as they have."""
    left_out: Sequence[str] = ()
    """The headers of columns that the line has no room for."""


def fit(report: Report, console: Console) -> Layout:
    """The layout of the report in the console's width."""

    def fits(layout: Layout) -> bool:
        table = _table(report, layout)
        return console.measure(table, options=console.options.update(width=UNLIMITED)).maximum <= console.width

    for level in (SIDE_BY_SIDE, WORD_BELOW, HEADERS_TOO):
        if fits(layout := Layout(columns=report.columns, level=level)):
            return layout
    if any(column.is_whole for column in report.columns):
        cap = max(MIN_NAME, console.width // 3)
        layout = _without_columns(Layout(columns=report.columns, level=STACKED, cap=cap), fits)
        narrow = [replace(column, is_whole=False) for column in layout.columns]
        return replace(layout, columns=layout.columns if fits(layout) else narrow, cap=None)
    # A formula for a name folds before a number has to leave.
    is_leaving = any(column.drop_order for column in report.columns)
    layout = Layout(
        columns=report.columns, level=STACKED, cap=max(MIN_NAME, console.width // 4) if is_leaving else None
    )
    num_words = next((place for place, column in enumerate(layout.columns) if column.right), len(layout.columns))
    for number in range(2, min(num_words, MOST_STACKED) + 1):
        if not fits(layout):
            layout = replace(layout, columns=[_one_below_another(report.columns[:number]), *report.columns[number:]])
    layout = _without_columns(layout, fits)
    while layout.cap is not None and layout.cap > MIN_WORD and not fits(layout):
        layout = replace(layout, cap=layout.cap - 1)
    # No name folds beside empty space.
    wider = (replace(layout, cap=console.width // share) for share in (1, 2, 3))
    return next((layout for layout in wider if fits(layout)), layout)


def _without_columns(layout: Layout, fits: Callable[[Layout], bool]) -> Layout:
    """The layout with as many columns left out as its line has no room for."""
    candidates = sorted(
        (column for column in layout.columns if column.drop_order), key=lambda column: column.drop_order
    )
    all_columns, narrower = layout.columns, layout
    while candidates and not fits(narrower):
        leaving = candidates.pop(0)
        narrower = replace(narrower, columns=[column for column in narrower.columns if column is not leaving])
    left_out = [
        column.header for column in all_columns if all(column is not shown_column for shown_column in narrower.columns)
    ]
    return replace(narrower, left_out=left_out)


def _one_below_another(columns: Sequence[Column]) -> Column:
    """One column with the words of several, a line each."""
    return Column(
        header="\n".join(column.header for column in columns),
        cell=lambda row: [text for column in columns if (text := " ".join(column.cell(row)))],
        right=False,
        style=lambda row: next((style for column in columns if (style := column.style(row))), ""),
    )


def _table(report: Report, layout: Layout) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    columns, level = layout.columns, layout.level
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1), collapse_padding=True)
    for column in columns:
        header = two_lines(column.header) if level >= HEADERS_TOO else column.header
        table.add_column(
            Text(header),
            justify="right" if column.right else "left",
            overflow="fold",
            no_wrap=column.is_whole,
            max_width=None if column.right or column.is_whole else layout.cap,
        )
    for row in report.display_rows:
        texts = [_text(column.cell(row), level) for column in columns]
        table.add_row(*(Text(text, style=column.style(row)) for text, column in zip(texts, columns, strict=True)))
    return table


def two_lines(header: str) -> str:
    """The header broken into two lines as short as its words allow; a unit stays with its word."""
    words = header.replace(" %", "\N{NO-BREAK SPACE}%").split(" ")
    pairs = [(" ".join(words[:place]), " ".join(words[place:])) for place in range(1, len(words))]
    if not pairs:
        return header
    return "\n".join(min(pairs, key=lambda pair: max(map(len, pair)))).replace("\N{NO-BREAK SPACE}", " ")


def _text(parts: Sequence[str], level: int) -> str:
    """A cell's parts beside each other, or some of them on lines of their own."""
    if level == SIDE_BY_SIDE or (level < STACKED and len(parts) < 3):
        return " ".join(parts)
    lines = parts if level == STACKED else [" ".join(parts[:2]), " ".join(parts[2:])]
    return "\n".join(line.strip() for line in lines)


def _console(width: int | None, colour: bool | None) -> Console:
    from rich.console import Console

    terminal = sys.stdout.isatty()
    with_colour = colour if colour is not None else terminal and not os.environ.get("NO_COLOR")
    if width is None and not os.environ.get("COLUMNS", "").isdigit():
        width = _line_of_stdout() if terminal else UNLIMITED
    return Console(
        file=io.StringIO(),
        width=width,
        force_terminal=with_colour,
        no_color=not with_colour,
        highlight=False,
        emoji=False,
        markup=False,
        legacy_windows=False,
    )


def _line_of_stdout() -> int | None:
    """How many characters a line of the terminal at stdout has; None where it does not say."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError):
        return None
