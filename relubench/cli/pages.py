"""The files of --plot, --report and --log: checked before any work, written after the table, and named on stderr."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from relubench.cli import output
from relubench.errors import UsageError
from relubench.system.output_files import check_file, save_file

if TYPE_CHECKING:
    from relubench.reports.report import Report

SUFFIXES = (".html", ".htm", ".md")

WITH_VALUE = ("--output", "--plot", "--report", "--log", "--format", "--runs-dir")
ALONE = ("--quiet", "-q", "--no-cache", "--debug")
"""Flags that say where a result goes, and not what it is: the command that makes it again goes without them."""


def check_page(path: Path | None, option: str = "--report") -> None:
    """Raises UsageError where the page could not be written."""
    if path is None:
        return
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{option} {path}: a page is HTML or Markdown", "end the file's name in .html or .md")
    check_file(option, path)


def check_logs(places: Sequence[str] | None) -> None:
    """Raises UsageError where one of the places of --log cannot be written to."""
    if places:
        from relubench.reports.logs.table import Log

        for place in places:
            Log.parse(place)


def write_logs(report: Report, places: Sequence[str] | None, *, quiet: bool) -> None:
    """Write the runs of the report to the logs that are asked for, and say so on stderr."""
    if places:
        from relubench.reports.logs.table import Log

        for place in places:
            text = Log.parse(place).write(report)
            if not quiet:
                output.say(text)


def write_files(report: Report, plot: Path | None, page: Path | None, *, quiet: bool) -> None:
    """Write the figure of the report and its page, as far as they are asked for."""
    if page is not None:
        write_page([report], page, quiet=quiet)
    if plot is not None:
        from relubench.reports.figures.draw import write_figure
        from relubench.reports.figures.source import source_of
        from relubench.reports.figures.table import figure_of

        write_figure(figure_of(source_of(report), report.figures or ("curves",)), plot)
        if not quiet:
            output.say(f"written: {plot}")


def write_page(reports: Sequence[Report], path: Path, *, quiet: bool, option: str = "--report") -> None:
    """Write the page of these reports, and say so on stderr."""
    from relubench.reports.page.page import page_content

    save_file(option, path, page_content(reports, path))
    if not quiet:
        output.say(f"written: {path}")


def finished(report: Report, caption: str | None = None) -> Report:
    """The report with the command that makes it again, and with the user's caption instead of its own."""
    if caption is not None:
        tables = [replace(table, title=caption, caption="") for table in report.tables[:1]]
        report = replace(report, title=caption, caption="", tables=[*tables, *report.tables[1:]])
    return replace(report, command_line=command_line(sys.argv))


def command_line(arguments: Sequence[str]) -> str:
    """What was typed, without the flags that say where the result goes; empty where another program called."""
    program, *words = arguments
    if Path(program).stem not in ("relubench", "__main__"):
        return ""
    typed: list[str] = []
    skip = False
    for word in words:
        is_value, skip = skip, word in WITH_VALUE
        if not (is_value or skip or word in ALONE or word.startswith(tuple(f"{flag}=" for flag in WITH_VALUE))):
            typed.append(word)
    return shlex.join(["relubench", *typed])
