"""The report of a study that has been carried out, or as far as it came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from relubench.reports.report import Report, training_report
from relubench.reports.summary import Comparison, summarize
from relubench.version import __version__

if TYPE_CHECKING:
    from relubench.runner import Study


def study_report(
    study: Study,
    *,
    command: str = "train",
    comparison: Comparison | None = None,
    about: Mapping[str, Any] | None = None,
) -> Report:
    """The table of what is finished or failed so far; `about` goes into its JSON."""
    timings = study.timings
    summary = summarize(study.tabled, timings, study.wrong, comparison)
    clocks = {run: timing.to_json() if timing else None for run, timing in timings.items()}
    runs = [{**result.to_json(), "timing": clocks.get(result.id)} for result in study.results]
    report = training_report(summary, version=__version__, device=study.device.name, runs=runs, command=command)
    return replace(report, about=dict(about or {}))
