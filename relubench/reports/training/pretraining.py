"""The report of `pretrain`: each method beside the same network without, its gain, and what either way costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from relubench.experiments.comparison import Comparison
from relubench.experiments.record import StudyRecord
from relubench.experiments.rows import SummaryRow
from relubench.reports.names import with_names
from relubench.reports.questions import pretraining_question
from relubench.reports.report import Report, run_records
from relubench.reports.training.gains import gain
from relubench.reports.training.sentence import ONE_SEED, score_text
from relubench.reports.training.study import tuning_row
from relubench.reports.training.summary import Summary, summarize
from relubench.reports.training.table import training_report

COMPARISON = Comparison(within=("activation",))
"""A row is compared with the first one of its own activation."""


def pretraining_report(record: StudyRecord) -> Report:
    """The table of what is finished or failed so far; differences are to the first row of the same activation."""
    summary = summarize(record.table_results, record.timings, record.mask_of, record.tunings, COMPARISON)
    base_methods = [rows[0].pretraining for rows in _by_activation(summary.rows).values()]
    sentence = gain_sentences(summary)
    if record.config.pretrain.lr == "auto" and any(result.spec.get("stack") for result in record.results):
        sentence += " The search for the rates of pre-training is not in these times."
    summary = replace(summary, sentence=sentence, against="none" if set(base_methods) == {"none"} else "")
    runs = run_records(record.results, record.timings, record.mask_of)
    report = training_report(summary, device=record.device, runs=runs, command="pretrain")
    tunings = [tuning_row(tuning) for tuning in record.tunings]
    question = pretraining_question(report.rows)
    report = replace(report, question=question, figures=("gain", "curves"), tunings=tunings)
    return with_names(report, record.config.act)


def gain_sentences(summary: Summary) -> str:
    """For each activation what each method gained over the first row, and at what cost."""
    sentences = [_activation_sentence(name, rows) for name, rows in _by_activation(summary.rows).items()]
    rows_with_difference = [row for row in summary.rows if row.metric_difference is not None]
    if rows_with_difference and max(row.n for row in rows_with_difference) == 1:
        sentences.append(ONE_SEED[0].upper() + ONE_SEED[1:] + ".")
    return " ".join(sentences)


def _activation_sentence(name: str, rows: Sequence[SummaryRow]) -> str:
    base_row, *other_rows = rows
    if not other_rows:
        if base_row.test_metric is None:
            return f"{name} ({base_row.pretraining}): no test {base_row.posed.noun}."
        score = f"test {base_row.posed.noun} of {score_text(base_row)}"
        return f"{name} ({base_row.pretraining}) reached a {score}."
    return f"{name}: " + "; ".join(gain(row, base_row) for row in other_rows) + "."


def _by_activation(rows: Sequence[SummaryRow]) -> dict[str, list[SummaryRow]]:
    rows_by_activation: dict[str, list[SummaryRow]] = {}
    for row in rows:
        rows_by_activation.setdefault(row.activation, []).append(row)
    return rows_by_activation
