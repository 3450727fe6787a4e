"""The report of `pretrain`: each method beside the same network without, its gain, and what either way costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from relubench.experiments.comparison import Comparison
from relubench.experiments.rows import SummaryRow
from relubench.reports.formatting import bracket, fixed
from relubench.reports.report import Report, run_records, training_report
from relubench.reports.training.gains import gain
from relubench.reports.training.sentence import ONE_SEED
from relubench.reports.training.summary import Summary, summarize
from relubench.version import __version__

if TYPE_CHECKING:
    from relubench.experiments.study import Study

COMPARISON = Comparison(within=("activation",))
"""A row is compared with the first one of its own activation."""


def pretraining_report(study: Study) -> Report:
    """The table of what is finished or failed so far; differences are to the first row of the same activation."""
    timings = study.timings
    summary = summarize(study.tabled, timings, study.wrong, study.tuned, COMPARISON)
    firsts = [rows[0].pretraining for rows in _by_activation(summary.rows).values()]
    sentence = closing(summary)
    if study.config.pretrain.lr == "auto" and any(one.spec.get("stack") for one in study.results):
        sentence += " The search for the rates of pre-training is not in these times."
    summary = replace(summary, sentence=sentence, against="none" if set(firsts) == {"none"} else "")
    runs = run_records(study.results, timings, study.wrong)
    return training_report(summary, version=__version__, device=study.device.name, runs=runs, command="pretrain")


def closing(summary: Summary) -> str:
    """For each activation what each method gained over the first row, and at what cost."""
    told = [_about(name, rows) for name, rows in _by_activation(summary.rows).items()]
    compared = [row for row in summary.rows if row.difference_pct is not None]
    if compared and max(row.n for row in compared) == 1:
        told.append(ONE_SEED[0].upper() + ONE_SEED[1:] + ".")
    return " ".join(told)


def _about(name: str, rows: Sequence[SummaryRow]) -> str:
    first, *others = rows
    if not others:
        if first.test_error_pct is None:
            return f"{name} ({first.pretraining}): no test error."
        interval = bracket(first.test_error_ci_low_pct, first.test_error_ci_high_pct)
        return f"{name} ({first.pretraining}) reached a test error of {fixed(first.test_error_pct)} % {interval}."
    return f"{name}: " + "; ".join(gain(row, first) for row in others) + "."


def _by_activation(rows: Sequence[SummaryRow]) -> dict[str, list[SummaryRow]]:
    found: dict[str, list[SummaryRow]] = {}
    for row in rows:
        found.setdefault(row.activation, []).append(row)
    return found
