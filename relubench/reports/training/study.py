"""The report of a study, finished or as far as it has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from relubench.experiments.comparison import Comparison
from relubench.reports.report import Report, run_records
from relubench.reports.training.summary import summarize
from relubench.reports.training.table import training_report
from relubench.version import __version__

if TYPE_CHECKING:
    from relubench.experiments.study import Study


def study_report(
    study: Study,
    *,
    command: str = "train",
    comparison: Comparison | None = None,
    about: Mapping[str, Any] | None = None,
) -> Report:
    """The table of what is finished or failed so far; `about` goes into its JSON."""
    timings = study.timings
    summary = summarize(study.tabled, timings, study.wrong, study.tuned, comparison)
    runs = run_records(study.results, timings, study.wrong)
    report = training_report(summary, version=__version__, device=study.device.name, runs=runs, command=command)
    return replace(report, about=dict(about or {}))
