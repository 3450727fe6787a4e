"""The report of a study that has been carried out, or as far as it came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relubench.reports.report import Report, training_report
from relubench.reports.summary import summarize
from relubench.version import __version__

if TYPE_CHECKING:
    from relubench.runner import Study


def study_report(study: Study, *, command: str = "train") -> Report:
    """The table of what is finished or failed so far."""
    summary = summarize(study.results, study.timings, study.wrong)
    return training_report(
        summary, version=__version__, device=study.device.name, runs=json_runs(study), command=command
    )


def json_runs(study: Study) -> list[dict[str, Any]]:
    """The runs with what the clock said of them."""
    clocks = {run: timing.to_json() if timing else None for run, timing in study.timings.items()}
    return [{**result.to_json(), "timing": clocks.get(result.id)} for result in study.results]
