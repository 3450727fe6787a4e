"""The Markdown twin of the page: the same question, answer, tables, notes and settings, without the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from relubench.reports.figures.source import source_of
from relubench.reports.figures.table import figures_of
from relubench.reports.formatting import short
from relubench.reports.page.reading import guidance, meanings
from relubench.reports.render import Screen, as_markdown, markdown_text
from relubench.reports.report import Report


def as_markdown_page(reports: Sequence[Report]) -> str:
    """The results as Markdown, a chapter for each."""
    chapters = [_chapter(report) for report in reports]
    reading = [f"- {markdown_text(text)}" for text in guidance(reports)]
    keys = [f"- `{name}`: {markdown_text(meaning)}" for name, meaning in meanings(reports).items()]
    tail = ["## How to read it", "\n".join(reading), "\n".join(keys)]
    return "\n\n".join(part for part in [*chapters, *tail] if part) + "\n"


def _chapter(report: Report) -> str:
    tables = [replace(table, sentence="", title="") for table in report.tables or [report]]
    figures = figures_of(source_of(report), report.figures)
    lines = [f"- {markdown_text(figure.title)}: {markdown_text(figure.reading)}" for figure in figures]
    command = f"    {report.command_line}" if report.command_line else ""
    parts = [
        f"# {markdown_text(report.question or report.title)}",
        markdown_text(report.sentence),
        markdown_text(report.title),
        *(as_markdown(table, Screen()).rstrip() for table in tables),
        "## How it was made",
        markdown_text(f"relubench {report.version}, on {report.device or 'an unnamed device'}"),
        "The command that makes it again:\n\n" + command if command else "",
        _settings(report),
        "## Figures\n\nThe HTML page has them, and so has `--plot`:\n\n" + "\n".join(lines) if lines else "",
    ]
    return "\n\n".join(part for part in parts if part)


def _settings(report: Report) -> str:
    """The settings that all runs share."""
    specs = [run["spec"] for run in report.runs if isinstance(run.get("spec"), dict)]
    if not specs:
        return ""
    shared = {key: value for key, value in specs[0].items() if all(spec.get(key) == value for spec in specs)}
    lines = [f"- `{key}`: {markdown_text(short(value))}" for key, value in shared.items() if short(value)]
    return "Settings that all runs share:\n\n" + "\n".join(lines)
