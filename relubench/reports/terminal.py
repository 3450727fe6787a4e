"""The table for a terminal: drawn by rich, as wide as its line, with nothing cut off and nothing left out unsaid.

Where the line is too narrow, first the parts of a cell go under each other, then columns leave in the order of
`Column.leaves`, which a line below the table says; what is still too wide is wrapped.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from relubench.reports.report import Column, Report
from relubench.reports.signs import shown_in

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

MIN_NAME = 12
UNLIMITED = 10_000
"""Characters a line: a pipe has no width, and nothing may be wrapped in it."""


def draw(report: Report, width: int | None = None, colour: bool | None = None) -> str:
    """The report as a table with its title above, and footnotes and closing sentence below.

    `width` in characters and `colour` are asked of COLUMNS, NO_COLOR and stdout where they are None.
    """
    if width is None:
        report = _for_stdout(report)
    from rich.text import Text

    console = _console(width, colour)
    columns, stacked, cap = fit(report, console)
    if report.title:
        console.print(Text(report.title, style="bold"))
    if report.caption:
        console.print(Text(report.caption, style="dim"))
    if columns and report.shown:
        console.print(_table(report, columns, stacked, cap))
    elif not report.shown:
        console.print(Text("nothing to show"))
    left = [column.header for column in report.columns if column not in columns]
    hidden = [f"not shown at this width: {'; '.join(left)}"] if left else []
    for note in [*hidden, *report.footnotes]:
        console.print(Text(note, style="dim"))
    if report.sentence:
        console.print()
        console.print(Text(report.sentence))
    file = console.file
    assert isinstance(file, io.StringIO)
    return "".join(line.rstrip() + "\n" for line in file.getvalue().splitlines())


def _for_stdout(report: Report) -> Report:
    """The report in signs that stdout has, put in before the table is laid out: some are longer."""
    encoding = getattr(sys.stdout, "encoding", None)

    def shown(text: str) -> str:
        return shown_in(text, encoding)

    def column(one: Column) -> Column:
        return replace(one, header=shown(one.header), parts=lambda row: [shown(part) for part in one.parts(row)])

    return replace(
        report,
        columns=[column(one) for one in report.columns],
        title=shown(report.title),
        caption=shown(report.caption),
        footnotes=[shown(note) for note in report.footnotes],
        sentence=shown(report.sentence),
    )


def fit(report: Report, console: Console) -> tuple[list[Column], bool, int | None]:
    """The columns that go into the console's width, whether their cells are stacked, and how wide words may be."""
    columns = list(report.columns)
    if _width(report, columns, False, None, console) <= console.width:
        return columns, False, None
    # A formula for a name folds before a number has to leave.
    cap = max(MIN_NAME, console.width // 4) if any(column.leaves for column in columns) else None
    leaving = sorted((column for column in columns if column.leaves), key=lambda column: column.leaves)
    while leaving and _width(report, columns, True, cap, console) > console.width:
        columns.remove(leaving.pop(0))
    return columns, True, cap


def _width(report: Report, columns: Sequence[Column], stacked: bool, cap: int | None, console: Console) -> int:
    return console.measure(
        _table(report, columns, stacked, cap), options=console.options.update(width=UNLIMITED)
    ).maximum


def _table(report: Report, columns: Sequence[Column], stacked: bool, cap: int | None) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1), collapse_padding=True)
    for column in columns:
        header = column.header.replace(" ", "\n").replace("\n%", " %") if stacked else column.header
        table.add_column(
            Text(header),
            justify="right" if column.right else "left",
            overflow="fold",
            max_width=None if column.right else cap,
        )
    for row in report.shown:
        joint = "\n" if stacked else " "
        cells = [column.parts(row) for column in columns]
        texts = [joint.join(part.strip() for part in parts) if stacked else joint.join(parts) for parts in cells]
        table.add_row(*(Text(text, style=column.style(row)) for text, column in zip(texts, columns, strict=True)))
    return table


def _console(width: int | None, colour: bool | None) -> Console:
    from rich.console import Console

    terminal = sys.stdout.isatty()
    coloured = colour if colour is not None else terminal and not os.environ.get("NO_COLOR")
    piped = width is None and not terminal and not os.environ.get("COLUMNS", "").isdigit()
    return Console(
        file=io.StringIO(),
        width=UNLIMITED if piped else width,
        force_terminal=coloured,
        no_color=not coloured,
        highlight=False,
        emoji=False,
        markup=False,
        legacy_windows=False,
    )
