"""The table of a preset: a study's, with the preset's name, its stand-in and its claim."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from relubench.experiments.presets.resolve import Preset
from relubench.experiments.published_order import published_order
from relubench.experiments.record import StudyRecord
from relubench.reports.report import Report, Row, footnotes
from relubench.reports.training.published_order import claim_line, order_line
from relubench.reports.training.study import study_report


def preset_report(record: StudyRecord, preset: Preset) -> Report:
    """The table of what is finished or failed so far of this preset."""
    about = {"preset": preset.name, "scale": preset.scale, "stand_in": preset.stand_in}
    report = study_report(record, command="run", comparison=preset.comparison, about=about)
    title = f"{preset.name}{f' ({preset.scale})' if preset.scale else ''}: {report.title}"
    caption = "; ".join(part for part in (preset.stand_in, report.caption) if part)
    lines = [preset.claim or "", *_published(preset, report.rows)]
    return replace(report, title=title, caption=caption, notes=[*report.notes, *footnotes(lines)])


def _published(preset: Preset, rows: Sequence[Row]) -> Iterator[str]:
    """Lines about what sources found that is compared in order alone; nothing is concluded from a smoke test."""
    for reference in preset.references if preset.scale != "smoke" else ():
        if "best" in reference:
            yield claim_line(reference["best"], rows)
        elif "metric" in reference:
            yield order_line(published_order(**reference), rows)
