"""The report of an ablation of sparsity: a row a strength, the article's beside it, and where error starts to rise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from relubench.experiments import references
from relubench.experiments.record import StudyRecord
from relubench.reports.formatting import count, duration, fixed, join_names, signed, signed_bracket
from relubench.reports.names import with_names
from relubench.reports.questions import sparsity_question
from relubench.reports.report import Column, Report, Row, footnotes, run_records
from relubench.reports.scores import score_of
from relubench.reports.training.display_columns import difference_cell, error_column
from relubench.reports.training.onset import LEAST_POINTS, Onset, onset
from relubench.reports.training.summary import Summary, summarize
from relubench.reports.training.table import training_report
from relubench.runs.result import RunResult
from relubench.runs.task import Task, task_of

ARTICLE_NETWORK = ("mnist", "mlp-3x1000", "relu", "none")
PAPER_ONSET = 85.0
"""Zeros up to which the paper sees no harm (Glorot et al. 2011, caption of Figure 3)."""


def sparsity_report(record: StudyRecord) -> Report:
    """The table of what is finished or failed so far; every activation is compared with its own first strength."""
    results = sorted(record.results, key=lambda run: run.spec["l1_asked"])
    labels = list(dict.fromkeys(result.spec["activation"] for result in record.results))
    by_label = [[result for result in results if result.spec["activation"] == label] for label in labels]
    summaries = [summarize(label_runs, record.timings, record.mask_of, by_strength=True) for label_runs in by_label]
    rows = [row for summary in summaries for row in _rows(summary)]
    combined = replace(summaries[0], facts=_shared([summary.facts for summary in summaries]))
    if record.config.train.l1_pairs:
        # Of a row there are few, but every network has a seed of its own.
        combined = replace(combined, seeds=len(record.config.seeds))
    runs = run_records(record.results, record.timings, record.mask_of)
    base = training_report(combined, device=record.device, runs=runs)
    scale = record.config.train.l1_scale
    notes = list(dict.fromkeys(note for summary in summaries for note in summary.notes if "article:" not in note.text))
    report = replace(
        base,
        command="ablate-sparsity",
        rows=rows,
        columns=sparsity_columns(rows),
        notes=[*footnotes([SCALES[scale]]), *notes, *footnotes(_notes(rows, by_label))],
        question=sparsity_question(rows),
        figures=("zeros", "curves"),
        sentence=" ".join(
            _onset_sentence(label if len(labels) > 1 else "", label_runs, summary)
            for label, label_runs, summary in zip(labels, by_label, summaries, strict=True)
        ),
    )
    return with_names(report, record.config.act)


SCALES = {
    "sum": "l1 times the sum of |h| over a layer's units, averaged over the batch",
    "mean": "l1 times the mean of |h| over a layer's units, averaged over the batch",
    "paper": "l1 times a thirtieth of the sum of |h| over a layer's units, averaged over the batch",
}


def _rows(summary: Summary) -> list[Row]:
    """Rows with the paper's numbers only where its own strength was asked for."""
    scale = summary.facts.get("l1_scale")
    same_network = references.is_mnist_network(summary.facts)
    no_reference = {"published_error_pct": None, "published_sparsity_pct": None, "published_source": None}
    papers_strength = [scale == "paper" and row["l1"] == 0.001 for row in summary.json_rows()]
    rows = [
        row if is_papers else {**row, **no_reference}
        for row, is_papers in zip(summary.json_rows(), papers_strength, strict=True)
    ]
    # The article's strengths are coefficients of a mean.
    return [_with_article(row, in_article=same_network and (scale == "mean" or row["l1"] == 0)) for row in rows]


def _with_article(row: Row, *, in_article: bool) -> Row:
    """The row with the article's numbers for its strength, if it has the article's network, data and scale."""
    reference = (
        references.article(*ARTICLE_NETWORK, l1=row["l1"]) if in_article and row["activation"] == "relu" else None
    )
    if reference is None or reference.sparsity_pct is None:
        return {**row, "article_error_pct": None, "article_sparsity_pct": None}
    return {**row, "article_error_pct": reference.error_pct, "article_sparsity_pct": reference.sparsity_pct}


def sparsity_columns(rows: Sequence[Row]) -> list[Column]:
    """The columns for people of an ablation's rows, those that say something."""
    with_activation = len({row["activation"] for row in rows}) > 1
    outcome = Column(header="outcome", cell=lambda row: [row["outcome"]], right=False)
    columns = [
        *([Column(header="activation", cell=lambda row: [row["activation"]], right=False)] if with_activation else []),
        Column(header="l1", cell=lambda row: [f"{row['l1']:.3g}"]),
        Column(header="zeros %", cell=lambda row: [fixed(row["sparsity_pct"], 1)]),
        Column(header="near zeros %", cell=lambda row: [fixed(row["near_zeros_pct"], 1)], drop_order=3),
        error_column(rows, ""),
        Column(header="vs the first l1", cell=difference_cell(rows), drop_order=4),
        Column(header="dead %", cell=lambda row: [fixed(row["dead_units_pct"], 1)], drop_order=5),
        Column(header="n", cell=lambda row: [str(row["n"])], drop_order=2),
        *([outcome] if any(row["outcome"] != "ok" for row in rows) else []),
        Column(header="time", cell=lambda row: [duration(row["seconds"])], drop_order=1),
        Column(header="article zeros %", cell=lambda row: [fixed(row["article_sparsity_pct"], 0)], drop_order=6),
        Column(header="article error %", cell=lambda row: [fixed(row["article_error_pct"])], drop_order=7),
    ]
    return [column for column in columns if any("".join(column.cell(row)) for row in rows)]


