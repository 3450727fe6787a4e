"""The table of a preset: a study's, with the preset's name, its stand-in and its claim."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from relubench.experiments.presets.resolve import Preset
from relubench.experiments.published_order import published_order
from relubench.experiments.record import StudyRecord
from relubench.reports.report import Report, Row, asides, footnotes
from relubench.reports.training.published_order import claim_line, order_line
from relubench.reports.training.study import study_report

TOPICS = {
    "dead-units": ("dead %",),
    "zeros": ("zeros %",),
    "zeros-and-scores": ("zeros %",),
    "gradients": ("gradient 1st/last", "trained"),
    "noise": ("noise",),
    "pareto": ("time",),
    "exchange": ("score at exchange", "zeros at exchange %"),
    "overlap": ("overlap within %", "overlap between %"),
}
"""A figure of a preset -> the headers of what it is about: columns that no table leaves out, however narrow."""


def lesson_lines(preset: Preset) -> list[str]:
    """What to look at and what to expect, where the preset is a lesson."""
    if preset.lesson is None:
        return []
    return [f"look at {preset.lesson['look']}", f"expect: {preset.lesson['expect']}"]


def preset_report(record: StudyRecord, preset: Preset) -> Report:
    """The table of what is finished or failed so far of this preset."""
    about = {"preset": preset.name, "scale": preset.scale, "stand_in": preset.stand_in}
    report = study_report(record, command="run", comparison=preset.comparison, about=about)
    title = f"{preset.name}{f' ({preset.scale})' if preset.scale else ''}: {report.title}"
    caption = "; ".join(part for part in (preset.stand_in, report.caption) if part)
    topics = {header for name in preset.figure for header in TOPICS.get(name, ())}
    columns = [replace(column, drop_order=0) if column.header in topics else column for column in report.columns]
    lines = [preset.claim or "", *_published(preset, report.rows)]
    return replace(
        report,
        columns=columns,
        title=title,
        caption=caption,
        notes=[*report.notes, *footnotes(lines), *asides(lesson_lines(preset))],
        question=preset.question or preset.description,
        figures=(*preset.figure, *report.figures),
    )


def _published(preset: Preset, rows: Sequence[Row]) -> Iterator[str]:
    """Lines about what sources found that is compared in order alone; nothing is concluded from a smoke test."""
    for reference in preset.references if preset.scale != "smoke" else ():
        if "best" in reference:
            yield claim_line(reference["best"], rows)
        elif "metric" in reference:
            yield order_line(published_order(**reference), rows)
