"""The report of a study, finished or as far as it has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from relubench.experiments.comparison import Comparison
from relubench.experiments.record import StudyRecord
from relubench.reports.report import Report, run_records
from relubench.reports.training.summary import summarize
from relubench.reports.training.table import training_report


def study_report(
    record: StudyRecord,
    *,
    command: str = "train",
    comparison: Comparison | None = None,
    about: Mapping[str, Any] | None = None,
) -> Report:
    """The table of what is finished or failed so far; `about` goes into its JSON."""
    summary = summarize(record.table_results, record.timings, record.mask_of, record.tunings, comparison)
    runs = run_records(record.results, record.timings, record.mask_of)
    report = training_report(summary, device=record.device, runs=runs, command=command)
    return replace(report, about=dict(about or {}))