def _notes(rows: Sequence[Row], by_label: Sequence[Sequence[RunResult]]) -> list[str]:
    notes = [
        "zeros: hidden outputs that are exactly 0 on the test images; near zeros: those of the probe images up to "
        "1 % of their layer's root mean square; dead units: without slope at any training image after the last epoch"
    ]
    smooth_activations = [runs[0].spec["activation"] for runs in by_label if has_no_exact_zeros(runs)]
    if smooth_activations:
        notes.append(f"{join_names(smooth_activations)}: near zeros only, since its outputs are hardly ever exactly 0")
    if any(row["article_sparsity_pct"] is not None for row in rows):
        notes.append(references.ARTICLE_NOTE)
    return notes


def has_no_exact_zeros(runs: Sequence[RunResult]) -> bool:
    """Whether the activation of these runs gives no exact zeros, so that near zeros are counted instead."""
    percentages = [run.sparsity_pct for run in runs if run.sparsity_pct is not None]
    # Under a crushing penalty even a smooth activation underflows to 0: the least sparse network tells.
    return bool(percentages) and min(percentages) < 0.01


def points(runs: Sequence[RunResult]) -> tuple[list[float], list[float]]:
    """Sparsities and test scores of the networks that trained; near zeros where there are no exact ones."""
    use_near_zeros = has_no_exact_zeros(runs)
    pairs = [
        (run.near_zeros_pct if use_near_zeros else run.sparsity_pct, run.test_score)
        for run in runs
        if run.outcome == "ok"
    ]
    complete_pairs = [(zeros, error) for zeros, error in pairs if zeros is not None and error is not None]
    return [zeros for zeros, _ in complete_pairs], [error for _, error in complete_pairs]


def _onset_sentence(label: str, runs: Sequence[RunResult], summary: Summary) -> str:
    """Where the error of one activation starts to rise; empty where a task's score rises as it gets better."""
    task = task_of(runs[0].spec)
    if not task.lower_is_better:
        return ""
    kind = "near zeros" if has_no_exact_zeros(runs) else "zeros"
    fit = onset(*points(runs))
    prefix = f"{label}: " if label else ""
    if fit is not None:
        return prefix + _fit_sentence(fit, kind, task, beside_paper=references.is_mnist_network(runs[0].spec))
    return prefix + _rows_sentence(_rows(summary), kind, task)


def _fit_sentence(fit: Onset, kind: str, task: Task, *, beside_paper: bool) -> str:
    networks, unit = count(fit.points, "network"), f" {task.difference_unit}".rstrip()
    if not fit.rises:
        return f"No rise of the {task.noun} with sparsity is seen over {networks}."
    place = "above" if fit.high < PAPER_ONSET else "below" if fit.low > PAPER_ONSET else "inside"
    paper_note = (
        f"; the paper sees no harm up to about {PAPER_ONSET:.0f} %, {place} this interval" if beside_paper else ""
    )
    return (
        f"The {task.noun} rises from {fixed(fit.at, 1)} % {kind} on [{fixed(fit.low, 1)}, {fixed(fit.high, 1)}], by "
        f"{fixed(fit.slope, 1 + task.decimals)}{unit} a point of sparsity ({networks}){paper_note}."
    )


def _rows_sentence(rows: Sequence[Row], kind: str, task: Task) -> str:
    rows_with_difference = [row for row in rows[1:] if score_of(row, "metric_difference") is not None]
    higher = [row for row in rows_with_difference if row["difference_verdict"].startswith("higher")]
    if not rows_with_difference:
        return f"Where the {task.noun} rises cannot be said: {_reason_without_fit(rows)}."
    base = f"l1 {rows[0]['l1']:.3g}"
    if not higher:
        strongest = rows_with_difference[-1]["l1"]
        return f"At no strength up to {strongest:.3g} is the {task.noun} higher than at {base} beyond noise."
    lowest = higher[0]
    limit = lowest["difference_verdict"].removeprefix("higher")
    zeros = lowest["near_zeros_pct"] if kind == "near zeros" else lowest["sparsity_pct"]
    ends = [score_of(lowest, f"metric_difference_ci_{end}") for end in ("low", "high")]
    interval = signed_bracket(ends[0], ends[1], task.decimals)
    size = signed(score_of(lowest, "metric_difference"), task.decimals)
    size = " ".join(filter(None, (size, task.difference_unit, interval)))
    return (
        f"The {task.noun} starts to rise{limit} at l1 {lowest['l1']:.3g} ({fixed(zeros, 1)} % {kind}): {size} against "
        f"{base}; below it no rise is beyond noise."
    )


def _reason_without_fit(rows: Sequence[Row]) -> str:
    if len(rows) == 1:
        return "there is one strength only"
    if any(row["n"] > 1 for row in rows):
        return "the networks of different strengths share no seeds"
    return f"{LEAST_POINTS} networks that train are needed for a fit, and there are {count(len(rows), 'strength')}"


def _shared(facts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {key: value for key, value in facts[0].items() if all(fact.get(key) == value for fact in facts)}
