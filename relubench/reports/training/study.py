"""The report of a study, finished or as far as it has come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from relubench.experiments.comparison import Comparison
from relubench.experiments.record import StudyRecord
from relubench.experiments.rows import Tuning
from relubench.reports.names import with_names
from relubench.reports.report import Report, Row, run_records
from relubench.reports.training.gradients import has_gradients
from relubench.reports.training.summary import summarize
from relubench.reports.training.table import training_report
from relubench.runs.result import RunResult
from relubench.runs.task import task_of


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
    tunings = [tuning_row(tuning) for tuning in record.tunings]
    report = replace(report, about=dict(about or {}), figures=figure_names(record.results), tunings=tunings)
    return with_names(report, record.config.act)


def tuning_row(tuning: Tuning) -> Row:
    """What the search found for one activation, as a figure and a page's file have it."""
    rates = sorted(tuning.errors)
    names = {"activation": tuning.activation, "variant": tuning.variant, "pretraining": tuning.pretraining}
    return {**names, "rates": rates, "scores": [tuning.errors[rate] for rate in rates], "lr": tuning.lr}


def figure_names(results: Sequence[RunResult]) -> tuple[str, ...]:
    """What a plot of these runs shows: differences of several tasks, gradients that were looked at, learning curves."""
    if len({task_of(result.spec).name for result in results}) > 1:
        return ("differences", "curves")
    return ("gradients", "curves") if has_gradients(results) else ("curves",)
