"""The table of a preset: a study's, with the preset's name, its stand-in and its claim."""

from __future__ import annotations

from dataclasses import replace

from relubench.experiments.presets.resolve import Preset
from relubench.experiments.record import StudyRecord
from relubench.reports.report import Report, footnotes
from relubench.reports.training.study import study_report


def preset_report(record: StudyRecord, preset: Preset) -> Report:
    """The table of what is finished or failed so far of this preset."""
    about = {"preset": preset.name, "scale": preset.scale, "stand_in": preset.stand_in}
    report = study_report(record, command="run", comparison=preset.comparison, about=about)
    title = f"{preset.name}{f' ({preset.scale})' if preset.scale else ''}: {report.title}"
    caption = "; ".join(part for part in (preset.stand_in, report.caption) if part)
    return replace(
        report,
        title=title,
        caption=caption,
        notes=[*report.notes, *footnotes([preset.claim or ""])],
        question=preset.question or preset.description,
        figures=(*preset.figure, *report.figures),
    )
